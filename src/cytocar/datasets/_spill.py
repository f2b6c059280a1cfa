"""Which channel leaks into which: measured where there is a measurement, else by the distance in mass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from cytocar.datasets._design import read_csv

if TYPE_CHECKING:
    import pandas as pd

# Abundance sensitivity of the neighbours and the oxide, where no single stain was measured.
BY_DISTANCE: Final = {1: 0.005, -1: 0.002, 16: 0.006}


def spillover(channels: Sequence[str], masses: Sequence[int]) -> pd.DataFrame:
    """Return the spillover matrix: rows emit, columns receive, diagonal 1.

    Parameters
    ----------
    channels
        Names of the mass channels (``$PnN``).
    masses
        Their masses in dalton.
    """
    import pandas as pd

    table = read_csv("spillover_measured.csv")
    measured = table.to_numpy(dtype=np.float64)
    at = {str(channel): place for place, channel in enumerate(table.columns)}
    matrix = np.eye(len(channels))
    for row, (emitter, mass) in enumerate(zip(channels, masses, strict=True)):
        for column, (receiver, other) in enumerate(zip(channels, masses, strict=True)):
            if row == column:
                continue
            value = np.nan
            if emitter in at and receiver in at:
                value = measured[at[emitter], at[receiver]]
            matrix[row, column] = BY_DISTANCE.get(other - mass, 0.0) if np.isnan(value) else value
    return pd.DataFrame(matrix, index=pd.Index(channels, name="channel"), columns=list(channels))


def spread(signal: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return what the channels receive of `signal` (channels, events) through the spillover `matrix`.

    Added pair by pair, because most of the matrix is 0 and the result must not depend on the number of threads.
    """
    received = signal * np.diag(matrix).astype(signal.dtype)[:, None]
    for emitter, receiver in np.argwhere(matrix - np.diag(np.diag(matrix)) != 0):
        received[receiver] += signal.dtype.type(matrix[emitter, receiver]) * signal[emitter]
    return np.asarray(received)
