"""Which events of an AnnData are in the populations of a document of gates."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import GateError
from cytocar.gate._documents.document import GatingDocument
from cytocar.gate._documents.values import Channels
from cytocar.gate._shapes.shapes import Dimension

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from cytocar.gate._documents.face import Shapes
    from cytocar.gate._populations.evaluate import Mask


def document_masks(adata: AnnData, tree: Shapes, rows: Any, sample: str) -> dict[str, Mask]:
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
    channels = Channels(adata, document.transformations, document.matrices)
    given: dict[Dimension, NDArray[Any]] = {}
    needed: dict[str, NDArray[Any]] = {}
    for axis in document.axes(file):
        if axis.compensation in document.matrices and "compensate" in adata.uns.get(keys.UNS, {}):
            raise GateError(
                f"gates ask for the compensation {axis.compensation!r}, and the counts are compensated already",
                fix="gate the counts as they were measured, or draw the gates on compensated channels",
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


def missing_channels(
    document: GatingDocument, channels: Sequence[str], *, held_by: str = "in the data"
) -> dict[str, GateError]:
    """Return the channels of gates that a list of channels does not have, with the error that each would raise."""
    columns = document.columns(channels, held_by=held_by)
    missing: dict[str, GateError] = {}
    for name in document.channels:
        try:
            columns.position(name)
        except GateError as error:
            missing[name] = error
    return missing


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
