from __future__ import annotations

import math
import os

import numpy as np
import pytest

from cytocar._core import checks
from cytocar._core.errors import ParameterError


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_whole_numbers_of_python_and_numpy_come_back_as_int(value):
    assert type(checks.whole_number(value, "k", 1, 5)) is int


@pytest.mark.parametrize("value", [True, np.True_, 3.0, "3", None, 0, 6, math.nan])
def test_what_is_not_a_whole_number_of_the_range_is_named(value):
    with pytest.raises(ParameterError, match="k is ") as caught:
        checks.whole_number(value, "k", 1, 5, why="half of the cells")
    assert repr(value) in caught.value.what
    assert caught.value.fix == "it must be a whole number of at least 1 and at most 5 (half of the cells)"


def test_auto_is_none_and_no_other_word_is_taken():
    assert checks.whole_or_auto("auto", "k", 1) is None
    assert checks.whole_or_auto(2, "k", 1) == 2
    with pytest.raises(ParameterError, match="k is 'all'; it must be a whole number or 'auto'"):
        checks.whole_or_auto("all", "k", 1)


@pytest.mark.parametrize("value", [0, -1.0, math.inf, math.nan, True, "5"])
def test_a_positive_number_is_finite_and_above_0(value):
    with pytest.raises(ParameterError, match=r"the cofactor is .*above 0, usually 5"):
        checks.positive_number(value, "the cofactor", usual="usually 5")


def test_limits_belong_to_the_range_unless_it_ends_below_them():
    assert checks.number_between(1, "share", 0.5, 1) == 1.0
    with pytest.raises(ParameterError, match=r"at least 0.5 and below 1"):
        checks.number_between(1, "share", 0.5, 1, below=True)
    for value in (0.4, math.nan, True):
        with pytest.raises(ParameterError, match=r"a number from 0.5 to 1"):
            checks.number_between(value, "share", 0.5, 1)


def test_infinity_is_a_number_from_0_but_not_a_finite_one():
    assert checks.number_from(math.inf, "limit", 0) == math.inf
    for value in (-0.1, math.nan, False):
        with pytest.raises(ParameterError, match=r"limit is .*at least 0"):
            checks.number_from(value, "limit", 0)
    assert checks.finite_number(-2, "threshold") == -2.0
    with pytest.raises(ParameterError, match="threshold is inf; it must be a finite number"):
        checks.finite_number(math.inf, "threshold")


@pytest.mark.parametrize("value", [0, 1, 1.2, True])
def test_a_proportion_is_above_0_and_below_1(value):
    assert checks.proportion(0.5, "level") == 0.5
    with pytest.raises(ParameterError, match=r"level is .* such as 0.95"):
        checks.proportion(value, "level")


def test_a_word_that_is_not_among_the_choices_gets_the_nearest():
    assert checks.one_of("flow", "method", ("nnls", "flow")) == "flow"
    with pytest.raises(ParameterError, match="method is 'flwo'; did you mean 'flow'"):
        checks.one_of("flwo", "method", ("nnls", "flow"))
    with pytest.raises(ParameterError, match="method is None"):
        checks.one_of(None, "method", ("nnls", "flow"))


def test_minus_one_job_is_every_processor_of_the_process():
    every = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert checks.n_threads(-1) == checks.n_threads(np.int64(-1)) == every
    assert checks.n_threads(np.int64(3)) == 3


@pytest.mark.parametrize("value", [0, -2, 1.5, True, "2"])
def test_other_numbers_of_jobs_are_refused(value):
    with pytest.raises(ParameterError, match=r"n_jobs is .* or -1 for all processors"):
        checks.n_threads(value)


def test_values_that_cannot_be_squared_are_named_with_their_markers():
    x = np.ones((4, 2), np.float32)
    checks.require_finite(x, ["CD3", "CD4"], "tl.tsne", "remove those cells")
    x[1, 1] = np.nan
    with pytest.raises(ParameterError, match="1 of 4 cells have values that are not finite, in CD4; remove"):
        checks.require_finite(x, ["CD3", "CD4"], "tl.tsne", "remove those cells")
    x[1, 1] = 1e20
    with pytest.raises(ParameterError, match=r"beyond 1e\+15"):
        checks.require_finite(x, ["CD3", "CD4"], "tl.tsne", "remove those cells")
