"""What the names of files say of tubes without CAR-T cells, from before the infusion, or without an antibody."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from cytocar._core.vocabulary import CONTROL_ROLE, FMO_ROLE, PATIENT_ROLE
from cytocar.study._scaffold.file_names import Guess

_START: Final = r"(?<![A-Za-z0-9])"
_END: Final = r"(?![A-Za-z0-9])"
_NUMBER: Final = r"[ _\-]?[0-9]*"
_NEVER_CAR: Final = re.compile(
    _START
    + r"(?:mock|utd|untransduced|ntd|non[ _\-]?transduced|isotype|healthy(?:[ _\-]?donors?)?|hd|no[ _\-]?car"
    r"|car[ _\-]?neg(?:ative)?|neg(?:ative)?[ _\-]?(?:ctrl|control)|nc)" + _NUMBER + _END,
    re.IGNORECASE,
)
# A CAR that the reagent does not bind is a usual control of its own: the 14g2a-HA CAR beside the CD19-HA CAR.
_OTHER_CAR: Final = re.compile(_START + r"ha[ _\-]?(?:ctrl|control)" + _NUMBER + _END, re.IGNORECASE)
_AGAINST: Final = re.compile(
    r"(?:cd19|cd20|cd22|cd30|cd33|cd7|cd5|bcma|gprc5d|cd123|cd38|fmc63|car)[ _\-]*$", re.IGNORECASE
)
# Words that say it only where other files do not have them.
_IF_SOME: Final = tuple(
    re.compile(_START + word + _NUMBER + _END, re.IGNORECASE)
    for word in ("(?:control|ctrl)", "donor", "pbmc")
)
_BEFORE: Final = re.compile(
    _START + r"(?:base|baseline|pre|pre[ _\-]?inf(?:usion)?|screening|(?:leuk)?apheresis)" + _END,
    re.IGNORECASE,
)
_FMO: Final = re.compile(_START + r"(?:fmo|minus)" + r"(?![a-z])", re.IGNORECASE)


def guess_roles(stems: Sequence[str], guesses: Sequence[Guess]) -> list[tuple[str, str]]:
    """Return the role of each file, and the words in its name that say so; ``""`` for a patient's.

    A sample from before the infusion has no CAR-T cells, and is a negative control where there are later ones.

    Examples
    --------
    >>> stems = ["CD19-HA-Control", "Sample_18_HA-Control", "Healthy-PBMC"]
    >>> for role, words in guess_roles(stems, [Guess(stem) for stem in stems]):
    ...     print(role, words or "-")
    patient -
    negative_control HA-Control
    negative_control Healthy
    """
    words = _of_some(stems, _never_car)
    for pattern in _IF_SOME:
        if not any(words):
            words = _of_some(stems, partial(_found, pattern))
    before = _of_some(stems, partial(_found, _BEFORE))
    roles = []
    for stem, guess, of_control, of_before in zip(stems, guesses, words, before, strict=True):
        early = of_before or (guess.timepoint if guess.months is not None and guess.months < 0 else "")
        if fmo := _found(_FMO, stem):
            roles.append((FMO_ROLE, fmo))
        elif of_control or early:
            roles.append((CONTROL_ROLE, of_control or early))
        else:
            roles.append((PATIENT_ROLE, ""))
    return roles if any(role == PATIENT_ROLE for role, _ in roles) else [(PATIENT_ROLE, "")] * len(stems)


def is_before(words: str) -> bool:
    """Return whether the words that made a file a control are those of a time before the infusion.

    Examples
    --------
    >>> is_before("baseline"), is_before("D-7"), is_before("mock")
    (True, True, False)
    """
    return bool(_BEFORE.fullmatch(words)) or bool(re.search("-[0-9]+$", words))


def lacks_reagent(stem: str, reagent: str, find: Callable[[str], str | None]) -> bool:
    """Return whether a tube that lacks an antibody lacks the one that shows the CAR: no other marker is in its name.

    Examples
    --------
    >>> markers = {"CD25": "CD25", "VHH": "VHH"}
    >>> lacks_reagent("FMO_CD25", "VHH", markers.get), lacks_reagent("FMO-VHH", "VHH", markers.get)
    (False, True)
    """
    rest = _FMO.sub(" ", stem)
    named = {find(word) for word in re.split(r"[\s_]+", rest) + re.split(r"[\s_\-]+", rest) if word}
    return reagent in named or named <= {None}


def _of_some(stems: Sequence[str], found: Callable[[str], str]) -> list[str]:
    """Return the words found in each name; none where all names have them, which says nothing."""
    words = [found(stem) for stem in stems]
    return [""] * len(words) if all(words) else words


def _never_car(stem: str) -> str:
    if words := _found(_NEVER_CAR, stem):
        return words
    match = _OTHER_CAR.search(stem)
    return match[0] if match and not _AGAINST.search(stem[: match.start()]) else ""


def _found(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    return match[0] if match else ""
