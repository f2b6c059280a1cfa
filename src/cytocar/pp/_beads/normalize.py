"""Sensitivity over time, corrected by the calibration beads that ran with the cells."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cytocar._core import checks, keys, provenance
from cytocar._core.errors import ParameterError, StateError
from cytocar._core.samples import own
from cytocar.panel.names import marker_key
from cytocar.pp._beads.baseline import bead_baseline, check_baseline
from cytocar.pp._beads.drift import Drift, drift_of, spread, together
from cytocar.pp._beads.find import FEWEST_BEADS, SampleBeads, bead_counts, find_beads, label_of, table_of
from cytocar.pp._beads.tables import BEADS
from cytocar.pp._channels import counts_in_x

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

STEP: Final = "pp.normalize_beads"
_ON_MISSING: Final = ("raise", "skip")
_POINTS: Final = 200
# Beads that move less than this were corrected before, or the instrument was steady.
_STEADY: Final = 1.05
# What is left beyond this in one channel is not noise of the windows but drift of its own.
_LEFT: Final = 1.04
_NO: Final = ("", "0", "false", "no", "none")
_FILE_NAMES: Final = ("$FIL", "FILENAME", "CYTOCAR_FIRST_FIL")


@dataclass(frozen=True)
class BeadSettings:
    """How to normalise; the parameters are those of `normalize_beads`.

    Parameters
    ----------
    recorded
        What else goes into the history.
    """

    baseline: Mapping[str, float] | None
    window: int
    on_missing: str
    recorded: Mapping[str, Any] = field(default_factory=dict)


def normalize_beads(
    adata: AnnData,
    *,
    beads: str | Sequence[str] = "auto",
    baseline: Mapping[str, float] | None = None,
    window: int = 200,
    on_missing: str = "raise",
    sample_key: str = keys.SAMPLE,
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

    One factor for all masses cannot correct what drifts differently by mass; how much is left in which channel
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
        needed; `None`: the median of each channel over all beads of all samples in `adata`.
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
    >>> table = cc.pp.bead_table(events)
    >>> bool(table["spread_before"][0] > 1.2), bool(table["spread_after"][0] < 1.05)
    (True, True)
    """
    already = check_input(adata, window, on_missing)
    samples = find_beads(adata, beads=beads, sample_key=sample_key)
    settings = BeadSettings(baseline, window, on_missing, {"beads": beads, "sample_key": sample_key})
    return apply(adata, [of_sample.refused(already) for of_sample in samples], settings, copy=copy)


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


def apply(
    adata: AnnData,
    samples: Sequence[SampleBeads],
    settings: BeadSettings,
    *,
    copy: bool = False,
) -> AnnData | None:
    """Normalise to beads that were found before, as `normalize_beads` says.

    Parameters
    ----------
    adata
        Counts in ``X``.
    samples
        Its samples with their beads.
    settings
        How.
    copy
        Return a changed copy and leave `adata` as it is.
    """
    usable = [beads for beads in samples if not beads.fault]
    if settings.on_missing == "raise" and len(usable) < len(samples):
        raise StateError(_refusal(samples))
    level = _level(adata, usable, settings.baseline)
    signs = _signs_of_other_software(adata)

    counts = counts_in_x(adata)
    factor = np.ones(adata.n_obs, dtype=np.float32)
    kept: dict[str, Any] = {}
    for beads in samples:
        if beads.fault or beads.time is None:
            kept[beads.sample] = _skipped(beads)
            continue
        labels = [label_of(adata, column) for column in beads.columns]
        target = np.array([level[label] for label in labels])
        drift = drift_of(
            bead_counts(counts, beads),
            beads.time[beads.alone],
            beads.time,
            target,
            settings.window,
            FEWEST_BEADS,
        )
        factor[beads.rows] = drift.factor
        kept[beads.sample] = _entry(beads, drift, labels, target, settings.window, signs)

    changed = adata.copy() if copy else own(adata)
    if usable:
        changed.X = counts * factor[:, None]
    changed.uns.setdefault(keys.UNS, {})[BEADS] = json.dumps(kept)
    # A sample that was left as it is may be normalised later: its history must not say that it was.
    step = STEP if usable else f"{STEP}: skipped"
    stated = {"baseline": level, "window": settings.window, "on_missing": settings.on_missing}
    provenance.record(changed, step, {**settings.recorded, **stated})
    return changed if copy else None


def _refusal(samples: Sequence[SampleBeads]) -> str:
    faults = {beads.sample: beads.fault for beads in samples if beads.fault}
    lines = [f"  sample {name!r}: {why}" if name else f"  {why}" for name, why in faults.items()]
    way_out = "leave these samples out, or pass on_missing='skip' to leave them as they are"
    return "\n".join(["these counts cannot be normalised to beads:", *lines, way_out])


def _level(
    adata: AnnData, usable: Sequence[SampleBeads], baseline: Mapping[str, float] | None
) -> dict[str, float]:
    """Return the signal of each bead channel that beads are brought to: as stated, or that of the usable beads."""
    if baseline is not None:
        return check_baseline(adata, baseline, usable)
    return bead_baseline(table_of(adata, usable)) if usable else {}


def _skipped(beads: SampleBeads) -> dict[str, Any]:
    return {
        "normalized": False,
        "n_beads": beads.n_alone,
        "n_cell_beads": beads.n_with_cell,
        "note": f"not normalised: {beads.fault}",
    }


def _short(values: NDArray[np.float64]) -> list[float]:
    """Return numbers to six digits: what is drawn needs no more, and the text stays small."""
    return [float(f"{value:.6g}") for value in values]


def _entry(
    beads: SampleBeads,
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
    notes = [note for note in (beads.note, signs) if note]
    if in_one[0] <= _STEADY and low >= 1 / _STEADY and high <= _STEADY:
        notes.append("beads are steady and at the baseline: the sample may have been normalised before")
    if drift.window < window:
        notes.append(f"{beads.n_alone} beads are few: windows have {drift.window}")
    worst = int(np.argmax(after))
    if after[worst] > _LEFT:
        notes.append(
            f"{100 * (after[worst] - 1):.1f} % is left in {labels[worst]}: drift that differs by mass, or chance"
        )
    at = np.unique(np.linspace(0, len(drift.time) - 1, _POINTS).round().astype(int))
    return {
        "normalized": True,
        "n_beads": beads.n_alone,
        "n_cell_beads": beads.n_with_cell,
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
