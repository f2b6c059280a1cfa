"""What a file calls a channel: the isotope in it, the marker in it, and the form in which names are compared."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

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
# What instruments and programs write in place of an element: a background channel, and the argon dimer of imaging.
NOT_ELEMENTS: Final = ("BCKG", "ArAr")
_BACKGROUND_SPELLINGS: Final = ("BCKG", "BKGR", "BKG", "BCK")
# A channel may be named by an element at a mass that the element has not in nature (Pd107Di); further off it
# is no isotope.
_MASS_SLACK: Final = 4

# An isotope anywhere in a name: element and mass in either order, with or without separator, brackets and the ending
# Di or Dd. A name begins with it, ends with it, or has it between separators; letters and digits beside it make it a
# part of another word. R puts an X before names that begin with a digit.
_SYMBOL: Final = r"(?P<symbol>BCKG|BKGR|BKG|BCK|ArAr|[A-Za-z]{1,2})"
_MASS: Final = r"0?(?P<mass>[0-9]{2,3}(?:\.[0-9]+)?)"
_OPEN, _CLOSE = r"(?P<open>[(<\[{]*)", r"[)>\]}]*"
_ENDING: Final = r"(?P<ending>D[ID])?"
_BEGIN, _END = r"(?<![A-Za-z0-9])", r"(?![A-Za-z0-9])"
_SHUT: Final = r"(?P<close>[)>\]}]*)"
_FORMS: Final = tuple(
    re.compile(form + _ENDING + _END + _CLOSE, re.IGNORECASE)
    for form in (
        _BEGIN + _OPEN + _SYMBOL + r"\(" + _MASS + r"\)",
        _BEGIN + _OPEN + _SYMBOL + r"[ _-]?" + _MASS + _SHUT,
        r"(?:" + _BEGIN + r"X?|(?<=_)X)" + _OPEN + _MASS + r"[ _-]?" + _SYMBOL + _SHUT,
    )
)
_RANGE: Final = re.compile(r"\((?P<first>[0-9]{2,3}):(?P<last>[0-9]{2,3})\)(?:D[id])?")
# What is put behind a name and says nothing of the antigen: the view that an export marks, the version of a clone, the
# dye that a metal-tagged secondary antibody binds, the kit of beads whose metal is the same.
_VIEW: Final = re.compile(r"\s*\(v[0-9]*\)\s*$")
_VERSION: Final = re.compile(r"(?<=.)[ _]+v[0-9]+$")
_TAG: Final = re.compile(r"(?<=.)[ _-](?:APC|FITC|PE|BIOTIN)$", re.IGNORECASE)
_KIT: Final = re.compile(r"(?<=.)[ _-]EQ[0-9]+$", re.IGNORECASE)
_ANTI: Final = re.compile(r"(?:^|[ _-])(?:anti|a|mouse|rabbit|goat|rat|strep|streptavidin)$", re.IGNORECASE)
# What people write where there is no antibody.
_NO_MARKER: Final = re.compile(
    r"(?:none|na|n/a|nan|null|free|no|nothing|unlabell?ed|-+|\.+|_+|\?+)", re.IGNORECASE
)
_SEPARATORS: Final = " \t_-:;,.|/"
_BRACKETS: Final = ("()", "<>", "[]", "{}")

_GREEK: Final = str.maketrans(
    "αβγδεζηθικλμνξοπρσςτυφχψω",
    "abgdezhqiklmnxoprsstufcyw",
)
_GREEK_WORDS: Final = re.compile("alpha|beta|gamma|delta|epsilon|zeta|kappa|lambda")
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


@dataclass(frozen=True)
class _Reading:
    """An isotope found in a name, where it stands, and whether its form leaves no doubt."""

    isotope: Isotope
    start: int
    stop: int
    certain: bool


def _capitalised(symbol: str) -> str:
    if symbol.upper() in _BACKGROUND_SPELLINGS:
        return "BCKG"
    return "ArAr" if symbol.casefold() == "arar" else symbol.capitalize()


def _isotope(symbol: str, mass: str, *, natural: bool) -> Isotope | None:
    """Return the isotope if there is one: natural, or (`natural` False) within reach of the element's isotopes."""
    # Some exports write the exact mass, 144.912 for 145.
    number = round(float(mass))
    if symbol in NOT_ELEMENTS:
        return Isotope(symbol, number) if 70 <= number <= 240 else None
    known = ISOTOPES.get(symbol)
    if known is None:
        return None
    if number in known or (not natural and min(known) - _MASS_SLACK <= number <= max(known) + _MASS_SLACK):
        return Isotope(symbol, number)
    return None


