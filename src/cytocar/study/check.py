"""Everything that is wrong with a study, found at once, from its settings, tables and the headers of its files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cytocar._core import keys
from cytocar._core.errors import CytocarError, GateError, ParameterError, Problem, did_you_mean
from cytocar.io._samples import FMO_ROLE, PATIENT_ROLE, timepoint_order
from cytocar.io._study import CONFIG_NAME, StudyFolder, StudyParts, gating_roles, gating_source, load_parts
from cytocar.panel.names import channel_isotope, marker_key
from cytocar.panel.roles import marker_hint
from cytocar.study._check_clusters import cluster_problems
from cytocar.study._cohort_design import designed, questions
from cytocar.study._cohort_tables import confounding_table
from cytocar.study._document_check import document_notes, document_problems

if TYPE_CHECKING:
    import pandas as pd

    from cytocar.gate import DocumentTree, GateTree
    from cytocar.io import StudyConfig
    from cytocar.panel import Panel
    from cytocar.pp._spill_matrix import Spillover


@dataclass(frozen=True, eq=False)
class CheckResult:
    """What was found wrong with a study, and what is worth knowing.

    Parameters
    ----------
    problems
        What has to be mended before the study can be run; none when it is fine.
    notes
        What was tolerated or left out.
    study, strategy
        The study and its gating strategy; None where there are problems.
    spillover
        The matrix that files are compensated with; None where they are not, or it comes from single stains.
    """

    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    study: StudyFolder | None = None
    strategy: GateTree | DocumentTree | None = None
    spillover: Spillover | None = None


def check(study: str | os.PathLike[str]) -> CheckResult:
    """Find every problem of a study at once: settings, panel, sample sheet, gating, the header of every file.

    No events are read, and nothing is written.

    Parameters
    ----------
    study
        The study folder, or the `study.yaml` in it.

    Returns
    -------
    The problems, the notes, and where there are no problems the study and its strategy.

    Examples
    --------
    >>> check("missing").problems[0].what
    'there is no such file or folder'
    """
    parts, problems = load_parts(study)
    notes: list[str] = []
    strategy, spillover = None, None
    path = Path(study).expanduser()
    file = path / CONFIG_NAME if path.is_dir() else path
    if parts.config is not None:
        strategy, found = _strategy(file, parts, notes)
        problems += found
        problems += _settings(file, parts.config, parts)
        spillover, found = _spillover(parts)
        problems += found
        notes += _remarks(parts)
    if parts.samples is not None:
        problems += _files(parts.samples, parts.panel, notes)
    whole = parts.config is not None and parts.panel is not None and parts.samples is not None
    if problems or not whole:
        return CheckResult(tuple(problems), tuple(notes))
    # mypy does not follow `whole`; the parts are all there.
    folder = StudyFolder(parts.folder, parts.config, parts.panel, parts.samples)  # type: ignore[arg-type]
    return CheckResult((), tuple(notes), folder, strategy, spillover)


def _spillover(parts: StudyParts) -> tuple[Spillover | None, list[Problem]]:
    """Read the spillover matrix that the settings name; of a folder of single stains only that there are some."""
    from cytocar.pp._spill_matrix import load_spillover

    if parts.config is None or parts.config.compensation == "off":
        return None, []
    path = parts.folder / Path(parts.config.compensation).expanduser()
    if not path.is_dir():
        return load_spillover(path)
    if any(entry.suffix.lower() == ".fcs" for entry in path.iterdir()):
        return None, []
    return None, [
        Problem(str(path), "there are no FCS files in it", "name a folder of single stains, or a matrix")
    ]


def _strategy(
    file: Path, parts: StudyParts, notes: list[str]
) -> tuple[GateTree | DocumentTree | None, list[Problem]]:
    """Load the strategy; find the markers that it needs in the panel, and the thresholds that the settings state."""
    from cytocar import gate

    config, panel = parts.config, parts.panel
    if config is None:
        return None, []
    where = f"{file} (gating)"
    try:
        strategy = gate.load(gating_source(parts.folder, config.gating), **gating_roles(config.gating))
    except (GateError, ParameterError, OSError) as error:
        return None, [
            Problem(
                where,
                str(error),
                "name a strategy that comes with cytocar, a YAML file, Gating-ML (.xml), "
                "a FlowJo workspace (.wsp), or off",
            )
        ]
    if parts.samples is not None:
        notes += _idle_tubes(strategy, parts.samples)
    if isinstance(strategy, gate.DocumentTree):
        notes += document_notes(strategy, parts.samples)
        problems = list(_stated_thresholds(file, config, strategy, parts.samples))
        return strategy, [*problems, *document_problems(where, strategy, parts)]
    if not strategy.compartments:
        # All cells of the denominator are looked at, as with gates of another program that say no more.
        strategy = replace(strategy, compartments={keys.CELLS: strategy.denominator})
    problems = [
        *_stated_thresholds(file, config, strategy, parts.samples),
        *_control_tubes(where, strategy, parts.samples),
        *_compartments(where, strategy),
    ]
    if panel is None:
        return strategy, problems
    missing, left_out = lacking(strategy, panel)
    if left_out:
        notes.append(
            f"gating {strategy.name!r} leaves out {', '.join(left_out)}: optional, and not in the panel"
        )
    if missing:
        hints = [
            f"for {marker} {hint}"
            for marker in missing
            if (hint := marker_hint(marker.split(" or ")[0], panel.markers)).startswith("did you mean")
        ]
        fix = "correct the names in the panel, name another strategy, or write 'gating: off'"
        problems.append(
            Problem(
                where,
                f"gating {strategy.name!r} needs {', '.join(missing)}: the panel has no such "
                f"{'marker' if len(missing) == 1 else 'markers'}",
                "; ".join([*hints, fix]),
            )
        )
    return strategy, problems


def _compartments(where: str, strategy: GateTree) -> Iterator[Problem]:
    """Find compartments that a run does not know, and CAR-T cells without host cells or the other way round."""
    known = {keys.CAR, keys.HOST}
    names = set(strategy.compartments)
    if names not in (known, {keys.CELLS}):
        yield Problem(
            where,
            f"gating {strategy.name!r} has the compartments {', '.join(strategy.compartments)}",
            f"a run needs both {keys.CAR} and {keys.HOST}, or {keys.CELLS} alone: "
            "compartments: {car: CAR-T, host: Host T}",
        )


def _idle_tubes(strategy: GateTree | DocumentTree, samples: pd.DataFrame) -> Iterator[str]:
    """Find tubes that lack an antibody and in which no threshold is looked for: they are left out of the study."""
    for sample, role in zip(samples[keys.SAMPLE].astype(str), samples["role"].astype(str), strict=True):
        if role == FMO_ROLE and not strategy.controlled_by(sample, role):
            yield (
                f"sample {sample!r} has the role {FMO_ROLE}, and no threshold of the gating {strategy.name!r} is found "
                "in such a tube: it is not used"
            )


def lacking(strategy: GateTree, panel: Panel) -> tuple[list[str], list[str]]:
    """Return the markers that a strategy needs and the panel has not, and the optional ones that it has not."""
    optional = {marker_key(marker) for marker in strategy.optional_markers()}
    missing: list[str] = []
    left_out: list[str] = []
    for threshold in strategy.thresholds.values():
        if any(panel.find(marker) for marker in threshold.markers):
            continue
        may_lack = bool(optional & {marker_key(marker) for marker in threshold.markers})
        into = left_out if may_lack else missing
        # CD8a and CD8A are one name.
        names: dict[str, str] = {}
        for marker in threshold.markers:
            names.setdefault(marker_key(marker), marker)
        into.append(" or ".join(names.values()))
    return list(dict.fromkeys(missing)), list(dict.fromkeys(left_out))


def _stated_thresholds(
    file: Path, config: StudyConfig, strategy: GateTree | DocumentTree, samples: pd.DataFrame | None
) -> Iterator[Problem]:
    known = None if samples is None else [str(sample) for sample in samples[keys.SAMPLE]]
    stated: dict[str, str] = {}
    for name, value in config.thresholds.items():
        where = f"{file} (thresholds.{name})"
        try:
            meant = strategy.threshold_name(name)
        except GateError as error:
            what, _, hint = str(error).partition("; ")
            yield Problem(where, what, hint)
        else:
            if meant in stated:
                yield Problem(where, f"{stated[meant]!r} states the same threshold", "state it once")
            stated[meant] = name
        if isinstance(value, dict) and known is not None:
            yield from (
                Problem(where, f"there is no sample {sample!r}", did_you_mean(sample, known))
                for sample in value
                if sample not in known
            )


def _control_tubes(where: str, strategy: GateTree, samples: pd.DataFrame | None) -> Iterator[Problem]:
    """Find control tubes that the strategy names and the sheet does not have."""
    from cytocar.gate._thresholds.rules import Quantile

    if samples is None:
        return
    known = [str(sample) for sample in samples[keys.SAMPLE]]
    roles = sorted(set(samples["role"].astype(str)))
    for threshold in strategy.thresholds.values():
        for rule in threshold.rules():
            if not isinstance(rule, Quantile):
                continue
            if rule.sample is not None and rule.sample not in known:
                yield Problem(
                    where,
                    f"threshold {threshold.name!r} is found in tube {rule.sample!r}; the sheet has no such sample",
                    did_you_mean(rule.sample, known),
                )
            if rule.role is not None and rule.role not in roles:
                yield Problem(
                    where,
                    f"threshold {threshold.name!r} is found in tubes of role {rule.role!r}; the sample sheet has none",
                    f"roles in the sheet: {', '.join(roles)}",
                )


def _settings(file: Path, config: StudyConfig, parts: StudyParts) -> Iterator[Problem]:
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
    patients = parts.samples[parts.samples["role"] == PATIENT_ROLE]
    if patients.empty:
        yield Problem(
            str(file.parent / config.samples),
            f"every sample is a {' or '.join(dict.fromkeys(parts.samples['role']))}",
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
        what, _, fix = str(error).partition("; ")
        yield Problem(f"{file} (cohort)", what, fix)
        return
    if not asked:
        what = "there is nothing to compare: the sheet has no two groups with two patients in one of them"
        yield Problem(f"{file} (cohort.contrast)", what, "state a formula beside it, or leave it out")


def _markers(file: Path, config: StudyConfig, panel: Panel) -> Iterator[Problem]:
    if isinstance(config.beads, list):
        known = [str(channel) for channel in panel.var[keys.CHANNEL]]
        for name in config.beads:
            if panel.find_channel(name) is None:
                what = f"the panel has no channel {name!r}"
                yield Problem(f"{file} (beads)", what, did_you_mean(name, known))
    markers = config.clustering.markers
    wanted = config.clustering.method != "off" or config.embedding != "off"
    if isinstance(markers, list):
        seen: dict[str, str] = {}
        for name in markers:
            found = panel.find(name)
            where = f"{file} (clustering.markers)"
            if found is None:
                yield Problem(where, f"the panel has no marker {name!r}", marker_hint(name, panel.markers))
            elif found in seen:
                yield Problem(where, f"{name!r} and {seen[found]!r} are one marker", "name it once")
            else:
                seen[found] = name
    elif wanted and int(panel.frame[keys.CLUSTERING].sum()) < 2:
        yield Problem(
            f"{file} (panel)",
            "fewer than two markers are used for clustering",
            f"set {keys.CLUSTERING} to 1 in the panel, list clustering.markers, or write "
            "'clustering: {method: off}' and 'embedding: off'",
        )


def _remarks(parts: StudyParts) -> Iterator[str]:
    """Say what the study cannot answer, without it being a fault."""
    if parts.samples is not None:
        patients = parts.samples[parts.samples["role"] == PATIENT_ROLE]
        if not patients.empty and len(timepoint_order(patients)) < 2:
            yield "there is one timepoint only: nothing is compared over time"
        yield from _cohort_remarks(parts.samples, parts.config)
    if parts.panel is not None and parts.config is not None and parts.config.clean == "auto":
        roles = set(parts.panel.frame[keys.ROLE])
        for role, what in (
            ("dna", "debris and doublets are not told from cells by DNA"),
            ("viability", "dead cells are not removed"),
        ):
            if role not in roles:
                yield f"the panel has no channel of role {role}: {what}"


def _cohort_remarks(samples: pd.DataFrame, config: StudyConfig | None) -> Iterator[str]:
    """Say what patients will be compared by, and what cannot be told from the batch."""
    # A tube that lacks an antibody is no sample, whosever cells are in it.
    samples = samples[samples["role"] != FMO_ROLE].reset_index(drop=True)
    for row in confounding_table(samples).itertuples():
        if row.verdict in ("aliased", "partly aliased", "unbalanced"):
            yield str(row.message)
    if config is None:
        return
    try:
        asked, remarks = questions(samples, config)
    except ParameterError:
        return  # told as a problem
    yield from remarks
    for question in asked:
        yield f"patients are compared: {question.words}"
        yield from question.notes


def _files(samples: pd.DataFrame, panel: Panel | None, notes: list[str]) -> list[Problem]:
    """Read the header of every file; return what is wrong with it, and append to `notes` what was tolerated."""
    from cytocar.io._fcs_header import read_header

    problems: list[Problem] = []
    remarks: dict[str, list[str]] = {}
    for path, sample in zip(samples["path"], samples[keys.SAMPLE], strict=True):
        name = Path(path).name
        where = f"{path} (sample {sample})"
        try:
            header = read_header(path)
        except (CytocarError, OSError) as error:
            text = str(error).removeprefix(f"{path}: ")
            problems.append(Problem(where, text, "export the file again, or leave it out of the study"))
            continue
        said = list(header.tolerances)
        if header.n_events == 0:
            problems.append(Problem(where, "the file has no events", "leave it out of the study"))
        if header.keywords.get("CYTOCAR_STATE", keys.STATE_COUNTS) != keys.STATE_COUNTS:
            fix = "take the file from before the transformation"
            problems.append(Problem(where, "holds arcsinh values; a study is read as counts", fix))
        if header.n_data_sets > 1:
            said.append(f"holds {header.n_data_sets} data sets; the first is read")
        if panel is not None:
            match = panel.match(header.names, where=where)
            problems += match.problems
            said += [note.removeprefix(f"{where}: ") for note in match.notes]
            extra = [header.channels[column] for column in match.extra]
            left_out = [channel.pnn for channel in extra if channel_isotope(channel.pnn, channel.pns)]
            if left_out:
                said.append(f"mass channels that the panel does not name are left out: {', '.join(left_out)}")
        for text in said:
            remarks.setdefault(text, []).append(name)
    for text, names in remarks.items():
        who = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
        notes.append(f"{who if len(names) < len(samples) or len(names) == 1 else 'every file'}: {text}")
    return problems
