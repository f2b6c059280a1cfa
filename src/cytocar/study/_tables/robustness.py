"""How far the headline numbers of one sample depend on its thresholds, as tables of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cytocar._core import keys

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from anndata import AnnData


def robustness_tables(
    adata: AnnData,
    *,
    controls: Mapping[str, Mapping[str, np.ndarray]],
    others: Mapping[str, Sequence[float]] | None,
) -> dict[str, pd.DataFrame]:
    """Return `robustness` and `multiverse` of all events of a gated sample; nothing where there are no CAR-T cells.

    Where no threshold was found, as with gates that are shapes, there is none to move and no rule to try.
    """
    from cytocar import gate

    if keys.CAR not in gate.strategy_of(adata).compartments or gate.thresholds(adata).empty:
        return {}
    return {
        "robustness": gate.robustness(adata),
        "multiverse": gate.multiverse(adata, controls=dict(controls), others=others),
    }
