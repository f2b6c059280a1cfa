"""What the instrument adds to the cells: beads, debris, background, technical channels, drift and counting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from cytocar._core.vocabulary import BEAD, CELL, CELL_BEAD, DEAD, DEBRIS, DOUBLET

if TYPE_CHECKING:
    from cytocar.datasets._layout import Layout

# Mean counts and coefficient of variation of the EQ4 beads; most of the variation is the size of the bead.
BEADS: Final = {
    "Ce140Di": (2778.0, 0.080),
    "Eu151Di": (2214.0, 0.085),
    "Eu153Di": (2852.0, 0.090),
    "Ho165Di": (2835.0, 0.095),
    "Lu175Di": (2740.0, 0.100),
}
BEAD_SIZE_CV: Final = 0.077
CE142_TO_CE140: Final = 0.125
# Probability and mean counts of a signal that belongs to no cell, by channel: in cells, and in beads.
BACKGROUND: Final = {
    "Xe131Di": (0.25, 1.8, 0.25),
    "Ba138Di": (0.85, 12.0, 0.6),
    "Ce140Di": (0.55, 3.0, 0.0),
    "Pb208Di": (0.70, 7.0, 0.1),
}
BEAD_STICK: Final = (0.3, 2.0)
BEAD_DNA: Final = (0.25, 8.0)
DEBRIS_PART: Final = (0.1, 0.3)
DEAD_PART: Final = (0.4, 1.0)
DEAD_DNA_PART: Final = (0.7, 1.0)
DEAD_STICK: Final = (0.5, 4.0)

RATE_PER_S: Final = 250.0
PAUSE_AT: Final = 0.55
PAUSE_S: Final = 120.0
GAIN_LOST: Final = 0.28
GAIN_AFTER_PAUSE: Final = 1.08
TILT_PER_DALTON: Final = 0.06 / 20
TILT_CENTRE: Final = 155.0

# Event_length by type of event: median and SD of the logarithm.
LENGTH: Final = {
    CELL: (16.0, 0.20),
    DEBRIS: (11.0, 0.10),
    DEAD: (16.0, 0.20),
    DOUBLET: (16.0 * 1.45, 0.20),
    BEAD: (19.0, 0.10),
    CELL_BEAD: (19.0 * 1.45, 0.15),
}
LENGTH_LIMITS: Final = (10, 75)
# Two things in one ion cloud fit a single Gaussian badly and make it wider.
TOGETHER_RESIDUAL: Final = 1.6
TOGETHER_WIDTH: Final = 1.15
GAUSSIAN_FAILS: Final = 0.04


def _sometimes(rng: np.random.Generator, shape: tuple[int, ...], chance: float, scale: float) -> np.ndarray:
    """Return exponential values with probability `chance`, else 0."""
    draw = rng.random(shape, dtype=np.float32)
    values = rng.standard_exponential(shape, dtype=np.float32)
    return np.where(draw < chance, np.float32(scale) * values, np.float32(0))


def _between(rng: np.random.Generator, n: int, low: float, high: float) -> np.ndarray:
    return rng.uniform(low, high, size=n).astype(np.float32)


def spoil_dead(signal: np.ndarray, layout: Layout, rng: np.random.Generator) -> None:
    """Take antigens and some DNA away from dead cells, and let antibodies stick to them."""
    n = signal.shape[1]
    signal[layout.markers] *= _between(rng, n, *DEAD_PART)
    signal[layout.markers] += _sometimes(rng, (len(layout.markers), n), *DEAD_STICK)
    signal[layout.dna] *= _between(rng, n, *DEAD_DNA_PART)


def break_debris(signal: np.ndarray, layout: Layout, rng: np.random.Generator) -> None:
    """Leave 10 to 30 % of the DNA of a cell, and about as much of everything else."""
    n = signal.shape[1]
    nucleus = _between(rng, n, *DEBRIS_PART)
    rest = _between(rng, n, *DEBRIS_PART)
    signal[layout.dna] *= nucleus
    signal[np.concatenate([layout.markers, layout.platinum])] *= rest


def add_beads(signal: np.ndarray, n_alone: int, layout: Layout, rng: np.random.Generator) -> None:
    """Add EQ4 beads: the first `n_alone` columns hold nothing else, the others a cell as well."""
    n = signal.shape[1]
    size = rng.standard_normal(n)
    for channel, (mean, cv) in BEADS.items():
        own = np.sqrt(cv**2 - BEAD_SIZE_CV**2)
        counts = mean * np.maximum(1 + BEAD_SIZE_CV * size + own * rng.standard_normal(n), 0)
        signal[layout.row(channel)] += counts.astype(np.float32)
        if channel == "Ce140Di":
            signal[layout.row("Nd142Di")] += (CE142_TO_CE140 * counts).astype(np.float32)
    signal[layout.markers, :n_alone] += _sometimes(rng, (len(layout.markers), n_alone), *BEAD_STICK)
    signal[layout.dna, :n_alone] += _sometimes(rng, (len(layout.dna), n_alone), *BEAD_DNA)


def add_background(signal: np.ndarray, beads: slice, layout: Layout, rng: np.random.Generator) -> None:
    """Add xenon, barium, cerium and lead, which come with the plasma, the buffer and the cell, not with antibodies."""
    n = signal.shape[1]
    for channel, (chance, scale, in_beads) in BACKGROUND.items():
        values = _sometimes(rng, (n,), chance, scale)
        values[beads] *= np.float32(in_beads)
        signal[layout.row(channel)] += values


def clock(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return time (ms, sorted), the part of the acquisition done (0 to 1), and whether the pause is over.

    The part done stands still during the pause.
    """
    acquiring = np.cumsum(rng.standard_exponential(n)) * (1000 / RATE_PER_S)
    after = np.arange(n) >= round(PAUSE_AT * n)
    time = np.floor(acquiring + after * PAUSE_S * 1000).astype(np.float32)
    return time, acquiring / acquiring[-1], after


