"""Limits between cells, beads, debris, doublets and dead cells, found on arrays of arcsinh(counts / 5)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cytocar._core.density import Valley, find_valleys, histogram_density

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

CLASSES: Final = ("cell", "bead", "cell_bead", "debris", "doublet", "dead")
# The limits that an event of a criterion meets, all of them.
PARTS: Final[dict[str, tuple[str, ...]]] = {
    "bead": ("bead",),
    "debris": ("debris", "debris_dna"),
    "dead": ("dead",),
    "doublet": ("doublet", "doublet_dna", "doublet_length"),
}
COFACTOR: Final = 5.0
UNIT: Final = "arcsinh(counts / 5)"
UNIT_SUM: Final = "weighted sum of arcsinh(counts / 5)"
# Below this many events a density says too little, and fixed limits are taken.
FEWEST: Final = 200
# Share of single cells that the doublet limit may cost, and the normal quantile that belongs to it: with CD45, and
# by DNA and length alone, which tell doublets less well, so that they would keep too many at the same cost.
SINGLETS_LOST: Final = 0.005
SINGLETS_LOST_BY_TWO: Final = 0.01
_QUANTILE: Final = 2.576
_QUANTILE_BY_TWO: Final = 2.326
# Without Event_length, cells in division have the DNA of a doublet: the limit goes up.
_QUANTILE_DNA_ALONE: Final = 3.0
# Two cells have twice the DNA and the CD45 of one, and as a rule 1.4 times its length.
_DOUBLET_DNA: Final = float(np.log(2.0))
# Length counts for three quarters of that: short events are nearer to each other than long ones, so that the lower half
# makes it a surer sign than it is.
_DOUBLET_LENGTH: Final = 0.27
_DOUBLET_STAIN: Final = float(np.log(2.0))
# A doublet is longer than the typical single cell; what is not has the DNA of a cell in division.
_LONGER: Final = 0.75
# Where CD45 counts too: the part of the way from one cell to two, in length and CD45 together.
_WAY_TO_TWO: Final = 0.55
# An event with two thirds of the DNA of a cell is no debris, however little CD45 it has: plasma cells and tumour cells
# have none.
_CELL_DNA: Final = float(np.log(1.5))
# CD45 sharpens the limit of debris; where it would move more events than this share, it shows something else.
_MOVED_BY_STAIN: Final = 0.25
# Nearer than this (a ratio of 2.2), two humps of DNA are one and two cells, or two kinds of cell.
_APART: Final = 0.8
# Debris has less than a quarter or so of the DNA of a cell.
_QUARTER: Final = float(np.log(4.0))
# The dead take up at least five times as much of the stain as the live.
_DEAD_APART: Final = float(np.log(5.0))
_FEW_COUNTS: Final = {"bead": 100.0, "debris": 20.0, "dead": 1000.0}
# One cell lost weighs as much as two events that are none and stay.
_CELL_COST: Final = 2.0
# Below this confidence a valley is there, but could be half as deep or hardly there at all.
_CONFIDENT: Final = 0.05
_LEAST_BEAD: Final = 50.0
_LEAST_DEAD: Final = 20.0
_LEAST_DEAD_FALLBACK: Final = 100.0


@dataclass(frozen=True)
class Limit:
    """One limit: events whose combined signal is on the named side of `value` meet the criterion.

    Parameters
    ----------
    criterion
        ``bead``, ``bead_dna`` (from here on a bead carries a cell), ``debris``, ``debris_dna``, ``dead``,
        ``doublet``, ``doublet_dna`` or ``doublet_length``; debris and doublets meet all of theirs.
    value
        In `unit`; NaN where the criterion is not judged.
    unit
        `UNIT`, or `UNIT_SUM` where several channels are added.
    side
        ``"above"`` (at or above the value) or ``"below"``.
    combine
        ``"sum"``: weights times arcsinh(channel / 5), added; ``"min"``: the lowest of the channels.
    channels, weights
        Marker names, or ``Event_length``, and their weights.
    rule
        How the value was found; begins with ``fallback:`` where the data do not show it, and with ``not judged:``
        where a channel is missing.
    note
        What a reader should know beside it.
    """

    criterion: str
    value: float
    unit: str
    side: str
    combine: str
    channels: tuple[str, ...]
    weights: tuple[float, ...]
    rule: str
    note: str = ""

    @property
    def judged(self) -> bool:
        """Return whether there is a limit."""
        return bool(np.isfinite(self.value))


def to_arcsinh(counts: float) -> float:
    """Return arcsinh(counts / 5)."""
    return float(np.arcsinh(counts / COFACTOR))


def to_counts(value: float) -> float:
    """Return the counts that belong to a value of arcsinh(counts / 5)."""
    return float(COFACTOR * np.sinh(value))


def not_judged(criterion: str, why: str) -> Limit:
    """Return a limit that says why there is none."""
    return Limit(criterion, float("nan"), UNIT, "above", "sum", (), (), f"not judged: {why}")


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
    high_places = np.flatnonzero(valley.density > max(3 * valley.density[at], 0.1 * float(peaks.min())))
    before, after = high_places[high_places < at], high_places[high_places > at]
    start = int(before[-1]) + 1 if before.size else 0
    stop = int(after[0]) - 1 if after.size else valley.grid.size - 1
    return float(np.clip(wanted, valley.grid[start], valley.grid[stop]))


def _below_cells(x: NDArray[np.floating], *, apart: float = _APART) -> Valley | None:
    """Return the valley below the hump of single cells, or `None` where there is none.

    The cells are the rightmost hump with a good part of the events; a hump at their doubled DNA is not taken for
    them, and a hump that is nearer than `apart` below them belongs to them.
    """
    found = find_valleys(x)
    if not found:
        return None
    modes = [found[0].left_mode, *(valley.right_mode for valley in found)]
    sizes = [found[0].n_left, *(valley.n_right for valley in found)]
    main = max(i for i, size in enumerate(sizes) if size >= 0.15 * max(sizes[1:]))
    while main > 1 and modes[main] - modes[main - 1] < apart and sizes[main - 1] >= sizes[main]:
        main -= 1
    under = main
    while under > 0 and modes[main] - modes[under - 1] < apart:
        under -= 1
    return found[under - 1] if under > 0 else None


def bead_limit(lowest: NDArray[np.floating], names: tuple[str, ...]) -> Limit:
    """Return the limit above which the lowest of all bead channels makes an event a bead."""
    weights = (1.0,) * len(names)
    if lowest.size < FEWEST:
        value, rule = (
            to_arcsinh(_FEW_COUNTS["bead"]),
            "fallback: fixed limit, 100 counts in every bead channel",
        )
        return Limit("bead", value, UNIT, "above", "min", names, weights, rule, "fewer than 200 events")
    found = find_valleys(lowest, low=to_arcsinh(10.0), min_events=10)
    found = [valley for valley in found if valley.right_mode >= to_arcsinh(_LEAST_BEAD)]
    if not found:
        return not_judged("bead", f"no bead population: no events are high in all of {', '.join(names)}")
    # beads are the brightest of all in every channel at once
    valley = found[-1]
    rule = "valley of the density of the lowest bead channel"
    return Limit("bead", valley.value, UNIT, "above", "min", names, weights, rule, _sure(valley))


def _sure(valley: Valley) -> str:
    return f"confidence {valley.confidence:.2f}"


def _balanced(valley: Valley, what: str) -> str:
    rule = f"balanced losses on both sides of the valley of {what}"
    return rule if valley.confidence >= _CONFIDENT else f"fallback: shallow valley; {rule}"


def bead_dna_limit(dna: NDArray[np.floating], name: str) -> Limit:
    """Return the DNA below which an event holds no cell, by DNA alone."""
    if dna.size < FEWEST:
        value = to_arcsinh(_FEW_COUNTS["debris"])
        rule, note = "fallback: fixed limit, 20 counts of DNA", "fewer than 200 events"
    elif (valley := _below_cells(dna)) is not None:
        value, rule, note = between(dna, valley, cells="right"), _balanced(valley, "DNA"), _sure(valley)
    else:
        centre, scale = centre_and_scale(dna)
        value = centre - max(4 * scale, _QUARTER)
        rule = "fallback: a quarter of the DNA of the cells, or 4 SD below their mode where that is less"
        note = "the density of DNA has no hump of debris"
    return Limit("bead_dna", value, UNIT, "above", "sum", (name,), (1.0,), rule, note)


def _fisher(
    signals: list[NDArray[np.floating]], small: NDArray[np.bool_], *, most: float
) -> list[float] | None:
    """Return the weights of signals beside the first one's 1, or `None` where they tell the two groups no better."""
    shift = [float(x[~small].mean() - x[small].mean()) for x in signals]
    pooled = [0.5 * (float(x[~small].var()) + float(x[small].var())) for x in signals]
    if min(pooled) <= 0 or min(shift) <= 0:
        return None
    first = shift[0] / pooled[0]
    weights = [float(np.float32(min(s / p / first, most))) for s, p in zip(shift, pooled, strict=True)]
    return None if min(weights) < 0.1 else [1.0, *weights[1:]]


