from __future__ import annotations

import numpy as np

from cytocar.tl._random_kernels import next_random


def test_the_numbers_are_those_that_splitmix64_is_known_by() -> None:
    state = np.array([1234567], np.uint64)
    assert [int(next_random(state)) for _ in range(5)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
