"""The picture of the spillover matrix: every channel by its name, nothing hidden."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.figure import Figure

import cytocar as cc
from cytocar import ParameterError
from cytocar.panel import Panel
from cytocar.panel.names import parse_isotope
from cytocar.pp import Spillover
from cytocar.pp._spillover.matrix import interaction


def largest_panel() -> Spillover:
    channels = Panel.read("legend2").var["channel"]
    isotopes = [parse_isotope(name) for name in channels]
    matrix = np.array([[0.0123 if interaction(a, b) else 0.0 for b in isotopes] for a in isotopes])
    np.fill_diagonal(matrix, 1)
    matrix[-3:] = np.nan
    return Spillover(tuple(channels), matrix)


@pytest.mark.parametrize(
    "spill",
    [
        largest_panel(),
        Spillover(("Yb171Di", "Yb172Di", "Yb173Di"), [[1, 0.04, 0.005], [0.01, 1, 0.03], [0, 0.02, 1]]),
        Spillover(("Y89Di",), [[1]]),
    ],
)
def test_picture(spill: Spillover, complaints: Callable[[Figure], list[str]]) -> None:
    figure = cc.pl.spillover(spill)
    axes = {axes.get_label(): axes for axes in figure.axes}
    assert list(axes) == ["matrix", "scale"]
    order = sorted(range(len(spill)), key=lambda n: spill.isotopes[n].mass)
    drawn = axes["matrix"].images[0].get_array()
    expected = 100 * spill.matrix[np.ix_(order, order)]
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(drawn.filled(0), np.where(expected >= 0.01, expected, 0))
    names = [f"{spill.isotopes[n].mass}{spill.isotopes[n].symbol}" for n in order]
    assert [text.get_text() for text in axes["matrix"].get_yticklabels()] == names
    assert [text.get_text() for text in axes["matrix"].get_xticklabels()] == names
    assert axes["matrix"].get_ylabel() == "emits"
    assert complaints(figure) == []


def test_picture_of_something_else() -> None:
    with pytest.raises(ParameterError, match="a list was given"):
        cc.pl.spillover([[1]])  # type: ignore[arg-type]  # what must fail
