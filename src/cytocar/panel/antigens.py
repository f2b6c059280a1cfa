"""Names of antigens: which names mean one antigen, and which marker may be meant by a name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from cytocar._core.errors import did_you_mean
from cytocar.panel.names import marker_key

_PUNCTUATION: Final = re.compile(r"[^\w+]|_")

# Other names of antigens that panels of T cells use. Known so that two names of one antigen are no
# contradiction.
SYNONYMS: Final[dict[str, str]] = {
    "cd8": "cd8a",
    "cd54": "icam1",
    "cd85j": "ilt2",
    "cd134": "ox40",
    "cd137": "41bb",
    "cd152": "ctla4",
    "cd183": "cxcr3",
    "cd184": "cxcr4",
    "cd185": "cxcr5",
    "cd194": "ccr4",
    "cd195": "ccr5",
    "cd196": "ccr6",
    "cd197": "ccr7",
    "cd223": "lag3",
    "cd244": "2b4",
    "cd272": "btla",
    "cd274": "pdl1",
    "cd278": "icos",
    "cd279": "pd1",
    "cd294": "crth2",
    "cd366": "tim3",
    "granzymeb": "gzmb",
    "grb": "gzmb",
    "gb": "gzmb",
    "perforin1": "perforin",
    "eomesodermin": "eomes",
}


def antigen_key(name: str) -> str:
    """Return the form in which names of antigens are compared: `marker_key`, of letters, digits and ``+`` alone.

    Examples
    --------
    >>> antigen_key("F4/80") == antigen_key("F480") and antigen_key("PD.1") == antigen_key("PD-1")
    True
    """
    return _PUNCTUATION.sub("", marker_key(name))


def antigens(marker: str) -> frozenset[str]:
    """Return the keys of the antigens that a name may stand for: the whole of it and its parts, synonyms united.

    Examples
    --------
    >>> sorted(antigens("CD196_CCR6"))
    ['ccr6', 'cd196ccr6']
    >>> antigens("CD279") == antigens("PD-1")
    True
    """
    names = (marker_key(part) for part in (marker, *re.split(r"[_/]", marker)))
    return frozenset(SYNONYMS.get(name, name) for name in names if name)


def same_antigen(one: str, other: str) -> bool:
    """Return whether two names may mean one antigen: they share a part, or differ by a letter at the end.

    Examples
    --------
    >>> same_antigen("CD8", "CD8a"), same_antigen("CD279", "PD-1"), same_antigen("CD45", "CD45RA")
    (True, True, False)
    """
    if antigens(one) & antigens(other):
        return True
    first, second = sorted((marker_key(one), marker_key(other)), key=len)
    rest = second.removeprefix(first)
    return len(rest) == 1 and rest.isalpha() and bool(first)


def marker_hint(name: str, markers: Iterable[str]) -> str:
    """Return ``"did you mean 'X'?"`` for a marker that may be meant, else the list of the markers.

    Names with other numbers in them are other antigens: CD19 is never taken for CD95.

    Examples
    --------
    >>> marker_hint("CD279", ["CD95", "PD-1"]), marker_hint("CD19", ["CD95"])
    ("did you mean 'PD-1'?", 'known: CD95')
    """
    markers = list(markers)
    near = [marker for marker in markers if same_antigen(name, marker)]
    if near:
        return f"did you mean {near[0]!r}?"
    numbers = re.findall("[0-9]+", name)
    # One letter makes CD11b another antigen than CD11c; only longer names can be mistyped.
    short = re.fullmatch("cd[0-9]+[a-z]?", marker_key(name)) is not None
    like = [marker for marker in markers if re.findall("[0-9]+", marker) == numbers and not short]
    hint = did_you_mean(name, like) if like else ""
    return hint if hint.startswith("did you mean") else "known: " + ", ".join(markers)
