"""The kernel of the simulated study: the events and the truth of one file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cytocar._core.seeds import generator
from cytocar._core.vocabulary import BEAD, CELL, CELL_BEAD, DEAD, DEBRIS, DOUBLET
from cytocar.datasets._design import Populations, Settings, Tube, event_numbers, populations
from cytocar.datasets._instrument import (
    add_background,
    add_beads,
    break_debris,
    clock,
    detect,
    gain,
    gaussian_parameters,
    spoil_dead,
)
from cytocar.datasets._spill import spread

if TYPE_CHECKING:
    from cytocar.datasets._layout import Layout

TYPES: Final = (CELL, DEBRIS, DEAD, DOUBLET, BEAD, CELL_BEAD)
TECHNICAL: Final = ("Time", "Event_length", "Center", "Offset", "Width", "Residual")

CELL_SD: Final = 0.12
NEGATIVE_ZERO: Final = 0.65
NEGATIVE_SCALE: Final = 2.5
CYCLING_OF_KI67: Final = 0.05
CYCLING_DNA: Final = (1.6, 2.0)
DNA: Final = (275.0, 0.28)
DNA2_TO_DNA1: Final = 1.72
LIVE_PT: Final = (45.0, 0.8)
DEAD_PT: Final = (1000.0, 0.5)
PT194_TO_PT195: Final = 0.97


@dataclass(frozen=True)
class SimulatedFile:
    """The events of one file and what each of them is.

    Parameters
    ----------
    counts
        (events, mass channels) float32: 0, or the number of ions less a random part of one.
    technical
        Time (ms), Event_length, Center, Offset, Width, Residual: float32 (events).
    kind
        Index into `TYPES`.
    first, second
        Index of the population of the cell, and of the second cell of a doublet; -1 where there is none.
    false_positive
        Whether a live single host T cell carries VHH signal.
    """

    counts: np.ndarray
    technical: dict[str, np.ndarray]
    kind: np.ndarray
    first: np.ndarray
    second: np.ndarray
    false_positive: np.ndarray

    @property
    def is_car(self) -> np.ndarray:
        """Return which events are one live CAR-T cell and nothing else."""
        return np.asarray((self.kind == 0) & populations().is_car[self.first])


def simulate(tube: Tube, options: Settings, layout: Layout) -> SimulatedFile:
    """Return the events of one file in the order of time, with their truth.

    Every part draws from a generator of its own, so that an option changes what it says and nothing else.
    """

    def draw(part: str) -> np.random.Generator:
        return generator(options.seed, "simulate", tube.sample_id, part)

    people = populations()
    numbers = event_numbers(options.cells)
    ends = np.cumsum([numbers[name] for name in TYPES])
    of_type = {name: slice(end - numbers[name], end) for name, end in zip(TYPES, ends.tolist(), strict=True)}
    n = int(ends[-1])
    kind = np.repeat(np.arange(len(TYPES), dtype=np.int8), [numbers[name] for name in TYPES])
    first, second = _who(tube, of_type, n, people, draw("who"))

    # One column for everything that has a cell in it, then the second cells of the doublets.
    has_cell = np.flatnonzero(first >= 0)
    source = np.concatenate([first[has_cell], second[of_type[DOUBLET]]])
    dead = np.concatenate([kind[has_cell], np.zeros(numbers[DOUBLET])]) == TYPES.index(DEAD)
    shift = options.staining_shift * draw("staining").standard_normal(len(people.markers))
    antigens, cycling = _express(source, shift, people, draw("expression"))
    misread = _false_positives(antigens, source, options.false_positive_rate, people, draw("false positives"))
    parts = np.concatenate([antigens, _nucleus(cycling, draw("dna")), _cisplatin(dead, draw("cisplatin"))])

    signal = np.zeros((len(layout.channels), n), dtype=np.float32)
    rows = np.concatenate([layout.markers, layout.dna, layout.platinum])
    signal[np.ix_(rows, has_cell)] = parts[:, : len(has_cell)]
    signal[rows, of_type[DOUBLET]] += parts[:, len(has_cell) :]
    false_positive = np.zeros(n, dtype=bool)
    false_positive[of_type[CELL]] = misread[: numbers[CELL]]

    with_bead = slice(of_type[BEAD].start, of_type[CELL_BEAD].stop)
    spoil_dead(signal[:, of_type[DEAD]], layout, draw("dead"))
    break_debris(signal[:, of_type[DEBRIS]], layout, draw("debris"))
    add_beads(signal[:, with_bead], numbers[BEAD], layout, draw("beads"))
    add_background(signal, of_type[BEAD], layout, draw("background"))

    order = draw("order").permutation(n)
    kind, first, second, false_positive = kind[order], first[order], second[order], false_positive[order]
    signal = signal[:, order]
    time, done, after_pause = clock(n, draw("clock"))
    if options.spill:
        signal = spread(signal, layout.spillover)
    if options.drift:
        of_event, loss = gain(done, after_pause, tube.gain, layout.masses)
        for channel, lost in enumerate(loss):
            signal[channel] *= (of_event * (1 - lost * done)).astype(np.float32)
    return SimulatedFile(
        counts=detect(signal, [draw(f"ions {channel}") for channel in layout.channels]),
        technical={"Time": time} | gaussian_parameters(kind, TYPES, draw("gaussian")),
        kind=kind,
        first=first,
        second=second,
        false_positive=false_positive,
    )


def _who(
    tube: Tube, of_type: dict[str, slice], n: int, people: Populations, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the population of each event, and of the second cell of each doublet; -1 where there is none."""
    per_population = np.array([tube.counts.get(name, 0) for name in people.names])
    first = np.full(n, -1, dtype=np.int16)
    second = np.full(n, -1, dtype=np.int16)
    first[of_type[CELL]] = np.repeat(np.arange(len(people.names), dtype=np.int16), per_population)
    share = per_population / per_population.sum()
    for name in (DEBRIS, DEAD, DOUBLET, CELL_BEAD):
        drawn = first[of_type[name]]
        drawn[:] = rng.choice(len(share), size=len(drawn), p=share)
    drawn = second[of_type[DOUBLET]]
    drawn[:] = rng.choice(len(share), size=len(drawn), p=share)
    return first, second


