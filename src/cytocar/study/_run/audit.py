"""How far preprocessing moves the CAR-T cells of one file: what spillover explains, and what the clean-up removed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys
from cytocar.panel.antigens import marker_positions
from cytocar.study._run.prepare import UNCOMPENSATED

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from cytocar.gate import Strategy
    from cytocar.study._tasks import Settings


def audit_tables(adata: AnnData, settings: Settings) -> dict[str, pd.DataFrame]:
    """Return `cleaning_losses` and `car_audit`, each where it can be made."""
    tables = {"cleaning_losses": cleaning_losses(adata), "car_audit": car_audit(adata, settings)}
    return {name: table for name, table in tables.items() if table is not None}


def car_audit(adata: AnnData, settings: Settings) -> pd.DataFrame | None:
    """Return how many T cells are CAR+ only by what other channels leaked into that of the CAR."""
    from cytocar import gate, pp

    strategy = gate.strategy_of(adata)
    if settings.spillover is None or keys.CAR not in strategy.compartments:
        return None
    car = strategy.population(strategy.compartments[keys.CAR])
    thresholds = gate.thresholds(adata).set_index("name")
    above = [name for name in strategy.thresholds_above(car.name) if name in thresholds.index]
    if len(above) != 1:
        return None
    row: Any = thresholds.loc[above[0]]
    column = marker_positions([str(row["marker"])], [str(name) for name in adata.var_names])[0]
    channels = [str(channel) for channel in adata.var[keys.CHANNEL]]
    covered = {isotope.channel for isotope in settings.spillover.isotopes}
    if channels[column] not in covered:
        return None
    return pp.car_audit(
        adata.layers[UNCOMPENSATED],
        adata.layers[keys.COUNTS],
        float(row["value"]),
        spillover=settings.spillover,
        channels=channels,
        car=channels[column],
        cofactor=float(adata.var[keys.COFACTOR].iloc[column]),
        among=gate.membership(adata, car.parent),
        sample_id=str(adata.obs[keys.SAMPLE].iloc[0]) if adata.n_obs else "",
    )


def cleaning_losses(adata: AnnData) -> pd.DataFrame | None:
    """Return, for each class of event, how many of its events look like CAR-T cells: what clean-up may have cost."""
    import pandas as pd

    from cytocar import gate

    strategy = gate.strategy_of(adata)
    if keys.CAR not in strategy.compartments or keys.EVENT_CLASS not in adata.obs:
        return None
    looks = _looks_like_car(adata, strategy)
    classes = np.asarray(adata.obs[keys.EVENT_CLASS].astype(str))
    rows = [
        {
            keys.SAMPLE: str(adata.obs[keys.SAMPLE].iloc[0]) if adata.n_obs else "",
            "class": name,
            "events": int((classes == name).sum()),
            "share": float((classes == name).mean()) if adata.n_obs else np.nan,
            "like_car": int((looks & (classes == name)).sum()),
        }
        for name in adata.obs[keys.EVENT_CLASS].cat.categories
    ]
    return pd.DataFrame(rows)


def _looks_like_car(adata: AnnData, strategy: Strategy) -> np.ndarray:
    """Return which events the gates call CAR-T cells, whatever the clean-up calls them."""
    from cytocar import gate
    from cytocar.gate._populations.gated_input import GatedInput

    thresholds = gate.thresholds(adata).dropna(subset=["value"])
    numbers = {
        str(name): float(value) for name, value in zip(thresholds["name"], thresholds["value"], strict=True)
    }
    data = GatedInput.of(adata, all_events=True)
    masks = strategy.masks(data, next(iter(data.samples)), numbers)
    return masks[strategy.compartments[keys.CAR]]
