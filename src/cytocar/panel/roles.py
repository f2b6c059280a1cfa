"""What a channel is for, guessed from its name: antibody, DNA, viability, beads, barcode and the rest."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cytocar.panel.names import (
    NOT_ELEMENTS,
    Isotope,
    antigen_key,
    marker_key,
    marker_name,
    parse_isotope,
    unnamed,
)
from cytocar.panel.role_words import role_by_name

ROLES: Final = (
    "marker",
    "dna",
    "viability",
    "bead",
    "barcode",
    "background",
    "time",
    "event_length",
    "gaussian",
    "none",
)
# Roles of channels that have a mass; the others describe the event or are columns that software appended.
MASS_ROLES: Final = ("marker", "dna", "viability", "bead", "barcode", "background")

_WITHOUT_MASS: Final = {
    "time": "time",
    "eventlength": "event_length",
    "celllength": "event_length",
    "center": "gaussian",
    "offset": "gaussian",
    "width": "gaussian",
    "residual": "gaussian",
    "amplitude": "gaussian",
}
_PEAK: Final = re.compile(r"(?:peak|gaussian)?(center|offset|width|residual|amplitude)(?:peak)?")
_CYTOF: Final = re.compile(r"cytof|helios|dvs|fluidigm|standard biotools", re.IGNORECASE)
_LIGHT: Final = re.compile(r"(fsc|ssc|fl\d)|.+-[ahw]$", re.IGNORECASE)


@dataclass(frozen=True)
class FileContext:
    """What the other channels of a file say of one of them.

    Parameters
    ----------
    elements
        Symbols of the elements that the file has a channel of.
    names_only
        Whether it is mass cytometry whose ``$PnN`` hold antigens and not the isotopes of the antibodies.
    """

    elements: frozenset[str] = frozenset()
    names_only: bool = False

    @classmethod
    def of(
        cls, channels: Sequence[tuple[str, str]], isotopes: Sequence[Isotope | None], instrument: str = ""
    ) -> FileContext:
        """Return the context of a file from its (``$PnN``, ``$PnS``), their isotopes, and ``$CYT``.

        A file without isotopes is mass cytometry where the instrument says so, or where it has the length of an event
        together with DNA or the pulse shape, and no scattered light. Isotopes of channels that are no antibodies do
        not count: beside `CD3` and `CD4` there may be `cisPt195`, `140Ce_EQ` or `191Ir`.
        """
        elements = frozenset(isotope.symbol for isotope in isotopes if isotope is not None)
        if not _antibodies_are_bare(channels, isotopes):
            return cls(elements)
        names = [pnn for pnn, _ in channels]
        plain = {_without_mass(pnn, pnn) for pnn in names}
        dna = "Ir" in elements or any(role_by_name(name) == "dna" for name in names)
        told = "event_length" in plain and (dna or "gaussian" in plain)
        light = any(_LIGHT.match(name) for name in names)
        return cls(elements, not light and (told or bool(_CYTOF.search(instrument))))


def _antibodies_are_bare(channels: Sequence[tuple[str, str]], isotopes: Sequence[Isotope | None]) -> bool:
    """Return whether no antibody names an isotope, and more channels may be antibodies than name one at all."""
    for (pnn, pns), isotope in zip(channels, isotopes, strict=True):
        if isotope is not None and guess_role(pnn, marker_name(pnn, pns), isotope) == "marker":
            return False
    bare = [pnn for (pnn, _), isotope in zip(channels, isotopes, strict=True) if isotope is None]
    return sum(_without_mass(pnn, pnn) == "none" for pnn in bare) > len(channels) - len(bare)


NO_CONTEXT: Final = FileContext()


def guess_role(pnn: str, marker: str, isotope: Isotope | None, context: FileContext = NO_CONTEXT) -> str:
    """Return what a channel is for, by its isotope and name and by what else the file has.

    Iridium is DNA whatever its name. Rhodium that stains nucleic acid marks dead cells where the file has iridium
    too, and is DNA where it has not. Cerium 140 without a name is a bead channel. Other mass channels without a name
    are background: nothing says that they were stained.

    Parameters
    ----------
    pnn
        ``$PnN``.
    marker
        The marker, as `marker_name` gives it.
    isotope
        The isotope, or None for a channel without mass.
    context
        What the other channels of the file say.

    Returns
    -------
    One of `ROLES`; ``"none"`` for a channel without mass that is not a known one.

    Examples
    --------
    >>> guess_role("Pt198Di", "Dead", Isotope("Pt", 198)), guess_role("Cell_length", "Cell_length", None)
    ('viability', 'event_length')
    >>> with_iridium = FileContext(frozenset({"Rh", "Ir"}))
    >>> rhodium = Isotope("Rh", 103)
    >>> guess_role("Rh103Di", "Intercalator", rhodium), guess_role("Rh103Di", "Intercalator", rhodium, with_iridium)
    ('dna', 'viability')
    """
    if isotope is None:
        plain = _without_mass(pnn, marker)
        if plain != "none" or not context.names_only or _APPENDED.fullmatch(marker_key(marker)):
            return plain
        return role_by_name(marker) or "marker"
    if isotope.symbol in NOT_ELEMENTS:
        return "background"
    if isotope.symbol == "Ir":
        return "dna"
    if not marker or marker == unnamed(isotope) or parse_isotope(marker) == isotope:
        return "bead" if (isotope.symbol, isotope.mass) == ("Ce", 140) else "background"
    role = role_by_name(marker, isotope.symbol)
    if role == "dna" and isotope.symbol == "Rh" and "Ir" in context.elements:
        return "viability"
    return role or "marker"


# Columns that software adds to the events.
_APPENDED: Final = re.compile(
    r"(bh)?(t?sne|umap|pca?|viz|phate|trimap)\w*\d*|\w*cluster\w*|phenograph\w*|flowsom\w*|file\w*|sample\w*|event\w*|"
    r"label|population|individual|density|counter|batch|gate\w*|id|metacluster\w*|beaddist\w*"
)


def _without_mass(pnn: str, marker: str) -> str:
    """Return the role of a channel without mass by either of its names; a name written twice is read once."""
    for name in (pnn, marker):
        key = antigen_key(name)
        half = len(key) // 2
        key = key[:half] if len(key) % 2 == 0 and key[:half] == key[half:] else key
        if peak := _PEAK.fullmatch(key):
            key = peak[1]
        if key in _WITHOUT_MASS:
            return _WITHOUT_MASS[key]
    return "none"
