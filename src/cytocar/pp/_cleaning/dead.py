"""The limit of dead cells: above the valley of the viability stain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from cytocar._core.density import Valley, find_valleys
from cytocar.pp._cleaning.humps import balanced, between, centre_and_scale, confidence
from cytocar.pp._cleaning.limit import FEWEST, TOO_FEW, UNIT, Limit, to_arcsinh

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The dead take up at least five times as much of the stain as the live.
_DEAD_APART: Final = float(np.log(5.0))
# Counts of the stain: the limit with few events, the least of a valley, and the least where there is no valley.
_DEAD_COUNTS: Final = 1000.0
_LEAST_DEAD: Final = 20.0
_LEAST_DEAD_FALLBACK: Final = 100.0


def dead_limit(signal: NDArray[np.floating], name: str) -> Limit:
    """Return the limit of the viability stain from which on an event is dead."""
    if signal.size < FEWEST:
        value = to_arcsinh(_DEAD_COUNTS)
        rule, note = f"fallback: fixed limit, {_DEAD_COUNTS:g} counts", TOO_FEW
    elif (valley := _valley(signal)) is not None:
        value, rule = between(signal, valley, cells="left"), balanced(valley, "the stain")
        note = confidence(valley)
    else:
        centre, scale = centre_and_scale(signal)
        value = max(centre + 3 * scale, to_arcsinh(_LEAST_DEAD_FALLBACK))
        rule = "fallback: 3 SD above the mode of the live cells, at least 100 counts"
        note = "the density of the stain has no hump of dead cells"
    return Limit("dead", value, UNIT, "above", "sum", (name,), (1.0,), rule, note)


def _valley(signal: NDArray[np.floating]) -> Valley | None:
    """Return the surest valley between live and dead cells, looked for again in a smoother density."""
    for bandwidth in (None, 0.4):
        # a hump of dead cells is to be expected, so that weaker evidence is enough than for any hump
        valleys = find_valleys(
            signal, low=to_arcsinh(_LEAST_DEAD), bandwidth=bandwidth, min_depth=0.05, min_z=2.5
        )
        wide = [valley for valley in valleys if valley.right_mode - valley.left_mode >= _DEAD_APART]
        if wide:
            return max(wide, key=lambda valley: valley.confidence)
    return None
