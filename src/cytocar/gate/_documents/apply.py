"""Which events of an AnnData are in the populations of a document of gates."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import GateError, StateError
from cytocar.gate._documents.document import GatingDocument, _Columns
from cytocar.gate._shapes.shapes import FROM_FILE, UNCOMPENSATED, Dimension
from cytocar.gate._shapes.transforms import Asinh

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from cytocar.gate._documents.tree import DocumentTree
    from cytocar.gate._strategy.evaluate import Mask


def document_masks(adata: AnnData, tree: DocumentTree, rows: Any, sample: str) -> dict[str, Mask]:
    """Return name of each population to bool (events,), whatever the clean-up calls an event.

    An axis that is arcsinh(x / cofactor) with the cofactor of the channel is X itself, to the last bit; every other
    axis is made from the counts. Channels without a mass, such as time, are columns of obs.

    Parameters
    ----------
    adata
        Arcsinh values in X; counts in ``layers["counts"]`` where an axis needs them.
    tree
        The gates.
    rows
        The events of one sample, as a slice or positions.
    sample
        Its name; gates may have versions for it, or for the file that it was read from.
    """
    document = tree.document
    file = version_for(document, adata, sample)
    channels = _Channels(adata, document)
    given: dict[Dimension, NDArray[Any]] = {}
    needed: dict[str, NDArray[Any]] = {}
    for axis in document.axes(file):
        if axis.compensation in document.matrices and "compensate" in adata.uns.get(keys.UNS, {}):
            raise GateError(
                f"gates ask for the compensation {axis.compensation!r}, and the counts are compensated already; gate "
                "the counts as they were measured, or draw the gates on compensated channels"
            )
        own = channels.transformed(axis)
        if own is not None:
            given[axis] = own[rows]
            continue
        for name in document.sources(axis):
            needed.setdefault(name, channels.counts(name)[rows])
    events = next((values for values in (*given.values(), *needed.values())), None)
    count = len(np.arange(adata.n_obs)[rows]) if events is None else len(events)
    matrix = np.column_stack(list(needed.values())) if needed else np.empty((count, 0), np.float32)
    masks = document.evaluate(matrix, list(needed), file=file, given=given)
    return {label: masks[name] for name, label in tree.labels.items()}


def version_for(document: GatingDocument, adata: AnnData, sample: str) -> str:
    """Return the name under which a document may have gates of its own for a sample: its file, or the sample."""
    return document.name_in(*(name for name in (file_of(adata, sample), sample) if name))


class _Channels:
    """The columns of an AnnData by the names of channels."""

    def __init__(self, adata: AnnData, document: GatingDocument) -> None:
        import pandas as pd

        self._adata = adata
        self._names = [str(name) for name in adata.var.get(keys.CHANNEL, adata.var_names)]
        self._others = [
            str(name)
            for name in adata.obs.columns
            if pd.api.types.is_numeric_dtype(adata.obs[name]) and name not in (keys.EVENT_INDEX, keys.MONTHS)
        ]
        self._columns = _Columns(document, [*self._names, *self._others], None)

    def transformed(self, axis: Dimension) -> NDArray[Any] | None:
        """Return X where it is the values on an axis."""
        scale = self._columns.document.transformations.get(axis.transformation)
        plain = isinstance(scale, Asinh) and scale.bound_min is None and scale.bound_max is None
        if not plain or axis.compensation not in (UNCOMPENSATED, FROM_FILE) or not axis.channel:
            return None
        position = self._columns.position(axis.channel)
        if position >= len(self._names) or keys.COFACTOR not in self._adata.var:
            return None
        cofactor = float(self._adata.var[keys.COFACTOR].iloc[position])
        same = (
            isinstance(scale, Asinh)
            and math.isclose(scale.cofactor, cofactor, rel_tol=1e-9)
            and math.isclose(scale.unit, 1.0, rel_tol=1e-9)
            and scale.offset == 0
        )
        return _column(self._adata.X, position) if same else None

    def counts(self, name: str) -> NDArray[Any]:
        """Return the values of a channel as the gates of a file mean them."""
        position = self._columns.position(name)
        if position >= len(self._names):
            return np.asarray(self._adata.obs[self._others[position - len(self._names)]])
        if keys.COUNTS not in self._adata.layers:
            raise StateError(
                f"gates need the counts of channel {name!r}, and there is no layer {keys.COUNTS!r}; "
                "transform with cytocar.pp.arcsinh, which keeps them"
            )
        return _column(self._adata.layers[keys.COUNTS], position)


def _column(matrix: Any, position: int) -> NDArray[Any]:
    column = matrix[:, position]
    dense = column.toarray() if hasattr(column, "toarray") else column
    return np.asarray(dense).ravel()


def lacking_channels(document: GatingDocument, channels: Sequence[str]) -> dict[str, str]:
    """Return the channels of gates that a list of channels does not have, with the reason for each."""
    columns = _Columns(document, list(channels), None)
    found: dict[str, str] = {}
    for name in document.channels:
        try:
            columns.position(name)
        except GateError as error:
            found[name] = str(error)
    return found


def file_of(adata: AnnData, sample: str | None = None) -> str:
    """Return the name of the FCS file that data were read from, "" where it is not known.

    Parameters
    ----------
    adata
        Read by `cytocar.io.read_fcs`, or the cells of a run.
    sample
        Which of several samples; None where there is one.
    """
    steps = json.loads(adata.uns.get(keys.UNS, {}).get(keys.STEPS, "[]"))
    merged = next((step["settings"] for step in steps if step.get("step") == "study.run"), None)
    if merged is not None:
        # The cells of a run: the steps of every file stand below its sample.
        steps = merged["files"].get(sample, [])
    for step in steps:
        settings = step.get("settings", {})
        if step.get("step") == "io.read_fcs" and sample in (None, settings.get(keys.SAMPLE)):
            return str(settings.get("file", ""))
    return ""
