"""What gating found, kept in the data: populations and compartments of every event, and all numbers as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cytocar._core import keys, palette
from cytocar._core.errors import GateError
from cytocar._core.provenance import plain
from cytocar.gate._exchange.stored import text_of

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from cytocar.gate._populations.evaluate import Mask
    from cytocar.gate._populations.gated_input import GatedInput
    from cytocar.gate._strategy.strategy import Gated, Strategy
    from cytocar.gate._thresholds.find import ResolvedThreshold


def store(data: GatedInput, gated: Gated) -> None:
    """Set the columns of obs and obsm, and keep what the tables of gating are made of."""
    masks = _population_masks(data, gated)
    data.adata.obsm[keys.GATES] = pd.DataFrame(masks, index=data.adata.obs_names)
    if gated.strategy.compartments:
        _store_labels(data.adata, gated.strategy, masks)
    _store_numbers(data, gated)


def _population_masks(data: GatedInput, gated: Gated) -> dict[str, Mask]:
    names = list(next(iter(gated.samples.values())).masks) if gated.samples else []
    masks = {name: np.zeros(data.adata.n_obs, dtype=bool) for name in names}
    for sample, rows in data.samples.items():
        for name, mask in gated.samples[sample].masks.items():
            masks[name][rows] = mask
    return masks


def _store_labels(adata: AnnData, strategy: Strategy, masks: Mapping[str, Mask]) -> None:
    """Set the compartment and the subset of every event."""
    compartments = {name: masks[population] for name, population in strategy.compartments.items()}
    codes = _exclusive(compartments, adata.n_obs, "compartments")
    adata.obs[keys.COMPARTMENT] = pd.Categorical.from_codes(codes, pd.Index([*compartments, ""]))
    names = list(strategy.subsets)
    subset = np.full(adata.n_obs, len(names), dtype=np.int8)
    for population, populations in strategy.subset_populations.items():
        subsets = {name: masks[populations[name]] for name in names if name in populations}
        inside = masks[population]
        codes = _exclusive(subsets, adata.n_obs, f"subsets of {population}")
        positions = np.array([*map(names.index, subsets), len(names)], dtype=np.int8)
        subset[inside] = positions[codes][inside]
    adata.obs[keys.SUBSET] = pd.Categorical.from_codes(subset, pd.Index([*names, ""]))
    palette.store(adata, keys.COMPARTMENT, keys.SUBSET)


def _exclusive(masks: Mapping[str, Mask], n: int, what: str) -> NDArray[np.int8]:
    """Return the position of the one mask that each event is in, or the number of masks where it is in none."""
    codes = np.full(n, len(masks), dtype=np.int8)
    names = list(masks)
    for code, name in enumerate(names):
        taken = masks[name] & (codes < len(masks))
        if taken.any():
            other = names[int(codes[np.argmax(taken)])]
            raise GateError(
                f"{int(taken.sum()):,} events are in two {what}, {other!r} and {name!r}",
                fix="keep them apart",
            )
        codes[masks[name]] = code
    return codes


def _store_numbers(data: GatedInput, gated: Gated) -> None:
    """Keep as JSON what the tables are made of, so that they survive taking a subset of the events."""
    gating = {
        "strategy": text_of(gated.strategy),
        "markers": dict(gated.markers),
        "left_out": {marker: list(names) for marker, names in gated.left_out.items()},
        "samples": {sample: _numbers_of(data, gated, sample) for sample in data.samples},
    }
    data.adata.uns.setdefault(keys.UNS, {})[keys.GATING] = json.dumps(plain(gating))


def _numbers_of(data: GatedInput, gated: Gated, sample: str) -> dict[str, Any]:
    resolved = gated.samples[sample]
    return {
        "events": int(data.cells(sample).size),
        "removed": _removed(data, sample),
        "counts": {name: int(np.count_nonzero(mask)) for name, mask in resolved.masks.items()},
        "thresholds": [
            _threshold_entry(threshold, gated.markers[threshold.marker])
            for threshold in resolved.found.values()
        ],
    }


def _removed(data: GatedInput, sample: str) -> dict[str, int]:
    """Return how many events of each class the clean-up has taken away."""
    if keys.EVENT_CLASS not in data.adata.obs:
        return {}
    classes = np.asarray(data.adata.obs[keys.EVENT_CLASS].astype(str))[data.samples[sample]]
    names, counts = np.unique(classes[~data.cells(sample)], return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


def _threshold_entry(threshold: ResolvedThreshold, marker: str) -> dict[str, Any]:
    entry = dataclasses.asdict(threshold)
    entry["marker"] = marker
    for key in ("confidence", "spread", "low", "high"):
        entry[key] = None if np.isnan(entry[key]) else entry[key]
    entry["grid"] = np.round(threshold.grid, 4).tolist()
    entry["density"] = [float(f"{density:.4g}") for density in threshold.density]
    return entry
