"""What a file calls a channel: the isotope in it, the marker in it, and the form in which names are compared."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from cytocar.panel.labels import LONGEST, clean_label, says_nothing, trimmed, without_views

# Natural isotopes in the mass range of the instruments (75 to 209). Promethium has none, but exporters name
# mass 147 by it.
ISOTOPES: Final[dict[str, tuple[int, ...]]] = {
    "As": (75,),
    "Se": (74, 76, 77, 78, 80, 82),
    "Br": (79, 81),
    "Kr": (78, 80, 82, 83, 84, 86),
    "Rb": (85, 87),
    "Sr": (84, 86, 87, 88),
    "Y": (89,),
    "Zr": (90, 91, 92, 94, 96),
    "Nb": (93,),
    "Mo": (92, 94, 95, 96, 97, 98, 100),
    "Ru": (96, 98, 99, 100, 101, 102, 104),
    "Rh": (103,),
    "Pd": (102, 104, 105, 106, 108, 110),
    "Ag": (107, 109),
    "Cd": (106, 108, 110, 111, 112, 113, 114, 116),
    "In": (113, 115),
    "Sn": (112, 114, 115, 116, 117, 118, 119, 120, 122, 124),
    "Sb": (121, 123),
    "Te": (120, 122, 123, 124, 125, 126, 128, 130),
    "I": (127,),
    "Xe": (124, 126, 128, 129, 130, 131, 132, 134, 136),
    "Cs": (133,),
    "Ba": (130, 132, 134, 135, 136, 137, 138),
    "La": (138, 139),
    "Ce": (136, 138, 140, 142),
    "Pr": (141,),
    "Nd": (142, 143, 144, 145, 146, 148, 150),
    "Pm": (145, 147),
    "Sm": (144, 147, 148, 149, 150, 152, 154),
    "Eu": (151, 153),
    "Gd": (152, 154, 155, 156, 157, 158, 160),
    "Tb": (159,),
    "Dy": (156, 158, 160, 161, 162, 163, 164),
    "Ho": (165,),
    "Er": (162, 164, 166, 167, 168, 170),
    "Tm": (169,),
    "Yb": (168, 170, 171, 172, 173, 174, 176),
    "Lu": (175, 176),
    "Hf": (174, 176, 177, 178, 179, 180),
    "Ta": (180, 181),
    "W": (180, 182, 183, 184, 186),
    "Re": (185, 187),
    "Os": (184, 186, 187, 188, 189, 190, 192),
    "Ir": (191, 193),
    "Pt": (190, 192, 194, 195, 196, 198),
    "Au": (197,),
    "Hg": (196, 198, 199, 200, 201, 202, 204),
    "Tl": (203, 205),
    "Pb": (204, 206, 207, 208),
    "Bi": (209,),
}
# What instruments write in place of an element: a background channel, and the argon dimer of imaging.
NOT_ELEMENTS: Final = ("BCKG", "ArAr")
# A channel may be named by an element at a mass that the element has not in nature (Pd107Di); further off it
# is no isotope.
_MASS_SLACK: Final = 4
# Nothing else is written as 156Nd is, so that the element may be mistaken.
_ELEMENT_SLACK: Final = 8

# Other spellings of what is no element.
_ALIASES: Final = {
    "bck": "BCKG",
    "bckgr": "BCKG",
    "bkgr": "BCKG",
    "bkg": "BCKG",
    "bckg": "BCKG",
    "arar": "ArAr",
}

_SYMBOL: Final = r"(?P<symbol>BCKG?R?|BKGR?|ArAr|[A-Z]{1,2})"
_MASS: Final = r"0?(?P<mass>[0-9]{2,3})"
_OPEN: Final = r"[(<\[{]"
_CLOSE: Final = r"[)>\]}]"
_ENDING: Final = rf"(?:{_CLOSE}|[ _.])*D[ID]"
# Every form in which an isotope is written, and how sure the form alone is. `ending`: by the ending Di or Dd it is
# a channel, so any case and any mass near those of the element is taken. `mass first`: no antigen is called so, but
# the mass has to be near. `natural`: as CD116 is an antigen and Cd116 an isotope, only the right case and the masses
# that there are.
_FORMS: Final[tuple[tuple[str, str], ...]] = (
    ("ending", rf"{_SYMBOL}[ _-]?{_MASS}{_ENDING}"),
    ("ending", rf"{_MASS}[ _-]?{_SYMBOL}{_ENDING}"),
    ("ending", rf"{_SYMBOL}\((?P<exact>[0-9]{{2,3}}(?:[.,][0-9]+)?)\)D[ID]"),
    ("range", r"\((?P<first>[0-9]{2,3}):(?P<last>[0-9]{2,3})\)(?:D[ID])?"),
    ("mass first", rf"{_MASS}[ _.-]?{_SYMBOL}"),
    ("natural", rf"{_SYMBOL}[ _.-]?{_MASS}"),
)
# What FlowJo puts before the name of a compensated channel.
_COMPENSATED: Final = ("comp-", "fjcomp-")
# Between other words.
_WITHIN: Final = tuple(
    (sure, re.compile(rf"(?<![A-Za-z0-9]){_OPEN}*{form}{_CLOSE}*(?![A-Za-z0-9])", re.IGNORECASE))
    for sure, form in _FORMS
)
# R puts an X before a name that begins with a digit or a bracket.
_AT_START: Final = tuple(
    (
        sure,
        re.compile(rf"(?:X[.]?(?=[0-9]|(?<=[.])))?[.]?{_OPEN}*{form}{_CLOSE}*(?![A-Za-z0-9])", re.IGNORECASE),
    )
    for sure, form in _FORMS
)
_AT_END: Final = tuple(
    (
        sure,
        re.compile(
            rf"(?:(?<![A-Za-z0-9])|(?={_OPEN})|(?<=[a-z0-9])(?-i:(?=[A-Z][a-z]?[0-9]{{2,3}}D[id]))"
            # CD4Nd145, HLADRYb174
            rf"|(?<=[A-Za-z0-9])(?-i:(?=[A-Z][a-z][0-9]{{3}}(?:D[id])?$)))"
            rf"{_OPEN}*{form}{_CLOSE}*$",
            re.IGNORECASE,
        ),
    )
    for sure, form in _FORMS
)

_GREEK: Final = str.maketrans(
    "αβγδεζηθικλμνξοπρσςτυφχψω",
    "abgdezhqiklmnxoprsstufcyw",
)
_GREEK_WORDS: Final = re.compile("alpha|beta|gamma|delta|epsilon|zeta|kappa|lambda")
_PROVISIONAL: Final = re.compile(r"^cdw(?=[0-9])")
_PUNCTUATION: Final = re.compile(r"[^\w+]|_")
_IGNORED: Final = re.compile(r"[\s_\-\u2010-\u2015\u2212]+")


@dataclass(frozen=True)
class Isotope:
    """What a mass channel detects.

    Parameters
    ----------
    symbol
        Element symbol, ``"BCKG"`` for a background channel, or ``""`` where a range of masses has no one
        element.
    mass
        Mass number in dalton; the middle one of a range.
    span
        First and last mass of a channel that sums neighbouring masses, such as the cadmium of a quantum dot;
        None otherwise.

    Examples
    --------
    >>> Isotope("Yb", 171).channel
    'Yb171Di'
    """

    symbol: str
    mass: int
    span: tuple[int, int] | None = None

    @property
    def channel(self) -> str:
        """The name of the channel as current instruments write it."""
        if self.span is not None:
            return f"({self.span[0]}:{self.span[1]})Di"
        return f"{self.symbol}{self.mass}Di"

    @property
    def natural(self) -> bool:
        """Whether the element has this isotope in nature."""
        return self.mass in ISOTOPES.get(self.symbol, ())

    def __str__(self) -> str:
        return f"masses {self.span[0]} to {self.span[1]}" if self.span else f"{self.symbol}{self.mass}"


def _capitalised(symbol: str) -> str:
    return _ALIASES.get(symbol.casefold(), symbol.capitalize())


def _isotope(symbol: str, mass: str, slack: int) -> Isotope | None:
    """Return the isotope if there is one: natural, or no further than `slack` from the element's isotopes."""
    number = int(mass)
    if symbol in NOT_ELEMENTS:
        return Isotope(symbol, number) if 70 <= number <= 240 else None
    known = ISOTOPES.get(symbol)
    if known is None:
        return None
    if number in known or (slack and min(known) - slack <= number <= max(known) + slack):
        return Isotope(symbol, number)
    return None


