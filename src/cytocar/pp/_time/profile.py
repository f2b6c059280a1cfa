"""How a file was acquired: events, cells and signal over time."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import ParameterError
from cytocar._core.vocabulary import BEAD, CELL
from cytocar.pp._channels import counts_of, strongest, technical, with_role
from cytocar.pp._cleaning.tables import CLEAN

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

BINS: Final = 60
# Fewer events a bin than this would show chance, not the instrument.
_LEAST_A_BIN: Final = 50
# A gap is a pause when it is this long, and this many times the usual distance of two events.
_PAUSE_S: Final = 5.0
_PAUSE_TIMES: Final = 200.0
# A joined file runs backwards a few times, one whose events were shuffled does so often.
_MOST_JOINTS: Final = 20


@dataclass(frozen=True)
class TimeBins:
    """Events in bins of equal length in time, pauses left out.

    Parameters
    ----------
    index
        Bin of each event.
    start_s, end_s
        Clock time of the first and last moment of each bin, in seconds; NaN where there is no time.
    active_s
        Length of each bin without pauses, in seconds; NaN where there is no time.
    notes
        What is unusual, by bin; -1 for the whole file.
    """

    index: NDArray[np.intp]
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    active_s: NDArray[np.float64]
    notes: dict[int, str] = field(default_factory=dict)


def _by_order(n: int, bins: int, why: str) -> TimeBins:
    nothing = np.full(bins, np.nan)
    index = (np.arange(n, dtype=np.int64) * bins) // max(n, 1)
    return TimeBins(
        index.astype(np.intp), nothing, nothing, nothing, {-1: f"{why}; bins are by order of events"}
    )


def time_bins(time_ms: NDArray[np.floating] | None, n: int, bins: int) -> TimeBins:
    """Return the bin of every event.

    Parameters
    ----------
    time_ms
        Time of each event in ms, in the order of the file, or `None`.
    n
        Number of events.
    bins
        Number of bins, at least 1.
    """
    if time_ms is None:
        return _by_order(n, bins, "there is no Time")
    seconds = np.asarray(time_ms, dtype=np.float64) / 1000.0
    if not np.isfinite(seconds).all():
        return _by_order(n, bins, f"Time is not finite in {np.count_nonzero(~np.isfinite(seconds))} events")
    if n < 2 or float(np.ptp(seconds)) == 0.0:
        return _by_order(n, bins, "Time does not move")
    notes: dict[int, str] = {}
    order = np.arange(n)
    step = np.diff(seconds)
    back = np.flatnonzero(step < 0)
    if back.size > _MOST_JOINTS:
        notes[-1] = f"Time runs backwards {back.size} times: events are not in order of Time, and were sorted"
        order = np.argsort(seconds, kind="stable")
        step = np.diff(seconds[order])
    elif back.size:
        times = "once" if back.size == 1 else f"{back.size} times"
        notes[-1] = f"Time runs backwards {times}: the file is taken as parts that follow one another"
        step[back] = 0.0
    moving = step[step > 0]
    long = max(_PAUSE_S, _PAUSE_TIMES * float(np.mean(moving[moving <= np.percentile(moving, 99)])))
    pauses = np.flatnonzero(step > long)
    clock = seconds[order[0]] + np.concatenate([[0.0], np.cumsum(step)])
    active_step = step.copy()
    active_step[pauses] = 0.0
    active = np.concatenate([[0.0], np.cumsum(active_step)])
    edges = np.linspace(0.0, active[-1], bins + 1)
    at = np.clip(np.searchsorted(edges, active, side="right") - 1, 0, bins - 1)
    for pause in pauses:
        bin_ = int(at[pause + 1])
        text = f"pause of {step[pause]:.0f} s"
        notes[bin_] = f"{notes[bin_]}; {text}" if bin_ in notes else text
    index = np.empty(n, dtype=np.intp)
    index[order] = at
    width = np.full(bins, active[-1] / bins)
    # the clock of an edge: a pause belongs to the bin in which the events go on
    start = np.interp(edges[:-1], active, clock)
    end = np.append(start[1:], clock[-1])
    return TimeBins(index, start, end, width, notes)


def _grouped_median(values: NDArray[np.floating], index: NDArray[np.intp], bins: int) -> NDArray[np.float64]:
    """Return the median of the values of each bin, NaN where it has none."""
    result = np.full(bins, np.nan)
    order = np.argsort(index, kind="stable")
    cuts = np.searchsorted(index[order], np.arange(bins + 1))
    for i in range(bins):
        if cuts[i + 1] > cuts[i]:
            result[i] = float(np.median(values[order[cuts[i] : cuts[i + 1]]]))
    return result


def _bead_columns(adata: AnnData) -> list[int]:
    """Return the bead channels that `pp.clean` used; none where it found no beads."""
    text = adata.uns.get(keys.UNS, {}).get(CLEAN, "{}")
    used = {
        name
        for entry in json.loads(text).values()
        for limit in entry["limits"]
        if limit["criterion"] == "bead"
        for name in limit["channels"]
    }
    return [i for i, name in enumerate(adata.var_names) if str(name) in used]


def _cd45_column(adata: AnnData) -> int | None:
    from cytocar.panel.antigens import marker_index

    return marker_index(str(name) for name in adata.var_names).position("CD45")


def profile_over_time(adata: AnnData, *, bins: int = BINS) -> pd.DataFrame:
    """Return events, cells and signal of one file over the time of its acquisition; change nothing.

    Bins are equally long, pauses left out; a small file has fewer, so that there are about 50 events a bin.

    Parameters
    ----------
    adata
        All events of one file in the order of the file, counts in ``X`` or ``layers["counts"]``, Time in ms in
        ``obs``; with ``obs["event_class"]`` where `cytocar.pp.clean` has been run.
    bins
        Number of bins, at least 1.

    Returns
    -------
    Table with one row per bin: ``bin`` (from 0), ``start_s``, ``end_s`` (s since the clock's start), ``events``,
    ``events_per_s``, ``cell_fraction`` (0 to 1), ``dna_median`` and ``cd45_median`` (counts, of cells, or of all
    events before `cytocar.pp.clean`), ``bead_median`` (counts, mean of the bead channels, of beads) and ``note``:
    a pause, Time that runs backwards or is missing. What is not there is NaN.

    Raises
    ------
    ParameterError
        `bins` is below 1, or a column of ``var`` is missing.
    StateError
        There are no counts.

    Examples
    --------
    >>> import anndata, numpy, pandas
    >>> panel = pandas.DataFrame({"role": ["dna"], "mass": [191]}, index=["DNA1"])
    >>> obs = pandas.DataFrame({"Time": numpy.arange(200) * 10.0}, index=[str(i) for i in range(200)])
    >>> events = anndata.AnnData(numpy.full((200, 1), 300, dtype="float32"), obs=obs, var=panel)
    >>> events.uns["cytocar"] = {"state": "counts"}
    >>> profile_over_time(events)[["events", "dna_median"]].values.tolist()
    [[50.0, 300.0], [50.0, 300.0], [50.0, 300.0], [50.0, 300.0]]
    """
    import pandas as pd

    if bins < 1:
        raise ParameterError(f"bins is {bins}", fix="it must be at least 1")
    n = adata.n_obs
    counts = counts_of(adata, "profile_over_time")
    bins = min(bins, max(n // _LEAST_A_BIN, 1)) if n else 0
    clock = technical(adata, "time")
    time = adata.obs[clock].to_numpy(dtype=np.float64) if clock is not None else None
    over_time = time_bins(time, n, bins) if n else _by_order(0, 0, "there are no events")
    events = np.bincount(over_time.index, minlength=bins)
    nothing = np.full(bins, np.nan)

    is_cell = np.ones(n, dtype=bool)
    is_bead = np.zeros(n, dtype=bool)
    cell_fraction = nothing
    if keys.EVENT_CLASS in adata.obs:
        classes = adata.obs[keys.EVENT_CLASS]
        is_cell, is_bead = (
            (classes == CELL).to_numpy(dtype=bool),
            (classes == BEAD).to_numpy(dtype=bool),
        )
        cells = np.bincount(over_time.index[is_cell], minlength=bins)
        cell_fraction = np.divide(cells, events, out=nothing.copy(), where=events > 0)

    def median(columns: list[int], chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
        if not columns or not chosen.any():
            return nothing
        return _grouped_median(
            np.mean([counts[chosen, column] for column in columns], axis=0), over_time.index[chosen], bins
        )

    names = {str(adata.var_names[column]): column for column in with_role(adata, "dna")}
    dna = strongest({name: counts[:, column] for name, column in names.items()}, list(names))
    cd45 = _cd45_column(adata)
    general = over_time.notes.get(-1, "")
    notes = [
        "; ".join(filter(None, (general if i == 0 else "", over_time.notes.get(i, "")))) for i in range(bins)
    ]
    return pd.DataFrame(
        {
            "bin": np.arange(bins),
            "start_s": over_time.start_s,
            "end_s": over_time.end_s,
            "events": events,
            "events_per_s": events / over_time.active_s,
            "cell_fraction": cell_fraction,
            "dna_median": median([] if dna is None else [names[dna]], is_cell),
            "bead_median": median(_bead_columns(adata), is_bead),
            "cd45_median": median([] if cd45 is None else [cd45], is_cell),
            "note": notes,
        }
    )