def _range(first: str, last: str) -> Isotope | None:
    low, high = int(first), int(last)
    if not 70 <= low < high <= 240:
        return None
    masses = set(range(low, high + 1))
    owners = [symbol for symbol, known in ISOTOPES.items() if masses <= set(known)]
    return Isotope(owners[0] if len(owners) == 1 else "", (low + high) // 2, (low, high))


def _readings(text: str) -> list[_Reading]:
    """Return every isotope that `text` may name, in the order of the text, none within another."""
    found: list[_Reading] = []
    for form in _FORMS:
        for match in form.finditer(text):
            reading = _reading(match, text)
            if reading and all(reading.stop <= other.start or reading.start >= other.stop for other in found):
                found.append(reading)
    return sorted(found, key=lambda reading: reading.start)


def _reading(match: re.Match[str], text: str) -> _Reading | None:
    spelled, groups = match["symbol"], match.groupdict()
    symbol = _capitalised(spelled)
    ending = match["ending"] is not None
    # CD116 is an antigen, Cd116 an isotope: only where all is in capitals, with the ending, do they say nothing.
    if (
        spelled != symbol
        and symbol not in NOT_ELEMENTS
        and not (ending and (text.isupper() or text.islower()))
    ):
        return None
    bracketed = bool(match["open"]) and (groups.get("close") is None or bool(groups["close"]))
    isotope = _isotope(symbol, match["mass"], natural=not ending)
    if isotope is None:
        return None
    return _Reading(isotope, match.start(), match.end(), certain=ending or bracketed)


def _split(text: str) -> tuple[Isotope | None, str]:
    """Return the isotope in `text`, and what else the text says."""
    text = _without_views(text.strip())
    if match := _RANGE.search(text):
        found = _range(match["first"], match["last"])
        if found:
            return found, _label(text[: match.start()], text[match.end() :], found)
    readings = _readings(text)
    if not readings:
        return None, text
    chosen = next((reading for reading in readings if reading.certain), readings[0]).isotope
    pieces, at = [], 0
    for reading in readings:
        if reading.isotope == chosen:
            pieces.append(text[at : reading.start])
            at = reading.stop
    pieces.append(text[at:])
    return chosen, _label(*pieces, isotope=chosen)


def _label(*pieces: str | Isotope, isotope: Isotope | None = None) -> str:
    """Return what the pieces of a name around its isotope say: joined, each once, without what says nothing."""
    texts = [piece for piece in pieces if isinstance(piece, str)]
    isotope = isotope or next((piece for piece in pieces if isinstance(piece, Isotope)), None)
    kept: list[str] = []
    for text in texts:
        bare = _bare(text, isotope)
        if bare and marker_key(bare) not in [marker_key(other) for other in kept]:
            kept.append(bare)
    return _bare("_".join(kept), isotope)


def _bare(text: str, isotope: Isotope | None) -> str:
    """Return a label without separators and brackets around it, and without the mass, views, versions and tags."""
    before = None
    while before != text:
        before = text
        text = _without_views(text.strip(_SEPARATORS))
        for opening, closing in _BRACKETS:
            if text.startswith(opening) and text.endswith(closing) and text.count(opening) == 1:
                text = text[1:-1]
            if text.count(opening) != text.count(closing):
                text = text.strip(opening + closing)
        if isotope is not None and isotope.span is None:
            text = re.sub(rf"(?:^|(?<=[ _-])){isotope.mass}$|^{isotope.mass}(?=[ _-])", "", text)
        text = _VERSION.sub("", _KIT.sub("", text))
        tagged = _TAG.sub("", text)
        text = text if _ANTI.search(tagged) else tagged
    return "" if _NO_MARKER.fullmatch(text) else text


def _without_views(text: str) -> str:
    while (shorter := _VIEW.sub("", text)) != text:
        text = shorter
    return text


def parse_isotope(text: str) -> Isotope | None:
    """Return the isotope that a channel name or description names, or None.

    Element and mass may stand in either order, anywhere in the text, in brackets or between separators, but not
    within a word. Without the ending ``Di`` or ``Dd`` the isotope has to exist in nature and be spelled in its own
    case, so that the antigens CD45 and CD116 are no cadmium. Of several isotopes the one with an ending or in brackets
    counts. A range of masses is one channel, the sum of its masses; its element is the one that has all of them.

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
    versions `` v4``, dyes that a secondary antibody binds (``-APC``). Where neither names a marker, or says that there
    is none (``none``, ``NA``, ``-``), iridium is ``DNA1`` or ``DNA2`` and any other channel is called by its isotope.

    Examples
    --------
    >>> marker_name("Tm169Di", "169Tm_CAR_ID"), marker_name("CD45(Gd154)Di", "CD45 (v)"), marker_name("Sn120Di")
    ('CAR_ID', 'CD45', '120Sn')
    """
    in_pnn, name_in_pnn = _split(pnn)
    _, name_in_pns = _split(pns)
    if name_in_pns:
        return name_in_pns
    if name_in_pnn:
        return name_in_pnn
    isotope = in_pnn or parse_isotope(pns)
    return unnamed(isotope) if isotope else ""


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

    Examples
    --------
    >>> antigen_key("F4/80") == antigen_key("F480") and antigen_key("PD.1") == antigen_key("PD-1")
    True
    """
    return _PUNCTUATION.sub("", marker_key(name))
