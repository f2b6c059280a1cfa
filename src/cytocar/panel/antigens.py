"""Names of antigens: which names mean one antigen, and which marker of a panel is meant by a name.

The names stand in `antigens.csv`, one row per antigen: the name that the field uses most, and the others (CD numbers,
gene symbols, trivial names). What counts as one antigen is what one antibody of a panel binds:

- Isoforms and subunits that have antibodies of their own are other antigens: CD45RA is not CD45, CD8b not CD8a, CD16b
  not CD16. ``CD8`` is CD8a, ``CD3e`` is CD3, ``CD16`` is CD16a, as these are what antibodies of that name bind.
- The phosphorylated, cleaved or bound form is another antigen than the protein: pSTAT3 is not STAT3.
- An antibody against several proteins (KIR2DL1/S1, CD16/32, HLA-ABC) is none against one of them.
- A truncated protein that marks a CAR is the antigen of the whole one (EGFRt is EGFR), as the same antibody binds
  both, except where the whole protein is a lineage marker of blood (tCD19 is not CD19).
- A name that stands for two antigens (LAMP-3: CD63 and CD208) belongs to neither.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Final

from cytocar._core.errors import ParameterError, Problem, did_you_mean
from cytocar.panel.car_reagents import reagent_meanings, reagent_names
from cytocar.panel.names import antigen_key, marker_key

_CLONE: Final = re.compile(
    r"(?P<name>.+?)(?:[ _]*[(\[](?P<clone>[^()\[\]]+)[)\]]|[ _]+clone[ _]+(?P<after>.+))", re.IGNORECASE
)
# Clones have a digit in them; words without one may make another antigen of it (RA, beta, cleaved, tetramer), and so
# does a place in the protein (pY705, K27ac, D175).
_LIKE_A_CLONE: Final = re.compile(r"[0-9]|polyclonal", re.IGNORECASE)
_SITE: Final = re.compile(
    r"p?[STYDKR]?[0-9]{2,4}(?:ac|me[0-9])?(?:[/,]p?[STYDKR]?[0-9]{2,4}(?:ac|me[0-9])?)*"
)
# Words that make no other antigen of it. Who names the place, the lot or a bead asks for this channel alone.
_SAYS_NOTHING: Final = re.compile("anti|clone|human|hu", re.IGNORECASE)
_OF_ONE_CHANNEL: Final = re.compile(
    "(?i:new|old|surface|surf|intracellular|intra|ic|total|tot|and|(?:eq)?beads?[0-9]*)|i|s"
)
_SPECIES: Final = re.compile("^(?:human|mouse|hu|mu|ms|h|m)(?=cd[0-9])")
_WORD: Final = re.compile(r"[^\W_]+\+?")
# What tells channels of one name apart, see `Panel.from_channels`.
_ISOTOPE_AFTER: Final = re.compile(r"_[0-9]{2,3}[A-Z][a-z]?$")


def antigen(name: str) -> str:
    """Return the antigen of a name, as the field calls it; ``""`` for a name that is not known.

    A name that is two names of one antigen (``CD197_CCR7``, ``CD197 (CCR7)``) is that antigen, and one that is two of
    different antigens (``CD14_CD19``) is none.

    Examples
    --------
    >>> antigen("CD279"), antigen("PDCD1"), antigen("CD197/CCR7"), antigen("CD45RA"), antigen("CD14_CD19")
    ('PD-1', 'PD-1', 'CCR7', 'CD45RA', '')
    """
    return _antigen(name.strip())


@lru_cache(maxsize=8192)
def _antigen(name: str) -> str:
    table = _antigens()
    plain = _ISOTOPE_AFTER.sub("", name)
    for text in dict.fromkeys((name, plain)):
        if (whole := table.get(antigen_key(text))) is not None:
            return whole
    words = _WORD.findall(plain.rstrip("+"))
    bare = [word for word in words if not (_SAYS_NOTHING.fullmatch(word) or _OF_ONE_CHANNEL.fullmatch(word))]
    return _one(words) or _one(bare) or _with_clone(name)


def _with_clone(name: str) -> str:
    """Return the antigen of a name with the clone behind it, in brackets or after the word."""
    match = _CLONE.fullmatch(name)
    if match is None:
        return ""
    said = match["clone"] or ""
    is_clone = match["after"] or (_LIKE_A_CLONE.search(said) and not _SITE.fullmatch(said))
    return _antigen(match["name"]) if is_clone else ""


def _one(words: Sequence[str]) -> str:
    """Return the antigen of which words are one name, or several names one after the other."""
    table = _antigens()
    if (whole := table.get(antigen_key("".join(words)))) is not None:
        return whole
    for end in range(1, len(words)):
        first = table.get(antigen_key("".join(words[:end])))
        if first is not None and _one(words[end:]) == first:
            return first
    return ""


@cache
def _antigens() -> Mapping[str, str]:
    """Return the antigen of each name, by its key."""
    table = {antigen_key(name): row[0] for row in synonyms() for name in row}
    return reagent_names() | table


@cache
def synonyms() -> tuple[tuple[str, ...], ...]:
    """Return the names of each antigen, the one that the field uses most first.

    Examples
    --------
    >>> next(names for names in synonyms() if "CD223" in names)
    ('LAG-3', 'CD223')
    """
    with (Path(__file__).parent / "antigens.csv").open(encoding="utf-8", newline="") as file:
        return tuple((row["antigen"], *filter(None, row["names"].split("|"))) for row in csv.DictReader(file))


def without_clone(marker: str) -> str:
    """Return a marker without the clone that stands behind a known antigen, in brackets or after the word.

    Examples
    --------
    >>> without_clone("CD4 (RPA-T4)"), without_clone("CD197 (CCR7)"), without_clone("CD3 clone UCHT1")
    ('CD4', 'CD197 (CCR7)', 'CD3')
    >>> without_clone("CD45 (RA)"), without_clone("STAT3 (pY705)"), without_clone("CD1d (tetramer)")
    ('CD45 (RA)', 'STAT3 (pY705)', 'CD1d (tetramer)')
    """
    match = _CLONE.fullmatch(marker)
    if match is None or _one(_WORD.findall(marker)) or not _with_clone(marker):
        return marker
    return match["name"]


def antigens(marker: str) -> frozenset[str]:
    """Return the keys of the antigens that a name may stand for: the whole of it and its parts, synonyms united.

    Examples
    --------
    >>> sorted(antigens("CD196_CCR6")), sorted(antigens("CD3_CD19"))
    (['ccr6'], ['cd19', 'cd3', 'cd3cd19'])
    >>> antigens("CD279") == antigens("PD-1")
    True
    """
    whole = antigen(marker)
    if whole:
        return frozenset((antigen_key(whole),))
    if shows_car := reagent_meanings(marker):
        return frozenset(shows_car)
    names = (marker, *re.split(r"[_/]", marker))
    return frozenset(key for name in names if (key := antigen_key(antigen(name) or name)))


def same_antigen(one: str, other: str) -> bool:
    """Return whether two names may mean one antigen: they share a part, or differ by a letter at the end.

    Names that are known to be of different antigens never are.

    Examples
    --------
    >>> same_antigen("CD8", "CD8a"), same_antigen("CD279", "PD-1"), same_antigen("CD45", "CD45RA")
    (True, True, False)
    """
    if antigens(one) & antigens(other):
        return True
    if antigen(one) and antigen(other):
        return False
    first, second = sorted((marker_key(one), marker_key(other)), key=len)
    rest = second.removeprefix(first)
    return len(rest) == 1 and rest.isalpha() and bool(first)


class MarkerIndex:
    """Where each of some markers is, by any of its names.

    A name is looked for as it is written, then without regard to case, spaces and punctuation, then by the antigen
    that it means; the first of these that finds anything decides.

    Parameters
    ----------
    markers
        Markers of a panel, or names of columns. Two may be equal: both are found then.
    """

    def __init__(self, markers: Sequence[str]) -> None:
        self.markers = tuple(markers)
        self._spelt = tuple(self._by(key) for key in _SPELLINGS)
        self._meant: dict[str, list[int]] = {}
        for position, marker in enumerate(self.markers):
            for meaning in dict.fromkeys(_meanings(marker)):
                self._meant.setdefault(meaning, []).append(position)

    def _by(self, key: Callable[[str], str]) -> dict[str, list[int]]:
        table: dict[str, list[int]] = {}
        for position, marker in enumerate(self.markers):
            if folded := key(marker):
                table.setdefault(folded, []).append(position)
        return table

    def positions(self, *names: str) -> tuple[int, ...]:
        """Return the position of the marker that is meant: none, or several where the name fits more than one.

        Parameters
        ----------
        names
            A name, or names in the order in which they are preferred. One that is spelt like a marker goes before one
            that only means its antigen.

        Examples
        --------
        >>> MarkerIndex(["CD4", "CD279"]).positions("PD-1"), MarkerIndex(["CD279", "PDCD1"]).positions("PD-1")
        ((1,), (0, 1))
        """
        for name in names:
            for key, table in zip(_SPELLINGS, self._spelt, strict=True):
                if hits := table.get(key(name)):
                    return tuple(hits)
        for name in names:
            if hits := self._meant.get(next(iter(_meanings(name)), "")):
                return tuple(hits)
        return ()

    def position(self, *names: str) -> int | None:
        """Return the position of the marker that is meant, None where it is none or several."""
        hits = self.positions(*names)
        return hits[0] if len(hits) == 1 else None

    def find(self, *names: str) -> tuple[str, ...]:
        """Return the markers that are meant, as `positions` does."""
        return tuple(self.markers[position] for position in self.positions(*names))


_SPELLINGS: Final[tuple[Callable[[str], str], ...]] = (str, marker_key, antigen_key)


@lru_cache(maxsize=8192)
def _meanings(name: str) -> tuple[str, ...]:
    """Return the keys of what a name means, the most special first."""
    if known := antigen(name):
        one_channel = any(_OF_ONE_CHANNEL.fullmatch(word) for word in _WORD.findall(name))
        of_table = antigen_key(name) in _antigens()
        return (*((antigen_key(name),) if one_channel and not of_table else ()), antigen_key(known))
    return reagent_meanings(name) or tuple(filter(None, (antigen_key(_ISOTOPE_AFTER.sub("", name)),)))


def marker_index(markers: Iterable[str]) -> MarkerIndex:
    """Return the index of markers; the one of the same markers is kept and used again."""
    return _index(tuple(markers))


@lru_cache(maxsize=64)
def _index(markers: tuple[str, ...]) -> MarkerIndex:
    return MarkerIndex(markers)


def of_one_antigen(markers: Iterable[str]) -> list[tuple[str, ...]]:
    """Return the markers that are names of one antigen, where there are several: only their own names tell them apart.

    Examples
    --------
    >>> of_one_antigen(["CD279", "CD3", "PD-1"])
    [('CD279', 'PD-1')]
    """
    groups: dict[str, list[str]] = {}
    for marker in markers:
        if meant := antigen(marker):
            groups.setdefault(meant, []).append(marker)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def resolve(name: str, markers: Iterable[str]) -> tuple[str, ...]:
    """Return the marker that a name means, as `markers` spell it: one, none, or all that the name fits.

    Examples
    --------
    >>> resolve("PDCD1", ["CD3", "CD279"]), resolve("CD45", ["CD45RA"]), resolve("PD-1", ["CD279", "PDCD1"])
    (('CD279',), (), ('CD279', 'PDCD1'))
    """
    return marker_index(markers).find(name)


def marker_positions(
    asked: Iterable[str], markers: Sequence[str], *, what: str = "marker", place: str = "these data"
) -> list[int]:
    """Return where each asked-for name stands among `markers`, by any name of its antigen.

    Parameters
    ----------
    asked
        Names as the user wrote them.
    markers
        Names as the data have them.
    what, place
        What a name is called in a message, and what has the markers.

    Raises
    ------
    ParameterError
        Lists every name that is unknown or that fits more than one column.

    Examples
    --------
    >>> marker_positions(["cd3", "PD-1"], ["CD279", "CD3"])
    [1, 0]
    """
    index = marker_index(markers)
    found: list[int] = []
    problems: list[Problem] = []
    for name in asked:
        hits = index.positions(name)
        if len(hits) == 1:
            found.append(hits[0])
        elif hits:
            problems.append(several(name, [markers[hit] for hit in hits], "columns"))
        else:
            problems.append(Problem("", f"{name!r} is not a {what} of {place}", marker_hint(name, markers)))
    if problems:
        raise ParameterError(problems=problems)
    return found


def several(name: str, fits: Sequence[str], what: str, *, where: str = "") -> Problem:
    """Return the problem that a name fits more than one marker.

    Examples
    --------
    >>> several("PD-1", ["CD279", "PDCD1"], "markers of the panel").what
    "'PD-1' fits 2 markers of the panel ('CD279', 'PDCD1')"
    """
    named = ", ".join(repr(each) for each in fits)
    return Problem(where, f"{name!r} fits {len(fits)} {what} ({named})", "use the exact name of one")


def marker_hint(name: str, markers: Iterable[str]) -> str:
    """Return ``"did you mean 'X'?"`` for a marker that may be meant, else the list of the markers.

    Names with other numbers in them are other antigens: CD19 is never taken for CD95. A misspelt name is looked for
    among all names of each marker.

    Examples
    --------
    >>> marker_hint("CD279", ["CD95", "PD-1"]), marker_hint("CD19", ["CD95"])
    ("did you mean 'PD-1'?", 'known: CD95')
    >>> marker_hint("Granzym B", ["CD95", "GZMB"])
    "did you mean 'GZMB'?"
    """
    markers = list(dict.fromkeys(markers))
    near = [marker for marker in markers if same_antigen(name, marker)] or [
        marker for marker in markers if _look(name) == _look(marker)
    ]
    if near:
        return f"did you mean {near[0]!r}?"
    listed = "known: " + ", ".join(markers) if markers else "there is none"
    # One letter makes CD11b another antigen than CD11c; only longer names can be mistyped.
    if re.fullmatch("cd[0-9]+[a-z]?", marker_key(name)):
        return listed
    numbers = re.findall("[0-9]+", name)
    like = {
        other: marker
        for marker in markers
        for other in _may_be_meant(marker, known=bool(antigen(name)))
        if re.findall("[0-9]+", other) == numbers
    }
    hint = did_you_mean(name, like) if like else ""
    if not hint.startswith("did you mean"):
        return listed
    meant = next(marker for other, marker in like.items() if hint == f"did you mean {other!r}?")
    return f"did you mean {meant!r}?"


def _may_be_meant(marker: str, *, known: bool) -> tuple[str, ...]:
    """Return the names of a marker that a misspelt name may be meant for; a `known` name is not itself misspelt."""
    meant = antigen(marker)
    if known:
        return () if meant else (marker,)
    return (*_names_of().get(meant, ()), marker)


def _look(name: str) -> str:
    """Return what a name looks like: O, I and l as the digits that they are mistaken for, ``CD04`` as ``CD4``.

    Without the species too: where nothing is called CD45, hCD45 may be meant.
    """
    key = _SPECIES.sub("", antigen_key(name))
    return re.sub("(?<![0-9])0+(?=[0-9])", "", key.translate(str.maketrans("oil", "011")))


@cache
def _names_of() -> Mapping[str, tuple[str, ...]]:
    return {names[0]: names for names in synonyms()}
