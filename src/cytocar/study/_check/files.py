"""Problems of the files of a study, from their headers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cytocar._core import keys
from cytocar._core.errors import CytocarError, Problem
from cytocar.panel.names import channel_isotope

if TYPE_CHECKING:
    import pandas as pd

    from cytocar.panel import Panel


def file_problems(samples: pd.DataFrame, panel: Panel | None, notes: list[str]) -> list[Problem]:
    """Read the header of every file; return what is wrong with it, and append to `notes` what was tolerated."""
    from cytocar.io._fcs.header import read_header

    problems: list[Problem] = []
    remarks: dict[str, list[str]] = {}
    for path, sample in zip(samples["path"], samples[keys.SAMPLE], strict=True):
        name = Path(path).name
        where = f"{path} (sample {sample})"
        try:
            header = read_header(path)
        except (CytocarError, OSError) as error:
            fix = "export the file again, or leave it out of the study"
            problems += Problem.all_of(error, where=where, fix=fix)
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
            said += match.notes
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
