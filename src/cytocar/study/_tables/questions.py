"""What the sample sheet lets patients be compared by: groups, times, and the batch where it can be separated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

from cytocar._core import keys
from cytocar._core.errors import ParameterError
from cytocar._core.ordering import natural, timepoint_order
from cytocar._core.vocabulary import CONTROL_ROLE

if TYPE_CHECKING:
    import pandas as pd

    from cytocar.io import StudyConfig

AUTO = "auto"
PAIRS_OF_AT_MOST = 4
"""So many groups are compared each with each; more, each with the first."""


@dataclass(frozen=True)
class Question:
    """One model of samples, and what is asked of it.

    Parameters
    ----------
    sheet
        The rows of the sample sheet that are used.
    formula, contrast
        As `tl.abundance` takes them.
    timepoint
        The timepoint at which groups are compared; empty where it is not one.
    notes
        What was left out, and why.
    name, sides
        What a coefficient that is asked for means, and the two groups it is about.
    """

    sheet: pd.DataFrame
    formula: str
    contrast: str | tuple[str, ...]
    timepoint: str = ""
    notes: tuple[str, ...] = ()
    name: str = ""
    sides: tuple[str, str] = ("", "")

    @property
    def asked(self) -> str | list[str]:
        """The contrast in the form that `tl.abundance` takes."""
        return self.contrast if isinstance(self.contrast, str) else list(self.contrast)

    @property
    def text(self) -> str:
        """What is asked, when, of how many patients, and by which model."""
        named = self.asked if isinstance(self.asked, list) else [self.asked]
        contrasts = ", ".join(name.split(": ", 1)[-1] for name in named if name) or "as the formula says"
        asked = self.name or contrasts
        when = f" at {self.timepoint}" if self.timepoint else ""
        return f"{asked}{when}, {self.sheet[keys.PATIENT].nunique()} patients, {self.formula}"


def questions(samples: pd.DataFrame, config: StudyConfig) -> tuple[list[Question], list[str]]:
    """Return what patients are compared by, and remarks on what they cannot be compared by.

    Groups are compared at every timepoint, timepoints within the patients, and the change from the first to the last
    timepoint between groups. The batch is in the model where the effect can be separated from it.
    """
    patients = samples[samples[keys.ROLE] != CONTROL_ROLE].reset_index(drop=True)
    if config.cohort.formula != AUTO:
        return [_stated(patients, config)], []
    remarks: list[str] = []
    found = [
        *_between_groups(patients, config, remarks),
        *_over_time(patients, config),
        *_changes_of_groups(patients, config),
    ]
    return [_with_batch(question) for question in found], remarks


def _stated(patients: pd.DataFrame, config: StudyConfig) -> Question:
    stated = config.cohort.contrast
    times = timepoint_order(patients)
    return Question(
        patients,
        config.cohort.formula,
        "" if stated == AUTO else stated if isinstance(stated, str) else tuple(stated),
        times[0] if len(times) == 1 else "",
    )


def _between_groups(patients: pd.DataFrame, config: StudyConfig, remarks: list[str]) -> Iterator[Question]:
    if keys.GROUP not in patients:
        return
    named = patients[patients[keys.GROUP] != ""]
    levels = list(dict.fromkeys(named[keys.GROUP]))
    if len(levels) < 2:
        return
    notes = []
    if len(named) < len(patients):
        without = ", ".join(patients.loc[patients[keys.GROUP] == "", keys.SAMPLE])
        notes.append(f"no group in the sheet, left out: {without}")
    if named.groupby(keys.GROUP)[keys.PATIENT].nunique().max() < 2:
        remarks.append(
            f"The groups {', '.join(levels)} have one patient each: nothing is tested between them. "
            "It takes two patients or more in each."
        )
        return
    times = timepoint_order(named)
    for label in times:
        part = named[named[keys.TIMEPOINT] == label].reset_index(drop=True)
        here = sorted(set(part[keys.GROUP]), key=natural)
        if len(here) < 2:
            if len(times) > 1:
                remarks.append(
                    f"At {label} there is only the group {here[0]}: groups are not compared there."
                )
            continue
        yield Question(part, f"~ {keys.GROUP}", _contrasts(config, here), label, tuple(notes))


def _contrasts(config: StudyConfig, levels: Sequence[str]) -> str | tuple[str, ...]:
    stated = config.cohort.contrast
    if stated != AUTO:
        return stated if isinstance(stated, str) else tuple(stated)
    pairs = (
        list(combinations(levels, 2))
        if len(levels) <= PAIRS_OF_AT_MOST
        else [(levels[0], level) for level in levels[1:]]
    )
    return tuple(f"{keys.GROUP}: {b} vs {a}" for a, b in pairs)


def _over_time(patients: pd.DataFrame, config: StudyConfig) -> Iterator[Question]:
    """Compare later timepoints with the first, or those that the settings name, within two or more patients."""
    labels = timepoint_order(patients)
    if len(labels) < 2 or config.cohort.contrast != AUTO:
        return
    first, last = config.compare.reference or labels[0], config.compare.against
    if not {first, last or first} <= set(labels):
        return  # `check` reports labels that are not there.
    later = [last] if last else labels[labels.index(first) + 1 :] or labels
    asked = [
        f"{keys.TIMEPOINT}: {label} vs {first}"
        for label in later
        if label != first and len(_with_both(patients, first, label)) > 1
    ]
    if not asked:
        return
    visits = patients.groupby(keys.PATIENT)[keys.TIMEPOINT].nunique()
    kept = patients[patients[keys.PATIENT].isin(visits.index[visits > 1])].reset_index(drop=True)
    yield Question(kept, f"~ {keys.TIMEPOINT}", tuple(asked))


def _changes_of_groups(patients: pd.DataFrame, config: StudyConfig) -> Iterator[Question]:
    """Compare how groups change from the first to the last timepoint, or those that the settings name."""
    labels = timepoint_order(patients)
    if keys.GROUP not in patients or len(labels) < 2 or config.cohort.contrast != AUTO:
        return
    first, last = config.compare.reference or labels[0], config.compare.against or labels[-1]
    kept = patients[
        patients[keys.PATIENT].isin(_with_both(patients, first, last)) & (patients[keys.GROUP] != "")
    ]
    kept = kept[kept[keys.TIMEPOINT].isin([first, last])]
    if kept.empty or kept.groupby(keys.PATIENT)[keys.GROUP].nunique().max() > 1:
        return
    members = kept.groupby(keys.GROUP)[keys.PATIENT].nunique()
    enough = sorted(members.index[members > 1], key=natural)
    for a, b in combinations(enough, 2) if len(enough) <= PAIRS_OF_AT_MOST else ():
        yield Question(
            kept[kept[keys.GROUP].isin([a, b])].reset_index(drop=True),
            f"~ {keys.GROUP} * {keys.TIMEPOINT}",
            f"{keys.GROUP}[{b}]:{keys.TIMEPOINT}[{last}]",
            name=f"change from {first} to {last}, {b} vs {a}",
            sides=(a, b),
        )


def _with_both(patients: pd.DataFrame, a: str, b: str) -> set[str]:
    return set(patients.loc[patients[keys.TIMEPOINT] == a, keys.PATIENT]) & set(
        patients.loc[patients[keys.TIMEPOINT] == b, keys.PATIENT]
    )


def _with_batch(question: Question) -> Question:
    """Put the batch into the model where the effect can be separated from it; else say why it is not there."""
    sheet = question.sheet
    if keys.BATCH not in sheet or sheet[keys.BATCH].nunique() < 2:
        return question
    try:
        designed(question)
    except ParameterError:
        return question  # The fault is not the batch's, and is reported where the question is asked.
    of_one = sheet.groupby(keys.PATIENT)[keys.BATCH].nunique().max() == 1
    if of_one and sheet.groupby(keys.PATIENT)[keys.TIMEPOINT].nunique().max() > 1:
        return question  # The block of the patient already says what the batch would.
    wider = replace(question, formula=f"{question.formula} + {keys.BATCH}")
    if (sheet[keys.BATCH] == "").any():
        why = f"the batch of {', '.join(sheet.loc[sheet[keys.BATCH] == '', keys.SAMPLE])} is not known"
    else:
        why = _unanswerable(wider, spare=1)
    return (
        wider if not why else replace(question, notes=(*question.notes, f"batch is not in the model: {why}"))
    )


def _unanswerable(question: Question, *, spare: int) -> str:
    """Return why a model cannot answer its question with `spare` samples more than coefficients; empty if it can."""
    from cytocar.tl._cohorts.cohort import arrange

    try:
        arranged = arrange(*designed(question), None, "auto")
    except ParameterError:
        return "the batches do not link what is compared"
    # Within patients each has a column of its own, which may already say what the batch says.
    if any(model.kind in ("averaged", "random") for model in arranged):
        return "it changes within patients, whose samples are then no longer compared with each other"
    if any(len(model.design.sheet) < model.design.matrix.shape[1] + spare for model in arranged):
        return f"{len(question.sheet)} samples are too few for a coefficient more"
    return ""


def designed(question: Question) -> tuple[Any, Any]:
    """Return the design of a question and its contrasts.

    Raises
    ------
    ParameterError
        The formula names what the sheet does not have, or the design cannot answer the contrast.
    """
    from cytocar.tl._cohorts.design import find_contrasts, make_design

    made = make_design(question.sheet, question.formula, None)
    return made, find_contrasts(made, question.asked or None)
