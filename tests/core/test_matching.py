"""Names as users write them."""

from __future__ import annotations

import pytest

from cytocar._core.errors import ParameterError
from cytocar._core.matching import positions


def fold(name: str) -> str:
    return name.casefold().replace("-", "")


def test_exact_spelling_wins_over_the_folded_form() -> None:
    assert positions(["PD1", "pd-1"], ["PD-1", "PD1", "pd-1"], key=fold, what="marker") == [1, 2]


def test_all_unknown_and_ambiguous_names_are_told_at_once() -> None:
    with pytest.raises(ParameterError) as caught:
        positions(["CD44", "pd1", "CD4"], ["PD-1", "PD1", "CD4"], key=fold, what="marker")
    assert [(problem.what, problem.fix) for problem in caught.value.problems] == [
        ("'CD44' is not a marker of these data", "did you mean 'CD4'?"),
        ("'pd1' fits 2 columns ('PD-1', 'PD1')", "use the exact name of one"),
    ]
