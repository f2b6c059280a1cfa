"""Simulated beads that each carry one antibody, for measuring the spillover of the simulated study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from cytocar._core import checks, keys, provenance
from cytocar._core.seeds import generator
from cytocar.datasets._instrument import detect
from cytocar.datasets._layout import Layout, layout
from cytocar.datasets._spill import spread

if TYPE_CHECKING:
    from anndata import AnnData

EVENTS: Final = 2000
# Capture beads: median counts of the antibody, spread of its logarithm, and what sticks of others.
SIGNAL: Final = 2000.0
SIGNAL_SD: Final = 0.3
STICK: Final = (0.15, 1.5)
STAIN: Final = "stain"


def single_stains(*, events: int = EVENTS, seed: int = 0) -> AnnData:
    """Simulate capture beads of the panel of `legend2`, each stained in one antibody channel, pooled.

    A bead carries lognormal counts (median 2000, SD of the logarithm 0.3) of its antibody; of every other
    antibody sticks, with probability 0.15, an exponential amount (mean 1.5 counts). Then the true spillover of the
    simulated study acts, and ions are counted: Poisson k, stored as k - U(0, 1), or exactly 0. There is no drift.

    Parameters
    ----------
    events
        Beads of each of the 41 antibody channels, at least 1.
    seed
        A whole number of at least 0. The same seed gives the same events.

    Returns
    -------
    Events x mass channels, counts. ``obs["stain"]`` (categorical) is the stained channel, such as ``Yb171Di``.

    Raises
    ------
    ParameterError
        `events` or `seed` is out of range.

    Notes
    -----
    The true matrix is ``truth/spillover.csv`` of `write_legend2`; with 2000 beads a channel,
    `cytocar.pp.estimate_spillover` is within 0.0004 of it for the pairs it
    looks at, and within 0.0008 for all (an isotope of another metal is not looked for).

    Examples
    --------
    >>> import cytocar as cc
    >>> beads = cc.datasets.single_stains(events=10)
    >>> beads.shape, int((beads.obs["stain"] == "Yb171Di").sum())
    ((410, 49), 10)
    """
    checks.whole_number(events, "events", 1)
    import pandas as pd
    from anndata import AnnData

    channels = layout()
    stained = np.repeat(np.sort(channels.markers), events)
    counts = _beads(stained, channels, seed)
    names = [channels.channels[row] for row in np.sort(channels.markers)]
    obs = pd.DataFrame(
        {STAIN: pd.Categorical(np.repeat(np.array(names, dtype=object), events), names)},
        index=[str(n) for n in range(len(stained))],
    )
    var = channels.panel.var
    columns = [channels.names.index(marker) for marker in var[keys.MARKER]]
    adata = AnnData(X=np.ascontiguousarray(counts[:, columns]), obs=obs, var=var)
    provenance.set_state(adata, keys.STATE_COUNTS)
    provenance.record(adata, "datasets.single_stains", {"events": int(events), "seed": int(seed)})
    return adata


def _beads(stained: np.ndarray, channels: Layout, seed: int) -> np.ndarray:
    """Return counts (events, channels) of beads that are stained in the given rows."""

    def draw(part: str) -> np.random.Generator:
        return generator(seed, "single stains", part)

    n = len(stained)
    signal = np.zeros((len(channels.channels), n), dtype=np.float32)
    chance, scale = STICK
    rng = draw("stick")
    for row in channels.markers:
        some = np.flatnonzero(rng.random(n) < chance)
        signal[row, some] = scale * rng.standard_exponential(len(some))
    own = SIGNAL * np.exp(SIGNAL_SD * draw("signal").standard_normal(n))
    signal[stained, np.arange(n)] += own.astype(np.float32)
    spread_out = spread(signal, channels.spillover)
    return detect(spread_out, [draw(f"ions {channel}") for channel in channels.channels])


def as_measured(channels: Layout, seed: int, *, events: int = EVENTS) -> np.ndarray:
    """Return the true spillover with the error of measuring it on single-stained beads.

    Rows of channels without an antibody are NaN: no bead carries their metal. Every value above 0 has the standard
    error of a median over `events` beads whose received ions are Poisson, and is rounded to five decimals.
    """
    true = channels.spillover
    rng = generator(seed, "single stains", "measurement")
    # The median has sqrt(pi / 2) times the standard error of the mean.
    error = np.sqrt(np.pi / 2) * np.sqrt(true / SIGNAL) / np.sqrt(events)
    measured = np.clip(true + error * rng.standard_normal(true.shape), 0.0, 1.0).round(5)
    np.fill_diagonal(measured, 1.0)
    measured[~np.isin(np.arange(len(true)), channels.markers)] = np.nan
    return np.asarray(measured)
