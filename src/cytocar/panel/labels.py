"""What a name says besides the isotope: the label, without what is written beside it, and whether it names anything."""

from __future__ import annotations

import re
from typing import Final

# What is longer is a text and no name of a channel; it is left as it is.
LONGEST: Final = 200
_SEPARATORS: Final = " \t\r\n_-:|,;/.~=*'`\""
_PAIRS: Final = {"(": ")", "<": ">", "[": "]", "{": "}"}
# How Cytobank marks a channel that it transformed, and what R makes of its brackets.
_VIEW: Final = re.compile(r"(?:\s*[(]v[0-9]*[)]|\s+[*]|[.]{1,2}v[0-9]*[.])$")
_VERSION: Final = re.compile(r"[ _.-]+v(?:er|ersion)?[.]?[0-9]+$")
# A variant of the antigen is no version of the reagent.
_VARIANTS: Final = re.compile(r"CD44|TCR|TRAV|TRBV|integrin.*", re.IGNORECASE)
_FLUOROCHROME: Final = (
    "APC|R?-?PE|FITC|PerCP|Cy[357]|(?:AF|BU?V|eF|eFluor|Alexa(?: ?Fluor)? ?)[0-9]{3}"
    "|Q-?dots?(?: ?[0-9]{3})?|QD[0-9]{3}"
)
_TAG: Final = re.compile(
    rf"[ _.-]+(?:[(]?(?:{_FLUOROCHROME}|biotin|biotinylated)[)]?|[(](?:bio|SAv)[)])$", re.IGNORECASE
)
# With these before it the tag is what is bound, and an antigen with biotin may be a reagent that binds a CAR.
_BINDS_TAG: Final = re.compile(
    r"(?:.*[ _-])?(?:anti|a|x|alpha|α|mouse|rabbit|goat|rat|strep|streptavidin)", re.IGNORECASE
)
_PROTEINS: Final = re.compile(r"(?:rh|h)?(?:BCMA|CD19|CD20|CD22|GPRC5D|protein[ -]?L)", re.IGNORECASE)
_BESIDE_BEADS: Final = re.compile(r"[ _.-]+EQ[0-9]?$", re.IGNORECASE)
_BEAD_WORDS: Final = re.compile(r"(?:norm\w*|cal\w*|dvs|maxpar|metal|beads?|[a-z]{1,2})", re.IGNORECASE)
# What goes on with a number: CD-141 measured in Pr141 keeps it.
_NUMBERED: Final = frozenset(("cd", "ter", "ca", "p", "gp", "mir", "siglec", "lamp", "il"))
_NOTHING: Final = re.compile(
    r"(?:none|na|nan|null|nil|nothing|unlabell?ed|(?:no|free|open|empty)?(?:marker|name|antibody|ab|label|stain|target|tag"
    r"|metal|channel)|no|free|open|void|unnamed|notused|notinuse|spare|tbd|placeholder|x+)?"
)
_PUNCTUATION: Final = re.compile(r"[\W_]+")


def without_views(text: str) -> str:
    """Return a name without the marks of views at its end, and without blanks around it.

    Examples
    --------
    >>> without_views("CD45 (v) (v2)"), without_views("(v)")
    ('CD45', '')
    """
    text = text.strip()
    while match := _VIEW.search(text):
        text = text[: match.start()].strip()
    return text


def trimmed(text: str) -> str:
    """Return a label without separators, views and brackets around it.

    Examples
    --------
    >>> trimmed("_<NGFR-139 (v)>"), trimmed("TCR (gd)"), trimmed("(G4S)3")
    ('NGFR-139', 'TCR (gd)', '(G4S)3')
    """
    before = None
    while text != before:
        before = text
        text = without_views(text).strip(_SEPARATORS)
        if text and text[-1] == _PAIRS.get(text[0]) and _is_one_pair(text):
            text = text[1:-1]
        # A bracket that was opened around an isotope that is gone.
        if text and text[-1] in _PAIRS and text[-1] not in text[:-1]:
            text = text[:-1]
    return text


def _is_one_pair(text: str) -> bool:
    """Whether the bracket that opens a text is closed by its last letter."""
    depth = 0
    for place, letter in enumerate(text):
        depth += (letter == text[0]) - (letter == _PAIRS[text[0]])
        if not depth:
            return place == len(text) - 1
    return False


def clean_label(label: str, mass: int) -> str:
    """Return the label of a mass channel without its mass, the version and fluorochrome of its reagent, and ``EQ``.

    Parameters
    ----------
    label
        What a name says besides the isotope.
    mass
        Mass of the channel: a number in the label that is equal to it is not part of the antigen's name.

    Examples
    --------
    >>> clean_label("CD19-142", 142), clean_label("CD55 v4", 155), clean_label("LAG3-APC", 150)
    ('CD19', 'CD55', 'LAG3')
    >>> clean_label("CD3_EQ6", 175), clean_label("CD141", 141), clean_label("anti-APC", 163)
    ('CD3', 'CD141', 'anti-APC')
    """
    if len(label) > LONGEST:
        return label
    before = None
    while label != before:
        before = label
        label = trimmed(label)
        for cut in (_cut_mass, _cut_version, _cut_tag, _cut_beads):
            label = cut(label, mass)
    return label


def _cut_mass(label: str, mass: int) -> str:
    if label == str(mass):
        return ""
    if match := re.search(rf"(?:[\s_.-]+[(<\[]?|[(<\[])0?{mass}[)>\]]?$", label):
        rest = label[: match.start()]
        return label if _PUNCTUATION.sub("", rest).casefold() in _NUMBERED else rest
    if match := re.match(rf"[(<\[]?0?{mass}(?:[)>\]]|[\s_.-])", label):
        return label[match.end() :]
    # The mass with an element that is mistaken, as in 156Nd of Gd156Di.
    match = re.match(rf"{mass}[A-Z][a-z]?(?:[\s_.-]+|$)", label) or re.search(
        rf"(?:^|[\s_.-]+)(?:{mass}[A-Z][a-z]?|[A-Z][a-z]?{mass})$", label
    )
    return label[: match.start()] + label[match.end() :] if match else label


def _cut_version(label: str, _: int) -> str:
    match = _VERSION.search(label)
    if match is None or _VARIANTS.fullmatch(label[: match.start()]):
        return label
    return label[: match.start()]


def _cut_tag(label: str, _: int) -> str:
    match = _TAG.search(label)
    if match is None:
        return label
    rest = label[: match.start()]
    if _BINDS_TAG.fullmatch(rest) or ("bio" in match[0].casefold() and _PROTEINS.fullmatch(rest)):
        return label
    return rest


def _cut_beads(label: str, _: int) -> str:
    match = _BESIDE_BEADS.search(label)
    if match is None or _BEAD_WORDS.fullmatch(label[: match.start()]):
        return label
    return label[: match.start()]


def says_nothing(label: str) -> bool:
    """Return whether a label says that there is no marker, or does not say anything.

    Examples
    --------
    >>> says_nothing("NA"), says_nothing("-"), says_nothing("CD3")
    (True, True, False)
    """
    return _NOTHING.fullmatch(_PUNCTUATION.sub("", label).casefold()) is not None
