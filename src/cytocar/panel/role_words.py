"""Words that say what a channel is for where it is no antibody: stains of DNA and dead cells, beads, barcodes, nothing.

A role is read where all words of a name belong to it, however they are joined: "EQ Four Element Calibration Beads",
"EQBeads", "Cell-ID Cisplatin-195", "Live-Dead". One word that does not belong makes it the name of an antigen.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

_TRADE_MARKS: Final = str.maketrans("", "", "™®©")
_WORD: Final = re.compile(r"[^\W_]+")
# The longest name of a maker has 40 letters; what is longer is a text.
_LONGEST: Final = 60

# What may stand beside the words of any role: makers, and words that add nothing.
_BESIDE: Final = (
    "maxpar|fluidigm|standardbiotools|dvs(?:sciences)?|biolegend|invitrogen|thermo|cellid|id|kit|reagent|solution"
    "|stain(?:s|ed|ing)?|dyes?|markers?|cells?|channel|signal"
)
_DNA: Final = r"dna|nucleic(?:acids?)?|(?:metallo)?intercalat(?:ors?|ion)|iridium|hoechst|dapi"
_DEATH: Final = (
    r"live|living|alive|dead|death|viab\w*|via|ld|cisplat(?:in(?:um)?)?|cispt|transplatin|carboplatin|cddp|zombie\w*"
    r"|ghost\w*|m?dota|maleimide|membraneintegrity|dcm|amine(?:reactive)?"
)
# Short for cisplatin on platinum only.
_ON_PLATINUM: Final = r"cis|platin(?:um)?"
_BEADS: Final = r"eq|beads?|calibration|normali[sz]ation"
_EMPTY: Final = (
    r"bc?kgr?|bck|bckgr|bkgd|bg|bc?kgrnd|background|empty|blank|unused|notused|notinuse|conta(?:m(?:inat(?:ion|ed|ing)|inants?)?)?"
    r"|impurity|noise|available|dummy|unassigned|notassigned|undefined|unknown|vacant|unstained|notapplicable|nd|other"
    r"|junk|reserved?|environment(?:al)?|xenon|barium|tin|lead|mercury|krypton|iodine|caesium|cesium|osmium"
)
_BARCODE_WORD: Final = re.compile(
    r"(?:[ls]|pd|live|sample)?(?:bcd?|barcodes?|barcoding|mcb|sampletags?)[0-9]*"
)
_BARCODES: Final = r"bcd?|barcodes?|barcoding|mcb|sampletags?|codes?|[0-9]*plex|palladium"


def _pattern(words: str, beside: str) -> re.Pattern[str]:
    """Return what a name is made of that has one of `words`, and words that may stand beside."""
    others = f"(?:{_BESIDE}|{beside})[0-9]*"
    return re.compile(f"(?:{others})*(?:{words})[0-9]*(?:(?:{words})[0-9]*|{others})*")


def role_by_name(marker: str, symbol: str = "") -> str:
    """Return the role that the name of a channel says, empty for an antibody.

    Parameters
    ----------
    marker
        The name, without its isotope.
    symbol
        Element of the channel; it may be in the name, and short words mean cisplatin on platinum only.

    Examples
    --------
    >>> role_by_name("EQ Four Element Calibration Beads"), role_by_name("Live-Dead"), role_by_name("CD45_BC1")
    ('bead', 'viability', 'barcode')
    >>> role_by_name("Cis", "Pt"), role_by_name("Cis", "Nd"), role_by_name("DNAM-1")
    ('viability', '', '')
    """
    words = _WORD.findall(unicodedata.normalize("NFKC", marker.translate(_TRADE_MARKS)).casefold())
    key = "".join(words)
    if len(key) > _LONGEST:
        return ""
    if any(_BARCODE_WORD.fullmatch(word) for word in words):
        return "barcode"
    if len(words) == 1 and key.isdecimal():
        return "barcode" if symbol == "Pd" else "background"
    return next((role for role, pattern in _patterns(symbol) if pattern.fullmatch(key)), "")


@lru_cache(maxsize=128)
def _patterns(symbol: str) -> tuple[tuple[str, re.Pattern[str]], ...]:
    # CD45 in a channel of cadmium is no cadmium.
    own = symbol.casefold() if len(symbol) == 2 and symbol != "Cd" else ""
    metal = "|".join(filter(None, ("ir", "rh", "pt", own)))
    death = f"{_DEATH}|{_ON_PLATINUM}" if symbol == "Pt" else _DEATH
    colours = "fixable|monoisotopic|near|nir|uv|aqua|violet|blue|green|yellow|red"
    kits = "norm(?:ali[sz]ed)?|cal(?:ib)?|four|five|six|seven|elements?|elemental|passport|standard|[a-f]$"
    return (
        ("viability", _pattern(death, f"{_DNA}|{metal}|{colours}")),
        ("dna", _pattern(_DNA, metal)),
        ("bead", _pattern(_BEADS, f"{kits}|{metal}")),
        ("barcode", _pattern(_BARCODES, f"{metal}|live|sample|[a-h]$")),
        ("background", _pattern(_EMPTY, f"{metal}|xe|ba|pb|sn|hg")),
    )
