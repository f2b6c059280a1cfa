"""Several FCS files of one sample into one: Time goes on, and every event keeps its file of origin."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from cytocar._core import keys
from cytocar._core.errors import FcsError, PanelError, ParameterError, Problem, StateError
from cytocar._core.version import __version__
from cytocar.io._deidentify import deidentified
from cytocar.io._fcs_clock import Run, recorded, shifts, time_step
from cytocar.io._fcs_data import blocks, event_type
from cytocar.io._fcs_header import FcsHeader, read_header
from cytocar.io._read import STATE_KEYWORD, STEPS_KEYWORD
from cytocar.io._write import VERSION_KEYWORD, largest_of, stream

if TYPE_CHECKING:
    import pandas as pd

    from cytocar.panel import Panel

FILE_CHANNEL: Final = "File"
"""The channel that holds the number of the file that an event is from, from 1."""
FILES_KEYWORD: Final = "CYTOCAR_FILES"
# P3OLDNAME follows its channel as $P3V does.
_OLD_NAME: Final = "P{}OLDNAME"
_OLD_LABEL: Final = "P{}OLDLABEL"
_SPILL: Final = ("$SPILLOVER", "$SPILL", "SPILL", "$COMP")
# What the files lost, measured and aborted adds up.
_SUMS: Final = ("$ABRT", "$LOST", "$VOL")
# Above this, single-precision Time cannot tell neighbouring units apart.
_EXACT: Final = 1 << 24


@dataclass
class _Part:
    """One input: its header, and where it has the channels of the output."""

    header: FcsHeader
    columns: npt.NDArray[np.intp]
    notes: list[str]
    scale: float = 1.0
    shift: float = 0.0
    run: Run | None = None
    how: str = ""
    largest: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    @property
    def name(self) -> str:
        return self.header.path.name


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
    tell them, so that a pause keeps its length; else from the largest Time before. Times within a file keep
    their distances, and units (`$TIMESTEP`) become those of the first file. A new channel `File` holds the
    number of the file of each event, from 1. Channels are matched by metal and mass whatever their order and
    spelling, and stand as in the first file; a channel without mass that some file lacks is left out and
    told. Values are not changed. The inputs are read twice, in blocks of 1 MB: memory does not grow with the
    files. The output appears whole or not at all.

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
    A row a file: `number` (from 1), `file`, `events`, `time_shift` (added to Time, in units of the first
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
    >>> from cytocar.io._write import write_events
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
    parts, kept = _match(headers, chosen)
    _require_one_state(parts)
    names = [headers[0].names[column] for column in kept]
    time = _time_column(names)
    for part in parts:
        _survey(part, time)
    if time is not None:
        _continue_time(parts, names[time][0])
    new_names = _renamed(names, chosen, headers[0].path.name) if chosen is not None and rename else names
    file_name = FILE_CHANNEL
    clashing = [n for n, (pnn, _) in enumerate(new_names) if pnn.casefold() == FILE_CHANNEL.casefold()]
    for n in clashing:
        new_names[n] = (f"{new_names[n][0]}_before", new_names[n][1])
        parts[0].notes.append(f"channel {names[n][0]!r} of the files is {new_names[n][0]!r} there")
    table = _table(parts, time is not None, parts[0].run)
    keywords = _keywords(parts, kept, names, new_names, out, table, deidentify=deidentify)
    largest = np.append(_largest(parts, time), len(parts))

    def rows() -> Iterator[npt.NDArray[np.float32]]:
        for number, part in enumerate(parts, 1):
            yield from _rows(part, number, time)

    total = sum(header.n_events for header in headers)
    stream(out, rows, total, [*new_names, (file_name, "")], keywords, largest=largest)
    return table


def _checked_paths(
    files: Iterable[str | os.PathLike[str]], out: str | os.PathLike[str]
) -> tuple[list[Path], Path]:
    if isinstance(files, (str, os.PathLike)):
        raise ParameterError(
            f"files is {os.fspath(files)!r}; a list of files is due, such as ['a.fcs', 'b.fcs']"
        )
    paths, out = [Path(path) for path in files], Path(out)
    if not paths:
        raise ParameterError("files is empty; at least one FCS file is due")
    seen: dict[Path, Path] = {}
    for path in paths:
        real = path.resolve()
        if real in seen:
            raise ParameterError(f"{path} is given twice; its events would count twice")
        seen[real] = path
    if out.resolve() in seen or any(_same(out, path) for path in paths):
        raise ParameterError(
            f"the output {out} is one of the inputs; an input is never changed: give another name"
        )
    if out.exists() or out.is_symlink():
        raise ParameterError(f"the output {out} exists; remove it or give another name")
    if not out.parent.is_dir():
        raise ParameterError(f"the folder {out.parent} of the output does not exist; make it first")
    return paths, out


def _same(one: Path, other: Path) -> bool:
    """Whether two names are one file, by hard link or by a file system that ignores case."""
    try:
        return one.samefile(other)
    except OSError:
        return False


def _panel(panel: Panel | str | os.PathLike[str] | None) -> Panel | None:
    from cytocar.panel import Panel

    return panel if panel is None or isinstance(panel, Panel) else Panel.read(panel)


def _match(headers: Sequence[FcsHeader], panel: Panel | None) -> tuple[list[_Part], list[int]]:
    """Find the channels of the first file in every file; return the columns of it that all have."""
    from cytocar.panel import Panel
    from cytocar.panel.names import channel_isotope

    first = headers[0]
    if panel is not None:
        problems = [p for h in headers for p in panel.match(h.names, where=h.path.name).problems]
        if problems:
            raise PanelError("\n".join(str(problem) for problem in problems))
    reference = Panel.from_channels(first.names)
    has_mass = [channel_isotope(pnn, pns) is not None for pnn, pns in first.names]
    parts = [_Part(first, np.arange(len(first.channels)), _told(first))]
    differences: list[Problem] = []
    for header in headers[1:]:
        match = reference.match(header.names, where=header.path.name)
        differences += [
            Problem(problem.where, f"{problem.what}, which {first.path.name} has")
            for problem in match.problems
        ]
        more = [column for column in match.extra if channel_isotope(*header.names[column]) is not None]
        if not any(has_mass):
            # Without masses every channel is a measurement.
            more = list(match.extra)
            lacking = [first.names[n][0] for n in np.flatnonzero(match.columns < 0)]
            if lacking:
                differences.append(Problem(header.path.name, f"has no channel {', '.join(lacking)}"))
        if more:
            spelled = ", ".join(repr(header.names[column][0]) for column in more)
            differences.append(Problem(header.path.name, f"has {spelled}, which {first.path.name} has not"))
        notes = [note.removeprefix(f"{header.path.name}: ") for note in match.notes]
        extra = [header.names[column][0] for column in match.extra if column not in more]
        if extra:
            notes.append(f"left out, because {first.path.name} has it not: {', '.join(extra)}")
        parts.append(_Part(header, match.columns, _told(header) + notes))
    if differences:
        listed = "\n".join(f"  {problem}" for problem in differences)
        raise FcsError(
            f"the files are not of one panel, so they are not of one sample:\n{listed}\n"
            "leave out the file that differs, or remove the channel from the others"
        )
    in_all = np.all([part.columns >= 0 for part in parts], axis=0)
    kept = [int(n) for n in np.flatnonzero(in_all)]
    dropped = [first.names[n][0] for n in np.flatnonzero(~in_all)]
    if dropped:
        parts[0].notes.append(f"left out, because not all files have it: {', '.join(dropped)}")
    for part in parts:
        part.columns = part.columns[kept]
    return parts, kept


def _told(header: FcsHeader) -> list[str]:
    notes = list(header.tolerances)
    if header.n_data_sets > 1:
        notes.append(f"the file has {header.n_data_sets} data sets; only the first was taken")
    if event_type(header) == np.float64 and any(channel.datatype in "DAI" for channel in header.channels):
        notes.append("values of more than 24 bits are rounded to single precision")
    return notes


def _require_one_state(parts: Sequence[_Part]) -> None:
    states = {part.name: part.header.keywords.get(STATE_KEYWORD, keys.STATE_COUNTS) for part in parts}
    if len(set(states.values())) > 1:
        told = ", ".join(f"{name} {state}" for name, state in states.items())
        raise StateError(
            f"the files do not hold the same kind of values ({told}); take all from before pp.arcsinh"
        )


def _time_column(names: Sequence[tuple[str, str]]) -> int | None:
    from cytocar.panel.roles import guess_role

    return next((n for n, (pnn, _) in enumerate(names) if guess_role(pnn, pnn, None) == "time"), None)


def _survey(part: _Part, time: int | None) -> None:
    """Find the largest value of each column, the span of Time, and whether it goes back."""
    part.largest = np.zeros(len(part.columns))
    first, last, previous, backwards = np.inf, -np.inf, -np.inf, 0
    for _, block in blocks(part.header):
        part.largest = np.maximum(part.largest, largest_of(block)[part.columns])
        if time is None:
            continue
        clock = block[:, part.columns[time]].astype(np.float64)
        clock = clock[np.isfinite(clock)]
        if len(clock):
            first, last = min(first, float(clock.min())), max(last, float(clock.max()))
            backwards += int(np.count_nonzero(np.diff(clock, prepend=previous) < 0))
            previous = float(clock[-1])
    if backwards:
        part.notes.append(f"Time goes back {backwards} times within the file")
    if first > last:
        first = last = 0.0
    part.run = Run(first, last, time_step(part.header.keywords), recorded(part.header.keywords))


def _continue_time(parts: Sequence[_Part], name: str) -> None:
    runs = [part.run for part in parts if part.run is not None]
    added, found = shifts(runs)
    for part, run, shift, how in zip(parts, runs, added, found, strict=True):
        part.scale, part.shift, part.how = run.step / runs[0].step, shift, how
        if part.scale != 1:
            part.notes.append(f"$TIMESTEP is {run.step:g} s; {name} is given in units of {runs[0].step:g} s")
    for before, part in pairwise(parts):
        if (
            before.run
            and part.run
            and before.run.start
            and part.run.start
            and part.run.start < before.run.start
        ):
            part.notes.append(
                f"began before {before.name} by $DATE and $BTIM; is the order of the files right?"
            )
    last = parts[-1]
    end = last.shift + (last.run.last if last.run else 0) * last.scale
    if end > _EXACT:
        last.notes.append(f"{name} goes up to {end:.0f}: neighbouring units are no longer told apart")


def _largest(parts: Sequence[_Part], time: int | None) -> npt.NDArray[np.float64]:
    largest = np.max([part.largest for part in parts], axis=0)
    if time is not None:
        ends = [part.run.last * part.scale + part.shift for part in parts if part.run is not None]
        # Rounding to single precision may lift the last Time by a unit or more.
        largest[time] = float(np.nextafter(np.float32(max(ends)), np.float32(np.inf)))
    return largest


def _rows(part: _Part, number: int, time: int | None) -> Iterator[npt.NDArray[np.float32]]:
    in_order = np.array_equal(part.columns, np.arange(len(part.columns)))
    for _, block in blocks(part.header):
        rows = np.empty((len(block), len(part.columns) + 1), dtype=np.float32)
        rows[:, :-1] = block[:, : len(part.columns)] if in_order else block[:, part.columns]
        if time is not None and (part.shift or part.scale != 1):
            rows[:, time] = block[:, part.columns[time]].astype(np.float64) * part.scale + part.shift
        rows[:, -1] = number
        yield rows


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


def _table(parts: Sequence[_Part], has_time: bool, first: Run | None) -> pd.DataFrame:
    import pandas as pd

    rows, end = [], float("nan")
    for number, part in enumerate(parts, 1):
        pause = float("nan")
        if has_time and part.run is not None and first is not None and part.header.n_events:
            begin = part.run.first * part.scale + part.shift
            pause = (begin - end) * first.step
            reached = part.run.last * part.scale + part.shift
            end = reached if np.isnan(end) else max(end, reached)
        rows.append(
            {
                "number": number,
                "file": part.name,
                "events": part.header.n_events,
                "time_shift": part.shift if has_time else float("nan"),
                "time_by": part.how,
                "pause_s": pause,
                "note": "; ".join(part.notes),
            }
        )
    return pd.DataFrame(rows)


def _keywords(
    parts: Sequence[_Part],
    kept: Sequence[int],
    names: Sequence[tuple[str, str]],
    new_names: Sequence[tuple[str, str]],
    out: Path,
    table: pd.DataFrame,
    *,
    deidentify: bool,
) -> dict[str, str]:
    """Return the keywords of the first file with what changed, and where the events are from."""
    first = dict(parts[0].header.keywords)
    for key in _SUMS:
        added = _sum([part.header.keywords.get(key) for part in parts])
        if added is None:
            first.pop(key, None)
        else:
            first[key] = added
    for key in ("$ETIM", "$ENDDATETIME"):
        last = parts[-1].header.keywords.get(key)
        if last is not None:
            first[key] = last
        else:
            first.pop(key, None)
    first["$FIL"] = out.name
    if deidentify:
        first = deidentified(first)
    changed = {old[0]: new[0] for old, new in zip(names, new_names, strict=True) if old[0] != new[0]}
    for key in _SPILL:
        if key in first:
            first[key] = ",".join(changed.get(item.strip(), item) for item in first[key].split(","))
    for column, old, new in zip(kept, names, new_names, strict=True):
        # By its new name in the keywords a channel keeps its $PnV and the like; by number it may move.
        first[f"$P{column + 1}N"] = new[0]
        for form, was, now in ((_OLD_NAME, old[0], new[0]), (_OLD_LABEL, old[1], new[1])):
            if was != now:
                first[form.format(column + 1)] = was
    files = []
    for part, row in zip(parts, table.to_dict("records"), strict=True):
        spelled = [part.header.names[column] for column in part.columns]
        files.append(_of_file(part, row, spelled, new_names, deidentify=deidentify))
    first[FILES_KEYWORD] = json.dumps(files, ensure_ascii=False)
    first[STEPS_KEYWORD] = json.dumps(_history(parts, files, deidentify=deidentify))
    first[VERSION_KEYWORD] = __version__
    first.pop(STATE_KEYWORD, None)
    state = parts[0].header.keywords.get(STATE_KEYWORD)
    if state is not None:
        first[STATE_KEYWORD] = state
    return first


def _sum(values: Sequence[str | None]) -> str | None:
    """Return the sum as text, None where a file does not tell its part."""
    total = 0.0
    for value in values:
        try:
            total += float(value or "")
        except ValueError:
            return None
    return f"{total:.15g}"


def _of_file(
    part: _Part,
    row: dict[Any, Any],
    spelled: Sequence[tuple[str, str]],
    new_names: Sequence[tuple[str, str]],
    *,
    deidentify: bool,
) -> dict[str, Any]:
    shift = row["time_shift"]
    entry: dict[str, Any] = {
        "number": int(row["number"]),
        "events": int(row["events"]),
        "time_shift": None if np.isnan(shift) else float(shift),
        "time_by": row["time_by"],
        "channels": {
            new[0]: list(old) for old, new in zip(spelled, new_names, strict=True) if tuple(old) != tuple(new)
        },
    }
    if not deidentify:
        entry["file"] = part.name
        entry["keywords"] = {
            key: part.header.keywords[key]
            for key in ("$FIL", "$DATE", "$BTIM", "$ETIM", "$SMNO", "$SRC", "$TOT")
            if key in part.header.keywords
        }
    return entry


def _history(
    parts: Sequence[_Part], files: Sequence[dict[str, Any]], *, deidentify: bool
) -> list[dict[str, Any]]:
    """Return the steps that all files have in common, and concatenation with those of each file."""
    histories = [_steps(part.header) for part in parts]
    settings: dict[str, Any] = {"files": len(files)}
    if deidentify:
        histories = [[{"step": str(step.get("step", ""))} for step in history] for history in histories]
    else:
        settings = {"files": [entry["file"] for entry in files]}
    names = [[step.get("step") for step in history] for history in histories]
    if all(other == names[0] for other in names):
        return [*histories[0], {"step": "io.concat_fcs", "settings": settings}]
    return [{"step": "io.concat_fcs", "settings": settings | {"steps_before": histories}}]


def _steps(header: FcsHeader) -> list[dict[str, Any]]:
    try:
        history = json.loads(header.keywords.get(STEPS_KEYWORD, "[]"))
    except ValueError:
        return []
    return [step for step in history if isinstance(step, dict)] if isinstance(history, list) else []
