"""What the names of files and folders say of samples: a short name, whose it is, when it was taken, in which batch."""

from __future__ import annotations

import datetime
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
_LONG_PERSON: Final = re.compile(
    _START + r"(?P<kind>patient|pat|pt|donor|subject|subj|case)[ _\-]?(?P<number>[0-9]{1,5})" + _END,
    re.IGNORECASE,
)
_BATCH: Final = re.compile(
    _START + r"(?:batch|run|plate|exp|experiment|barcode[ _\-]?set)[ _\-]?[0-9]{1,3}" + _END, re.IGNORECASE
)
_DATE: Final = re.compile(
    r"(?<![0-9])(?:(?P<a>[0-9]{2,4})[._\-](?P<b>[0-9]{1,2})[._\-](?P<c>[0-9]{2,4})|(?P<digits>[0-9]{8}|[0-9]{6}))(?![0-9])"
)
_DATE_FORMS: Final = ("%Y%m%d", "%d%m%Y", "%m%d%Y", "%y%m%d", "%m%d%y", "%d%m%y")


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
    persons = _persons(stems) or _long_persons(stems)
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


def _long_persons(names: Sequence[str]) -> list[str] | None:
    """Return the patient of each name where all have a word such as ``patient_3``, its number apart or not."""
    matches = [_LONG_PERSON.search(name) for name in names]
    return [re.sub(r"[ _\-]", "", match[0]) for match in matches if match] if all(matches) else None


def patients_of_folders(folders: Sequence[Sequence[str]]) -> list[str] | None:
    """Return the patient of each file by the folders that it is in, or None where they do not say all of them.

    Parameters
    ----------
    folders
        The folders above each file, the uppermost first.

    Examples
    --------
    >>> patients_of_folders([("P1",), ("P2",)]), patients_of_folders([("day 1",), ("day 2",)])
    (['P1', 'P2'], None)
    """
    for level in range(min(map(len, folders), default=0)):
        names = [of_file[level] for of_file in folders]
        if found := _persons(names) or _long_persons(names):
            return found
    return None


def guess_batches(stems: Sequence[str], folders: Sequence[Sequence[str]]) -> tuple[list[str], str]:
    """Return the batch of each file and what it was guessed from; nothing where the names do not say several.

    Parameters
    ----------
    stems, folders
        The name of each file without its ending, and the folders above it.

    Examples
    --------
    >>> guess_batches(["P1_batch1", "P2_batch2"], [(), ()])
    (['batch1', 'batch2'], 'the file names')
    >>> guess_batches(["032219_P1", "102518_P2"], [(), ()])
    (['2019-03-22', '2018-10-25'], 'the dates in the file names')
    """
    levels = range(min(map(len, folders), default=0))
    of_folders = [[of_file[level] for of_file in folders] for level in levels]
    for names, source in ((stems, "file names"), *((names, "folders") for names in of_folders)):
        words = [match[0] if (match := _BATCH.search(name)) else "" for name in names]
        if all(words) and len(set(words)) > 1:
            return words, f"the {source}"
    for names, source in ((stems, "file names"), *((names, "folders") for names in of_folders)):
        dates = _dates(names)
        if dates and len(set(dates)) > 1:
            return dates, f"the dates in the {source}"
    return [], ""


def _dates(names: Sequence[str]) -> list[str]:
    """Return the date in each name, all by one form: 03-04-19 cannot be March in one file and April in the next."""
    matches = [_DATE.search(name) for name in names]
    if not all(matches):
        return []
    texts = [
        match["digits"] or "".join(part.zfill(2) for part in (match["a"], match["b"], match["c"]))
        for match in matches
        if match
    ]
    for form in _DATE_FORMS:
        length = 8 if "%Y" in form else 6
        try:
            days = [datetime.datetime.strptime(text, form).date() for text in texts if len(text) == length]
        except ValueError:
            continue
        if len(days) == len(texts) and all(1995 <= day.year <= 2060 for day in days):
            return [day.isoformat() for day in days]
    return []
