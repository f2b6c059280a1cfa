"""Random numbers: one integer seed for a run, one generator per task, whatever runs beside it."""

from __future__ import annotations

import zlib

import numpy as np

from cytocar._core import checks


def _sequence(seed: int, task: tuple[str, ...]) -> np.random.SeedSequence:
    seed = checks.whole_number(seed, "seed", 0)
    words = [zlib.crc32(word.encode()) for word in task]
    return np.random.SeedSequence(seed, spawn_key=tuple(words))


def generator(seed: int, *task: str) -> np.random.Generator:
    """Return the generator of one named task: the same for the same names, independent of all others.

    Parameters
    ----------
    seed
        The seed of the run, an integer of at least 0.
    task
        Words that name the task, such as ``("host sample", "5yr")``. Neither the order in which tasks run
        nor the number of workers changes what a task draws.

    Examples
    --------
    >>> int(generator(0, "tsne").integers(1000)) == int(generator(0, "tsne").integers(1000))
    True
    """
    return np.random.Generator(np.random.PCG64(_sequence(seed, task)))


def integer_seed(seed: int, *task: str) -> int:
    """Return a 31-bit seed of one named task, for libraries that take an integer only."""
    return int(_sequence(seed, task).generate_state(1, np.uint32)[0] >> 1)
