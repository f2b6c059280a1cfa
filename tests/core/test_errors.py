from __future__ import annotations

import copy
import pickle

import pytest

from cytocar._core import errors
from cytocar._core.errors import CytocarError, GateError, PanelError, ParameterError, Problem, StudyError


def test_every_error_is_a_cytocar_error():
    kinds = [errors.FcsError, PanelError, GateError, errors.StateError, ParameterError]
    assert all(issubclass(kind, CytocarError) for kind in [*kinds, StudyError])


def test_an_error_keeps_its_parts_and_its_text_is_made_from_them():
    error = GateError("CD33 is not in the panel", where="gates.yaml, line 4", fix="did you mean 'CD3'?")
    assert (error.where, error.what, error.fix) == (
        "gates.yaml, line 4",
        "CD33 is not in the panel",
        "did you mean 'CD3'?",
    )
    assert str(error) == "gates.yaml, line 4: CD33 is not in the panel; did you mean 'CD3'?"
    assert error.problems == (Problem(error.where, error.what, error.fix),)
    assert str(GateError("only what")) == "only what"


def test_an_error_of_several_problems_lists_each_on_its_line():
    problems = [Problem("a.csv", "is empty", "fill it"), Problem("b.csv", "is empty")]
    error = PanelError(problems=problems)
    assert str(error) == "a.csv: is empty\n    fill it\nb.csv: is empty"
    assert error.problems == tuple(problems)
    assert (error.where, error.what, error.fix) == ("a.csv", "is empty", "fill it")


def test_all_problems_stand_in_the_message():
    error = StudyError([Problem("samples.csv", "no rows"), Problem("panel.csv", "no markers", "add one")])
    text = str(error)
    assert text == "2 problems found:\n  samples.csv: no rows\n  panel.csv: no markers\n    add one"
    assert len(error.problems) == 2
    assert str(StudyError([Problem("a", "b")])).startswith("1 problem found:")


@pytest.mark.parametrize(
    "error",
    [
        GateError("a", where="b", fix="c"),
        PanelError(problems=[Problem("a", "b"), Problem("c", "d")]),
        StudyError([Problem("a", "b", "c")]),
        ParameterError("k is 0"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_travel_from_workers_whole(error):
    error.add_note("while reading a.fcs")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is type(error)
        assert again.problems == error.problems
        assert str(again) == str(error)
        assert again.__notes__ == ["while reading a.fcs"]


def test_an_address_is_put_in_front_of_every_problem():
    error = PanelError(problems=[Problem("row 3", "no marker"), Problem("", "no mass")])
    inside = error.within("panel.csv")
    assert [problem.where for problem in inside.problems] == ["panel.csv, row 3", "panel.csv"]
    assert [problem.where for problem in error.problems] == ["row 3", ""]


def test_a_problem_of_an_error_takes_the_callers_address_and_the_errors_own_fix():
    error = GateError("no threshold", where="CD3", fix="pin it")
    assert Problem.of(error) == Problem("CD3", "no threshold", "pin it")
    assert Problem.of(error, where="study.yaml", fix="look again") == Problem(
        "study.yaml", "no threshold", "pin it"
    )
    assert Problem.of(GateError("no threshold"), fix="look again").fix == "look again"


def test_parameter_errors_are_value_errors_too():
    with pytest.raises(ValueError, match="cofactor"):
        raise ParameterError("cofactor is 0; use a positive number, 5 for mass cytometry")


def test_a_near_name_is_suggested_and_a_far_one_gets_the_list():
    assert errors.did_you_mean("CD33", ["CD3", "PD-1"]) == "did you mean 'CD3'?"
    assert errors.did_you_mean("nothing", ["CD3", "PD-1"]) == "known: CD3, PD-1"
    assert errors.did_you_mean("cd45ra", ["CD45RA"]) == "did you mean 'CD45RA'?"


def test_the_first_of_several_problems_is_in_the_representation():
    assert repr(GateError(problems=[Problem("a", "b"), Problem("c", "d")])) == "GateError('b')"