def gain(
    done: np.ndarray, after_pause: np.ndarray, file_gain: float, masses: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the gain of each event, and what is lost on each channel by its mass in the course of the run.

    The gain of channel c for event e is ``gain[e] * (1 - loss[c] * done[e])``.
    """
    of_event = file_gain * (1 - GAIN_LOST * done) * np.where(after_pause, GAIN_AFTER_PAUSE, 1.0)
    return of_event, TILT_PER_DALTON * (masses - TILT_CENTRE)


def detect(expected: np.ndarray, rngs: Sequence[np.random.Generator]) -> np.ndarray:
    """Return counts as a Helios stores them: Poisson ions k, as k - U(0, 1) for k > 0 and exactly 0 for none.

    Parameters
    ----------
    expected
        (channels, events) expected ions.
    rngs
        A generator for each channel, so that a change in one channel leaves the draws of the others alone.

    Returns
    -------
    (events, channels) float32.
    """
    counts = np.empty(expected.shape[::-1], dtype=np.float32)
    for channel, (rate, rng) in enumerate(zip(expected, rngs, strict=True)):
        ions = rng.poisson(rate).astype(np.float32)
        seen = np.flatnonzero(ions)
        ions[seen] -= rng.random(len(seen), dtype=np.float32)
        counts[:, channel] = ions
    return counts


def gaussian_parameters(
    kind: np.ndarray, types: tuple[str, ...], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Return Event_length, Center, Offset, Width and Residual of events of the given kinds.

    Long events have a late centre, a large width and a large residual, as on a real Helios.
    """
    n = len(kind)
    median = np.array([LENGTH[name][0] for name in types])[kind]
    spread = np.array([LENGTH[name][1] for name in types])[kind]
    long, offset, own_center, own_width, own_residual = rng.standard_normal((5, n))
    together = np.isin(kind, [types.index(DOUBLET), types.index(CELL_BEAD)])
    values = {
        "Event_length": np.clip(np.rint(median * np.exp(spread * long)), *LENGTH_LIMITS),
        "Center": 515 + 120 * (0.85 * long + np.sqrt(1 - 0.85**2) * own_center),
        "Offset": 105 + 45 * offset,
        "Width": (43 + 15 * (0.8 * long + 0.4 * offset + np.sqrt(1 - 0.8**2 - 0.4**2) * own_width))
        * np.where(together, TOGETHER_WIDTH, 1),
        "Residual": 78
        * np.exp(0.5 * (0.6 * long + 0.8 * own_residual))
        * np.where(together, TOGETHER_RESIDUAL, 1),
    }
    fails = rng.random(n) < GAUSSIAN_FAILS
    for name in ("Center", "Offset", "Width", "Residual"):
        # A fit that went well never gives 0, which means that there was no fit.
        values[name] = np.where(fails, 0, np.maximum(values[name], 1))
    return {name: value.astype(np.float32) for name, value in values.items()}
