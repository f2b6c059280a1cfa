"""What was done to a matrix, in what order, with which settings: JSON text in ``uns["cytocar"]``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import StateError

if TYPE_CHECKING:
    from anndata import AnnData


def plain(value: Any) -> Any:
    """Return `value` as JSON can hold it: numpy numbers as numbers, paths as text, sets sorted."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(plain(item) for item in value)
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


def record(adata: AnnData, step: str, settings: dict[str, Any]) -> None:
    """Append one step with its settings to the history of `adata`."""
    history = steps(adata)
    history.append({"step": step, "settings": plain(settings)})
    adata.uns.setdefault(keys.UNS, {})[keys.STEPS] = json.dumps(history)


def steps(adata: AnnData) -> list[dict[str, Any]]:
    """Return the history of `adata`, oldest step first."""
    text = adata.uns.get(keys.UNS, {}).get(keys.STEPS, "[]")
    history: list[dict[str, Any]] = json.loads(text)
    return history


def state(adata: AnnData) -> str:
    """Return what X holds: ``"counts"`` or ``"arcsinh"``."""
    found = adata.uns.get(keys.UNS, {}).get(keys.STATE)
    if found is None:
        raise StateError(
            "this AnnData does not say whether X holds counts or arcsinh values; read it with "
            "cytocar.io, or set adata.uns['cytocar'] = {'state': 'counts'} (or 'arcsinh') if you know"
        )
    return str(found)


def set_state(adata: AnnData, value: str) -> None:
    """Say what X holds from now on."""
    adata.uns.setdefault(keys.UNS, {})[keys.STATE] = value


def require_state(adata: AnnData, due: str, step: str) -> None:
    """Raise `StateError` unless X holds what `step` needs."""
    found = state(adata)
    if found != due:
        advice = (
            "run cytocar.pp.arcsinh first"
            if due == keys.STATE_ARCSINH
            else "run it before cytocar.pp.arcsinh, or on a copy whose X is layers['counts']"
        )
        raise StateError(f"{step} needs {due} in X, but X holds {found}: {advice}")
