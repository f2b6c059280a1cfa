"""Compiled loops over events: points in a polygon, roots of the logicle and hyperlog scales."""

from __future__ import annotations

from typing import Any

import numpy as np

from cytocar._core.compiled import compiled

_STEPS = 60
"""More steps than any value of a double needs."""
_NEAR = 1e-7
"""Of the value: after a step that small, what is missing is its third power, which a double does not hold."""


@compiled()
def in_polygon(x: Any, y: Any, lower: Any, upper: Any, inside: Any) -> None:
    """Write into `inside` whether each point is in a polygon, by the crossing-number rule; its outline is inside.

    Each edge runs from its end with the lower y (`lower`, edges x 2) to the other (`upper`), so that direction and
    start of the outline change no bit of the result.
    """
    n_edges = lower.shape[0]
    left = min(lower[:, 0].min(), upper[:, 0].min())
    right = max(lower[:, 0].max(), upper[:, 0].max())
    bottom = lower[:, 1].min()
    top = upper[:, 1].max()
    for i in range(x.shape[0]):
        px, py = x[i], y[i]
        is_inside = False
        if px >= left and px <= right and py >= bottom and py <= top:
            for k in range(n_edges):
                ax, ay = lower[k, 0], lower[k, 1]
                bx, by = upper[k, 0], upper[k, 1]
                if py < ay or py > by:
                    continue
                side = (bx - ax) * (py - ay) - (by - ay) * (px - ax)
                if side == 0.0 and px >= min(ax, bx) and px <= max(ax, bx):
                    is_inside = True
                    break
                # An edge has its lower end and not its upper one, so that a corner is crossed once.
                if py < by and side > 0.0:
                    is_inside = not is_inside
        inside[i] = is_inside


@compiled()
def mirrored_roots(linear: bool, values: Any, constants: Any, x1: float, out: Any) -> None:
    """Write into `out` the root y of the logicle function or, if `linear`, of the hyperlog function, for each value.

    Both are mirrored at x1 below zero. They are convex above x1 and the start is above the root, so that Halley's
    steps go down to it.
    """
    for i in range(values.shape[0]):
        value = values[i]
        if not np.isfinite(value):
            out[i] = value
            continue
        size = abs(value)
        y = _hyperlog_start(size, constants, x1) if linear else _logicle_start(size, constants, x1)
        for _ in range(_STEPS):
            step = _hyperlog_step(y, size, constants) if linear else _logicle_step(y, size, constants)
            y -= step
            if not abs(step) > _NEAR * abs(y):
                break
        if size == 0.0:
            y = x1
        out[i] = 2.0 * x1 - y if value < 0.0 else y


@compiled()
def _logicle_start(size: float, constants: Any, x1: float) -> Any:
    a, b, c, d, f = constants
    return np.log((size + f + c * np.exp(-d * x1)) / a) / b


@compiled()
def _logicle_step(y: float, size: float, constants: Any) -> Any:
    """Return Halley's step towards the root of a exp(b y) - c exp(-d y) - f = size."""
    a, b, c, d, f = constants
    up = a * np.exp(b * y)
    down = c * np.exp(-d * y)
    miss = (up - f) - down - size
    slope = b * up + d * down
    return miss / (slope - 0.5 * miss * (b * b * up - d * d * down) / slope)


@compiled()
def _hyperlog_start(size: float, constants: Any, x1: float) -> Any:
    a, b, c, _, f = constants
    return min(np.log((size + f - c * x1) / a) / b, (size + f - a * np.exp(b * x1)) / c)


@compiled()
def _hyperlog_step(y: float, size: float, constants: Any) -> Any:
    """Return Halley's step towards the root of a exp(b y) + c y - f = size."""
    a, b, c, _, f = constants
    up = a * np.exp(b * y)
    miss = (up - f) + c * y - size
    slope = b * up + c
    return miss / (slope - 0.5 * miss * b * b * up / slope)
