"""Stretches of a run in which the instrument was not stable."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cytocar._core import checks, keys, provenance
from cytocar._core.errors import ParameterError, StateError
from cytocar._core.samples import keep_events, own, sample_positions
from cytocar.pp._arcsinh.arcsinh import arcsinh_values
from cytocar.pp._channels import counts_in_x, require_finite_channels, technical
from cytocar.pp._cleaning.limit import COFACTOR
from cytocar.pp._time.judge import (
    FEWEST_BINS,
    FEWEST_EVENTS,
    RATE,
    Stability,
    bins_of,
    event_rate,
    hump_medians,
    judge,
)

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

STABLE: Final = "stable"
_STEP: Final = "time_quality"
_ROLES: Final = ("marker", "dna", "viability", "barcode")
_COLUMNS: Final = ("bin", "start_s", "end_s", "events", STABLE, "by", "worst", "shift")


def _followed(adata: AnnData) -> list[int]:
    """Return the channels that cells have a signal in."""
    if keys.ROLE not in adata.var:
        return list(range(adata.n_vars))
    roles = adata.var[keys.ROLE].astype(str).to_numpy()
    return [int(i) for i in np.flatnonzero(np.isin(roles, _ROLES))]


def _seconds(adata: AnnData) -> NDArray[np.float64] | None:
    clock = technical(adata, "time")
    return None if clock is None else adata.obs[clock].to_numpy(dtype=np.float64) / 1000.0


def _time_fault(seconds: NDArray[np.float64] | None, sample: str) -> str:
    """Return what is wrong with Time, ``""`` if nothing is."""
    where = f" of sample {sample!r}" if sample else ""
    if seconds is None:
        return "there is no Time in obs"
    bad = ~np.isfinite(seconds)
    if bad.any():
        return f"Time{where} is {seconds[bad][0]} in event {int(np.flatnonzero(bad)[0])}"
    back = np.flatnonzero(np.diff(seconds) < 0)
    if back.size:
        event = int(back[0]) + 1
        return (
            f"Time{where} runs backwards {back.size} time{'s' if back.size > 1 else ''}, first from "
            f"{seconds[event - 1]:g} to {seconds[event]:g} s at event {event}"
        )
    return ""


@dataclass(frozen=True)
class _Settings:
    """What `time_quality` was told, checked."""

    mad: float
    it_limit: float
    consecutive_bins: int
    events_per_bin: int | None

    def __post_init__(self) -> None:
        if not self.mad > 0:
            raise ParameterError(f"mad is {self.mad}", fix="it must be above 0, usually 6")
        if not 0 < self.it_limit <= 1:
            raise ParameterError(
                f"it_limit is {self.it_limit}", fix="it must be above 0 and at most 1, usually 0.6"
            )
        checks.whole_number(self.consecutive_bins, "consecutive_bins", 0, usual="usually 5")
        if self.events_per_bin is not None:
            checks.whole_number(self.events_per_bin, "events_per_bin", FEWEST_EVENTS)


def time_quality(  # noqa: PLR0913  # the documented settings of the method
    adata: AnnData,
    *,
    mad: float = 6.0,
    it_limit: float = 0.6,
    consecutive_bins: int = 5,
    events_per_bin: int | None = None,
    remove: bool = False,
    on_missing: str = "raise",
    sample_key: str = keys.SAMPLE,
    copy: bool = False,
) -> AnnData | None:
    """Mark stretches of each run in which signals or the rate of events were not as in most of it.

    After PeacoQC (Emmaneel et al. 2022, Cytometry A 101:325, doi 10.1002/cyto.a.24501). Events are put into bins in
    the order of time; in each bin stands the median of each hump of each channel's density, zeros left out. These
    series are smoothed over neighbouring bins. A bin is not stable

    - by *IT*, where an isolation tree parts it from the largest group of bins: a split is taken when the mean
      standard deviation of its sides is less than ``1 - it_limit`` of the whole;
    - by *MAD*, where a series is more than ``mad x 1.4826 x median(|y - median(y)|)`` from its median;
    - as *consecutive*, where fewer than `consecutive_bins` good bins lie between bad ones.

    Beyond the publication: a straight trend of each series (Theil and Sen) is taken out first, so that a drift such as
    bead normalisation takes away neither counts nor hides anything; the rate of events (pauses left out) is one more
    series, so that bursts are found; a hump that loses four fifths of its events counts as 0; and changes below 0.1
    arcsinh units (10 %) of a signal, 0.4 (50 %) of the rate, or three times the noise between neighbouring bins are
    never called. A run with fewer than 20 bins is not judged: all of it is taken for stable, and the table says so.

    Parameters
    ----------
    adata
        Events of each sample in the order of the file, counts in ``X``, Time (ms) in ``obs``. Channels whose
        ``var["role"]`` is marker, dna, viability or barcode are followed; all where there is no role.
    mad
        Above 0; lower finds more.
    it_limit
        Above 0, at most 1; lower finds more, below 0.5 in any series that is not flat.
    consecutive_bins
        At least 0.
    events_per_bin
        At least 150. `None`: 150, or as many as make 500 bins.
    remove
        Whether to take away the events that are not stable, instead of marking them only.
    on_missing
        ``"raise"`` where Time is missing, not finite or runs backwards; ``"skip"`` takes all events of such a sample
        for stable, and says so in the note of the table.
    sample_key
        Column of ``obs`` that tells samples apart; one sample where there is no ``sample_id``.
    copy
        Return a changed copy and leave `adata` as it is.

    Returns
    -------
    `None`, or the changed copy. Sets the following fields:

    ``obs["stable"]``
        bool.
    ``uns["cytocar"]["time_quality"]``
        JSON: per sample the bins, why each is not stable, and a note.

    Raises
    ------
    StateError
        ``X`` does not hold counts.
    ParameterError
        A setting is outside its domain, or Time cannot be used.

    Examples
    --------
    >>> import cytocar as cc
    >>> adata = cc.datasets.legend2(cells=5000, timepoints=["2mo"])
    >>> time_quality(adata)
    >>> bool(adata.obs["stable"].mean() > 0.95)
    True
    """
    provenance.require_state(adata, keys.STATE_COUNTS, "pp.time_quality")
    settings = _Settings(mad, it_limit, consecutive_bins, events_per_bin)
    checks.one_of(on_missing, "on_missing", ("raise", "skip"))
    counts = counts_in_x(adata)
    seconds = _seconds(adata)
    samples = sample_positions(adata, sample_key)
    faults = {name: _time_fault(None if seconds is None else seconds[rows], name) for name, rows in samples}
    if on_missing == "raise":
        _require_time(faults)

    stable = np.ones(adata.n_obs, dtype=bool)
    kept: dict[str, Any] = {}
    for sample, rows in samples:
        if faults[sample] or seconds is None or not rows.size:
            note = f"not judged: {faults[sample] or 'no events'}"
            kept[sample] = {"events": int(rows.size), "note": note, "bins": []}
            continue
        course = _course(adata, counts, rows, seconds[rows], events_per_bin)
        verdict = judge(
            np.stack(course.series, axis=1),
            course.names,
            mad=settings.mad,
            it_limit=settings.it_limit,
            consecutive_bins=settings.consecutive_bins,
        )
        stable[rows] = verdict.stable[course.of_bin]
        few = course.n_bins < FEWEST_BINS
        kept[sample] = {
            "events": int(rows.size),
            "note": f"not judged: {course.n_bins} bins are fewer than {FEWEST_BINS}" if few else "",
            "bins": _bin_rows(course, seconds[rows], verdict),
        }

    adata = adata.copy() if copy else own(adata)
    adata.obs[STABLE] = stable
    adata.uns.setdefault(keys.UNS, {})[_STEP] = json.dumps(kept)
    if remove:
        keep_events(adata, stable)
    provenance.record(
        adata,
        "pp.time_quality",
        {
            **asdict(settings),
            "remove": remove,
            "on_missing": on_missing,
            "sample_key": sample_key,
        },
    )
    return adata if copy else None


def _require_time(faults: Mapping[str, str]) -> None:
    for fault in faults.values():
        if fault:
            raise ParameterError(
                f"pp.time_quality needs the time of every event in the order of the file, but {fault}",
                fix="put the events into the order of acquisition, give joined files a sample each, or pass "
                "on_missing='skip'",
            )


@dataclass(frozen=True)
class _Course:
    """Signals of one sample over bins of time.

    Parameters
    ----------
    edges
        Where each bin begins, and the end of the last.
    of_bin
        Bin of each event.
    series
        One value per bin: the rate of events, and the humps of every channel.
    names
        What each series is of.
    """

    edges: NDArray[np.intp]
    of_bin: NDArray[np.intp]
    series: list[NDArray[np.float64]]
    names: list[str]

    @property
    def n_bins(self) -> int:
        """Return the number of bins."""
        return self.edges.size - 1


def _course(
    adata: AnnData,
    counts: NDArray[np.float32],
    rows: NDArray[np.intp],
    time_s: NDArray[np.float64],
    events_per_bin: int | None,
) -> _Course:
    edges = bins_of(rows.size, events_per_bin)
    n_bins = edges.size - 1
    of_bin = np.repeat(np.arange(n_bins, dtype=np.intp), np.diff(edges))
    series, names = [event_rate(time_s, edges)], [RATE]
    whole = rows.size == counts.shape[0]
    for column in _followed(adata):
        name = str(adata.var_names[column])
        values = counts[:, column] if whole else counts[rows, column]
        require_finite_channels({name: values})
        signal = arcsinh_values(values[:, None], np.array([COFACTOR], dtype=np.float32))[:, 0]
        humps = hump_medians(signal, of_bin, n_bins)
        series += humps
        names += [name] * len(humps)
    return _Course(edges, of_bin, series, names)


def _bin_rows(course: _Course, time_s: NDArray[np.float64], verdict: Stability) -> list[list[Any]]:
    """Return what the table tells of each bin."""
    edges = course.edges
    return [
        [
            i,
            float(time_s[edges[i]]),
            float(time_s[edges[i + 1] - 1]),
            int(edges[i + 1] - edges[i]),
            bool(verdict.stable[i]),
            verdict.by[i],
            course.names[verdict.worst[i]],
            round(float(verdict.shift[i]), 4),
        ]
        for i in range(course.n_bins)
    ]


def time_quality_table(adata: AnnData) -> pd.DataFrame:
    """Return the bins of time of each sample, and why those that are not stable are not.

    Parameters
    ----------
    adata
        Events after `time_quality`; the events that were removed are in the table too.

    Returns
    -------
    Table with the columns ``sample_id``, ``bin`` (from 0), ``start_s`` and ``end_s`` (time of the first and last
    event, s), ``events``, ``stable``, ``by`` (IT, MAD or consecutive; ``""`` where stable), ``worst`` (the channel, or
    ``events/s``, that is farthest from usual), ``shift`` (by how much: arcsinh units, or the natural logarithm of the
    rate) and ``note``. A sample that was not judged for want of Time has one row, without a bin.

    Raises
    ------
    StateError
        `time_quality` has not been run.

    Examples
    --------
    >>> import cytocar as cc
    >>> adata = cc.datasets.legend2(cells=5000, timepoints=["2mo"])
    >>> cc.pp.time_quality(adata)
    >>> table = time_quality_table(adata)
    >>> int(table["events"].sum()) == adata.n_obs
    True
    """
    import pandas as pd

    text = adata.uns.get(keys.UNS, {}).get(_STEP)
    if text is None:
        raise StateError(
            "the time of these events has not been judged", fix="run cytocar.pp.time_quality first"
        )
    rows: list[tuple[Any, ...]] = []
    for sample, entry in json.loads(text).items():
        bins = entry["bins"] or [[-1, np.nan, np.nan, entry["events"], True, "", "", np.nan]]
        rows += [(sample, *values, entry["note"]) for values in bins]
    return pd.DataFrame(rows, columns=[keys.SAMPLE, *_COLUMNS, "note"])
