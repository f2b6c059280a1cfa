"""Limits of beads: high in all bead channels at once, and without the DNA of a cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cytocar._core.density import find_valleys
from cytocar.pp._cleaning.humps import balanced, below_cells, between, centre_and_scale, confidence
from cytocar.pp._cleaning.limit import FEWEST, TOO_FEW, UNIT, Limit, meets, not_judged, to_arcsinh

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

# With few events: counts in every bead channel that make a bead, and counts of DNA that make a cell.
_BEAD_COUNTS: Final = 100.0
_CELL_COUNTS: Final = 20.0
# A hump of beads has its mode at this many counts or more.
_LEAST_BEAD: Final = 50.0
# Debris has less than a quarter or so of the DNA of a cell.
_QUARTER: Final = float(np.log(4.0))


def bead_limit(lowest: NDArray[np.floating], names: tuple[str, ...]) -> Limit:
    """Return the limit above which the lowest of all bead channels makes an event a bead."""
    weights = (1.0,) * len(names)
    if lowest.size < FEWEST:
        value = to_arcsinh(_BEAD_COUNTS)
        rule = f"fallback: fixed limit, {_BEAD_COUNTS:g} counts in every bead channel"
        return Limit("bead", value, UNIT, "above", "min", names, weights, rule, TOO_FEW)
    valleys = [
        valley
        for valley in find_valleys(lowest, low=to_arcsinh(10.0), min_events=10)
        if valley.right_mode >= to_arcsinh(_LEAST_BEAD)
    ]
    if not valleys:
        return not_judged("bead", f"no bead population: no events are high in all of {', '.join(names)}")
    # beads are the brightest of all in every channel at once
    valley = valleys[-1]
    rule = "valley of the density of the lowest bead channel"
    return Limit("bead", valley.value, UNIT, "above", "min", names, weights, rule, confidence(valley))


def bead_dna_limit(dna: NDArray[np.floating], name: str) -> Limit:
    """Return the DNA below which an event holds no cell, by DNA alone."""
    if dna.size < FEWEST:
        value = to_arcsinh(_CELL_COUNTS)
        rule, note = "fallback: fixed limit, 20 counts of DNA", TOO_FEW
    elif (valley := below_cells(dna)) is not None:
        value, rule, note = between(dna, valley, cells="right"), balanced(valley, "DNA"), confidence(valley)
    else:
        centre, scale = centre_and_scale(dna)
        value = centre - max(4 * scale, _QUARTER)
        rule = "fallback: a quarter of the DNA of the cells, or 4 SD below their mode where that is less"
        note = "the density of DNA has no hump of debris"
    return Limit("bead_dna", value, UNIT, "above", "sum", (name,), (1.0,), rule, note)


@dataclass(frozen=True)
class BeadEvents:
    """Which events of a file are beads, and the limits that say so.

    Parameters
    ----------
    channels
        The bead channels; empty where there are none to try.
    limit
        On the lowest of them; not judged where there are no beads.
    dna_limit
        From here on a bead carries a cell, and below it an event holds none; `None` without a DNA channel.
    is_bead, with_cell
        All beads, and those that carry a cell: boolean, shape (events,).
    """

    channels: tuple[str, ...]
    limit: Limit
    dna_limit: Limit | None
    is_bead: NDArray[np.bool_]
    with_cell: NDArray[np.bool_]


def separate_beads(
    signals: Mapping[str, NDArray[np.floating]],
    *,
    sets: Sequence[tuple[str, ...]],
    no_sets: str,
    dna: str | None,
) -> BeadEvents:
    """Return which events are beads, by the set of bead channels whose valley is surest.

    Parameters
    ----------
    signals
        arcsinh(counts / 5) by channel name, each of shape (events,).
    sets
        Sets of bead channels to try.
    no_sets
        Why there is no set, where there is none.
    dna
        The DNA channel in `signals`; without one, beads with a cell cannot be distinguished from beads alone.
    """
    n = next(iter(signals.values())).size if signals else 0
    none = np.zeros(n, dtype=bool)
    limit = not_judged("bead", no_sets)
    channels: tuple[str, ...] = ()
    if sets:
        tried = [(bead_limit(np.minimum.reduce([signals[x] for x in names]), names), names) for names in sets]
        limit, channels = max(tried, key=lambda pair: (pair[0].judged, pair[0].note))
    is_bead = meets(limit, signals) if limit.judged else none
    if dna is None:
        return BeadEvents(channels, limit, None, is_bead, none)
    dna_limit = bead_dna_limit(signals[dna][~is_bead], dna)
    with_cell = is_bead & meets(dna_limit, signals)
    if np.count_nonzero(with_cell) > 0.5 * np.count_nonzero(is_bead):
        why = "most events that are high in all bead channels have the DNA of a cell, so they are not beads"
        return BeadEvents(channels, not_judged("bead", why), bead_dna_limit(signals[dna], dna), none, none)
    return BeadEvents(channels, limit, dna_limit, is_bead, with_cell)
