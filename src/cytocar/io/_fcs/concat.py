"""Several FCS files of one sample into one: Time goes on, and every event keeps its file of origin."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from cytocar._core import keys
from cytocar._core.errors import ParameterError, StateError
from cytocar.io._fcs.clock import Run
from cytocar.io._fcs.concat_keywords import keywords_of
from cytocar.io._fcs.concat_sources import Source, continue_time, largest_values, match_files, rows_of, survey
from cytocar.io._fcs.header import read_header
from cytocar.io._fcs.read import STATE_KEYWORD
from cytocar.io._fcs.write import stream

if TYPE_CHECKING:
    import pandas as pd

    from cytocar.panel import Panel

FILE_CHANNEL: Final = "File"
"""The channel that holds the number of the file that an event is from, from 1."""


def concat_fcs(
    files: Iterable[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    panel: Panel | str | os.PathLike[str] | None = None,
    rename: bool = True,
    deidentify: bool = False,
) -> pd.DataFrame:
    """Put the FCS files of one sample, one after the other, into one FCS 3.1 file.

    Time goes on from file to file: as it is where it does so already; by `$DATE` and `$BTIM` where both files
    state them, so that a pause keeps its length; else from the largest Time before. Times within a file keep
    their distances, and units (`$TIMESTEP`) become those of the first file. A new channel `File` holds the
    number of the file of each event, from 1. Channels are matched by metal and mass whatever their order and
    spelling, and stand as in the first file; a channel without mass that some file does not have is left out,
    and the table says so. Values are not changed. The inputs are read twice, in blocks of 1 MB: memory does not
    grow with the files. The output appears whole or not at all.

    Parameters
    ----------
    files
        At least one FCS file, in the order of measurement, each once.
    out
        Where to; the folder exists, the file does not.
    panel
        A `Panel`, a CSV file, or the name of a panel that comes with cytocar; every file must have its mass
        channels.
    rename
        Whether channels of the panel get its names: `$PnN` the channel, `$PnS` mass, metal and marker. The old
        names stay in `PnOLDNAME` and `PnOLDLABEL`. Without effect where there is no panel.
    deidentify
        Keep only keywords that describe the measurement, as `write_fcs` does; names of files go too.

    Returns
    -------
    One row per file: `number` (from 1), `file`, `events`, `time_shift` (added to Time, in units of the first
    file), `time_by` (`first file`, `Time of the file`, `clock`, `end of the file before`), `pause_s` (seconds
    between the last event before and the first of the file) and `note`. The keyword `CYTOCAR_FILES` of the
    output holds the same as JSON, and the channel names of each file that differ.

    Raises
    ------
    ParameterError
        No file is given or one twice, the output exists or is an input, or its folder does not exist.
    FcsError
        A file cannot be read, or files differ in mass channels; all that differ are named.
    PanelError
        The panel is malformed or does not fit a file.
    StateError
        Some files hold arcsinh values and some counts.

    Examples
    --------
    >>> import numpy as np, tempfile, pathlib
    >>> from cytocar.io import concat_fcs, read_fcs
    >>> from cytocar.io._fcs.write import write_events
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> events = np.array([[0, 7], [900, 8]])
    >>> write_events(folder / "a.fcs", events, [("Time", ""), ("Yb171Di", "171Yb_CD3")])
    >>> write_events(folder / "b.fcs", events[:, ::-1], [("(Yb171)Dd", "CD3"), ("Time", "")])
    >>> table = concat_fcs([folder / "a.fcs", folder / "b.fcs"], folder / "ab.fcs")
    >>> table["events"].tolist(), read_fcs(folder / "ab.fcs").obs["Time"].tolist()
    ([2, 2], [0.0, 900.0, 900.0, 1800.0])
    """
    paths, out = _checked_paths(files, out)
    chosen = _panel(panel)
    headers = [read_header(path) for path in paths]
    sources, kept = match_files(headers, chosen)
    _require_one_state(sources)
    names = [headers[0].names[column] for column in kept]
    time = _time_column(names)
    for source in sources:
        survey(source, time)
    if time is not None:
        continue_time(sources, names[time][0])
    new_names = list(names)
    if chosen is not None and rename:
        new_names = _renamed(names, chosen, headers[0].path.name)
    _make_room(new_names, sources[0].notes)
    table = _table(sources, time is not None, sources[0].run)
    keywords = keywords_of(sources, kept, names, new_names, out, table, deidentify=deidentify)
    largest = np.append(largest_values(sources, time), len(sources))

    def rows() -> Iterator[npt.NDArray[np.float32]]:
        for number, source in enumerate(sources, 1):
            yield from rows_of(source, number, time)

    total = sum(header.n_events for header in headers)
    stream(out, rows, total, [*new_names, (FILE_CHANNEL, "")], keywords, largest=largest)
    return table


def _checked_paths(
    files: Iterable[str | os.PathLike[str]], out: str | os.PathLike[str]
) -> tuple[list[Path], Path]:
    if isinstance(files, (str, os.PathLike)):
        raise ParameterError(
            f"files is {os.fspath(files)!r}", fix="expected a list of files, such as ['a.fcs', 'b.fcs']"
        )
    paths, out = [Path(path) for path in files], Path(out)
    if not paths:
        raise ParameterError("files is empty", fix="expected at least one FCS file")
    seen: dict[Path, Path] = {}
    for path in paths:
        real = path.resolve()
        if real in seen:
            raise ParameterError(f"{path} is given twice", fix="its events would count twice")
        seen[real] = path
    if out.resolve() in seen or any(_same(out, path) for path in paths):
        raise ParameterError(
            f"the output {out} is one of the inputs", fix="an input is never changed: give another name"
        )
    if out.exists() or out.is_symlink():
        raise ParameterError(f"the output {out} exists", fix="remove it or give another name")
    if not out.parent.is_dir():
        raise ParameterError(f"the folder {out.parent} of the output does not exist", fix="make it first")
    return paths, out


def _same(path: Path, other: Path) -> bool:
    """Whether two names are one file, by hard link or by a file system that ignores case."""
    try:
        return path.samefile(other)
    except OSError:
        return False


def _panel(panel: Panel | str | os.PathLike[str] | None) -> Panel | None:
    from cytocar.panel import Panel

    return panel if panel is None or isinstance(panel, Panel) else Panel.read(panel)


def _require_one_state(sources: Sequence[Source]) -> None:
    states = {source.name: source.header.keywords.get(STATE_KEYWORD, keys.STATE_COUNTS) for source in sources}
    if len(set(states.values())) > 1:
        listed = ", ".join(f"{name} {state}" for name, state in states.items())
        raise StateError(
            f"the files do not hold the same kind of values ({listed})", fix="take all from before pp.arcsinh"
        )


def _time_column(names: Sequence[tuple[str, str]]) -> int | None:
    from cytocar.panel.roles import guess_role

    return next((n for n, (pnn, _) in enumerate(names) if guess_role(pnn, pnn, None) == "time"), None)


def _renamed(names: Sequence[tuple[str, str]], panel: Panel, where: str) -> list[tuple[str, str]]:
    """Return the names that the panel gives to the channels that it has."""
    new = list(names)
    match = panel.match(names, where=where)
    for row, column, mass in zip(
        panel.frame.to_dict("records"), match.columns.tolist(), panel.has_mass, strict=True
    ):
        if column < 0:
            continue
        channel = str(row[keys.CHANNEL])
        label = f"{row[keys.MASS]}{row[keys.METAL]}_{row[keys.MARKER]}" if mass else names[column][1]
        new[column] = (channel, label)
    return new


def _make_room(names: list[tuple[str, str]], notes: list[str]) -> None:
    """Give another name to a channel of the files that is called as the new one, in place."""
    taken = {pnn.casefold() for pnn, _ in names}
    for n, (pnn, pns) in enumerate(names):
        if pnn.casefold() != FILE_CHANNEL.casefold():
            continue
        renamed, number = f"{pnn}_before", 2
        while renamed.casefold() in taken:
            renamed, number = f"{pnn}_before_{number}", number + 1
        names[n] = (renamed, pns)
        notes.append(f"channel {pnn!r} of the files is {renamed!r} there")


def _table(sources: Sequence[Source], has_time: bool, first: Run | None) -> pd.DataFrame:
    import pandas as pd

    rows, end = [], float("nan")
    for number, source in enumerate(sources, 1):
        pause = float("nan")
        if has_time and source.run is not None and first is not None and source.header.n_events:
            begin = source.run.first * source.scale + source.shift
            pause = (begin - end) * first.step
            reached = source.run.last * source.scale + source.shift
            end = reached if np.isnan(end) else max(end, reached)
        rows.append(
            {
                "number": number,
                "file": source.name,
                "events": source.header.n_events,
                "time_shift": source.shift if has_time else float("nan"),
                "time_by": source.how,
                "pause_s": pause,
                "note": "; ".join(source.notes),
            }
        )
    return pd.DataFrame(rows)
