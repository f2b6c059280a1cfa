"""Non-negative least squares of many events against one matrix that is near the identity."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cytocar._core.compiled import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Flags = NDArray[np.bool_]


@compiled()
def _passive_set(passive: Flags, at: Integers) -> int:
    """Write which signals are passive into `at`; return how many."""
    size = 0
    for i in range(passive.size):
        if passive[i]:
            at[size] = i
            size += 1
    return size


@compiled()
def _least_squares(
    target: Floats, gram: Floats, at: Integers, size: int, work: Floats, factor: Floats
) -> None:
    """Solve the normal equations of the passive set into `work`, by Cholesky's factor."""
    for a in range(size):
        for b in range(a + 1):
            total = gram[at[a], at[b]]
            for c in range(b):
                total -= factor[a, c] * factor[b, c]
            factor[a, b] = np.sqrt(total) if a == b else total / factor[b, b]
    for a in range(size):
        total = target[at[a]]
        for c in range(a):
            total -= factor[a, c] * work[c]
        work[a] = total / factor[a, a]
    for a in range(size - 1, -1, -1):
        total = work[a]
        for c in range(a + 1, size):
            total -= factor[c, a] * work[c]
        work[a] = total / factor[a, a]


@compiled()
def _move_to(work: Floats, x: Floats, passive: Flags, at: Integers, size: int) -> bool:
    """Move the passive signals towards `work`, as far as none falls below 0; return whether all the way."""
    step = 1.0
    worst = -1
    for a in range(size):
        if work[a] <= 0.0:
            old = x[at[a]]
            share = old / (old - work[a]) if old > work[a] else 0.0
            if share < step or worst < 0:
                step = share
                worst = a
    for a in range(size):
        x[at[a]] += step * (work[a] - x[at[a]])
    if worst < 0:
        return True
    for a in range(size):
        if a == worst or x[at[a]] <= 0.0:
            x[at[a]] = 0.0
            passive[at[a]] = False
    return False


@compiled()
def _steepest(target: Floats, gram: Floats, x: Floats, passive: Flags, tolerance: float) -> int:
    """Return the signal at 0 that would lower the residual fastest; -1 where none would."""
    best = -1
    steepest = tolerance
    for i in range(x.size):
        if passive[i]:
            continue
        slope = target[i]
        for j in range(x.size):
            slope -= gram[i, j] * x[j]
        if slope > steepest:
            steepest = slope
            best = i
    return best


@compiled()
def _exact(
    y: Floats, matrix: Floats, gram: Floats, x: Floats, passive: Flags, work: Floats, factor: Floats
) -> None:
    """Solve min ||x S - y||, x >= 0 by the active set of Lawson and Hanson (1974), from a feasible start.

    `passive` says which signals may be above 0; `x` is 0 elsewhere. Both are changed in place.
    """
    n = y.size
    at = np.empty(n, dtype=np.int64)
    target = np.empty(n)
    top = 0.0
    for i in range(n):
        target[i] = 0.0
        for j in range(n):
            target[i] += matrix[i, j] * y[j]
        top = max(top, abs(target[i]))
    tolerance = 1e-12 * top
    for _ in range(10 * n + 10):
        # The least squares on the passive set, shortened until no signal is below 0.
        for _ in range(n + 1):
            size = _passive_set(passive, at)
            _least_squares(target, gram, at, size, work, factor)
            if _move_to(work, x, passive, at, size):
                break
        best = _steepest(target, gram, x, passive, tolerance)
        if best < 0:
            return
        passive[best] = True


@compiled()
def solve_block(
    counts: NDArray[np.float32],
    starts: Integers,
    columns: Integers,
    values: Floats,
    squares: Floats,
    matrix: Floats,
    gram: Floats,
    most_sweeps: int,
) -> int:
    """Replace the counts of a block of events by the non-negative signals that explain them best.

    Signal by signal the residual is minimised along one emitter with the others held, not below 0 (projected
    Gauss-Seidel on the normal equations), until a sweep moves nothing; with spillover of a few percent each sweep
    is some hundred times nearer. Events for which that is slow are solved by an active set.

    Parameters
    ----------
    counts
        float32, events x channels, C order; replaced.
    starts, columns, values
        The rows of S with their values above 0, compressed: int64, int64, float64.
    squares
        Sum of squares of each row of S.
    matrix, gram
        S and S S'.
    most_sweeps
        After so many sweeps the active set takes over.

    Returns
    -------
    The number of events that were left to the active set.
    """
    n_events, n = counts.shape
    x = np.empty(n)
    y = np.empty(n)
    residual = np.empty(n)
    passive = np.empty(n, dtype=np.bool_)
    work = np.empty(n)
    factor = np.empty((n, n))
    slow = 0
    for event in range(n_events):
        top = 0.0
        for i in range(n):
            y[i] = counts[event, i]
            x[i] = max(y[i], 0.0)
            residual[i] = y[i]
            top = max(top, x[i])
        if top > 0.0:
            for i in range(n):
                if x[i] > 0.0:
                    for k in range(starts[i], starts[i + 1]):
                        residual[columns[k]] -= x[i] * values[k]
            # float32 keeps seven digits, so that ten leave nothing to be seen.
            tolerance = 1e-10 * top
            settled = False
            for _ in range(most_sweeps):
                moved = 0.0
                for i in range(n):
                    slope = 0.0
                    for k in range(starts[i], starts[i + 1]):
                        slope += values[k] * residual[columns[k]]
                    new = x[i] + slope / squares[i]
                    if new < 0.0:
                        new = 0.0
                    step = new - x[i]
                    if step != 0.0:
                        x[i] = new
                        for k in range(starts[i], starts[i + 1]):
                            residual[columns[k]] -= step * values[k]
                        moved = max(moved, abs(step))
                if moved <= tolerance:
                    settled = True
                    break
            if not settled:
                slow += 1
                passive[:] = x > 0.0
                _exact(y, matrix, gram, x, passive, work, factor)
        counts[event, :] = x
    return slow