def _range(first: str, last: str) -> Isotope | None:
    low, high = int(first), int(last)
    if not 70 <= low < high <= 240:
        return None
    masses = set(range(low, high + 1))
    owners = [symbol for symbol, known in ISOTOPES.items() if masses <= set(known)]
    return Isotope(owners[0] if len(owners) == 1 else "", (low + high) // 2, (low, high))


def _of_match(sure: str, match: re.Match[str], text: str) -> Isotope | None:
    """Return the isotope of a form that fits, if case and mass are as the form needs them."""
    if sure == "range":
        return _range(match["first"], match["last"])
    symbol = _capitalised(match["symbol"])
    right_case = match["symbol"] == symbol or symbol in NOT_ELEMENTS
    # In CD116Di the capitals say antigen; in CD116DI everything is in capitals, and they say nothing.
    one_case = sure == "ending" and (text.isupper() or text.islower())
    if not (right_case or one_case or (sure == "mass first" and len(symbol) == 2)):
        return None
    named = match.groupdict()
    mass = named.get("mass") or str(round(float(named["exact"].replace(",", "."))))
    slack = {"ending": _MASS_SLACK, "mass first": _ELEMENT_SLACK if right_case else 0}
    return _isotope(symbol, mass, slack.get(sure, 0))


def _mention(text: str) -> tuple[Isotope, str] | None:
    """Return an isotope that a text names, at its ends if it can be, the surest form first, and the rest."""
    for (sure, at_start), (_, at_end) in zip(_AT_START, _AT_END, strict=True):
        for match in (at_end.search(text), at_start.match(text)):
            if match and (isotope := _of_match(sure, match, text)):
                return isotope, text[: match.start()] + text[match.end() :]
    for sure, within in _WITHIN:
        for match in within.finditer(text):
            if isotope := _of_match(sure, match, text):
                before, after = trimmed(text[: match.start()]), trimmed(text[match.end() :])
                return isotope, before if marker_key(before) == marker_key(after) else f"{before}_{after}"
    return None


@lru_cache(maxsize=8192)
def _split(text: str) -> tuple[Isotope | None, str]:
    """Return the isotope in `text`, and what else the text says.

    Programs that join ``$PnN`` and ``$PnS`` write an isotope twice.
    """
    if len(text) > LONGEST:
        return None, text.strip()
    rest = without_views(text.strip("'`\""))
    if rest.casefold().startswith(_COMPENSATED):
        inner = _split(rest[rest.index("-") + 1 :])
        return inner if inner[0] else (None, rest)
    isotope: Isotope | None = None
    while found := _mention(rest):
        if isotope is not None and (found[0].mass, found[0].span) != (isotope.mass, isotope.span):
            break
        isotope = isotope or found[0]
        rest = trimmed(found[1])
    return isotope, rest


def parse_isotope(text: str) -> Isotope | None:
    """Return the isotope that a channel name or description names, or None.

    Element and mass may stand in either order, before, behind or between other words, in brackets or between
    separators, but not within a word. Without the ending ``Di`` or ``Dd`` the isotope has to exist in nature and be
    spelled in its own case, so that the antigens CD45 and CD116 are no cadmium. Of several isotopes the one whose
    form is the surest counts. A range of masses is one channel, the sum of its masses; its element is the one that
    has all of them.

    Parameters
    ----------
    text
        ``$PnN`` or ``$PnS``, such as ``Ir191Di``, ``(Ir191)Dd``, ``191Ir_DNA1``, ``171Yb``,
        ``CD45(Gd154)Di``, ``CD3(110:114)Dd``, ``X89Y_CD45``, ``Y89Di___89Y_CD45``, ``CD3_(Er170Di)``.

    Examples
    --------
    >>> parse_isotope("(Ir191)Dd")
    Isotope(symbol='Ir', mass=191, span=None)
    >>> parse_isotope("CD3(110:114)Dd")
    Isotope(symbol='Cd', mass=112, span=(110, 114))
    >>> parse_isotope("CD45") is None
    True
    """
    return _split(text)[0]


def channel_isotope(pnn: str, pns: str = "") -> Isotope | None:
    """Return the isotope of a channel from ``$PnN``, or from ``$PnS`` where ``$PnN`` holds the marker.

    Examples
    --------
    >>> channel_isotope("DNA1", "Ir191")
    Isotope(symbol='Ir', mass=191, span=None)
    """
    return parse_isotope(pnn) or parse_isotope(pns)


def marker_name(pnn: str, pns: str = "") -> str:
    """Return the marker of a channel: what ``$PnS`` says without the isotope, else what ``$PnN`` says without it.

    What says nothing of the antigen is dropped: blanks, brackets, the isotope written again, its mass, views `` (v)``,
    versions `` v4``, dyes that a secondary antibody binds (``-APC``), beads in the same channel (``_EQ``). Where
    neither names a marker, or says that there is none (``none``, ``NA``, ``-``), iridium is ``DNA1`` or ``DNA2``
    and any other channel is called by its isotope. A slash becomes an underscore.

    Examples
    --------
    >>> marker_name("Tm169Di", "169Tm_CAR_ID"), marker_name("CD45(Gd154)Di", "CD45 (v)"), marker_name("Sn120Di")
    ('CAR_ID', 'CD45', '120Sn')
    """
    in_pnn, name_in_pnn = _split(pnn)
    in_pns, name_in_pns = _split(pns)
    isotope = in_pnn or in_pns
    if isotope is None:
        return name_in_pns or name_in_pnn
    if in_pns is not None and not name_in_pns and in_pns.mass != isotope.mass:
        # In a channel of another mass, Cd116 is a name: of the antigen CD116.
        name_in_pns = pns.strip()
    for name in (name_in_pns, name_in_pnn):
        label = clean_label(name, isotope.mass)
        if not says_nothing(label) and label != isotope.symbol:
            # A slash in the name of a column of a table, or of a file of it, is taken for a folder.
            return label.replace("/", "_")
    return unnamed(isotope)


def unnamed(isotope: Isotope) -> str:
    """Return what a channel without a marker is called."""
    if isotope.symbol == "Ir" and isotope.mass in (191, 193):
        return "DNA1" if isotope.mass == 191 else "DNA2"
    if isotope.span is not None:
        return f"{isotope.span[0]}-{isotope.span[1]}{isotope.symbol}"
    if isotope.symbol in NOT_ELEMENTS:
        return f"{isotope.symbol}{isotope.mass}"
    return f"{isotope.mass}{isotope.symbol}"


def marker_key(name: str) -> str:
    """Return the form in which names are compared: no case, spaces, hyphens or underscores, Greek as Latin.

    Examples
    --------
    >>> marker_key("PD-1") == marker_key("pd1") and marker_key("TCRγδ") == marker_key("TCR gd")
    True
    >>> marker_key("CD8") == marker_key("CD8a")
    False
    """
    text = unicodedata.normalize("NFKC", name).casefold().translate(_GREEK)
    return _GREEK_WORDS.sub(lambda word: word[0][0], _IGNORED.sub("", text))


def antigen_key(name: str) -> str:
    """Return the form in which names of antigens are looked up: `marker_key`, of letters, digits and ``+`` alone.

    A provisional number (CDw199) is the number.

    Examples
    --------
    >>> antigen_key("F4/80") == antigen_key("F480") and antigen_key("PD.1") == antigen_key("PD-1")
    True
    """
    return _PROVISIONAL.sub("cd", _PUNCTUATION.sub("", marker_key(name)))
