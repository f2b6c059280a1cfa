"""Humps of a density: the mode and scale of one, and the limit between two."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from cytocar._core.density import Valley, find_valleys, histogram_density

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Nearer than this (a ratio of 2.2), two humps of DNA are one and two cells, or two kinds of cell.
_APART: Final = 0.8
# One cell lost weighs as much as two events that are none and stay.
_CELL_COST: Final = 2.0
# Below this confidence a valley is there, but could be half as deep or hardly there at all.
_CONFIDENT: Final = 0.05


def half_scale(ordered: NDArray[np.floating], centre: float, *, below: bool) -> float:
    """Return the standard deviation that one half of sorted values around `centre` has if it is half a normal."""
    cut = int(np.searchsorted(ordered, centre, side="right" if below else "left"))
    n = cut if below else ordered.size - cut
    if n == 0:
        return 0.0
    at = int(0.6827 * (n - 1))
    return centre - float(ordered[cut - 1 - at]) if below else float(ordered[cut + at]) - centre


def _core_mean(ordered: NDArray[np.floating], centre: float, reach: float) -> float:
    """Return the mean of the sorted values within `reach` of `centre`, or `centre` where there are none."""
    low, high = np.searchsorted(ordered, [centre - reach, centre + reach])
    return float(ordered[low:high].mean(dtype=np.float64)) if high > low else centre


def centre_and_scale(x: NDArray[np.floating]) -> tuple[float, float]:
    """Return the mode of the main hump and the standard deviation of its lower half.

    The lower half alone, because doublets and cells in division widen the upper one. A lower tail that is
    heavier than the flank of the hump (debris that was left) does not count either: then the scale is that of
    the flank, from the mode to where the density is exp(-1/2) of the peak.
    """
    x = np.sort(x)
    quartiles = x[[x.size // 4, 3 * x.size // 4]]
    spread = max(float(quartiles[1] - quartiles[0]) / 1.349, 0.02)
    width = 0.4 * spread
    grid, density = histogram_density(x, bins=1024, bandwidth=width)
    top = int(np.argmax(density))
    centre = float(grid[top])
    under = np.flatnonzero(density[:top] < np.exp(-0.5) * density[top])
    flank = centre - float(grid[under[-1]]) if under.size else spread
    flank = math.sqrt(max(flank**2 - width**2, 0.0))
    for _ in range(3):
        scale = max(min(half_scale(x, centre, below=True), 1.15 * flank), 0.02)
        centre = _core_mean(x, centre, scale)
    return centre, max(min(half_scale(x, centre, below=True), 1.15 * flank), 0.02)


def _tail(z: float) -> float:
    """Return the share of a normal beyond z standard deviations."""
    return 0.5 * math.erfc(z / math.sqrt(2.0))


def _outer_half(x: NDArray[np.floating], mode: float, valley: float) -> tuple[float, float]:
    """Return the mode of a hump beside a valley, and the standard deviation of its half away from the valley.

    The top of a smoothed density is a noisy mode; the mean of what is around it settles on a steadier one.
    """
    below = mode < valley
    reach = 0.6 * abs(valley - mode)
    for _ in range(5):
        scale = max(half_scale(x, mode, below=below), 0.02)
        moved = _core_mean(x, mode, min(scale, reach))
        mode = min(moved, valley - 0.02) if below else max(moved, valley + 0.02)
    return mode, max(half_scale(x, mode, below=below), 0.02)


def between(x: NDArray[np.floating], valley: Valley, *, cells: str) -> float:
    """Return the limit between two humps at which the cells lose half the share that slips through of the others.

    The humps are taken as normal, with the mode of the density and the scale of their outer halves. The limit
    stays where the density is below three times the valley or below a tenth of the lower hump, so that a skewed
    hump does not draw it up a slope. The valley itself lies too near to the smaller hump.

    Parameters
    ----------
    x
        The values that the valley was found in.
    valley
        The valley.
    cells
        Which hump the cells are: ``"left"`` or ``"right"``.
    """
    x = np.sort(x)
    left_mode, left = _outer_half(x, valley.left_mode, valley.value)
    right_mode, right = _outer_half(x, valley.right_mode, valley.value)
    cost_left, cost_right = (_CELL_COST, 1.0) if cells == "left" else (1.0, _CELL_COST)
    low, high = left_mode, right_mode
    for _ in range(40):
        wanted = 0.5 * (low + high)
        lost_left = cost_left * _tail((wanted - left_mode) / left)
        lost_right = cost_right * _tail((right_mode - wanted) / right)
        low, high = (wanted, high) if lost_left > lost_right else (low, wanted)
    at = int(np.clip(np.searchsorted(valley.grid, valley.value), 0, valley.grid.size - 1))
    peaks = np.interp([valley.left_mode, valley.right_mode], valley.grid, valley.density)
    too_high = np.flatnonzero(valley.density > max(3 * valley.density[at], 0.1 * float(peaks.min())))
    before, after = too_high[too_high < at], too_high[too_high > at]
    start = int(before[-1]) + 1 if before.size else 0
    stop = int(after[0]) - 1 if after.size else valley.grid.size - 1
    return float(np.clip(wanted, valley.grid[start], valley.grid[stop]))


def below_cells(x: NDArray[np.floating], *, apart: float = _APART) -> Valley | None:
    """Return the valley below the hump of single cells, or `None` where there is none.

    The cells are the rightmost hump with a good part of the events; a hump at their doubled DNA is not taken for
    them, and a hump that is nearer than `apart` below them belongs to them.
    """
    valleys = find_valleys(x)
    if not valleys:
        return None
    modes = [valleys[0].left_mode, *(valley.right_mode for valley in valleys)]
    sizes = [valleys[0].n_left, *(valley.n_right for valley in valleys)]
    main = max(i for i, size in enumerate(sizes) if size >= 0.15 * max(sizes[1:]))
    while main > 1 and modes[main] - modes[main - 1] < apart and sizes[main - 1] >= sizes[main]:
        main -= 1
    under = main
    while under > 0 and modes[main] - modes[under - 1] < apart:
        under -= 1
    return valleys[under - 1] if under > 0 else None


def confidence(valley: Valley) -> str:
    """Return the note on how sure a valley is."""
    return f"confidence {valley.confidence:.2f}"


def balanced(valley: Valley, what: str) -> str:
    """Return the rule of a limit by `between`; `what` names the signal."""
    rule = f"balanced losses on both sides of the valley of {what}"
    return rule if valley.confidence >= _CONFIDENT else f"fallback: shallow valley; {rule}"
