"""What gating looks at in an AnnData: the samples in it, and which of their events are cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys
from cytocar._core.samples import rows_by_sample
from cytocar.gate._populations.events import marker_values, may_be_gated

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from cytocar._core.samples import Rows
    from cytocar.gate._populations.evaluate import Mask


@dataclass(frozen=True, eq=False)
class GatedInput:
    """The events that are gated, sample by sample.

    Parameters
    ----------
    adata
        Arcsinh values in X.
    samples
        Sample to its rows.
    root
        Boolean array (events,): the events from which gating starts.
    """

    adata: AnnData
    samples: Mapping[str, Rows]
    root: Mask

    @classmethod
    def of(cls, adata: AnnData, sample_key: str = keys.SAMPLE, *, all_events: bool = False) -> GatedInput:
        """Return the cells of each sample; with `all_events` what the clean-up calls no cell too."""
        root = np.ones(adata.n_obs, dtype=bool) if all_events else may_be_gated(adata)
        return cls(adata, rows_by_sample(adata, sample_key), root)

    def cells(self, sample: str) -> Mask:
        """Return which events of a sample may be gated."""
        cells: Mask = self.root[self.samples[sample]]
        return cells

    def values(self, sample: str, columns: Mapping[str, int]) -> dict[str, NDArray[Any]]:
        """Return marker to the values of the events of a sample."""
        return marker_values(self.adata, columns, self.samples[sample])

    def role(self, sample: str) -> str:
        """Return the role of a sample; empty where it has none or several."""
        if keys.ROLE not in self.adata.obs:
            return ""
        roles = np.unique(np.asarray(self.adata.obs[keys.ROLE].astype(str))[self.samples[sample]])
        return str(roles[0]) if roles.size == 1 else ""
