"""Limits of debris: less DNA than a cell, shorter, and with less CD45."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from cytocar.pp._cleaning.humps import balanced, below_cells, between, centre_and_scale, confidence
from cytocar.pp._cleaning.limit import FEWEST, UNIT, UNIT_SUM, Limit, meets

if TYPE_CHECKING:
    from numpy.typing import NDArray

# An event with two thirds of the DNA of a cell is not debris, however little CD45 it has: plasma cells and tumour cells
# have none.
_CELL_DNA: Final = float(np.log(1.5))
# CD45 sharpens the limit of debris; where it would move more events than this share, it shows something else.
_MOVED_BY_STAIN: Final = 0.25
# No channel counts for more than this many times the DNA.
_LARGEST_WEIGHT: Final = 1.5
# Weights are taken from two groups of at least this many events.
_FEWEST_IN_GROUP: Final = 50


def _fisher(signals: list[NDArray[np.floating]], small: NDArray[np.bool_]) -> list[float] | None:
    """Return the weights of signals beside the 1 of the first, or `None` where they separate the groups no better."""
    shift = [float(x[~small].mean() - x[small].mean()) for x in signals]
    pooled = [0.5 * (float(x[~small].var()) + float(x[small].var())) for x in signals]
    if min(pooled) <= 0 or min(shift) <= 0:
        return None
    first = shift[0] / pooled[0]
    weights = [
        float(np.float32(min(s / p / first, _LARGEST_WEIGHT))) for s, p in zip(shift, pooled, strict=True)
    ]
    return None if min(weights) < 0.1 else [1.0, *weights[1:]]


def _debris_by_sum(
    signals: list[NDArray[np.floating]], names: tuple[str, ...], small: NDArray[np.bool_], what: str
) -> Limit | None:
    """Return the limit on the weighted sum of signals, or `None` where they separate debris no better than DNA."""
    weights = _fisher(signals, small)
    if weights is None:
        return None
    score = signals[0]
    for x, weight in zip(signals[1:], weights[1:], strict=True):
        score = score + np.float32(weight) * x
    valley = below_cells(score)
    if valley is None:
        return None
    value = between(score, valley, cells="right")
    rule, note = balanced(valley, what), confidence(valley)
    return Limit("debris", value, UNIT_SUM, "below", "sum", names, tuple(weights), rule, note)


def _two_groups(small: NDArray[np.bool_]) -> bool:
    return _FEWEST_IN_GROUP <= int(np.count_nonzero(small)) <= small.size - _FEWEST_IN_GROUP


def debris_limits(
    dna: NDArray[np.floating],
    length: NDArray[np.floating] | None,
    stain: NDArray[np.floating] | None,
    alone: Limit,
    names: tuple[str, str],
) -> list[Limit]:
    """Return the limits below which an event is debris, by DNA and, where they help, by length and CD45 too.

    Debris has less DNA, is shorter and has less CD45; the weights are those of Fisher's linear discriminant between
    what is below and above a first limit: that by DNA alone, or the valley of DNA plus length where there is none.
    With CD45 comes a second limit, of DNA alone, so that whole cells without CD45 stay.

    Parameters
    ----------
    dna, length, stain
        arcsinh(x / 5) of shape (events,); `None` where the file has no such channel.
    alone
        The limit by DNA alone.
    names
        Names of the channels of `length` and `stain`.
    """
    name = alone.channels[0]
    plain = Limit("debris", alone.value, UNIT, "below", "sum", (name,), (1.0,), alone.rule, alone.note)
    if length is None or dna.size < FEWEST:
        return [plain]
    if alone.rule.startswith("fallback"):
        both = dna + length
        first = below_cells(both)
        if first is None:
            return [plain]
        small = both < first.value
    else:
        small = dna < alone.value
    if not _two_groups(small):
        return [plain]
    two = _debris_by_sum([dna, length], (name, names[0]), small, "DNA and length")
    if two is None or stain is None:
        return [plain if two is None else two]
    signals = {name: dna, names[0]: length, names[1]: stain}
    small = meets(two, signals)
    if not _two_groups(small):
        return [two]
    three = _debris_by_sum([dna, length, stain], (name, *names), small, "DNA, length and CD45")
    if three is None:
        return [two]
    centre, _ = centre_and_scale(dna[~small])
    cell = Limit(
        "debris_dna",
        centre - _CELL_DNA,
        UNIT,
        "below",
        "sum",
        (name,),
        (1.0,),
        "two thirds of the DNA of the cells: what has more is a cell, maybe without CD45",
        f"mode {centre:.3f}",
    )
    moved = np.count_nonzero((meets(three, signals) & meets(cell, signals)) ^ small)
    return [three, cell] if moved <= _MOVED_BY_STAIN * np.count_nonzero(small) else [two]
