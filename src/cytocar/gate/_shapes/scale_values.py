"""Channel values of an FCS file turned into what they stand for, by $PnE, $PnG and $PnR."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core.errors import FcsError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def scale_values(
    events: NDArray[Any], keywords: Mapping[str, str], channels: Sequence[str]
) -> NDArray[np.floating[Any]]:
    """Return events on the scale that gates of Gating-ML mean.

    A log-amplified integer channel with ``$PnE`` = d,f becomes f 10^(d value / $PnR), where f = 0 means 1; a linear
    channel is divided by its gain ``$PnG`` (FCS 3.1, Spidlen et al. 2010, doi 10.1002/cyto.a.20825). Time stays
    as it is stored. Events without either come back as they are.

    Parameters
    ----------
    events
        Events x channels, as stored.
    keywords
        TEXT of the file.
    channels
        ``$PnN`` of each column.

    Examples
    --------
    >>> scale_values(np.array([[512.0]]), {"$P1E": "4,0", "$P1R": "1024", "$DATATYPE": "I"}, ["FL1"])
    array([[100.]])
    """
    out: NDArray[np.floating[Any]] = events
    integers = keywords.get("$DATATYPE", "F").strip().upper() == "I"
    for column, channel in enumerate(channels):
        number = column + 1
        decades, first = _pair(keywords.get(f"$P{number}E", "0,0"), number)
        gain = _gain(keywords.get(f"$P{number}G", "1"))
        if re.fullmatch("time", channel.strip(), re.IGNORECASE) or not (
            (decades > 0 and integers) or gain != 1
        ):
            continue
        if out is events:
            out = events.astype(np.float64)
        if decades > 0 and integers:
            top = float(keywords[f"$P{number}R"])
            out[:, column] = (first or 1.0) * 10.0 ** (decades * events[:, column].astype(np.float64) / top)
        else:
            out[:, column] /= gain
    return out


def _pair(text: str, number: int) -> tuple[float, float]:
    try:
        decades, first = (float(number) for number in text.split(","))
    except ValueError:
        raise FcsError(f"$P{number}E is {text!r}", fix="expected two numbers, such as 0,0") from None
    return decades, first


def _gain(text: str) -> float:
    """Return the gain; 1 for what is not a number above 0."""
    try:
        gain = float(text)
    except ValueError:
        return 1.0
    return gain if gain > 0 else 1.0
