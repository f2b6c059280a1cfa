"""What the names of files say of samples: a short name, whose it is, and when it was taken."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from cytocar._core.vocabulary import DAYS_PER_MONTH

_SEPARATORS: Final = re.compile(r"[ _\-.]+")
_START: Final = r"(?<![A-Za-z0-9])"
_END: Final = r"(?![A-Za-z0-9])"
_MONTHS_IN: Final = {"mo": 1.0, "y": 12.0, "w": 7 / DAYS_PER_MONTH, "d": 1 / DAYS_PER_MONTH}
_UNIT: Final = r"(?P<unit>mo|mos|mth|mths|month|months|yr|yrs|year|years|wk|wks|week|weeks|d|day|days)"
_NUMBER: Final = r"(?P<number>[0-9]+(?:\.[0-9]+)?)"
_TIMES: Final = (
    re.compile(_START + _NUMBER + r"[ \-]?" + _UNIT + _END, re.IGNORECASE),
    re.compile(_START + r"(?P<unit>month|year|week|wk|day|d)[ _]?(?P<number>-?[0-9]+)" + _END, re.IGNORECASE),
)
_BEFORE: Final = re.compile(_START + r"(?:base|baseline|pre|preinfusion|screening)" + _END, re.IGNORECASE)
_PERSON: Final = re.compile(
    r"(?P<kind>p|pt|pat|patient|donor|subject|subj|hd|healthy|ctrl|nr|r|car|case)(?P<number>[0-9]{1,5})",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Guess:
    """What is guessed of one file; ``""`` and None are left to the user."""

    sample_id: str
    patient_id: str = ""
    timepoint: str = ""
    months: float | None = None
    group: str = ""


def guess_time(stem: str) -> tuple[str, float | None]:
    """Return the timepoint in a file name and its months, or ``("", None)``.

    Examples
    --------
    >>> guess_time("LEGEND2_5yr"), guess_time("P1_D28_blood"), guess_time("P1_blood")
    (('5yr', 60.0), ('D28', 0.92), ('', None))
    """
    for pattern in _TIMES:
        if match := pattern.search(stem):
            unit = match["unit"].casefold()
            unit = "mo" if unit.startswith("m") else unit[0]
            label = re.sub(r"[ _]", "", match[0])
            return label, round(float(match["number"]) * _MONTHS_IN[unit], 2)
    if match := _BEFORE.search(stem):
        return match[0], 0.0
    return "", None


def guess_samples(stems: Sequence[str]) -> list[Guess]:
    """Return what the names of all files of a study say, file by file.

    The sample is the name without what all names begin or end with. The patient is a part such as ``P3``,
    ``Donor12`` or ``HD1`` that every name has in the same place, or all of the name that is not the timepoint
    where that is the same in all. Different kinds of such parts (``HD1``, ``NR1``) are groups.

    Examples
    --------
    >>> [(guess.sample_id, guess.patient_id, guess.months) for guess in guess_samples(["run_P1_2mo", "run_P2_1yr"])]
    [('P1_2mo', 'P1', 2.0), ('P2_1yr', 'P2', 12.0)]
    """
    times = [guess_time(stem) for stem in stems]
    guesses = [
        Guess(name, timepoint=label, months=months)
        for name, (label, months) in zip(_short_names(stems), times, strict=True)
    ]
    persons = _persons(stems)
    if persons is not None:
        kinds = [re.sub("[0-9]+$", "", person).upper() for person in persons]
        several = len(set(kinds)) > 1
        return [
            replace(guess, patient_id=person, group=kind if several else "")
            for guess, person, kind in zip(guesses, persons, kinds, strict=True)
        ]
    rests = {
        _SEPARATORS.sub("_", stem.replace(label, "") if label else stem).strip("_")
        for stem, (label, _) in zip(stems, times, strict=True)
    }
    if len(stems) > 1 and len(rests) == 1 and all(label for label, _ in times):
        patient = rests.pop() or "P1"
        return [replace(guess, patient_id=patient) for guess in guesses]
    return guesses


def _short_names(stems: Sequence[str]) -> list[str]:
    """Return the names without the parts that all of them begin or end with; at least one part is left."""
    parts = [_SEPARATORS.split(stem) for stem in stems]
    if len(stems) < 2:
        return list(stems)
    fewest = min(map(len, parts))
    first = 0
    while first < fewest - 1 and len({part[first] for part in parts}) == 1:
        first += 1
    last = 0
    while last < fewest - 1 - first and len({part[-1 - last] for part in parts}) == 1:
        last += 1
    names = [_middle(stem, first, last) for stem in stems]
    return names if len(set(names)) == len(names) and all(names) else list(stems)


def _middle(stem: str, first: int, last: int) -> str:
    """Return a name without its first and last parts, the separators within kept."""
    breaks = list(_SEPARATORS.finditer(stem))
    begin = breaks[first - 1].end() if first else 0
    end = breaks[len(breaks) - last].start() if last else len(stem)
    return stem[begin:end].strip(" _-.")


def _persons(stems: Sequence[str]) -> list[str] | None:
    """Return the patient of each file, or None where the names do not say all of them alike."""
    parts = [_SEPARATORS.split(stem) for stem in stems]
    for position in range(min(map(len, parts))):
        # From the front and from the back, because names differ in how many parts they have.
        for at in (position, -1 - position):
            matches = [_PERSON.fullmatch(names[at]) for names in parts]
            kinds = {match["kind"].casefold() for match in matches if match}
            # R1 alone is a run or a replicate; beside NR1 it is a responder.
            if all(matches) and ("r" not in kinds or "nr" in kinds):
                return [names[at] for names in parts]
    return None