def _debris_by_sum(
    signals: list[NDArray[np.floating]],
    names: tuple[str, ...],
    small: NDArray[np.bool_],
    what: str,
    most: float,
) -> Limit | None:
    weights = _fisher(signals, small, most=most)
    if weights is None:
        return None
    score = signals[0]
    for x, weight in zip(signals[1:], weights[1:], strict=True):
        score = score + np.float32(weight) * x
    valley = _below_cells(score)
    if valley is None:
        return None
    value = between(score, valley, cells="right")
    rule, note = _balanced(valley, what), _sure(valley)
    return Limit("debris", value, UNIT_SUM, "below", "sum", names, tuple(weights), rule, note)


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
        first = _below_cells(both)
        if first is None:
            return [plain]
        small = both < first.value
    else:
        small = dna < alone.value
    if not 50 <= np.count_nonzero(small) <= small.size - 50:
        return [plain]
    two = _debris_by_sum([dna, length], (name, names[0]), small, "DNA and length", 1.5)
    if two is None or stain is None:
        return [plain if two is None else two]
    signals = {name: dna, names[0]: length, names[1]: stain}
    small = meets(two, signals)
    if not 50 <= np.count_nonzero(small) <= small.size - 50:
        return [two]
    three = _debris_by_sum([dna, length, stain], (name, *names), small, "DNA, length and CD45", 1.5)
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


