"""What a channel is for, guessed from its name: antibody, DNA, viability, beads, barcode and the rest."""

from __future__ import annotations

import re
from typing import Final

from cytocar.panel.antigens import antigens
from cytocar.panel.names import NOT_ELEMENTS, Isotope, marker_key, parse_isotope, unnamed

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
CLASSES: Final = ("type", "state", "none")
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
_BY_NAME: Final = (
    ("dna", re.compile(r"dna\d*|.*intercalator.*|iridium\d*")),
    (
        "viability",
        re.compile(r"(live/?dead|dead/?live|alive|live|dead|viab\w*|cisplat\w*|l/?d)\d*(stain|dye|cells?)?"),
    ),
    ("bead", re.compile(r"(eq\d?|norm\w*)?beads?\d*")),
    ("barcode", re.compile(r"(bc|bcd|barcode|mcb)\d*")),
    ("background", re.compile(r"(bckg|bkg|background|empty|blank|unused)\d*")),
)
# fmt: off
_LINEAGE: Final = frozenset(
    (
        "cd1c", "cd2", "cd3", "cd4", "cd5", "cd7", "cd8a", "cd8b", "cd10", "cd11b", "cd11c", "cd14",
        "cd15", "cd16", "cd1632", "cd19", "cd20", "cd22", "cd24", "cd33", "cd34", "cd36", "cd41", "cd42b",
        "cd45", "cd56", "cd61", "cd64", "cd66b", "cd79a", "cd79b", "cd94", "cd117", "cd123",
        "cd138", "cd141", "cd203c", "cd209", "cd235ab", "cd235cd61", "cd303", "cd304",
        "clec9a", "crth2", "fceria", "foxp3", "igd", "igm", "nkp46", "nkg2a",
        "siglec8", "tcrab", "tcrgd", "tcrvd1", "tcrvd2", "tcrva72", "vhh", "car", "carid",
    )
)
# fmt: on


def guess_role(pnn: str, marker: str, isotope: Isotope | None) -> str:
    """Return what a channel is for, by its isotope and name.

    Iridium is DNA whatever its name, and cerium 140 without a name is a bead channel. Other mass channels
    without a name are background: nothing says that they were stained.

    Parameters
    ----------
    pnn
        ``$PnN``.
    marker
        The marker, as `marker_name` gives it.
    isotope
        The isotope, or None for a channel without mass.

    Returns
    -------
    One of `ROLES`; ``"none"`` for a channel without mass that is not a known one.

    Examples
    --------
    >>> guess_role("Pt198Di", "Dead", Isotope("Pt", 198)), guess_role("Cell_length", "Cell_length", None)
    ('viability', 'event_length')
    """
    if isotope is None:
        return _WITHOUT_MASS.get(marker_key(pnn), _WITHOUT_MASS.get(marker_key(marker), "none"))
    if isotope.symbol in NOT_ELEMENTS:
        return "background"
    if isotope.symbol == "Ir":
        return "dna"
    if not marker or marker == unnamed(isotope) or parse_isotope(marker) == isotope:
        return "bead" if (isotope.symbol, isotope.mass) == ("Ce", 140) else "background"
    key = marker_key(marker)
    for role, pattern in _BY_NAME:
        if pattern.fullmatch(key):
            return role
    return "marker"


def guess_class(marker: str, role: str) -> str:
    """Return ``"type"`` for a lineage marker, ``"state"`` for any other antibody, ``"none"`` for other channels.

    Examples
    --------
    >>> guess_class("CD8", "marker"), guess_class("PD-1", "marker"), guess_class("DNA1", "dna")
    ('type', 'state', 'none')
    """
    if role != "marker":
        return "none"
    return "type" if antigens(marker) & _LINEAGE else "state"
