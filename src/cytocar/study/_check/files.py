"""Problems of the files of a study, from their headers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cytocar._core import keys
from cytocar._core.errors import CytocarError, Problem
from cytocar.gate._strategy.strategy import StudyFacts
from cytocar.panel.names import channel_isotope

_LEAVE_OUT = (
    "take the file out of samples.csv, use gates without it, or write on_missing: leave_out in study.yaml"
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    import pandas as pd

    from cytocar.gate import Strategy
    from cytocar.io import StudyConfig
    from cytocar.io._fcs.header import FcsHeader
    from cytocar.panel import Panel, PanelMatch


@dataclass
class FileFindings:
    """What the headers of the files of a study show.

    Parameters
    ----------
    problems
        What keeps the study from being run.
    left_out
        Samples whose files lack a marker of the gates, where the settings leave these out, with what is missing.
    """

    problems: list[Problem] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def file_problems(
    samples: pd.DataFrame,
    panel: Panel | None,
    notes: list[str],
    *,
    strategy: Strategy | None = None,
    config: StudyConfig | None = None,
) -> FileFindings:
    """Read the header of every file; return what is wrong with it, and append to `notes` what was tolerated.

    An antibody that a file does not have is not measured there, which is a note; where the gates need it, or the
    settings name it for clustering, the sample is refused or left out.
    """
    from cytocar.io._fcs.header import read_header

    findings = FileFindings()
    problems = findings.problems
    need = _Needs(panel, strategy, config)
    files_by_note: dict[str, list[str]] = {}
    for path, sample in zip(samples["path"], samples[keys.SAMPLE], strict=True):
        where = f"{path} (sample {sample})"
        try:
            header = read_header(path)
        except (CytocarError, OSError) as error:
            fix = "export the file again, or leave it out of the study"
            problems += Problem.all_of(error, where=where, fix=fix)
            continue
        problems += _unusable(header, where)
        tolerated = _tolerated(header)
        if panel is not None:
            match = panel.match(header.names, where=where, optional=need.optional)
            problems += match.problems
            for missing in need.of_gates(match.unmeasured):
                if need.leave_out:
                    findings.left_out[str(sample)] = missing
                else:
                    problems.append(
                        Problem(where, f"does not measure {missing}, which the gates need", _LEAVE_OUT)
                    )
            problems += [Problem(where, what, fix) for what, fix in need.of_clustering(match.unmeasured)]
            tolerated += [*match.notes, *_left_out(header, match)]
        for note in tolerated:
            files_by_note.setdefault(note, []).append(Path(path).name)
    notes += [f"{_who(names, len(samples))}: {note}" for note, names in files_by_note.items()]
    if findings.left_out:
        notes += [
            f"sample {sample} is left out: its file lacks {what}, which the gates need"
            for sample, what in findings.left_out.items()
        ]
        if len(findings.left_out) == len(samples):
            problems.append(
                Problem("", "every sample is left out: none has the markers of the gates", "use other gates")
            )
    return findings


def without_samples(samples: pd.DataFrame, left_out: Collection[str]) -> pd.DataFrame:
    """Return the rows of a sample sheet without those of some samples."""
    if not left_out:
        return samples
    return samples[~samples[keys.SAMPLE].astype(str).isin(list(left_out))].reset_index(drop=True)


class _Needs:
    """What a study needs of a file."""

    def __init__(self, panel: Panel | None, strategy: Strategy | None, config: StudyConfig | None) -> None:
        self._panel, self._strategy = panel, strategy
        frame = None if panel is None else panel.frame
        self.optional: tuple[str, ...] = (
            () if frame is None else tuple(frame.loc[frame[keys.ROLE] == "marker", keys.MARKER])
        )
        self.leave_out = config is not None and config.on_missing == "leave_out"
        named = None if config is None else config.clustering.markers
        self._clustered = [] if named is None or isinstance(named, str) else list(named)
        self._compensated = config is not None and config.compensation != "off"
        self._known = self._of_panel(panel)

    def _of_panel(self, panel: Panel | None) -> set[str]:
        if panel is None or self._strategy is None:
            return set()
        study = StudyFacts(panel, None, self._compensated)
        return {problem.what for problem in self._strategy.problems(study)}

    def of_gates(self, unmeasured: Sequence[int]) -> list[str]:
        """Return the markers that the gates need and the file does not have, as one text; nothing where it has all."""
        if self._panel is None or not unmeasured:
            return []
        missing = [
            str(self._panel.frame[keys.MARKER].iloc[row])
            for row in unmeasured
            if self._of_panel(self._panel.without([row])) - self._known
        ]
        return [", ".join(missing)] if missing else []

    def of_clustering(self, unmeasured: Sequence[int]) -> list[tuple[str, str]]:
        """Return what is wrong where clustering.markers names an antibody that the file does not have."""
        if self._panel is None or not self._clustered or not unmeasured:
            return []
        missing = {str(self._panel.frame[keys.MARKER].iloc[row]) for row in unmeasured}
        named = [name for name in self._clustered if self._panel.find(name) in missing]
        if not named:
            return []
        what = f"does not measure {', '.join(named)}, which clustering.markers names"
        return [
            (what, "clusters are made of markers that every file has: leave it out of clustering.markers")
        ]


def _unusable(header: FcsHeader, where: str) -> Iterator[Problem]:
    if header.n_events == 0:
        yield Problem(where, "the file has no events", "leave it out of the study")
    if header.keywords.get("CYTOCAR_STATE", keys.STATE_COUNTS) != keys.STATE_COUNTS:
        fix = "take the file from before the transformation"
        yield Problem(where, "the file holds arcsinh values; a study is read as counts", fix)


def _tolerated(header: FcsHeader) -> list[str]:
    further = header.n_data_sets > 1
    return [
        *header.tolerances,
        *([f"holds {header.n_data_sets} data sets; the first is read"] if further else []),
    ]


def _left_out(header: FcsHeader, match: PanelMatch) -> Iterator[str]:
    extra = [header.channels[column] for column in match.extra]
    of_mass = [channel.pnn for channel in extra if channel_isotope(channel.pnn, channel.pns)]
    if of_mass:
        yield f"mass channels that the panel does not name are left out: {', '.join(of_mass)}"


def _who(names: list[str], total: int) -> str:
    """Name the files that a note is about: one by its name, several by the first and their number."""
    if len(names) == 1:
        return names[0]
    return "every file" if len(names) == total else f"{names[0]} and {len(names) - 1} more"
