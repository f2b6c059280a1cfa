import numpy as np
import pytest

from cytocar import ParameterError
from cytocar._core.seeds import generator, integer_seed


def test_same_task_same_numbers_other_task_other_numbers():
    first = generator(3, "host sample", "5yr").random(8)
    assert np.array_equal(first, generator(3, "host sample", "5yr").random(8))
    assert not np.array_equal(first, generator(3, "host sample", "2mo").random(8))
    assert not np.array_equal(first, generator(4, "host sample", "5yr").random(8))


def test_a_task_is_its_words_not_their_concatenation():
    assert integer_seed(0, "ab", "c") != integer_seed(0, "a", "bc")


def test_integer_seed_fits_what_libraries_take():
    assert all(0 <= integer_seed(seed, "tsne") < 2**31 for seed in range(50))


@pytest.mark.parametrize("seed", [-1, 1.5, True, "0", None])
def test_refuses_what_is_no_seed(seed):
    with pytest.raises(ParameterError, match=f"seed is {seed!r}"):
        generator(seed, "x")
