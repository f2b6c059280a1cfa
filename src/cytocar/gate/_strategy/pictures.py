"""The biaxials of a strategy of thresholds, on the columns of data."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cytocar.gate._populations.events import marker_values
from cytocar.gate._strategy.fitted import marker_columns
from cytocar.gate._strategy.strategy import Biaxial, Pictures
from cytocar.panel.antigens import marker_index
from cytocar.panel.names import marker_key

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from cytocar._core.samples import Rows
    from cytocar.gate._strategy.strategy import ThresholdStrategy


def pictures_of(tree: ThresholdStrategy, adata: AnnData) -> Pictures:
    """Return the biaxials whose two markers are columns of the data; their lines are the thresholds."""
    names = [str(name) for name in adata.var_names]
    index = marker_index(names)
    # A marker that the strategy knows by several names goes by any of them.
    of_tree = {marker_key(marker): at for marker, at in marker_columns(tree, names).columns.items()}
    biaxials = []
    for number, plot in enumerate(tree.plots, start=1):
        x, y = (of_tree.get(marker_key(marker), index.position(marker)) for marker in (plot.x, plot.y))
        if x is not None and y is not None:
            values = functools.partial(_values, adata, {"x": x, "y": y})
            biaxials.append(Biaxial(number, plot.parent, (x, y), values))
    return Pictures(biaxials)


def _values(adata: AnnData, axes: Mapping[str, int], rows: Rows) -> tuple[NDArray[Any], NDArray[Any]]:
    values = marker_values(adata, axes, rows)
    return values["x"], values["y"]
