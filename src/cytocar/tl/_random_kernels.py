"""Random numbers inside compiled kernels."""

from __future__ import annotations

from typing import Any

import numpy as np

from cytocar._core.compiled import compiled


@compiled()
def next_random(state: Any) -> Any:
    """Return the next 64 random bits of splitmix64, whose whole state is the one number in `state` (uint64)."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
