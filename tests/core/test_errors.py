import pickle

import pytest

from cytocar import CytocarError, FcsError, GateError, PanelError, ParameterError, StateError, StudyError
from cytocar._core.errors import Problem, did_you_mean


@pytest.mark.parametrize("kind", [FcsError, GateError, PanelError, ParameterError, StateError, StudyError])
def test_one_base(kind):
    assert issubclass(kind, CytocarError)


def test_a_study_error_lists_every_problem_with_its_place_and_way_out():
    error = StudyError(
        [Problem("samples.csv, line 3", "months is 'two'", "write a number"), Problem("a.fcs", "no file")]
    )
    assert str(error).splitlines() == [
        "2 problems found:",
        "  samples.csv, line 3: months is 'two'",
        "    write a number",
        "  a.fcs: no file",
    ]


def test_a_study_error_crosses_a_process_boundary():
    error = pickle.loads(pickle.dumps(StudyError([Problem("a", "b", "c")])))
    assert error.problems == (Problem("a", "b", "c"),)
    assert str(error).startswith("1 problem found:")


def test_did_you_mean_folds_case_and_lists_what_is_known_otherwise():
    assert did_you_mean("COFACTER", ["cofactor", "seed"]) == "did you mean 'cofactor'?"
    assert did_you_mean("x", ["cofactor", "seed"]) == "known: cofactor, seed"
