"""What only the events of the files of a study show: their hashes, and FlowIO's reading beside cytocar's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cytocar._core import keys
from cytocar._core.errors import CytocarError, Problem
from cytocar._core.files import sha256

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class DeepFile:
    """One file of a study, read whole.

    Parameters
    ----------
    sample_id, path
        Sample and file.
    events
        Number of events.
    sha256
        Hash of the bytes of the file.
    opinion
        What FlowIO says of it, as a sentence.
    """

    sample_id: str
    path: Path
    events: int
    sha256: str
    opinion: str


def deep_problems(samples: pd.DataFrame, notes: list[str]) -> tuple[list[DeepFile], list[Problem]]:
    """Read every file whole, one after the other; find copies of one file, and values that FlowIO reads otherwise.

    Values that no instrument gives, and those that look transformed, are noted.

    Files whose header has problems are left out: these are reported from the header.
    """
    from cytocar.io._fcs.header import read_header
    from cytocar.io._fcs.inspect import inspect_file
    from cytocar.io._fcs.offsets import DOUBT
    from cytocar.io._fcs.read import TRANSFORMED
    from cytocar.io._fcs.second_opinion import second_opinion

    files: list[DeepFile] = []
    problems: list[Problem] = []
    for path, sample in zip(samples["path"], samples[keys.SAMPLE].astype(str), strict=True):
        where = f"{path} (sample {sample})"
        try:
            header = read_header(path)
            opinion = second_opinion(header)
            told = [note for note in inspect_file(path).oddities if note not in header.tolerances]
            notes += [
                f"{Path(path).name}: {note}" for note in told if note.startswith(DOUBT) or TRANSFORMED in note
            ]
            files.append(DeepFile(sample, Path(path), header.n_events, sha256(path), str(opinion)))
        except (CytocarError, OSError):
            continue
        problems += [Problem(where, problem.what, problem.fix) for problem in opinion.problems]
        notes += [f"{Path(path).name}: {note}" for note in opinion.notes]
    return files, [*problems, *_copies(files)]


def _copies(files: list[DeepFile]) -> list[Problem]:
    """Return one problem per group of samples whose files have the same bytes."""
    by_hash: dict[str, list[DeepFile]] = {}
    for file in files:
        by_hash.setdefault(file.sha256, []).append(file)
    return [
        Problem(
            ", ".join(str(file.path) for file in same),
            f"samples {', '.join(repr(file.sample_id) for file in same)} are the same file to the byte",
            "keep one of them in samples.csv: cells that are counted twice are not two samples",
        )
        for same in by_hash.values()
        if len(same) > 1
    ]
