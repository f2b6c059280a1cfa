"""Gates of any shape on the page of a strategy: where they are, and what part of their parent they hold."""

from __future__ import annotations

from collections.abc import Callable

import anndata
import numpy as np
import pandas as pd
import pytest

from cytocar import gate, pl
from cytocar.gate import (
    Asinh,
    Combination,
    Dimension,
    Ellipsoid,
    GatingDocument,
    Operand,
    Polygon,
    Rectangle,
    interval,
)

A, B, C = (Dimension(name, transformation="asinh") for name in ("Er170Di", "Nd145Di", "Tm169Di"))


@pytest.fixture(scope="module")
def gated() -> anndata.AnnData:
    rng = np.random.default_rng(0)
    x = np.abs(rng.normal(2.0, 1.2, (3000, 4))).astype(np.float32)
    var = pd.DataFrame({"channel": ["Er170Di", "Nd145Di", "Tm169Di", "Ir191Di"], "cofactor": 5.0},
                       index=["CD3", "CD4", "VHH", "DNA1"])  # fmt: skip
    adata = anndata.AnnData(
        x, var=var, obs=pd.DataFrame({"sample_id": "S"}, index=[str(i) for i in range(3000)])
    )
    adata.layers["counts"] = 5 * np.sinh(x)
    adata.uns["cytocar"] = {"state": "arcsinh"}
    gates = [
        Rectangle(id="r", name="box", dimensions=(A, B), low=(1.0, None), high=(3.0, 2.5)),
        Polygon(id="p", name="tri", parent="r", dimensions=(C, A), vertices=((1.0, 1.0), (3.0, 1.0), (2.0, 3.0))),
        Ellipsoid(id="e", name="egg", parent="r", dimensions=(A, C), mean=(2.0, 2.0),
                  covariance=((0.5, 0.1), (0.1, 0.2)), distance_square=2.0),
        interval("i", C, low=2.0, parent="p"),
        Combination(id="not", name="rest", operation="not", operands=(Operand("p"),)),
    ]  # fmt: skip
    gate.apply(adata, GatingDocument(gates, transformations={"asinh": Asinh.of_cofactor(5.0)}))
    return adata


def lines(axes: object, name: str) -> list[np.ndarray]:
    return [line.get_xydata() for line in axes.lines if line.get_label() == f"gate {name}"]


def test_shapes_of_every_kind_stand_on_their_axes(
    gated: anndata.AnnData, complaints: Callable[..., list[str]]
) -> None:
    figure = pl.strategy(gated)
    panels = {axes.get_label(): axes for axes in figure.axes}
    assert list(panels) == ["1 cells", "2 box", "3 tri"]
    box, both, last = panels.values()
    assert (box.get_xlabel(), box.get_ylabel()) == ("CD3", "CD4")
    assert {1.0, 3.0} <= {round(float(x), 6) for line in lines(box, "box") for x in line[:, 0]}
    assert {round(float(y), 6) for line in lines(box, "box") for y in line[:, 1]} == {
        round(box.get_ylim()[0], 6),
        2.5,
    }
    # a polygon and an ellipsoid on the same two channels, named in another order, share a panel
    (triangle,) = lines(both, "tri")
    assert (both.get_xlabel(), both.get_ylabel()) == ("VHH", "CD3")
    assert triangle[:3].tolist() == [[1.0, 1.0], [3.0, 1.0], [2.0, 3.0]]
    (egg,) = lines(both, "egg")
    inverse = np.linalg.inv(np.array([[0.2, 0.1], [0.1, 0.5]]))
    away = egg - np.array([2.0, 2.0])
    assert np.einsum("ni,ij,nj->n", away, inverse, away) == pytest.approx(np.full(len(egg), 2.0))
    # a gate of one dimension stands over another channel of the gates
    assert (last.get_xlabel(), last.get_ylabel()) == ("VHH", "CD3")
    assert set(lines(last, "i")[0][:, 0]) == {2.0}
    assert complaints(figure) == []


def test_shares_are_those_of_the_table_and_what_has_no_shape_is_counted(gated: anndata.AnnData) -> None:
    figure = pl.strategy(gated)
    words = {t.get_text().split("\n")[0]: t.get_text().split("\n")[1] for t in figure.axes[1].texts}
    share = gate.membership(gated, "tri").sum() / gate.membership(gated, "box").sum()
    assert float(words["tri"].split()[0]) == pytest.approx(100 * share, abs=0.51)
    assert any(text.get_text().endswith("not drawn: 1") for text in figure.texts)


def test_axes_on_a_scale_are_marked_in_counts(gated: anndata.AnnData) -> None:
    axes = pl.strategy(gated).axes[0]
    ticks = dict(zip((t.get_text() for t in axes.get_xticklabels()), axes.get_xticks(), strict=True))
    assert ticks["100"] == pytest.approx(np.arcsinh(100 / 5))
    assert ticks["0"] == pytest.approx(0.0, abs=1e-9)


def test_backgating_over_shapes(gated: anndata.AnnData) -> None:
    axes = pl.backgating(gated, population="i").axes
    assert [panel.get_label() for panel in axes] == ["1 cells", "2 box", "3 tri"]
    points = next(np.asarray(c.get_offsets()) for c in axes[1].collections if c.get_label() == "cells")
    assert len(points) == gate.membership(gated, "i").sum()
    assert (points[:, 0] >= 2.0 - 1e-6).all()
