"""Which markers of a panel show a CAR, and what each of them binds: a table of reagents (`car_reagents.csv`)."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final

from cytocar.panel.names import antigen_key

KINDS: Final = ("car", "marker_gene", "tag", "secondary")
"""What is bound: the CAR itself, a protein made beside it, an epitope built into it, the label of another reagent."""

# Antigens that CARs are made against. A name made of one of them and CAR, Fc, or rh is a reagent for such a CAR.
_TARGETS: Final = (
    "BCMA|CD269|TNFRSF17|CD5|CD7|CD19|CD20|CD22|CD30|CD33|CD37|CD38|CD70|CD79b|CD123|CD133|CD138|CLL1|CLEC12A|FLT3"
    "|GPRC5D|FCRH5|FCRL5|SLAMF7|CS1|BAFFR|ROR1|GD2|HER2|EGFRvIII|MSLN|Mesothelin|GPC3|CLDN18|CLDN182|PSMA|CEA|CEACAM5"
    "|IL13Ra2|B7H3|CD276|MUC1|MUC16|EpCAM|NKG2D|TRBC1|LewisY|DLL3|STEAP1|TACI|APRIL|Siglec2|Siglec6|19|20|22"
)
_TARGET: Final = "|".join(sorted((name.casefold() for name in _TARGETS.split("|")), key=len, reverse=True))
# Keys of names, without case and punctuation.
_CAR_AGAINST: Final = re.compile(
    rf"(?:anti|a)?(?:(?P<before>(?:{_TARGET}){{1,2}})cart?|cart?(?P<after>(?:{_TARGET}){{1,2}}))"
)
_ANTIGEN_FC: Final = re.compile(
    rf"(?:rh|h|human|s|soluble|recombinant)*(?P<target>{_TARGET})(?:ecd)?(?:fc|igg1?fc|fcchimera)"
)
_RECOMBINANT: Final = re.compile(rf"(?:rh|recombinant)(?P<target>{_TARGET})")
_WORD: Final = re.compile(r"[^\W_]+\+?")


@dataclass(frozen=True)
class CarReagent:
    """A marker that shows a CAR.

    Parameters
    ----------
    marker
        The marker, as the panel spells it.
    kind
        One of `KINDS`.
    certain
        Whether a marker of this name is there for a CAR. False where a panel may have it for another reason:
        ``CD271`` may stand for a truncated NGFR beside the CAR, or for NGFR.
    note
        What it binds, on CAR-T cells and on others, as a clause.
    """

    marker: str
    kind: str
    certain: bool
    note: str


@dataclass(frozen=True)
class _Reagent:
    name: str
    antigen: str
    kind: str
    certain: bool
    note: str


def car_reagents(markers: Iterable[str]) -> list[CarReagent]:
    """Return the markers that show a CAR: the certain ones first, each group in the order of the panel.

    A marker is one by its whole name, by a name in it (``CAR_VHH``, ``CAR (Protein L)``), or by an antigen that CARs
    are made against together with CAR, Fc or rh (``BCMA-CAR``, ``CAR19``, ``CLDN18.2-Fc``).

    Parameters
    ----------
    markers
        Names of the markers of a panel.

    Examples
    --------
    >>> for found in car_reagents(["CD3", "CD271", "CD19", "FMC63"]):
    ...     print(found.marker, found.kind, found.certain)
    FMC63 car True
    CD271 marker_gene False
    """
    found = []
    for marker in markers:
        reagent = _reagent(marker)
        if reagent is not None:
            found.append(CarReagent(marker, reagent.kind, reagent.certain, reagent.note))
    return sorted(found, key=lambda each: not each.certain)


def reagent_name(marker: str) -> str | None:
    """Return the reagent for a CAR that a marker is, by its usual name; None where it is none.

    Examples
    --------
    >>> reagent_name("anti-camelid VHH"), reagent_name("huEGFRt"), reagent_name("CD19")
    ('VHH', 'EGFRt', None)
    """
    reagent = _reagent(marker)
    return None if reagent is None else reagent.name


def _reagent(marker: str) -> _Reagent | None:
    """Return what a marker is by its whole name, else by the longest name in it that is certain."""
    table = _table()
    whole = antigen_key(marker)
    if whole in table:
        return table[whole]
    if (made := _by_target(whole)) is not None:
        return made
    parts = [table[key] for key in _parts(marker) if key in table and table[key].kind != "secondary"]
    named = [part for part in parts if part.certain]
    # CAR says least of all: in CAR_VHH it is the other word that says which reagent it is.
    named.sort(key=lambda part: part.name == "CAR")
    if named:
        return named[0]
    return next((made for key in _parts(marker) if (made := _by_target(key)) is not None), None)


def reagent_meanings(marker: str) -> tuple[str, ...]:
    """Return the keys of what a marker means that shows a CAR, the most special first; none for other markers.

    ``BCMA-CAR`` and ``CAR_VHH`` are found by ``CAR`` as well, and ``CAR`` by no special name.

    Examples
    --------
    >>> reagent_meanings("BCMA-CAR"), reagent_meanings("CAR_VHH"), reagent_meanings("CD3")
    (('bcmacar', 'car'), ('vhh', 'car'), ())
    """
    reagent = _reagent(marker)
    if reagent is None:
        return ()
    generic = any(key == "car" or _CAR_AGAINST.fullmatch(key) for key in _parts(marker))
    return tuple(dict.fromkeys((antigen_key(reagent.antigen), *(("car",) if generic else ()))))


@cache
def reagent_names() -> dict[str, str]:
    """Return what each name of a reagent for a CAR means, by the key of the name."""
    return {key: reagent.antigen for key, reagent in _table().items()}


def _by_target(key: str) -> _Reagent | None:
    if match := _CAR_AGAINST.fullmatch(key):
        target = re.sub("^(?=[0-9])", "cd", match["before"] or match["after"]).upper()
        return replace(_table()["car"], name=f"{target} CAR", antigen=f"{target} CAR")
    if match := _ANTIGEN_FC.fullmatch(key) or _RECOMBINANT.fullmatch(key):
        name = f"{match['target'].upper()}-Fc"
        note = "binds every CAR against this antigen; the Fc part may bind Fc receptors of monocytes and NK cells"
        return _Reagent(name, name, "car", True, note)
    return None


def _parts(name: str) -> Iterator[str]:
    """Return the keys of all runs of words in a name, the longest first."""
    words = [antigen_key(word) for word in _WORD.findall(name)]
    for length in range(len(words), 0, -1):
        for first in range(len(words) - length + 1):
            yield "".join(words[first : first + length])


@cache
def _table() -> Mapping[str, _Reagent]:
    table: dict[str, _Reagent] = {}
    with (Path(__file__).parent / "car_reagents.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            for column, certain in (("names", True), ("doubtful_names", False)):
                for name in filter(None, row[column].split("|")):
                    antigen = row["antigen"] or row["reagent"]
                    table[antigen_key(name)] = _Reagent(
                        row["reagent"], antigen, row["kind"], certain, row["note"]
                    )
    return table
