"""The files that are put together: where each has the channels, and where its Time goes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from cytocar._core.errors import FcsError, PanelError, Problem
from cytocar.io._fcs.clock import Run, recorded, shifts, time_step
from cytocar.io._fcs.data import blocks, event_type
from cytocar.io._fcs.header import FcsHeader
from cytocar.io._fcs.write import largest_of

if TYPE_CHECKING:
    from cytocar.panel import Panel

# Above this, single-precision Time cannot tell neighbouring units apart.
_EXACT: Final = 1 << 24


@dataclass
class Source:
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


def match_files(headers: Sequence[FcsHeader], panel: Panel | None) -> tuple[list[Source], list[int]]:
    """Find the channels of the first file in every file; return the columns of it that all have."""
    from cytocar.panel import Panel
    from cytocar.panel.names import channel_isotope

    first = headers[0]
    if panel is not None:
        problems = [p for h in headers for p in panel.match(h.names, where=h.path.name).problems]
        if problems:
            raise PanelError(problems=problems)
    reference = Panel.from_channels(first.names)
    has_mass = [channel_isotope(pnn, pns) is not None for pnn, pns in first.names]
    sources = [Source(first, np.arange(len(first.channels)), _header_notes(first))]
    differences: list[Problem] = []
    for header in headers[1:]:
        source, differing = _match(header, first, reference, has_masses=any(has_mass))
        sources.append(source)
        differences += differing
    if differences:
        listed = "\n".join(f"  {problem}" for problem in differences)
        raise FcsError(
            f"the files are not of one panel, so they are not of one sample:\n{listed}\n"
            "leave out the file that differs, or remove the channel from the others"
        )
    in_all = np.all([source.columns >= 0 for source in sources], axis=0)
    kept = [int(n) for n in np.flatnonzero(in_all)]
    dropped = [first.names[n][0] for n in np.flatnonzero(~in_all)]
    if dropped:
        sources[0].notes.append(f"left out, because not all files have it: {', '.join(dropped)}")
    for source in sources:
        source.columns = source.columns[kept]
    return sources, kept


def _match(
    header: FcsHeader, first: FcsHeader, reference: Panel, *, has_masses: bool
) -> tuple[Source, list[Problem]]:
    """Find the channels of the first file in another; return how they differ where they must not."""
    from cytocar.panel.names import channel_isotope

    name = header.path.name
    match = reference.match(header.names, where=name)
    differences = [
        Problem(problem.where, f"{problem.what}, which {first.path.name} has") for problem in match.problems
    ]
    if has_masses:
        more = [column for column in match.extra if channel_isotope(*header.names[column]) is not None]
    else:
        # Without masses every channel is a measurement.
        more = list(match.extra)
        missing = [first.names[n][0] for n in np.flatnonzero(match.columns < 0)]
        if missing:
            differences.append(Problem(name, f"has no channel {', '.join(missing)}"))
    if more:
        spelled = ", ".join(repr(header.names[column][0]) for column in more)
        differences.append(Problem(name, f"has {spelled}, which {first.path.name} has not"))
    notes = _header_notes(header) + list(match.notes)
    extra = [header.names[column][0] for column in match.extra if column not in more]
    if extra:
        notes.append(f"left out, because {first.path.name} has it not: {', '.join(extra)}")
    return Source(header, match.columns, notes), differences


def _header_notes(header: FcsHeader) -> list[str]:
    notes = list(header.tolerances)
    if header.n_data_sets > 1:
        notes.append(f"the file has {header.n_data_sets} data sets; only the first was taken")
    if event_type(header) == np.float64 and any(channel.datatype in "DAI" for channel in header.channels):
        notes.append("values of more than 24 bits are rounded to single precision")
    return notes


def survey(source: Source, time: int | None) -> None:
    """Find the largest value of each column, the span of Time, and whether it goes back."""
    source.largest = np.zeros(len(source.columns))
    first, last, previous, backwards = np.inf, -np.inf, -np.inf, 0
    for _, block in blocks(source.header):
        source.largest = np.maximum(source.largest, largest_of(block)[source.columns])
        if time is None:
            continue
        clock = block[:, source.columns[time]].astype(np.float64)
        clock = clock[np.isfinite(clock)]
        if len(clock):
            first, last = min(first, float(clock.min())), max(last, float(clock.max()))
            backwards += int(np.count_nonzero(np.diff(clock, prepend=previous) < 0))
            previous = float(clock[-1])
    if backwards:
        source.notes.append(f"Time goes back {backwards} times within the file")
    if first > last:
        first = last = 0.0
    source.run = Run(first, last, time_step(source.header.keywords), recorded(source.header.keywords))


def continue_time(sources: Sequence[Source], name: str) -> None:
    runs = [source.run for source in sources if source.run is not None]
    added, reasons = shifts(runs)
    for source, run, shift, how in zip(sources, runs, added, reasons, strict=True):
        source.scale, source.shift, source.how = run.step / runs[0].step, shift, how
        if source.scale != 1:
            source.notes.append(
                f"$TIMESTEP is {run.step:g} s; {name} is given in units of {runs[0].step:g} s"
            )
    for before, source in pairwise(sources):
        if (
            before.run
            and source.run
            and before.run.start
            and source.run.start
            and source.run.start < before.run.start
        ):
            source.notes.append(
                f"began before {before.name} by $DATE and $BTIM; is the order of the files right?"
            )
    last = sources[-1]
    end = last.shift + (last.run.last if last.run else 0) * last.scale
    if end > _EXACT:
        last.notes.append(f"{name} goes up to {end:.0f}: neighbouring units can no longer be distinguished")


def largest_values(sources: Sequence[Source], time: int | None) -> npt.NDArray[np.float64]:
    largest: npt.NDArray[np.float64] = np.max([source.largest for source in sources], axis=0)
    if time is not None:
        ends = [source.run.last * source.scale + source.shift for source in sources if source.run is not None]
        # Rounding to single precision may lift the last Time by a unit or more.
        largest[time] = float(np.nextafter(np.float32(max(ends)), np.float32(np.inf)))
    return largest


def rows_of(source: Source, number: int, time: int | None) -> Iterator[npt.NDArray[np.float32]]:
    in_order = np.array_equal(source.columns, np.arange(len(source.columns)))
    for _, block in blocks(source.header):
        rows = np.empty((len(block), len(source.columns) + 1), dtype=np.float32)
        rows[:, :-1] = block[:, : len(source.columns)] if in_order else block[:, source.columns]
        if time is not None and (source.shift or source.scale != 1):
            rows[:, time] = block[:, source.columns[time]].astype(np.float64) * source.scale + source.shift
        rows[:, -1] = number
        yield rows
