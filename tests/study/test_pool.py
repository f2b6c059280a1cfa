import math
import os

import pytest

from cytocar import ParameterError
from cytocar.study._run.pool import number_of_workers, run_all


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_tasks(workers):
    seen = []
    assert run_all(math.factorial, [5, 1, 3], workers=workers, on_done=seen.append) == [120, 1, 6]
    assert sorted(seen) == [1, 3, 5]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_keeps_its_type(workers):
    with pytest.raises(ValueError, match=r"negative"):
        run_all(math.factorial, [1, -3, 4], workers=workers)


def test_a_worker_has_one_thread_and_the_setting_is_put_back(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert run_all(os.getenv, ["OMP_NUM_THREADS", "NUMBA_NUM_THREADS"], workers=2) == ["1", "1"]
    assert os.environ["OMP_NUM_THREADS"] == "7"


@pytest.mark.parametrize("workers", [0, -1, 1.0, True, "2", "all"])
def test_refuses_what_is_not_a_number_of_workers(workers):
    with pytest.raises(ParameterError, match="workers is"):
        run_all(math.factorial, [1], workers=workers)


def test_auto_takes_a_process_for_each_processor():
    assert number_of_workers("auto") == len(os.sched_getaffinity(0))
    assert run_all(math.factorial, [4, 2], workers="auto") == [24, 2]
