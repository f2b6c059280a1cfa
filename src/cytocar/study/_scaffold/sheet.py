"""The sample sheet as names of files and folders and dates tell it, and what was guessed from what."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cytocar._core import keys
from cytocar._core.files import fcs_stem
from cytocar._core.vocabulary import CONTROL_ROLE, FMO_ROLE, PATIENT_ROLE
from cytocar.io._fcs.header import FcsHeader
from cytocar.panel import Panel
from cytocar.panel.car_reagents import car_reagents
from cytocar.study._scaffold.car_strategy import Tubes
from cytocar.study._scaffold.file_names import Guess, guess_batches, guess_samples, patients_of_folders
from cytocar.study._scaffold.file_roles import guess_roles, is_before, lacks_reagent


@dataclass(frozen=True)
class GuessedSheet:
    """What is guessed of every file, which tubes show where a CAR begins, and what was guessed from what."""

    guesses: Sequence[Guess]
    roles: Sequence[str]
    batches: Sequence[str]
    tubes: Tubes
    notes: Sequence[str]

    def text(self, addresses: Sequence[str]) -> str:
        """Return `samples.csv`, in which the files go by these addresses."""
        columns: dict[str, Sequence[str]] = {
            "file": addresses,
            keys.SAMPLE: [guess.sample_id for guess in self.guesses],
            keys.PATIENT: [guess.patient_id for guess in self.guesses],
            keys.TIMEPOINT: [guess.timepoint for guess in self.guesses],
            keys.MONTHS: [
                # A control is not a sample of the course of a patient.
                "" if guess.months is None or role == CONTROL_ROLE else f"{guess.months:g}"
                for guess, role in zip(self.guesses, self.roles, strict=True)
            ],
            keys.ROLE: self.roles,
        }
        if any(guess.group for guess in self.guesses):
            columns[keys.GROUP] = [guess.group for guess in self.guesses]
        if self.batches:
            columns[keys.BATCH] = self.batches
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
        return text.getvalue()


def guess_sheet(paths: Sequence[Path], headers: Sequence[FcsHeader], panel: Panel) -> GuessedSheet:
    """Guess the sample sheet of a study.

    Parameters
    ----------
    paths
        The files, as seen from the folder that was named.
    headers
        Their headers.
    panel
        The panel; roles are guessed only where one of its markers shows a CAR.
    """
    names = [fcs_stem(path) for path in paths]
    folders = [path.parts[:-1] for path in paths]
    guesses = guess_samples(_stems(paths))
    roles, tubes, said = _roles(names, guesses, headers, panel)
    guesses = _of_patients(_stems(paths), guesses, roles)
    sources = {}
    if any(guess.patient_id for guess in guesses):
        sources[keys.PATIENT] = "the file names"
    elif found := patients_of_folders(folders):
        guesses = [replace(guess, patient_id=name) for guess, name in zip(guesses, found, strict=True)]
        sources[keys.PATIENT] = "the folders"
    for column, values in (
        (keys.TIMEPOINT, [guess.timepoint for guess in guesses]),
        (keys.MONTHS, [guess.timepoint if guess.months is not None else "" for guess in guesses]),
        (keys.GROUP, [guess.group for guess in guesses]),
    ):
        if any(values):
            sources[column] = "the file names"
    batches, source = _batches(names, folders, headers)
    if batches:
        sources[keys.BATCH] = source
    return GuessedSheet(
        guesses, roles, batches, tubes, [*_left_to_the_user(guesses, roles), *_told(sources), *said]
    )


def _roles(
    names: Sequence[str], guesses: Sequence[Guess], headers: Sequence[FcsHeader], panel: Panel
) -> tuple[list[str], Tubes, list[str]]:
    """Return the roles, what they show of the CAR, and what they were guessed from."""
    fewest = min(header.n_events for header in headers)
    reagents = [each.marker for each in car_reagents(panel.markers) if each.certain]
    if not reagents:
        return [PATIENT_ROLE] * len(names), Tubes(fewest=fewest), []
    found = guess_roles(names, guesses)
    of = {guess.sample_id: role for guess, role in zip(guesses, found, strict=True)}
    early = {sample for sample, (role, words) in of.items() if role == CONTROL_ROLE and is_before(words)}
    controls = [sample for sample, (role, _) in of.items() if role == CONTROL_ROLE and sample not in early]
    fmo = [
        guess.sample_id
        for name, guess, (role, _) in zip(names, guesses, found, strict=True)
        if role == FMO_ROLE and lacks_reagent(name, reagents[0], panel.find)
    ]
    tubes = Tubes(tuple(controls), tuple(sample for sample in of if sample in early), tuple(fmo), fewest)
    return [role for role, _ in found], tubes, _said_of_roles(of)


def _said_of_roles(of: Mapping[str, tuple[str, str]]) -> list[str]:
    """Say from which words in the names of files roles were guessed."""
    return [
        f"samples.csv: role {role} of {_listed(which)}, from "
        f"{_listed(list(dict.fromkeys(repr(of[each][1]) for each in which)))} in the file names"
        for role in (CONTROL_ROLE, FMO_ROLE)
        if (which := [sample for sample, (own, _) in of.items() if own == role])
    ]


def _of_patients(stems: Sequence[str], guesses: Sequence[Guess], roles: Sequence[str]) -> list[Guess]:
    """Return the guesses with patients and groups as the names of patients' files alone say them."""
    own = [role == PATIENT_ROLE for role in roles]
    if all(own):
        return list(guesses)
    again = iter(guess_samples([stem for stem, is_own in zip(stems, own, strict=True) if is_own]))
    return [
        replace(guess, patient_id=(new := next(again)).patient_id, group=new.group)
        if is_own
        else replace(guess, group="")
        for guess, is_own in zip(guesses, own, strict=True)
    ]


