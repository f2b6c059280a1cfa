"""What `flowsom` has left in an `AnnData`, read back and checked in one place."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core.errors import ParameterError

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

NEEDED = ("codes", "node_cells", "node_labels", "node_labels_by_k", "ks", "markers")


@dataclass(frozen=True)
class StoredMap:
    """A map as stored: its nodes, and which of them each cell is in.

    Parameters
    ----------
    facts
        The mapping in ``uns``.
    markers
        Names of the columns of `codes`.
    codes
        Nodes x markers.
    node
        Nearest node of each cell.
    """

    facts: dict[str, object]
    markers: list[str]
    codes: NDArray[np.float64]
    node: NDArray[np.int32]

    def array(self, name: str) -> NDArray[np.int64]:
        """Return a field of whole numbers."""
        return np.asarray(self.facts[name], dtype=np.int64)

    def measure(self, name: str) -> NDArray[np.float64]:
        """Return a field of fractional numbers."""
        return np.asarray(self.facts[name], dtype=np.float64)


def stored_map(adata: AnnData, key: str) -> StoredMap:
    """Return the map stored under `key`, or raise `ParameterError` if there is none."""
    facts = adata.uns.get(key)
    column = f"{key}_node"
    if not isinstance(facts, dict) or any(name not in facts for name in NEEDED) or column not in adata.obs:
        raise ParameterError(
            f"there is no FlowSOM result {key!r} in these data", fix="run cytocar.tl.flowsom first"
        )
    codes = np.asarray(facts["codes"], dtype=np.float64)
    node = adata.obs[column].to_numpy()
    lacking = int(adata.obs[column].isna().sum())
    if lacking:
        raise ParameterError(
            f"{lacking} of {adata.n_obs} cells have no node in obs[{column!r}], since they were not clustered: leave "
            f"them out, as in cells[cells.obs[{column!r}].notna()].copy()"
        )
    if len(node) and not (node.min() >= 0 and node.max() < len(codes)):
        raise ParameterError(
            f"obs[{column!r}] names node {int(node.max() if node.max() >= len(codes) else node.min())}, but "
            f"uns[{key!r}] has nodes 0 to {len(codes) - 1}: they are not of one result",
            fix="run cytocar.tl.flowsom again",
        )
    return StoredMap(facts, json.loads(str(facts["markers"])), codes, node.astype(np.int32))
