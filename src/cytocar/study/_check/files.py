"""Problems of the files of a study, from their headers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cytocar._core import keys
from cytocar._core.errors import CytocarError, Problem
from cytocar.panel.names import channel_isotope
from cytocar.study._check.differences import FileMatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pandas as pd

    from cytocar.io._fcs.header import FcsHeader
    from cytocar.panel import Panel, PanelMatch


def read_files(
    samples: pd.DataFrame, panel_of: Callable[[str], Panel | None], notes: list[str]
) -> tuple[list[FileMatch], list[Problem]]:
    """Read the header of every file and find its panel in it.

    Returns
    -------
    The files that could be read, and what is wrong with any, without channels that are plainly not there; what was
    tolerated is appended to `notes`.
    """
    from cytocar.io._fcs.header import read_header

    problems: list[Problem] = []
    files: list[FileMatch] = []
    files_by_note: dict[str, list[str]] = {}
    for path, sample, role in zip(
        samples["path"], samples[keys.SAMPLE].astype(str), samples[keys.ROLE].astype(str), strict=True
    ):
        where = f"{path} (sample {sample})"
        try:
            header = read_header(path)
        except (CytocarError, OSError) as error:
            fix = "export the file again, or leave it out of the study"
            problems += Problem.all_of(error, where=where, fix=fix)
            continue
        problems += _unusable(header, where)
        tolerated = _tolerated(header)
        panel = panel_of(sample)
        if panel is not None:
            match = panel.match(header.names, where=where, optional=panel.markers)
            problems += match.problems
            files.append(FileMatch(sample, Path(path), role, panel, match, where))
            tolerated += [*match.notes, *_left_out(header, match)]
        for note in tolerated:
            files_by_note.setdefault(note, []).append(Path(path).name)
    notes += [f"{_who(names, len(samples))}: {note}" for note, names in files_by_note.items()]
    return files, problems


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
