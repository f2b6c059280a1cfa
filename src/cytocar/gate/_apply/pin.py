"""Keep what was found: a strategy whose thresholds are numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cytocar.gate._apply.load import as_strategy
from cytocar.gate._results.ledger import gating, strategy_of

if TYPE_CHECKING:
    from anndata import AnnData

    from cytocar.gate._strategy.strategy import Strategy, ThresholdStrategy


def pin(adata: AnnData, strategy: Strategy | str | None = None) -> ThresholdStrategy:
    """Return a strategy in which every threshold is pinned, in each sample, to the number that was found in it.

    Saved as YAML (`GateTree.to_yaml`) and applied again, it gives the same cells whatever the rules of a later
    version find. Rules are kept for samples that are not in it.

    Parameters
    ----------
    adata
        Gated by `apply`.
    strategy
        The strategy to pin, or what `cytocar.gate.load` takes; None is the one that was applied.

    Returns
    -------
    The strategy, such as a `GateTree`; numbers have four decimals, as they were applied.

    Raises
    ------
    GateError
        `apply` has not run, or has found a threshold that the strategy does not have.

    Examples
    --------
    >>> import cytocar as cc
    >>> adata = cc.datasets.legend2(cells=3000, timepoints=["2mo"])
    >>> cc.pp.clean(adata)
    >>> cc.pp.arcsinh(adata)
    >>> cc.gate.apply(adata, "car_t")
    >>> pinned = cc.gate.pin(adata)
    >>> cc.gate.apply(adata, pinned)
    >>> bool(cc.gate.thresholds(adata)["pinned"].all())
    True
    """
    chosen = strategy_of(adata) if strategy is None else as_strategy(strategy)
    pins: dict[str, dict[str, float]] = {}
    for sample, kept in gating(adata)["samples"].items():
        for entry in kept["thresholds"]:
            pins.setdefault(entry["name"], {})[sample] = entry["value"]
    return chosen.as_thresholds().with_pins(pins)
