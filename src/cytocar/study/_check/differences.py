"""What files of one study lack: what nobody misses, what is left out of results, and files that cannot be run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cytocar._core import keys
from cytocar._core.errors import CytocarError, Problem
from cytocar._core.vocabulary import FMO_ROLE, PATIENT_ROLE
from cytocar.gate._strategy.strategy import StudyFacts, controlled_by
from cytocar.io._study.folder import LeftOut

if TYPE_CHECKING:
    from cytocar.gate import Strategy
    from cytocar.io import StudyConfig
    from cytocar.panel import Panel, PanelMatch

CLEANED_BY = {"dna": "debris and doublets are told by", "viability": "dead cells are told by"}


@dataclass(frozen=True, eq=False)
class FileMatch:
    """A file whose header was read, and where the channels of its panel are in it."""

    sample_id: str
    path: Path
    role: str
    panel: Panel
    match: PanelMatch
    where: str

    @property
    def absent(self) -> list[str]:
        """Markers of the channels that the file plainly does not have, without those that nothing ever needs."""
        return [str(self.panel.frame[keys.MARKER].iloc[row]) for row in self.match.unmeasured]

    def channel(self, marker: str) -> str:
        """Return channel and marker as problems write them."""
        frame = self.panel.frame
        return f"{frame.loc[frame[keys.MARKER] == marker, keys.CHANNEL].iloc[0]!r} ({marker})"

    def role_of(self, marker: str) -> str:
        frame = self.panel.frame
        return str(frame.loc[frame[keys.MARKER] == marker, keys.ROLE].iloc[0])

    def has(self, role: str) -> bool:
        """Whether the file has a channel of a role."""
        roles = self.panel.frame[keys.ROLE] == role
        return bool((roles.to_numpy() & (self.match.columns >= 0)).any())

    @property
    def markers(self) -> set[str]:
        """Markers of the mass channels that the file has."""
        there = self.panel.has_mass & (self.match.columns >= 0)
        return set(self.panel.frame.loc[there, keys.MARKER])


@dataclass(frozen=True)
class Differences:
    """What follows from what files lack."""

    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()


def differences(
    files: Sequence[FileMatch],
    config: StudyConfig,
    panel: Panel,
    strategy: Strategy | None,
    config_file: Path,
) -> Differences:
    """Judge what the files of a study lack of its panel.

    Parameters
    ----------
    files
        Those whose headers could be read.
    config, panel, strategy
        Of the study; the strategy is None where it could not be read, and is asked for no marker then.
    config_file
        Where the settings stand.
    """
    in_no_file = _in_no_file(files)
    problems = list(in_no_file.values())
    needed = {
        file.sample_id: {
            marker: why
            for marker in file.absent
            if (id(file.panel), marker) not in in_no_file
            and (why := _needed_for(marker, file, files, config, strategy))
        }
        for file in files
    }
    refused = [file for file in files if needed[file.sample_id]]
    if config.on_missing == "refuse":
        problems += [_refusal(file, needed[file.sample_id]) for file in refused]
        refused = []
    left_out = [
        LeftOut(file.sample_id, file.path.name, file.role, ", ".join(needed[file.sample_id]))
        for file in refused
    ]
    notes = [note for file in refused for note in _of_left_out(file, needed[file.sample_id], strategy)]
    kept = [file for file in files if file not in refused]
    problems += _none_left(left_out, kept, config_file)
    notes += _unmissed(kept)
    gaps = _gaps([file for file in kept if file.role != FMO_ROLE], panel)
    problems += _clustering(gaps, config, panel, config_file)
    notes += _not_measured(gaps, config, panel)
    return Differences(tuple(problems), tuple(notes), tuple(left_out))


def _none_left(
    left_out: Sequence[LeftOut], kept: Sequence[FileMatch], config_file: Path
) -> Iterator[Problem]:
    """Refuse a study of which no sample of a patient is left."""
    if not left_out or any(file.role == PATIENT_ROLE for file in kept):
        return
    what = (
        f"every sample lacks what it needs: {'; '.join(f'{one.sample_id}: {one.lacks}' for one in left_out)}"
    )
    yield Problem(str(config_file), what, "correct the panel, take another gating, or 'gating: off'")


def _in_no_file(files: Sequence[FileMatch]) -> dict[tuple[int, str], Problem]:
    """Find markers that no file of their panel has, by the identity of the panel and the marker: the panel is wrong."""
    problems: dict[tuple[int, str], Problem] = {}
    by_panel: dict[int, list[FileMatch]] = {}
    for file in files:
        by_panel.setdefault(id(file.panel), []).append(file)
    for panel, same in by_panel.items():
        for marker in same[0].absent:
            if same[0].role_of(marker) != "marker" or any(marker not in file.absent for file in same):
                continue
            what = f"no file has the channel {same[0].channel(marker)}"
            fix = "remove the row from the panel, or correct it"
            problems[panel, marker] = Problem(str(same[0].path.parent), what, fix)
    return problems


def _needed_for(
    marker: str,
    file: FileMatch,
    files: Sequence[FileMatch],
    config: StudyConfig,
    strategy: Strategy | None,
) -> str:
    """Return what cannot be done without a marker, empty where everything can."""
    role = file.role_of(marker)
    if strategy is not None and _gates_need(strategy, file.panel, marker):
        return "the gates need it"
    beads = config.beads
    named = isinstance(beads, list) and _channel(file.panel, marker) in beads
    if named or (beads == "auto" and role == "bead" and any(other.has("bead") for other in files)):
        return "it is normalised by beads like the others (beads: off, or a list of bead channels that all files have)"
    cleaned_by = config.clean == "auto" and role in CLEANED_BY and not file.has(role)
    if cleaned_by and any(other.has(role) for other in files):
        return f"{CLEANED_BY[role]} it in the other files"
    return ""


def _channel(panel: Panel, marker: str) -> str:
    return str(panel.frame.loc[panel.frame[keys.MARKER] == marker, keys.CHANNEL].iloc[0])


def _gates_need(strategy: Strategy, panel: Panel, marker: str) -> bool:
    """Return whether a strategy would find other gates, or none, without a marker."""
    from dataclasses import replace

    thresholds = getattr(strategy, "thresholds", None)
    if thresholds is not None:
        return any(marker in panel.candidates(*threshold.markers) for threshold in thresholds.values())
    smaller = replace(panel, frame=panel.frame[panel.frame[keys.MARKER] != marker].reset_index(drop=True))
    before, after = (
        {problem.what for problem in strategy.problems(StudyFacts(one))} for one in (panel, smaller)
    )
    return bool(after - before)


def _refusal(file: FileMatch, needed: Mapping[str, str]) -> Problem:
    lacks = "; ".join(f"no channel {file.channel(marker)}, and {why}" for marker, why in needed.items())
    fix = (
        "take a file with it, leave this one out of samples.csv, or write 'on_missing: leave_out' in study.yaml to run "
        "the study without such files"
    )
    return Problem(file.where, f"has {lacks}", fix)


def _of_left_out(file: FileMatch, needed: Mapping[str, str], strategy: Strategy | None) -> Iterator[str]:
    reasons = "; ".join(f"it lacks {marker}, and {why}" for marker, why in needed.items())
    yield f"sample {file.sample_id!r} ({file.path.name}) is left out: {reasons}"
    controls = () if strategy is None else controlled_by(strategy, file.sample_id, file.role)
    if controls:
        yield (
            f"sample {file.sample_id!r}, which is left out, is a control: the thresholds of {', '.join(controls)} are "
            "not found in its cells, but in other controls, or by what the gating states for a study without one"
        )


def _unmissed(files: Sequence[FileMatch]) -> Iterator[str]:
    """Say which channels files lack that nothing is made of."""
    by_channels: dict[tuple[str, str], list[str]] = {}
    for file in files:
        for role in dict.fromkeys(map(file.role_of, file.absent)):
            names = ", ".join(marker for marker in file.absent if file.role_of(marker) == role)
            if role in CLEANED_BY and file.has(role):
                why = f"{CLEANED_BY[role]} the other such channel"
                by_channels.setdefault((names, why), []).append(file.path.name)
            elif role != "marker":
                why = f"{role} channels are not needed by this study"
                by_channels.setdefault((names, why), []).append(file.path.name)
    for (names, why), lacking in by_channels.items():
        yield f"{_files(lacking, len(files))}: has no channel {names}; {why}"


def _gaps(files: Sequence[FileMatch], panel: Panel) -> dict[str, list[str]]:
    """Return each marker of the study that files lack, with their samples."""
    frame = panel.frame
    markers = frame.loc[frame[keys.ROLE] == "marker", keys.MARKER]
    gaps = {
        str(marker): [file.sample_id for file in files if marker not in file.markers] for marker in markers
    }
    return {marker: samples for marker, samples in gaps.items() if samples and len(samples) < len(files)}


def _not_measured(gaps: Mapping[str, list[str]], config: StudyConfig, panel: Panel) -> Iterator[str]:
    if gaps and config.compensation != "off":
        yield f"what {', '.join(gaps)} leak into other channels is not compensated where they were not measured"
    used = panel.frame.loc[panel.frame[keys.CLUSTERING], keys.MARKER]
    without = [str(marker) for marker in used if marker in gaps]
    wanted = config.clustering.method != "off" or config.embedding != "off"
    if without and wanted and config.clustering.markers == "clustering" and not config.clustering.reference:
        yield f"clusters and maps are made without {', '.join(without)}: not measured in every sample"


def _clustering(
    gaps: Mapping[str, list[str]], config: StudyConfig, panel: Panel, config_file: Path
) -> Iterator[Problem]:
    """Find markers that cells are to be clustered by and that some samples do not have."""
    clustering = config.clustering
    if clustering.method == "off" and config.embedding == "off" and not clustering.reference:
        return
    where, asked = f"{config_file} (clustering.markers)", clustering.markers
    if clustering.reference:
        where, asked = f"{config_file} (clustering.reference)", _of_reference(config, config_file)
    if asked == "clustering":
        used = panel.frame.loc[panel.frame[keys.CLUSTERING], keys.MARKER]
        left = [marker for marker in used if marker not in gaps]
        if gaps and len(left) < 2 <= len(used):
            yield Problem(
                where,
                "fewer than two markers for clustering were measured in every sample",
                "leave files out of the study, list clustering.markers, or write 'clustering: {method: off}' and "
                "'embedding: off'",
            )
        return
    for name in asked:
        marker = panel.find(name)
        if marker is not None and marker in gaps:
            yield Problem(
                where,
                f"{marker} was not measured in {', '.join(gaps[marker])}",
                "leave it out of the list, or these samples out of the study",
            )


def _of_reference(config: StudyConfig, config_file: Path) -> list[str]:
    from cytocar.tl._clusters.reference import Reference

    try:
        path = config_file.parent / Path(config.clustering.reference).expanduser()
        return list(Reference.read(path).markers)
    except CytocarError:
        return []  # reported where references are checked


def _files(names: Sequence[str], total: int) -> str:
    if len(names) == 1:
        return names[0]
    return "every file" if len(names) == total else f"{names[0]} and {len(names) - 1} more"
