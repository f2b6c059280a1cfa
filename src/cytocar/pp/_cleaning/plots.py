"""What the clean-up saw: each criterion against DNA, counted in bins, with its limits."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import ParameterError, StateError
from cytocar._core.samples import sample_positions
from cytocar._core.vocabulary import BEAD, CELL_BEAD, DEAD, DEBRIS, DOUBLET, EVENT_CLASSES
from cytocar.pp._channels import counts_of, technical
from cytocar.pp._cleaning.limit import COFACTOR, Limit, combined
from cytocar.pp._cleaning.tables import CLEAN

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

STEP: Final = 0.125
# A few events far out would leave the others a corner of the picture; they are counted in its outermost bins.
_OUTER: Final = 2e-4


class _Picture(NamedTuple):
    """What one histogram shows: a limit, the one on DNA that goes with it, its classes, and what was taken before."""

    criterion: str
    on_dna: str
    taken: tuple[str, ...]
    before: tuple[str, ...]


_PICTURES: Final = (
    _Picture(BEAD, "bead_dna", (BEAD, CELL_BEAD), ()),
    _Picture(DEBRIS, "debris_dna", (DEBRIS,), (BEAD, CELL_BEAD)),
    _Picture(DEAD, "", (DEAD,), (BEAD, CELL_BEAD, DEBRIS)),
    _Picture(DOUBLET, "doublet_dna", (DOUBLET,), (BEAD, CELL_BEAD, DEBRIS, DEAD)),
    _Picture("doublet_length", "doublet_dna", (DOUBLET,), (BEAD, CELL_BEAD, DEBRIS, DEAD)),
)
_COLUMNS: Final = (
    keys.SAMPLE, "plot", "criterion", "x_name", "y_name", "x", "y", "n", "x_limit", "x_side", "y_limit", "events",
    "taken",
)  # fmt: skip


def _limits(entry: dict[str, Any]) -> dict[str, Limit]:
    return {
        limit["criterion"]: Limit(
            limit["criterion"], limit["value"], limit["unit"], limit["side"], limit["combine"],
            tuple(limit["channels"]), tuple(limit["weights"]), limit["rule"],
        )
        for limit in entry["limits"]
        if limit["value"] is not None
    }  # fmt: skip


def _name(limit: Limit) -> str:
    if limit.combine == "min":
        return "lowest bead channel"
    terms = [
        channel if weight == 1.0 else f"{weight:.1f} {channel}"
        for channel, weight in zip(limit.channels, limit.weights, strict=True)
    ]
    return " + ".join(terms)


def _binned(x: NDArray[np.floating], limit: float) -> NDArray[np.int64]:
    """Return the bin of each value, the outermost 0.02 % put beside the others; the limit is within."""
    if not x.size:
        return np.zeros(0, dtype=np.int64)
    low, high = np.quantile(x, [_OUTER, 1 - _OUTER])
    if np.isfinite(limit):
        low, high = min(low, limit), max(high, limit)
    bins: NDArray[np.int64] = np.floor(np.clip(x, low, high) / STEP).astype(np.int64)
    return bins


def clean_plots(adata: AnnData, *, sample_key: str = keys.SAMPLE) -> pd.DataFrame:
    """Return two-dimensional histograms of each criterion of the clean-up against DNA, with the limits.

    Each picture holds the events that were left when its criterion was judged; beads first, then debris, dead cells
    and doublets (by all of their score, and by length and CD45 without DNA).

    Parameters
    ----------
    adata
        Events after `clean`, with their counts in ``X`` or ``layers["counts"]``.
    sample_key
        The column of ``obs`` that was given to `clean`.

    Returns
    -------
    Table with one row per bin that holds events: ``sample_id``, ``plot`` (from 1), ``criterion``, ``x_name`` (a rounded
    formula) and ``y_name``, ``x`` and ``y`` (middle of the bin, arcsinh(counts / 5) or their weighted sum), ``n``
    (events in the bin), ``x_limit``, ``x_side`` (above or below: where the criterion is met), ``y_limit`` (the limit
    on DNA that goes with it, on the same side, but for beads: above it they carry a cell; NaN where there is none),
    ``events`` (all that were left) and ``taken`` (that the criterion took; of beads with and without a cell).
    Criteria that are not judged are left out.

    Raises
    ------
    StateError
        `clean` has not been run, or there are no counts.
    ParameterError
        A sample that was cleaned is not there, or a channel is missing.

    Examples
    --------
    >>> import cytocar as cc
    >>> adata = cc.datasets.legend2(cells=5000, timepoints=["2mo"])
    >>> cc.pp.clean(adata)
    >>> table = clean_plots(adata)
    >>> int(table.loc[table["criterion"] == "bead", "n"].sum()) == adata.n_obs
    True
    """
    import pandas as pd

    text = adata.uns.get(keys.UNS, {}).get(CLEAN)
    if text is None or keys.EVENT_CLASS not in adata.obs:
        raise StateError("these events have not been sorted into classes", fix="run cytocar.pp.clean first")
    counts = counts_of(adata, "pp.clean_plots")
    kept = json.loads(text)
    codes = adata.obs[keys.EVENT_CLASS].cat.set_categories(list(EVENT_CLASSES)).cat.codes.to_numpy()
    tables: list[pd.DataFrame] = []
    for sample, rows in sample_positions(adata, sample_key):
        if sample not in kept:
            raise ParameterError(
                f"sample {sample!r} was not there when pp.clean was run",
                fix=f"run it again with sample_key={sample_key!r}",
            )
        limits = _limits(kept[sample])
        signals = {
            channel: np.arcsinh(_values_of(adata, counts, channel)[rows] * np.float32(1 / COFACTOR))
            for channel in {channel for limit in limits.values() for channel in limit.channels}
        }
        for number, picture in enumerate(_PICTURES, start=1):
            if picture.criterion in limits:
                table = _histogram(picture, limits, signals, codes[rows])
                tables.append(table.assign(plot=number, **{keys.SAMPLE: sample}))
    if not tables:
        return pd.DataFrame(columns=list(_COLUMNS))
    return pd.concat(tables, ignore_index=True)[list(_COLUMNS)]


def _values_of(adata: AnnData, counts: NDArray[np.float32], channel: str) -> NDArray[np.float32]:
    if channel == technical(adata, "event_length"):
        values: NDArray[np.float32] = adata.obs[channel].to_numpy(dtype=np.float32)
        return values
    names = [str(name) for name in adata.var_names]
    if channel not in names:
        raise ParameterError(f"{channel} was judged by pp.clean and is not there any more")
    return counts[:, names.index(channel)]


def _histogram(
    picture: _Picture,
    limits: Mapping[str, Limit],
    signals: Mapping[str, NDArray[np.floating]],
    codes: NDArray[np.int8],
) -> pd.DataFrame:
    """Return the bins of one picture of one sample, with its limits.

    Parameters
    ----------
    picture
        What to show.
    limits
        By criterion.
    signals
        arcsinh(counts / 5) by channel, each of shape (events,).
    codes
        Class of each event, index into `EVENT_CLASSES`.
    """
    import pandas as pd

    limit, of_dna, beside = limits[picture.criterion], limits.get(DEBRIS), limits.get(picture.on_dna)
    dna = of_dna.channels[0] if of_dna else ""
    left = ~np.isin(codes, [EVENT_CLASSES.index(name) for name in picture.before])
    y = signals[dna] if dna else np.zeros(codes.size, dtype=np.float32)
    y_limit = beside.value if beside is not None else float("nan")
    across = _binned(combined(limit, signals)[left], limit.value)
    bins, n = np.unique(np.stack([across, _binned(y[left], y_limit)]), axis=1, return_counts=True)
    table = pd.DataFrame({"x": (bins[0] + 0.5) * STEP, "y": (bins[1] + 0.5) * STEP, "n": n})
    return table.assign(
        criterion=picture.criterion,
        x_name=_name(limit),
        y_name=dna,
        x_limit=limit.value,
        x_side=limit.side,
        y_limit=y_limit,
        events=int(np.count_nonzero(left)),
        taken=int(np.count_nonzero(np.isin(codes, [EVENT_CLASSES.index(name) for name in picture.taken]))),
    )
