"""What false CAR-T cells, which are host T cells, may take from a difference, and when they are too many for a call."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cytocar._core import keys
from cytocar._core.population_words import words
from cytocar.tl._markers.calls import impurity_of
from cytocar.tl._markers.cells import Cells, measured_or_zero
from cytocar.tl._markers.groups import Floats, Group
from cytocar.tl._markers.host import MIN_HOST
from cytocar.tl._markers.settings import Settings

# From this expected share of false cells on, the row says so; from the other on, nothing is called.
MANY_FALSE = 0.05
TOO_MANY_FALSE = 0.3
HALF_FALSE = 0.5


@dataclass(frozen=True)
class Impurity:
    """The least (at most 0) and the most (at least 0) that false cells may take from a difference, per marker."""

    low: Floats
    high: Floats
    note: str
    too_many: bool


def impurity_between(
    cells: Cells, patient: str, groups: dict[str, Floats], subset: str, settings: Settings
) -> Impurity:
    """Return what false cells may take from the difference of two tubes, `groups` by their label, earlier first.

    Any number of false cells from none to the most that may be is possible, in either tube.
    """
    low = high = np.zeros(len(cells.names))
    note, hopeless = "", False
    for (label, group), sign in zip(groups.items(), (-1.0, 1.0), strict=True):
        expected, most = settings.false(patient, label, subset)
        n = max(group.shape[1], 1)
        host = cells.group(patient, label, keys.HOST, subset)
        of_host = Group.of(measured_or_zero(host)) if host.shape[1] >= MIN_HOST else None
        change = sign * impurity_of(Group.of(measured_or_zero(group)), of_host, most / n)
        change = np.where(cells.measured_in_host(patient, label), change, 0.0)
        low, high = low + np.minimum(change, 0.0), high + np.maximum(change, 0.0)
        note = false_note(expected, most, group.shape[1], label) or note
        hopeless |= too_many(expected, most, n)
    return Impurity(low, high, note, hopeless)


def too_many(expected: float, most: float, n: int) -> bool:
    """Return whether so many of n cells may be false that nothing is called."""
    return expected / n >= TOO_MANY_FALSE or most / n >= HALF_FALSE


def false_note(expected: float, most: float, n: int, label: str) -> str:
    """Return what a reader should know about the false cells that are expected among n."""
    if most / max(n, 1) < MANY_FALSE:
        return ""
    rest = "too many for a call" if too_many(expected, most, max(n, 1)) else "a call holds without them"
    number = f"about {min(expected, n):.1f}" + (f", at most {min(most, n):.1f}," if most > expected else "")
    return f"{number} of {n} {words().car_cells} at {label} may be false: {rest}"