def dead_limit(signal: NDArray[np.floating], name: str) -> Limit:
    """Return the limit of the viability stain from which on an event is dead."""
    note = ""
    if signal.size < FEWEST:
        value, rule = to_arcsinh(_FEW_COUNTS["dead"]), "fallback: fixed limit, 1000 counts"
        note = "fewer than 200 events"
    else:
        found: list[Valley] = []
        for bandwidth in (None, 0.4):
            # a hump of dead cells is to be expected, so that weaker evidence is enough than for any hump
            found = found or find_valleys(
                signal, low=to_arcsinh(_LEAST_DEAD), bandwidth=bandwidth, min_depth=0.05, min_z=2.5
            )
            found = [valley for valley in found if valley.right_mode - valley.left_mode >= _DEAD_APART]
        if found:
            valley = max(found, key=lambda candidate: candidate.confidence)
            value, rule = between(signal, valley, cells="left"), _balanced(valley, "the stain")
            note = _sure(valley)
        else:
            centre, scale = centre_and_scale(signal)
            value = max(centre + 3 * scale, to_arcsinh(_LEAST_DEAD_FALLBACK))
            rule = "fallback: 3 SD above the mode of the live cells, at least 100 counts"
            note = "the density of the stain has no hump of dead cells"
    return Limit("dead", value, UNIT, "above", "sum", (name,), (1.0,), rule, note)


