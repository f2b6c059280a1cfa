"""What bead normalisation did, as tables."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import StateError

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

# uns["cytocar"]["beads"]
BEADS: Final = "beads"


def _kept(adata: AnnData) -> dict[str, Any]:
    text = adata.uns.get(keys.UNS, {}).get(BEADS)
    if text is None:
        raise StateError(
            "these events have not been normalised to beads", fix="run cytocar.pp.normalize_beads first"
        )
    kept: dict[str, Any] = json.loads(text)
    return kept


def bead_table(adata: AnnData, *, by_channel: bool = False) -> pd.DataFrame:
    """Return how the beads of each sample moved before and after normalisation, and what is unusual.

    Parameters
    ----------
    adata
        Events after `normalize_beads`.
    by_channel
        One row per bead channel of a sample instead of one row per sample.

    Returns
    -------
    Table with the columns ``sample_id``, ``n_beads``, ``spread_before``, ``spread_after`` (max / min over time of
    the smoothed beads, as the mean over the channels relative to the baseline, which is what one factor can
    correct; 1 is steady), ``slope_min``, ``slope_max``, ``note``, ``n_cell_beads``, ``window`` (beads),
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
    >>> cc.pp.normalize_beads(events)
    >>> bead_table(events, by_channel=True)["channel"].tolist()
    ['Ce140Di', 'Eu151Di', 'Eu153Di', 'Ho165Di', 'Lu175Di']
    """
    import pandas as pd

    nan = float("nan")
    rows: list[tuple[Any, ...]] = []
    for sample, entry in _kept(adata).items():
        if by_channel:
            if entry["normalized"]:
                names = ("channels", "baseline", "channel_spread_before", "channel_spread_after")
                rows += [(sample, *row) for row in zip(*(entry[name] for name in names), strict=True)]
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
    """Return the smoothed beads over time before and after normalisation, at about 200 points per sample.

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
    >>> cc.pp.normalize_beads(events)
    >>> list(bead_traces(events))
    ['sample_id', 'time_s', 'channel', 'before', 'after', 'slope']
    """
    import pandas as pd

    columns = [keys.SAMPLE, "time_s", "channel", "before", "after", "slope"]
    tables = []
    for sample, entry in _kept(adata).items():
        if not entry["normalized"]:
            continue
        traces = entry["traces"]
        for channel, before, after in zip(entry["channels"], traces["before"], traces["after"], strict=True):
            tables.append(
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
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)