def _express(
    source: np.ndarray, shift: np.ndarray, people: Populations, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the expected counts of the antibodies (markers, cells), and which cells are cycling."""
    n = len(source)
    counts = np.zeros((len(people.markers), n), dtype=np.float32)
    common = CELL_SD * rng.standard_normal(n)
    cycling = np.zeros(n, dtype=bool)
    for row, marker in enumerate(people.markers):
        probability = people.probability[source, row]
        draw = rng.random(n)
        is_positive = draw < probability
        positive = np.flatnonzero(is_positive)
        who = source[positive]
        level = people.mean[who, row] + shift[row] + common[positive]
        level += people.sd[who, row] * rng.standard_normal(len(positive))
        counts[row, positive] = 5 * np.sinh(np.maximum(level, 0))
        # What is left of the draw above the probability of a positive decides about the negatives.
        dim = np.flatnonzero(~is_positive & (draw >= probability + NEGATIVE_ZERO * (1 - probability)))
        counts[row, dim] = NEGATIVE_SCALE * rng.standard_exponential(len(dim))
        if marker == "Ki67":
            cycling = is_positive & (rng.random(n) < CYCLING_OF_KI67)
    return counts, cycling


def _false_positives(
    antigens: np.ndarray, source: np.ndarray, rate: float, people: Populations, rng: np.random.Generator
) -> np.ndarray:
    """Give some host T cells the VHH signal of CAR-T cells, and return which."""
    marker = people.markers.index("VHH")
    like = people.index("CAR_C1")
    misread = people.is_host_t[source] & (rng.random(len(source)) < rate)
    sd = np.hypot(people.sd[like, marker], CELL_SD)
    level = people.mean[like, marker] + sd * rng.standard_normal(len(source))
    antigens[marker, misread] = 5 * np.sinh(np.maximum(level[misread], 0))
    return np.asarray(misread)


def _nucleus(cycling: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the expected counts of Ir191 and Ir193 (2, cells)."""
    n = len(cycling)
    median, sd = DNA
    dna = median * np.exp(sd * rng.standard_normal(n))
    dna *= np.where(cycling, rng.uniform(*CYCLING_DNA, n), 1)
    return np.stack([dna, DNA2_TO_DNA1 * dna]).astype(np.float32)


def _cisplatin(dead: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the expected counts of Pt194 and Pt195 (2, cells)."""
    median = np.where(dead, DEAD_PT[0], LIVE_PT[0])
    sd = np.where(dead, DEAD_PT[1], LIVE_PT[1])
    platinum = median * np.exp(sd * rng.standard_normal(len(dead)))
    return np.stack([PT194_TO_PT195 * platinum, platinum]).astype(np.float32)