def doublet_limits(
    dna: NDArray[np.floating],
    length: NDArray[np.floating] | None,
    stain: NDArray[np.floating] | None,
    names: tuple[str, str, str],
) -> list[Limit]:
    """Return the limits that a doublet is above: of DNA, length and stain together, of DNA, and of length.

    The score is Fisher's discriminant for an event of twice the DNA, 1.3 times the length and twice the CD45 of a
    cell, with scales from the lower halves. Its limit is the 99.5 % quantile of single cells (99 % without CD45), as
    their lower half tells it. Length and CD45 without DNA have a limit of their own, which keeps cells in division.
    A stain on all cells (CD45) weighs little where it varies much from cell to cell.

    Parameters
    ----------
    dna, length, stain
        arcsinh(x / 5) of shape (events,); `None` where the file has no such channel.
    names
        Their channels.
    """
    dna_name, length_name, stain_name = names
    if dna.size < FEWEST:
        return [not_judged("doublet", f"{dna.size} single cells are fewer than {FEWEST}")]
    dna_centre, dna_scale = centre_and_scale(dna)
    modes = f"mode {dna_centre:.3f}, SD of the lower half {dna_scale:.3f}"
    if length is None:
        value = dna_centre + max(_QUANTILE_DNA_ALONE * dna_scale, _DOUBLET_DNA)
        return [
            Limit(
                "doublet",
                value,
                UNIT,
                "above",
                "sum",
                (dna_name,),
                (1.0,),
                "fallback: 3 SD above the mode of the cells, at least twice its DNA, by DNA alone",
                "Event_length is missing: most doublets stay; " + modes,
            )
        ]
    _, length_scale = centre_and_scale(length)
    weight = (_DOUBLET_LENGTH / length_scale**2) / (_DOUBLET_DNA / dna_scale**2)
    weight = float(np.float32(np.clip(weight, 0.2, 2.0)))
    score = dna + np.float32(weight) * length
    channels: tuple[str, ...] = (dna_name, length_name)
    weights: tuple[float, ...] = (1.0, weight)
    if stain is not None:
        _, stain_scale = centre_and_scale(stain)
        of_stain = (_DOUBLET_STAIN / stain_scale**2) / (_DOUBLET_DNA / dna_scale**2)
        of_stain = float(np.float32(min(of_stain, 1.0)))
        score = score + np.float32(of_stain) * stain
        channels, weights = (*channels, stain_name), (*weights, of_stain)
    centre, scale = centre_and_scale(score)
    lost, quantile = (SINGLETS_LOST_BY_TWO, _QUANTILE_BY_TWO) if stain is None else (SINGLETS_LOST, _QUANTILE)
    size_channels: tuple[str, ...] = (length_name,)
    size_weights: tuple[float, ...] = (1.0,)
    if stain is None:
        size, unit = length, UNIT
        longer = _LONGER * length_scale
        rule = f"{_LONGER:g} SD above the mode: what is not longer than a cell is one cell, maybe in division"
    else:
        per_length = (_DOUBLET_STAIN / stain_scale**2) / (_DOUBLET_LENGTH / length_scale**2)
        per_length = float(np.float32(min(per_length, 1.0)))
        size, unit = length + np.float32(per_length) * stain, UNIT_SUM
        size_channels, size_weights = (length_name, stain_name), (1.0, per_length)
        longer = _WAY_TO_TWO * (_DOUBLET_LENGTH + per_length * _DOUBLET_STAIN)
        rule = (
            f"{_WAY_TO_TWO:g} of the way from the length and CD45 of one cell to those of two: what is below is one "
            "cell, maybe in division"
        )
    size_centre, size_scale = centre_and_scale(size)
    return [
        Limit(
            "doublet",
            centre + quantile * scale,
            UNIT_SUM,
            "above",
            "sum",
            channels,
            weights,
            f"{100 * lost:g} % of single cells above it, by the lower half of their score",
            f"mode {centre:.3f}, SD of the lower half {scale:.3f}",
        ),
        Limit(
            "doublet_dna",
            dna_centre + 0.5 * _DOUBLET_DNA,
            UNIT,
            "above",
            "sum",
            (dna_name,),
            (1.0,),
            "DNA nearer to that of two cells than of one",
            modes,
        ),
        Limit(
            "doublet_length",
            size_centre + longer,
            unit,
            "above",
            "sum",
            size_channels,
            size_weights,
            rule,
            f"mode {size_centre:.3f}, SD of the lower half {size_scale:.3f}",
        ),
    ]


def combined(limit: Limit, signals: Mapping[str, NDArray[np.floating]]) -> NDArray[np.floating]:
    """Return the signal that is held against a limit: the lowest of its channels, or their weighted sum."""
    parts = [signals[channel] for channel in limit.channels]
    score = parts[0] if limit.weights[0] == 1.0 else np.float32(limit.weights[0]) * parts[0]
    for part, weight in zip(parts[1:], limit.weights[1:], strict=True):
        score = np.minimum(score, part) if limit.combine == "min" else score + np.float32(weight) * part
    return score


def meets(limit: Limit, signals: Mapping[str, NDArray[np.floating]]) -> NDArray[np.bool_]:
    """Return which events are on the named side of a limit."""
    score, value = combined(limit, signals), np.float32(limit.value)
    return score >= value if limit.side == "above" else score < value


