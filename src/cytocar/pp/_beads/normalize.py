"""Sensitivity over time, set right by the calibration beads that ran with the cells."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cytocar._core import checks, keys, provenance
from cytocar._core.errors import ParameterError, StateError
from cytocar._core.samples import own, sample_positions
from cytocar.panel.names import marker_key, parse_isotope
from cytocar.pp._beads.drift import (
    FEWEST_BEADS,
    Drift,
    Found,
    drift_of,
    find_beads,
    spread,
    time_fault,
    together,
)
from cytocar.pp._channels import _bead_sets, counts_in_x, strongest, technical, with_role
from cytocar.pp._cleaning.limit import COFACTOR

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

BEADS: Final = "beads"
STEP: Final = "pp.normalize_beads"
_ON_MISSING: Final = ("raise", "skip")
_POINTS: Final = 200
# Beads that move less than this were set right before, or the instrument was steady.
_STEADY: Final = 1.05
# What is left beyond this in one channel is not noise of the windows but drift of its own.
_LEFT: Final = 1.04
_NO: Final = ("", "0", "false", "no", "none")
_FILE_NAMES: Final = ("$FIL", "FILENAME")


@dataclass(frozen=True)
class SampleBeads:
    """The beads of one sample of an AnnData, and what keeps them from being used.

    Parameters
    ----------
    sample
        Its name.
    rows
        Its events.
    columns
        The bead channels, columns of X; empty where the panel has none.
    found
        Which of its events are beads.
    time
        Time of its events in ms, or `None`.
    fault
        Why it cannot be normalised; empty where it can.
    note
        What is odd but does not matter.
    """

    sample: str
    rows: NDArray[np.intp]
    columns: tuple[int, ...]
    found: Found
    time: NDArray[np.floating] | None
    fault: str
    note: str

    @property
    def n_beads(self) -> int:
        """Return the number of beads without a cell."""
        return int(np.count_nonzero(self.found.bead))


def label_of(adata: AnnData, column: int) -> str:
    """Return what a bead channel is called, the same for every spelling of it: ``Ce140Di``."""
    row = adata.var.iloc[column]
    if keys.METAL in adata.var and keys.MASS in adata.var and row[keys.METAL] and row[keys.MASS] > 0:
        return f"{row[keys.METAL]}{int(row[keys.MASS])}Di"
    return str(row[keys.CHANNEL]) if keys.CHANNEL in adata.var else str(adata.var_names[column])


def find_in(adata: AnnData, *, beads: str | Sequence[str], sample_key: str) -> list[SampleBeads]:
    """Return the beads of every sample, in the order of the samples."""
    counts = counts_in_x(adata)
    sets, no_sets = _bead_sets(adata, beads)
    names = [str(name) for name in adata.var_names]
    dna = with_role(adata, "dna") if sets and keys.ROLE in adata.var else []
    columns = sorted({column for chosen in [*sets, dna] for column in chosen})
    values = {names[column]: counts[:, column] for column in columns}
    for name, value in values.items():
        if not np.isfinite(value).all():
            event = int(np.flatnonzero(~np.isfinite(value))[0])
            raise ParameterError(f"{name} is {value[event]} in event {event}", fix="values must be finite")
    time_name = technical(adata, "time")
    time = None if time_name is None else adata.obs[time_name].to_numpy(dtype=np.float64)
    result = []
    for sample, rows in sample_positions(adata, sample_key):
        signals = {name: np.arcsinh(value[rows] * np.float32(1 / COFACTOR)) for name, value in values.items()}
        found = find_beads(
            signals,
            sets=[tuple(names[column] for column in chosen) for chosen in sets],
            no_sets=no_sets,
            dna=strongest(signals, [names[column] for column in dna]),
            n=rows.size,
        )
        own_time = None if time is None else time[rows]
        n_beads = int(np.count_nonzero(found.bead))
        fault, note = time_fault(own_time, rows.size)
        if found.why:
            fault = found.why
        elif n_beads < FEWEST_BEADS:
            fault = f"{n_beads} beads are fewer than {FEWEST_BEADS}"
        places = tuple(names.index(name) for name in found.names)
        result.append(SampleBeads(sample, rows, places, found, own_time, fault, note))
    return result


def bead_values(
    adata: AnnData, *, beads: str | Sequence[str] = "auto", sample_key: str = "sample_id"
) -> pd.DataFrame:
    """Return the counts of all beads, from which the baseline of several files is taken; change nothing.

    A bead is high in every bead channel and has no DNA of a cell, by the limits of `clean`.

    Parameters
    ----------
    adata
        Raw events x mass channels, counts in ``X``, with ``var["role"]`` and ``var["mass"]``.
    beads
        ``"auto"`` looks for EQ4 and EQ6 beads by mass, ``"off"`` for none; or the names of the bead channels.
    sample_key
        Column of ``obs`` that tells samples apart; one sample where there is no ``sample_id``.

    Returns
    -------
    Table with a row a bead: ``sample_id`` and a column of counts for each bead channel, called by its metal and
    mass (``Ce140Di``) however the file spells it; NaN in the channels of another kind of bead.

    Raises
    ------
    StateError
        ``X`` does not hold counts.
    ParameterError
        A bead channel is unknown, a column that is needed is missing, or a value is not finite.

    Examples
    --------
    >>> import cytocar as cc
    >>> events = cc.datasets.legend2(cells=2000, timepoints=["2mo"])
    >>> values = bead_values(events)
    >>> list(values), len(values) > 50
    (['sample_id', 'Ce140Di', 'Eu151Di', 'Eu153Di', 'Ho165Di', 'Lu175Di'], True)
    """
    provenance.require_state(adata, keys.STATE_COUNTS, "pp.bead_values")
    return values_of(adata, find_in(adata, beads=beads, sample_key=sample_key))


def bead_counts(counts: NDArray[np.float32], one: SampleBeads) -> NDArray[np.float32]:
    """Return the counts of the beads of a sample, shape (beads, bead channels)."""
    return counts[one.rows[one.found.bead]][:, list(one.columns)]


def values_of(adata: AnnData, found: Sequence[SampleBeads]) -> pd.DataFrame:
    """Return the table of `bead_values` for beads that are found already."""
    import pandas as pd

    counts = counts_in_x(adata)
    parts = []
    for one in found:
        values = bead_counts(counts, one)
        part = pd.DataFrame(values, columns=[label_of(adata, column) for column in one.columns])
        part.insert(0, keys.SAMPLE, one.sample)
        parts.append(part)
    filled = [part for part in parts if len(part)]
    if not filled:
        return parts[0] if parts else pd.DataFrame({keys.SAMPLE: []})
    return pd.concat(filled, ignore_index=True)


def bead_baseline(values: pd.DataFrame | Sequence[pd.DataFrame]) -> dict[str, float]:
    """Return the signal to which beads are brought: the median of each channel over all beads of all samples.

    Parameters
    ----------
    values
        The table of `bead_values`, or those of several files.

    Returns
    -------
    Mapping from channel to counts, as `normalize_beads` takes it.

    Raises
    ------
    ParameterError
        There are no beads.

    Examples
    --------
    >>> import pandas
    >>> bead_baseline(pandas.DataFrame({"sample_id": ["a", "a", "b"], "Ce140Di": [2700.0, 2800.0, 2500.0]}))
    {'Ce140Di': 2700.0}
    """
    import pandas as pd

    tables = [values] if isinstance(values, pd.DataFrame) else [part for part in values if len(part)]
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    medians = table.drop(columns=keys.SAMPLE, errors="ignore").astype(np.float64).median()
    baseline = {str(name): float(value) for name, value in medians.items() if np.isfinite(value)}
    if not baseline:
        raise ParameterError("there are no beads to take a baseline from", fix="pass one that was stored")
    return baseline


def _column_of(adata: AnnData, name: str) -> int:
    """Return the column of a channel or marker, -1 where there is none."""
    names = [str(marker) for marker in adata.var_names]
    labels = [label_of(adata, column) for column in range(adata.n_vars)]
    channels = [str(channel) for channel in adata.var[keys.CHANNEL]] if keys.CHANNEL in adata.var else names
    for known in (channels, names, labels):
        if name in known:
            return known.index(name)
    isotope = parse_isotope(name)
    if isotope is not None and f"{isotope.symbol}{isotope.mass}Di" in labels:
        return labels.index(f"{isotope.symbol}{isotope.mass}Di")
    folded = [marker_key(marker) for marker in names]
    return folded.index(marker_key(name)) if folded.count(marker_key(name)) == 1 else -1


def check_baseline(
    adata: AnnData, given: Mapping[str, float], found: Sequence[SampleBeads]
) -> dict[str, float]:
    """Return the baseline by the label of each bead channel, or raise with all that is wrong with it."""
    due = {label_of(adata, column): column for one in found if not one.fault for column in one.columns}
    baseline: dict[str, float] = {}
    complaints: list[str] = []
    for name, value in given.items():
        if not checks.is_number(value) or not 0 < float(value) < np.inf:
            complaints.append(f"the baseline of {name} is {value!r}; it must be a number of counts above 0")
            continue
        column = _column_of(adata, str(name))
        if column >= 0 and label_of(adata, column) in due:
            baseline[label_of(adata, column)] = float(value)
    missing = [label for label in due if label not in baseline]
    if missing and not complaints:
        names = ", ".join(map(str, given)) or "none"
        complaints.append(
            f"the baseline has no value for {', '.join(missing)}; it has {names}, but must have the bead channels"
        )
    if complaints:
        raise ParameterError("\n".join(complaints))
    return baseline


def check_input(adata: AnnData, window: int, on_missing: str) -> str:
    """Check settings and state; return why the data are normalised already, empty where they are not."""
    checks.whole_number(window, "window", 3, usual="usually 200 beads")
    if on_missing not in _ON_MISSING:
        raise ParameterError(f"on_missing is {on_missing!r}", fix="it must be 'raise' or 'skip'")
    provenance.require_state(adata, keys.STATE_COUNTS, STEP)
    before = adata.uns.get(keys.UNS, {}).get(BEADS)
    if before is not None and any(entry["normalized"] for entry in json.loads(before).values()):
        raise StateError(
            "these counts have been normalised to beads already",
            fix="a second time would be wrong. Read the files again for other settings",
        )
    if any(step.get("step") == STEP for step in provenance.steps(adata)) and before is None:
        return "the history says that it has been normalised to beads by cytocar already"
    return ""


def _signs_of_other_software(adata: AnnData) -> str:
    """Return what in columns or keywords says that other software has normalised the file."""
    if any(marker_key(str(name)) == "beaddist" for name in adata.obs.columns):
        return "the column beadDist says that it has been normalised before"
    keywords: dict[str, str] = json.loads(adata.uns.get(keys.UNS, {}).get("keywords", "{}"))
    for name, value in keywords.items():
        of_name = "normaliz" in name.casefold() and value.strip().casefold() not in _NO
        if of_name or (name in _FILE_NAMES and "normaliz" in value.casefold()):
            return f"the keyword {name} says that it has been normalised before"
    return ""


def normalize_beads(
    adata: AnnData,
    *,
    beads: str | Sequence[str] = "auto",
    baseline: Mapping[str, float] | None = None,
    window: int = 200,
    on_missing: str = "raise",
    sample_key: str = "sample_id",
    copy: bool = False,
) -> AnnData | None:
    """Multiply the counts by a factor over time that brings the calibration beads to a common signal.

    Each bead channel is smoothed by a sliding median over the beads, in the order of Time. With the baseline
    signal of each bead channel,

        slope(t) = sum_b(smooth_b(t) baseline_b) / sum_b(smooth_b(t)^2),

    linear in Time between beads and constant before the first and after the last; all mass channels are multiplied
    by it, so that 0 stays 0 (Finck et al. 2013, Cytometry A 83:483, doi 10.1002/cyto.a.22271). A bead is
    high in every bead channel and has no DNA of a cell, by the limits of `clean`; beads that carry a cell do not
    count. At the ends of a file half a window is left, on one side. Windows do not go over a pause of the
    acquisition that has a window of beads on both sides: the sensitivity may jump in it. (This is ours; it halves
    the largest error in simulated files with such a jump.)

    One factor for all masses cannot set right what drifts differently by mass; how much is left in which channel
    stands in `bead_table`. Files that are normalised one at a time need a common `baseline`, from
    `bead_values` of each and `bead_baseline` of all, else differences between the files stay.

    Parameters
    ----------
    adata
        Raw events x mass channels, counts in ``X``, with ``var["role"]`` and ``var["mass"]``; Time in ``obs``.
    beads
        ``"auto"`` looks for EQ4 and EQ6 beads by mass, or the names of the bead channels.
    baseline
        Counts above 0 by bead channel or marker, a stored reference, in which channels may stand that are not
        needed; `None`: the median of each channel over all
        beads of all samples in `adata`.
    window
        Beads in a window, at least 3; a third of the beads where a sample has fewer than three windows.
    on_missing
        What to do with a sample that has fewer than 50 beads, no usable Time, or was normalised before:
        ``"raise"``, or ``"skip"``, which leaves it as it is and says so in the table.
    sample_key
        Column of ``obs`` that tells samples apart; one sample where there is no ``sample_id``.
    copy
        Return a changed copy and leave `adata` as it is.

    Returns
    -------
    `None`, or the changed copy. Sets the following fields:

    ``X``
        float32 counts, brought to the baseline.
    ``uns["cytocar"]["beads"]``
        JSON: per sample the channels, baseline, spread, range of the slope, notes, and traces for drawing.

    Raises
    ------
    StateError
        ``X`` does not hold counts, was normalised before, or samples have too few beads or no usable Time: all
        of them are named.
    ParameterError
        A bead channel is unknown, the baseline does not fit the bead channels, or a value is not finite.

    Examples
    --------
    >>> import cytocar as cc
    >>> events = cc.datasets.legend2(cells=4000, timepoints=["2mo"])
    >>> normalize_beads(events)
    >>> table = bead_table(events)
    >>> bool(table["spread_before"][0] > 1.2), bool(table["spread_after"][0] < 1.05)
    (True, True)
    """
    done = check_input(adata, window, on_missing)
    found = find_in(adata, beads=beads, sample_key=sample_key)
    return apply(
        adata,
        found,
        baseline=baseline,
        window=window,
        on_missing=on_missing,
        already=done,
        settings={"beads": beads, "sample_key": sample_key},
        copy=copy,
    )


def apply(
    adata: AnnData,
    found: Sequence[SampleBeads],
    *,
    baseline: Mapping[str, float] | None,
    window: int,
    on_missing: str,
    already: str,
    settings: Mapping[str, Any],
    copy: bool,
) -> AnnData | None:
    """Normalise to beads that are found already, as `normalize_beads` says."""
    faults = {one.sample: already or one.fault for one in found if already or one.fault}
    if faults and on_missing == "raise":
        head = "these counts cannot be normalised to beads:"
        lines = [f"  sample {name!r}: {why}" if name else f"  {why}" for name, why in faults.items()]
        way_out = "leave these samples out, or pass on_missing='skip' to leave them as they are"
        raise StateError("\n".join([head, *lines, way_out]))
    usable = [one for one in found if one.sample not in faults]
    if baseline is not None:
        level = check_baseline(adata, baseline, [] if already else found)
    else:
        level = bead_baseline(values_of(adata, usable)) if usable else {}
    signs = _signs_of_other_software(adata)

    counts = counts_in_x(adata)
    factor = np.ones(adata.n_obs, dtype=np.float32)
    kept: dict[str, Any] = {}
    for one in found:
        if one.sample in faults or one.time is None:
            kept[one.sample] = _skipped(one, faults.get(one.sample, ""))
            continue
        labels = [label_of(adata, column) for column in one.columns]
        target = np.array([level[label] for label in labels])
        drift = drift_of(
            bead_counts(counts, one),
            one.time[one.found.bead],
            one.time,
            target,
            window,
        )
        factor[one.rows] = drift.factor
        kept[one.sample] = _entry(one, drift, labels, target, window, signs)

    changed = adata.copy() if copy else own(adata)
    if usable:
        changed.X = counts * factor[:, None]
    changed.uns.setdefault(keys.UNS, {})[BEADS] = json.dumps(kept)
    # A sample that was left as it is may be normalised later: its history must not say that it was.
    step = STEP if usable else f"{STEP}: skipped"
    provenance.record(
        changed, step, {**settings, "baseline": level, "window": window, "on_missing": on_missing}
    )
    return changed if copy else None


def _skipped(one: SampleBeads, why: str) -> dict[str, Any]:
    n_cell_beads = int(np.count_nonzero(one.found.cell_bead))
    note = f"not normalised: {why}"
    return {"normalized": False, "n_beads": one.n_beads, "n_cell_beads": n_cell_beads, "note": note}


def _short(values: NDArray[np.float64]) -> list[float]:
    """Return numbers to six digits: what is drawn needs no more, and the text stays small."""
    return [float(f"{value:.6g}") for value in values]


def _entry(
    one: SampleBeads,
    drift: Drift,
    labels: Sequence[str],
    target: NDArray[np.float64],
    window: int,
    signs: str,
) -> dict[str, Any]:
    """Return what is kept of a normalised sample."""
    before, after = spread(drift.before), spread(drift.after)
    in_one = [float(spread(together(smooth, target)[:, None])[0]) for smooth in (drift.before, drift.after)]
    low, high = float(drift.slope.min()), float(drift.slope.max())
    notes = [note for note in (one.note, signs) if note]
    if in_one[0] <= _STEADY and low >= 1 / _STEADY and high <= _STEADY:
        notes.append("beads are steady and at the baseline: the sample may have been normalised before")
    if drift.window < window:
        notes.append(f"{one.n_beads} beads are few: windows have {drift.window}")
    worst = int(np.argmax(after))
    if after[worst] > _LEFT:
        notes.append(
            f"{100 * (after[worst] - 1):.1f} % is left in {labels[worst]}: drift that differs by mass, or chance"
        )
    at = np.unique(np.linspace(0, len(drift.time) - 1, _POINTS).round().astype(int))
    return {
        "normalized": True,
        "n_beads": one.n_beads,
        "n_cell_beads": int(np.count_nonzero(one.found.cell_bead)),
        "window": drift.window,
        "pauses": drift.pauses,
        "channels": list(labels),
        "baseline": target.tolist(),
        "spread_before": in_one[0],
        "spread_after": in_one[1],
        "channel_spread_before": before.tolist(),
        "channel_spread_after": after.tolist(),
        "slope_min": low,
        "slope_max": high,
        "note": "; ".join(notes),
        "traces": {
            "time_s": _short(drift.time[at] / 1000.0),
            "slope": _short(drift.slope[at]),
            "before": [_short(column) for column in drift.before[at].T],
            "after": [_short(column) for column in drift.after[at].T],
        },
    }


def _kept(adata: AnnData) -> dict[str, Any]:
    text = adata.uns.get(keys.UNS, {}).get(BEADS)
    if text is None:
        raise StateError(
            "these events have not been normalised to beads", fix="run cytocar.pp.normalize_beads first"
        )
    kept: dict[str, Any] = json.loads(text)
    return kept


def bead_table(adata: AnnData, *, by_channel: bool = False) -> pd.DataFrame:
    """Return how the beads of each sample moved before and after normalisation, and what is odd.

    Parameters
    ----------
    adata
        Events after `normalize_beads`.
    by_channel
        One row a bead channel of a sample instead of one row a sample.

    Returns
    -------
    Table with the columns ``sample_id``, ``n_beads``, ``spread_before``, ``spread_after`` (max / min over time of
    the smoothed beads, as the mean over the channels relative to the baseline, which is what one factor can set
    right; 1 is steady), ``slope_min``, ``slope_max``, ``note``, ``n_cell_beads``, ``window`` (beads),
    ``worst_channel`` and ``worst_spread_after`` (the channel in which most is left). NaN where a sample was
    left as it is; the note says why. By channel: ``sample_id``, ``channel``, ``baseline`` (counts),
    ``spread_before`` and ``spread_after``.

    Raises
    ------
    StateError
        `normalize_beads` has not been run.

    Examples
    --------
    >>> import cytocar as cc
    >>> events = cc.datasets.legend2(cells=2000, timepoints=["2mo"])
    >>> normalize_beads(events)
    >>> bead_table(events, by_channel=True)["channel"].tolist()
    ['Ce140Di', 'Eu151Di', 'Eu153Di', 'Ho165Di', 'Lu175Di']
    """
    import pandas as pd

    nan = float("nan")
    rows: list[tuple[Any, ...]] = []
    for sample, entry in _kept(adata).items():
        if by_channel:
            if entry["normalized"]:
                parts = ("channels", "baseline", "channel_spread_before", "channel_spread_after")
                rows += [(sample, *row) for row in zip(*(entry[part] for part in parts), strict=True)]
            continue
        numbers = [
            entry.get(name, nan) for name in ("spread_before", "spread_after", "slope_min", "slope_max")
        ]
        left = entry.get("channel_spread_after", [])
        worst = int(np.argmax(left)) if left else -1
        rows.append(
            (
                sample,
                entry["n_beads"],
                *numbers,
                entry["note"],
                entry["n_cell_beads"],
                entry.get("window", nan),
                entry["channels"][worst] if left else "",
                left[worst] if left else nan,
            )
        )
    if by_channel:
        return pd.DataFrame(
            rows, columns=[keys.SAMPLE, "channel", "baseline", "spread_before", "spread_after"]
        )
    columns = ["n_beads", "spread_before", "spread_after", "slope_min", "slope_max", "note", "n_cell_beads"]
    return pd.DataFrame(
        rows, columns=[keys.SAMPLE, *columns, "window", "worst_channel", "worst_spread_after"]
    )


def bead_traces(adata: AnnData) -> pd.DataFrame:
    """Return the smoothed beads over time before and after normalisation, at about 200 points a sample.

    Parameters
    ----------
    adata
        Events after `normalize_beads`.

    Returns
    -------
    Table with the columns ``sample_id``, ``time_s`` (s, by the clock of the file), ``channel``, ``before`` and
    ``after`` (counts), and ``slope`` (no unit, the same for all channels); no rows for samples that were left as
    they are.

    Raises
    ------
    StateError
        `normalize_beads` has not been run.

    Examples
    --------
    >>> import cytocar as cc
    >>> events = cc.datasets.legend2(cells=2000, timepoints=["2mo"])
    >>> normalize_beads(events)
    >>> list(bead_traces(events))
    ['sample_id', 'time_s', 'channel', 'before', 'after', 'slope']
    """
    import pandas as pd

    columns = [keys.SAMPLE, "time_s", "channel", "before", "after", "slope"]
    parts = []
    for sample, entry in _kept(adata).items():
        if not entry["normalized"]:
            continue
        traces = entry["traces"]
        for channel, before, after in zip(entry["channels"], traces["before"], traces["after"], strict=True):
            parts.append(
                pd.DataFrame(
                    {
                        keys.SAMPLE: sample,
                        "time_s": traces["time_s"],
                        "channel": channel,
                        "before": before,
                        "after": after,
                        "slope": traces["slope"],
                    },
                    columns=columns,
                )
            )
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)
