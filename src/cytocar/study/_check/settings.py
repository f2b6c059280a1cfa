"""Problems of the settings of a study."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cytocar._core import keys
from cytocar._core.errors import ParameterError, Problem, did_you_mean
from cytocar._core.files import is_fcs_name
from cytocar._core.ordering import timepoint_order
from cytocar._core.vocabulary import FMO_ROLE, PATIENT_ROLE
from cytocar.io._study.folder import StudyParts
from cytocar.panel.antigens import marker_hint, of_one_antigen, several
from cytocar.study._check.clusters import cluster_problems
from cytocar.study._tables.cohorts import confounding_table
from cytocar.study._tables.questions import designed, questions

if TYPE_CHECKING:
    import pandas as pd

    from cytocar.io import StudyConfig
    from cytocar.panel import Panel
    from cytocar.pp._spillover.matrix import Spillover


def load_spillover_matrix(parts: StudyParts) -> tuple[Spillover | None, list[Problem]]:
    """Read the spillover matrix that the settings name; of a folder of single stains only that there are some."""
    from cytocar.pp._spillover.read import load_spillover

    if parts.config is None or parts.config.compensation == "off":
        return None, []
    path = parts.folder / Path(parts.config.compensation).expanduser()
    if not path.is_dir():
        return load_spillover(path)
    if any(is_fcs_name(entry.name) for entry in path.iterdir()):
        return None, []
    return None, [
        Problem(str(path), "there are no FCS files in it", "name a folder of single stains, or a matrix")
    ]


def setting_problems(file: Path, config: StudyConfig, parts: StudyParts) -> Iterator[Problem]:
    """Find settings that name what the panel or the sheet does not have."""
    if parts.panel is not None:
        yield from _markers(file, config, parts.panel)
    yield from cluster_problems(file, config, parts.panel)
    if config.baseline and not (file.parent / Path(config.baseline).expanduser()).is_file():
        yield Problem(
            f"{file} (baseline)",
            f"there is no file {config.baseline!r}",
            "name the baseline.csv that an earlier normalisation wrote",
        )
    if parts.samples is None:
        return
    patients = parts.samples[parts.samples[keys.ROLE] == PATIENT_ROLE]
    if patients.empty:
        yield Problem(
            str(file.parent / config.samples),
            f"every sample is a {' or '.join(dict.fromkeys(parts.samples[keys.ROLE]))}",
            "give at least one sample the role patient",
        )
    labels = timepoint_order(patients)
    yield from _cohort(file, config, patients)
    compare = config.compare
    for name, label in (("reference", compare.reference), ("against", compare.against)):
        if label is not None and label not in labels:
            yield Problem(
                f"{file} (compare.{name})", f"there is no timepoint {label!r}", did_you_mean(label, labels)
            )
    if compare.reference is not None and compare.reference == compare.against:
        yield Problem(
            f"{file} (compare)",
            f"reference and against are both {compare.reference!r}",
            "name two timepoints",
        )


def _cohort(file: Path, config: StudyConfig, samples: pd.DataFrame) -> Iterator[Problem]:
    """Find a formula that names what the sheet does not have, and a contrast that it cannot answer."""
    cohort = config.cohort
    if cohort.formula == cohort.contrast == "auto":
        return
    try:
        asked = questions(samples, config)[0]
        for question in asked:
            designed(question)
    except ParameterError as error:
        yield Problem.of(error, where=f"{file} (cohort)")
        return
    if not asked:
        what = "there is nothing to compare: the sheet has no two groups with two patients in one of them"
        yield Problem(f"{file} (cohort.contrast)", what, "state a formula beside it, or leave it out")


def _markers(file: Path, config: StudyConfig, panel: Panel) -> Iterator[Problem]:
    if isinstance(config.beads, list):
        channels = [str(channel) for channel in panel.var[keys.CHANNEL]]
        for name in config.beads:
            if panel.find_channel(name) is None:
                what = f"the panel has no channel {name!r}"
                yield Problem(f"{file} (beads)", what, did_you_mean(name, channels))
    markers = config.clustering.markers
    wanted = config.clustering.method != "off" or config.embedding != "off"
    if isinstance(markers, list):
        stated: dict[str, str] = {}
        for name in markers:
            fits = panel.candidates(name)
            marker = fits[0] if len(fits) == 1 else None
            where = f"{file} (clustering.markers)"
            if len(fits) > 1:
                yield several(name, fits, "markers of the panel", where=where)
            elif marker is None:
                yield Problem(where, f"the panel has no marker {name!r}", marker_hint(name, panel.markers))
            elif marker in stated:
                yield Problem(where, f"{name!r} and {stated[marker]!r} are the same marker", "name it once")
            else:
                stated[marker] = name
    elif wanted and int(panel.frame[keys.CLUSTERING].sum()) < 2:
        yield Problem(
            f"{file} (panel)",
            "fewer than two markers are used for clustering",
            f"set {keys.CLUSTERING} to 1 in the panel, list clustering.markers, or write "
            "'clustering: {method: off}' and 'embedding: off'",
        )


def study_notes(parts: StudyParts) -> Iterator[str]:
    """Say what the study cannot answer, without it being a fault."""
    if parts.samples is not None:
        patients = parts.samples[parts.samples[keys.ROLE] == PATIENT_ROLE]
        if not patients.empty and len(timepoint_order(patients)) < 2:
            yield "there is one timepoint only: nothing is compared over time"
        yield from _cohort_remarks(parts.samples, parts.config)
    if parts.panel is not None:
        frame = parts.panel.frame
        for group in of_one_antigen(frame.loc[frame[keys.ROLE] == "marker", keys.MARKER]):
            names = ", ".join(repr(marker) for marker in group)
            yield f"the panel has {names}: names of one antigen, each found by its own name only"
    if parts.panel is not None and parts.config is not None and parts.config.clean == "auto":
        roles = set(parts.panel.frame[keys.ROLE])
        for role, what in (
            ("dna", "debris and doublets are not told from cells by DNA"),
            ("viability", "dead cells are not removed"),
        ):
            if role not in roles:
                yield f"the panel has no channel of role {role}: {what}"


def _cohort_remarks(samples: pd.DataFrame, config: StudyConfig | None) -> Iterator[str]:
    """Say what patients will be compared by, and what cannot be separated from the batch."""
    # A tube that lacks an antibody is not a sample, whosever cells are in it.
    samples = samples[samples[keys.ROLE] != FMO_ROLE].reset_index(drop=True)
    for row in confounding_table(samples).itertuples():
        if row.verdict in ("aliased", "partly aliased", "unbalanced"):
            yield str(row.message)
    if config is None:
        return
    try:
        asked, remarks = questions(samples, config)
    except ParameterError:
        return  # reported as a problem
    yield from remarks
    for question in asked:
        yield f"patients are compared: {question.text}"
        yield from question.notes
