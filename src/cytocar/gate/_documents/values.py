"""Events as the gates of a document see them: which column a channel means, and the values on each axis."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import GateError, StateError, did_you_mean
from cytocar.gate._shapes.shapes import FROM_FILE, UNCOMPENSATED, Dimension, Rectangle, Shape, within
from cytocar.gate._shapes.spillover import SpectrumMatrix
from cytocar.gate._shapes.transforms import Asinh, Ratio, Scale, Transformation
from cytocar.panel.names import channel_isotope

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from cytocar.gate._shapes.shapes import Mask


class Columns:
    """Which columns of the events a name of a gate means.

    Parameters
    ----------
    channels
        Name of each column.
    transformations, matrices
        Of the document, by their ids.
    of_file
        The spillover matrix of the file; None for none.
    held_by
        Where the channels are, in the message about one that is not there.
    """

    def __init__(
        self,
        channels: Sequence[str],
        transformations: Mapping[str, Transformation],
        matrices: Mapping[str, SpectrumMatrix],
        of_file: SpectrumMatrix | None = None,
        *,
        held_by: str = "in the data",
    ) -> None:
        self._held_by = held_by
        self.channels, self.transformations = list(channels), transformations
        self._matrices, self._of_file = matrices, of_file
        self._positions: dict[str, int] = {}
        self._unmixing: dict[str, NDArray[np.float64]] = {}
        self._cuts: dict[tuple[str, float], float | None] = {}

    def cut(self, axis: Dimension, position: float | None) -> float | None:
        """Return the value of the channel at a position on an axis; None for no position, or where none is safe."""
        if position is None or not axis.transformation:
            return position
        key = (axis.transformation, position)
        if key not in self._cuts:
            scale = self.transformations[axis.transformation]
            self._cuts[key] = scale.cut(position) if isinstance(scale, Scale) else None
        return self._cuts[key]

    def position(self, name: str) -> int:
        """Return the column of a channel."""
        if name not in self._positions:
            self._positions[name] = self._look_up(name)
        return self._positions[name]

    def _look_up(self, name: str) -> int:
        exact = [n for n, channel in enumerate(self.channels) if channel == name]
        fits = exact or self._by_isotope(name)
        if len(fits) == 1:
            return fits[0]
        if fits:
            raise GateError(
                f"channel {name!r} of the gates means several columns: "
                f"{', '.join(repr(self.channels[n]) for n in fits)}"
            )
        raise GateError(
            f"channel {name!r} of the gates is not {self._held_by}", fix=did_you_mean(name, self.channels)
        )

    def _by_isotope(self, name: str) -> list[int]:
        wanted = channel_isotope(name)
        if wanted is None:
            return []
        return [n for n, channel in enumerate(self.channels) if channel_isotope(channel) == wanted]

    def weights(self, name: str, compensation: str) -> list[tuple[int, float]]:
        """Return the columns, with their weights, that a compensated channel is the sum of."""
        matrix = self._of_file if compensation == FROM_FILE else self._matrices.get(compensation)
        if matrix is None:
            return [(self.position(name), 1.0)]
        fluorochrome = matrix.column(name)
        if fluorochrome is None:
            if compensation == FROM_FILE:
                # The matrix of a file says nothing of scatter and time.
                return [(self.position(name), 1.0)]
            raise GateError(
                f"channel {name!r} is not a fluorochrome of the matrix {compensation!r}",
                fix=did_you_mean(name, matrix.fluorochromes),
            )
        if compensation not in self._unmixing:
            self._unmixing[compensation] = matrix.unmixing()
        of_detectors = self._unmixing[compensation][:, fluorochrome]
        return [
            (self.position(detector), float(weight))
            for detector, weight in zip(matrix.detectors, of_detectors, strict=True)
            if weight != 0.0
        ]


class Axes:
    """The values of a block of events on each axis, computed once.

    Parameters
    ----------
    columns
        Of the events.
    events
        Events x channels, as stored.
    given
        Dimension to values on its axis, where they are there already.
    """

    def __init__(
        self, columns: Columns, events: NDArray[Any], given: Mapping[Dimension, NDArray[Any]] | None = None
    ) -> None:
        self._columns, self._events, self._given = columns, events, given or {}
        self._raw: dict[int, NDArray[np.float64]] = {}
        self._compensated: dict[tuple[str, str], NDArray[np.float64]] = {}
        self._axes: dict[Dimension, NDArray[np.float64]] = {}

    def values(self, axis: Dimension) -> NDArray[np.float64]:
        """Return the values of the events on one axis."""
        if axis not in self._axes:
            own = self._given.get(axis)
            self._axes[axis] = self._compute(axis) if own is None else own.astype(np.float64)
        return self._axes[axis]

    def inside(self, gate: Shape) -> Mask:
        """Return which events are in a shape."""
        if isinstance(gate, Rectangle) and any(axis in self._given for axis in gate.dimensions):
            return self.within(gate)
        return gate.inside([self.values(axis) for axis in gate.axes])

    def within(self, gate: Rectangle) -> Mask:
        """Return which events are in a rectangle, without the values on its axes where channels will do."""
        sides = []
        for axis, low, high in zip(gate.dimensions, gate.low, gate.high, strict=True):
            if axis in self._given:
                # Numbers are compared at the precision of the values, as a threshold of a strategy is.
                sides.append((self._given[axis], low, high))
                continue
            cuts = (self._columns.cut(axis, low), self._columns.cut(axis, high))
            if (low is not None or high is not None) and [c is None for c in cuts] == [
                low is None,
                high is None,
            ]:
                sides.append((self.values(dataclasses.replace(axis, transformation="")), *cuts))
            else:
                sides.append((self.values(axis), low, high))
        return within(sides, len(self._events))

    def _compute(self, axis: Dimension) -> NDArray[np.float64]:
        ratio = self._columns.transformations.get(axis.ratio)
        if isinstance(ratio, Ratio):
            numerator, denominator = (
                self._channel(name, axis.compensation) for name in (ratio.numerator, ratio.denominator)
            )
            values = ratio.apply(numerator, denominator)
        else:
            values = self._channel(axis.channel, axis.compensation)
        scale = self._columns.transformations.get(axis.transformation)
        return scale.apply(values) if isinstance(scale, Scale) else values

    def _channel(self, name: str, compensation: str) -> NDArray[np.float64]:
        key = (name, compensation)
        if key not in self._compensated:
            # Summed column by column: the result of an event does not depend on how many there are.
            total: NDArray[np.float64] | None = None
            for position, weight in self._columns.weights(name, compensation):
                share = self._column(position) if weight == 1.0 else self._column(position) * weight
                total = share if total is None else total + share
            self._compensated[key] = np.zeros(len(self._events)) if total is None else total
        return self._compensated[key]

    def _column(self, position: int) -> NDArray[np.float64]:
        if position not in self._raw:
            self._raw[position] = np.ascontiguousarray(self._events[:, position], dtype=np.float64)
        return self._raw[position]


class Channels:
    """The columns of an AnnData by the names of channels; channels without a mass, such as time, are in obs.

    Parameters
    ----------
    adata
        Arcsinh values in X, counts in ``layers["counts"]``.
    transformations, matrices
        Of the document, by their ids.
    """

    def __init__(
        self,
        adata: AnnData,
        transformations: Mapping[str, Transformation],
        matrices: Mapping[str, SpectrumMatrix],
    ) -> None:
        import pandas as pd

        self._adata, self._transformations = adata, transformations
        self._names = [str(name) for name in adata.var.get(keys.CHANNEL, adata.var_names)]
        self._others = [
            str(name)
            for name in adata.obs.columns
            if pd.api.types.is_numeric_dtype(adata.obs[name]) and name not in (keys.EVENT_INDEX, keys.MONTHS)
        ]
        self._columns = Columns([*self._names, *self._others], transformations, matrices)

    def transformed(self, axis: Dimension) -> NDArray[Any] | None:
        """Return X where it is the values on an axis."""
        scale = self._transformations.get(axis.transformation)
        if not isinstance(scale, Asinh) or scale.bound_min is not None or scale.bound_max is not None:
            return None
        if axis.compensation not in (UNCOMPENSATED, FROM_FILE) or not axis.channel:
            return None
        position = self._columns.position(axis.channel)
        if position >= len(self._names) or keys.COFACTOR not in self._adata.var:
            return None
        cofactor = float(self._adata.var[keys.COFACTOR].iloc[position])
        return column(self._adata.X, position) if scale.equals_arcsinh(cofactor) else None

    def counts(self, name: str) -> NDArray[Any]:
        """Return the values of a channel as the gates of a file mean them."""
        position = self._columns.position(name)
        if position >= len(self._names):
            return np.asarray(self._adata.obs[self._others[position - len(self._names)]])
        if keys.COUNTS not in self._adata.layers:
            raise StateError(
                f"gates need the counts of channel {name!r}, and there is no layer {keys.COUNTS!r}",
                fix="transform with cytocar.pp.arcsinh, which keeps them",
            )
        return column(self._adata.layers[keys.COUNTS], position)


def column(matrix: Any, position: int) -> NDArray[Any]:
    """Return one column of a dense or sparse matrix, (events,)."""
    values = matrix[:, position]
    dense = values.toarray() if hasattr(values, "toarray") else values
    return np.asarray(dense).ravel()