def _batches(
    names: Sequence[str], folders: Sequence[Sequence[str]], headers: Sequence[FcsHeader]
) -> tuple[list[str], str]:
    """Return the batch of each file and what it was guessed from; what the names call a batch comes before dates."""
    named, source = guess_batches(names, folders)
    days = _days(headers)
    if (days and "date" in source) or not named:
        return days, "the day of acquisition in the files ($DATE)"
    return named, source


def _days(headers: Sequence[FcsHeader]) -> list[str]:
    """Return the day of acquisition of each file where the files say several; nothing where they do not."""
    # Written 05-Jul-2016, and by some instruments 05-JUL-2016.
    days = [header.keywords.get("$DATE", "").strip().title() for header in headers]
    return days if all(days) and len(set(days)) > 1 else []


def _stems(paths: Sequence[Path]) -> list[str]:
    """Return the names of files without their ending; with their folders where a name occurs twice."""
    stems = [fcs_stem(path) for path in paths]
    if len(set(stems)) == len(stems):
        return stems
    stems = ["_".join(path.with_suffix("").parts) for path in paths]
    # a/b_c and a_b/c
    return [
        f"{stem}_{stems[: position + 1].count(stem)}" if stems.count(stem) > 1 else stem
        for position, stem in enumerate(stems)
    ]


def _left_to_the_user(guesses: Sequence[Guess], roles: Sequence[str]) -> list[str]:
    patients = [guess for guess, role in zip(guesses, roles, strict=True) if role == PATIENT_ROLE]
    empty = [
        name
        for name, values in (
            (keys.PATIENT, [guess.patient_id for guess in patients]),
            (keys.TIMEPOINT, [guess.timepoint for guess in patients]),
            (keys.MONTHS, ["" if guess.months is None else "0" for guess in patients]),
        )
        if not all(values)
    ]
    return (
        [f"samples.csv: {', '.join(empty)} could not be guessed for every file: fill them in"]
        if empty
        else []
    )


def _told(sources: dict[str, str]) -> list[str]:
    """Say in one line what was guessed from what."""
    columns: dict[str, list[str]] = {}
    for column, source in sources.items():
        columns.setdefault(source, []).append(column)
    parts = [f"{', '.join(names)} from {source}" for source, names in columns.items()]
    return [f"samples.csv: check what was guessed: {'; '.join(parts)}"] if parts else []


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])} and {len(names) - 3} more"