def meets_all(limits: Sequence[Limit], signals: Mapping[str, NDArray[np.floating]]) -> NDArray[np.bool_]:
    """Return which events are on the named side of every one of the limits."""
    return np.logical_and.reduce([meets(limit, signals) for limit in limits])


def score(
    limits: Sequence[Limit], criterion: str, signals: Mapping[str, NDArray[np.floating]], n: int
) -> NDArray[np.float32]:
    """Return how far each event is beyond the limits of a criterion: above 0 it meets all of them.

    The distance to that limit which is met least, in the unit of that limit; NaN where the criterion is not judged.
    """
    mine = [limit for limit in limits if limit.criterion in PARTS[criterion] and limit.judged]
    if not mine:
        return np.full(n, np.nan, dtype=np.float32)
    result = np.full(n, np.inf, dtype=np.float32)
    for limit in mine:
        beyond = combined(limit, signals) - np.float32(limit.value)
        np.minimum(result, beyond if limit.side == "above" else -beyond, out=result)
    return result


def classify(
    signals: dict[str, NDArray[np.floating]],
    *,
    beads: list[tuple[str, ...]],
    no_beads: str,
    dna: str | None,
    viability: str | None,
    length: str | None,
    stain: str | None = None,
) -> tuple[NDArray[np.int8], list[Limit]]:
    """Return the class of every event of one file (index into `CLASSES`), and the limits that made it.

    Parameters
    ----------
    signals
        arcsinh(counts / 5) by channel name, each of shape (events,).
    beads
        Sets of bead channels to try; the set whose valley is surest is taken.
    no_beads
        Why there is no set, where there is none.
    dna, viability, length, stain
        Names of the channels in `signals`, or `None` where the file has none; `stain` is on all cells (CD45).
    """
    n = next(iter(signals.values())).size if signals else 0
    code = np.zeros(n, dtype=np.int8)
    everywhere = np.zeros(n, dtype=bool)
    length_name = length or ""

    bead = not_judged("bead", no_beads)
    if beads:
        tried = [bead_limit(np.minimum.reduce([signals[name] for name in names]), names) for names in beads]
        bead = max(tried, key=lambda limit: (limit.judged, limit.note))
    is_bead = meets(bead, signals) if bead.judged else everywhere
    limits = [bead]
    if dna is None:
        limits += [not_judged(criterion, "there is no DNA channel") for criterion in ("debris", "doublet")]
        cells = ~is_bead
    else:
        rest = ~is_bead
        alone = bead_dna_limit(signals[dna][rest], dna)
        if bead.judged and np.count_nonzero(is_bead & meets(alone, signals)) > 0.5 * np.count_nonzero(
            is_bead
        ):
            limits[0] = not_judged(
                "bead",
                "most events that are high in all bead channels have the DNA of a cell, so they are no beads",
            )
            is_bead = everywhere
            rest = ~is_bead
            alone = bead_dna_limit(signals[dna][rest], dna)
        of_debris = debris_limits(
            signals[dna][rest],
            signals[length][rest] if length else None,
            signals[stain][rest] if stain else None,
            alone,
            (length_name, stain or ""),
        )
        is_debris = rest & meets_all(of_debris, signals)
        if limits[0].judged:
            limits.append(alone)
            code[is_bead & meets(alone, signals)] = CLASSES.index("cell_bead")
        limits.extend(of_debris)
        code[is_debris] = CLASSES.index("debris")
        cells = rest & ~is_debris
    code[is_bead & (code == 0)] = CLASSES.index("bead")

    if viability is None:
        limits.append(not_judged("dead", "there is no viability channel"))
    else:
        dead = dead_limit(signals[viability][cells], viability)
        limits.append(dead)
        is_dead = cells & meets(dead, signals)
        code[is_dead] = CLASSES.index("dead")
        cells &= ~is_dead
    if dna is not None:
        found = doublet_limits(
            signals[dna][cells],
            signals[length][cells] if length else None,
            signals[stain][cells] if stain else None,
            (dna, length_name, stain or ""),
        )
        limits.extend(found)
        if found[0].judged:
            code[cells & meets_all(found, signals)] = CLASSES.index("doublet")
    return code, limits
