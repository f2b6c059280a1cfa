"""What each dye adds to each detector: spectrum matrices of Gating-ML, and the spillover keyword of FCS files."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core.errors import GateError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class SpectrumMatrix:
    """What each dye adds to each detector, or the inverse of that.

    Parameters
    ----------
    fluorochromes
        Names of the compensated dimensions.
    detectors
        Names of the channels that were measured.
    coefficients
        One row per fluorochrome and one column per detector; the other way round where `inverted`.
    inverted
        The coefficients are the inverse already: values of fluorochromes = values of detectors x coefficients.
    """

    fluorochromes: tuple[str, ...]
    detectors: tuple[str, ...]
    coefficients: tuple[tuple[float, ...], ...]
    inverted: bool = False

    def __post_init__(self) -> None:
        shape = (len(self.fluorochromes), len(self.detectors))
        wanted = shape[::-1] if self.inverted else shape
        lengths = sorted({len(row) for row in self.coefficients})
        if (len(self.coefficients), *lengths) != wanted or 0 in shape:
            raise GateError(
                f"spectrum matrix of {shape[0]} fluorochromes and {shape[1]} detectors has {len(self.coefficients)} "
                f"rows of {' or '.join(map(str, lengths)) or 0} numbers",
                fix=f"it should have {wanted[0]} rows of {wanted[1]}",
            )
        if not all(math.isfinite(value) for row in self.coefficients for value in row):
            raise GateError("spectrum matrix: every coefficient has to be a finite number")
        if not self.inverted and np.linalg.matrix_rank(np.array(self.coefficients)) < min(shape):
            raise GateError("spectrum matrix: its rows depend on each other, so it cannot be inverted")

    def unmixing(self) -> NDArray[np.float64]:
        """Return detectors x fluorochromes: what each detector counts for in each fluorochrome."""
        matrix = np.array(self.coefficients, dtype=np.float64)
        if self.inverted:
            return matrix
        inverse = np.linalg.inv(matrix) if matrix.shape[0] == matrix.shape[1] else np.linalg.pinv(matrix)
        return np.asarray(inverse, dtype=np.float64)

    def column(self, name: str) -> int | None:
        """Return which fluorochrome a name means, where detectors and fluorochromes are pairs also by detector."""
        if name in self.fluorochromes:
            return self.fluorochromes.index(name)
        if len(self.detectors) == len(self.fluorochromes) and name in self.detectors:
            return self.detectors.index(name)
        return None


def parse_spillover(text: str) -> SpectrumMatrix:
    """Read the text of ``$SPILLOVER``: the number of channels, their names, the matrix by rows.

    Parameters
    ----------
    text
        Such as ``"2,A,B,1,0.1,0,1"``.

    Examples
    --------
    >>> parse_spillover("2,A,B,1,0.1,0,1").coefficients
    ((1.0, 0.1), (0.0, 1.0))
    """
    values = [value.strip() for value in text.split(",")]
    try:
        size = int(values[0])
        if size < 1 or len(values) != 1 + size + size * size:
            raise ValueError
        numbers = [float(value) for value in values[1 + size :]]
    except ValueError:
        raise GateError(
            f"$SPILLOVER {text[:60]!r} has {len(values)} values", fix="expected n, n names and n x n numbers"
        ) from None
    names = tuple(values[1 : 1 + size])
    rows = tuple(tuple(numbers[row * size : (row + 1) * size]) for row in range(size))
    return SpectrumMatrix(names, names, rows)
