"""The bins and lines that gates of a document have on arcsinh axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import cytocar as cc
from cytocar.gate import Asinh, Dimension, Ellipsoid, GatingDocument, Logicle, Polygon, Rectangle, interval

if TYPE_CHECKING:
    from anndata import AnnData


@pytest.fixture(scope="module")
def cells() -> AnnData:
    adata = cc.datasets.legend2(cells=2000, timepoints=["2mo", "5yr"])
    cc.pp.clean(adata)
    cc.pp.arcsinh(adata)
    return adata


def _axis(adata: AnnData, marker: str, scale: str) -> Dimension:
    return Dimension(str(adata.var.loc[marker, "channel"]), transformation=scale)


def _gated(adata: AnnData, *gates: object, **scales: object) -> AnnData:
    out = adata.copy()
    cc.gate.apply(out, GatingDocument(list(gates), transformations=scales))  # type: ignore[arg-type]
    return out


def test_gates_as_applied_have_the_lines_of_the_thresholds(cells: AnnData, tmp_path) -> None:
    found = cells.copy()
    cc.gate.apply(found, "car_t")
    cc.gate.write_gatingml(found, tmp_path / "gates.xml")
    again = cells.copy()
    cc.gate.apply(again, cc.gate.read_gatingml(tmp_path / "gates.xml"))
    lines, plots = cc.gate.outlines(again), cc.gate.biaxials(again)
    numbers = cc.gate.thresholds(found).set_index(["sample_id", "marker"])["value"]
    for population, marker in (("CD7+", "CD7"), ("CD45+", "CD45"), ("CAR-T", "VHH")):
        own = lines[lines["population"] == population]
        for sample, line in own.groupby("sample_id"):
            drawn = plots[plots["plot"] == line["plot"].iloc[0]].iloc[0]
            side = "x" if drawn["x_marker"] == marker else "y"
            assert drawn[f"{side}_marker"] == marker
            assert line[side].to_numpy() == pytest.approx(numbers[(sample, marker)], abs=1e-3)
    tops = plots[plots["parent"] == "T cells"].groupby(["sample_id", "plot"])["n"].sum()
    inside = cc.gate.table(again).set_index(["sample_id", "population"])["events"]
    assert all(n == inside[(sample, "T cells")] for (sample, _), n in tops.items())


def test_a_polygon_of_another_scale_is_where_it_would_be_on_the_arcsinh_axis(cells: AnnData) -> None:
    scale = Logicle(t=10000, w=0.5, m=4.5, a=0)
    corners = [(0.3, 0.3), (0.8, 0.3), (0.8, 0.7)]
    gate = Polygon(
        id="P", dimensions=(_axis(cells, "CD3", "l"), _axis(cells, "CD7", "l")), vertices=tuple(corners)
    )
    line = cc.gate.outlines(_gated(cells, gate, l=scale))
    line = line[line["sample_id"] == line["sample_id"].iloc[0]]
    points = line[["x", "y"]].to_numpy()
    for x, y in corners:
        expected = np.arcsinh(scale.inverse([x, y]) / 5)
        assert np.abs(points - expected).max(axis=1).min() < 1e-9
    # Halfway along the first side on the logicle scale, which is not halfway on the arcsinh axis.
    middle = np.arcsinh(scale.inverse([0.55, 0.3]) / 5)
    assert np.abs(points - middle).max(axis=1).min() < 1e-9
    assert np.array_equal(points[0], points[-1])


def test_an_ellipse_encloses_the_cells_of_its_gate(cells: AnnData) -> None:
    axes = (_axis(cells, "CD3", "a"), _axis(cells, "CD7", "a"))
    gate = Ellipsoid(
        id="E", dimensions=axes, mean=(4.0, 3.5), covariance=((1.0, 0.3), (0.3, 0.6)), distance_square=2.0
    )
    gated = _gated(cells, gate, a=Asinh.of_cofactor(5))
    line = cc.gate.outlines(gated)[["x", "y"]].to_numpy()[:101] - np.array([4.0, 3.5])
    inverse = np.linalg.inv(np.array([[1.0, 0.3], [0.3, 0.6]]))
    assert np.einsum("pi,ij,pj->p", line, inverse, line) == pytest.approx(2.0)


def test_lines_of_an_open_rectangle_run_to_the_ends_of_the_picture(cells: AnnData) -> None:
    axes = (_axis(cells, "CD3", "a"), _axis(cells, "CD7", "a"))
    corner = Rectangle(id="R", dimensions=axes, low=(2.0, 3.0), high=(None, None))
    gated = _gated(cells, corner, a=Asinh.of_cofactor(5))
    lines = cc.gate.outlines(gated)
    lines = lines[lines["sample_id"] == lines["sample_id"].iloc[0]]
    ends = cc.gate.biaxials(gated)[["x", "y"]].to_numpy()
    upright, level = (line[["x", "y"]].to_numpy() for _, line in lines.groupby("line"))
    assert upright[:, 0].tolist() == pytest.approx([2.0, 2.0])
    assert level[:, 1].tolist() == pytest.approx([3.0, 3.0])
    assert upright[0, 1] == pytest.approx(3.0)
    assert level[0, 0] == pytest.approx(2.0)
    assert upright[1, 1] > ends[:, 1].max()
    assert level[1, 0] > ends[:, 0].max()


def test_a_gate_without_an_arcsinh_axis_has_no_picture(cells: AnnData) -> None:
    gates = [
        Rectangle(id="length", dimensions=(Dimension("Event_length"),), low=(5.0,), high=(60.0,)),
        interval("CD3+", _axis(cells, "CD3", "a"), low=2.0),
    ]
    plots = cc.gate.biaxials(_gated(cells, *gates, a=Asinh.of_cofactor(5)))
    assert plots["parent"].unique().tolist() == ["cells"]
    assert plots["x_marker"].unique().tolist() == ["CD3"]
    assert plots["y_marker"].iloc[0].startswith("DNA")


def test_the_figure_draws_the_lines_and_backgating_knows_the_cars(cells: AnnData) -> None:
    gates = [
        interval("T", _axis(cells, "CD3", "a"), low=2.0),
        interval("engineered", _axis(cells, "VHH", "a"), low=2.5),
        interval("rest", _axis(cells, "CD4", "a"), low=2.5),
    ]
    tree = cc.gate.ShapeStrategy(
        GatingDocument(gates, transformations={"a": Asinh.of_cofactor(5)}), car="engineered"
    )
    gated = cells.copy()
    cc.gate.apply(gated, tree)
    from cytocar.gate._results.ledger import gating

    tables = cc.gate.biaxials(gated), cc.gate.thresholds(gated), cc.gate.table(gated)
    kept = {"strategy": gating(gated)["strategy"], "outlines": cc.gate.outlines(gated)}
    axes = cc.pl.gating(*tables, **kept).axes[0]
    lines = [line.get_xydata() for line in axes.get_lines() if line.get_label() == "gate"]
    assert any(np.allclose(line[:, 0], 2.0) for line in lines)
    figure = cc.pl.backgating(gated, plots=tables[0], thresholds=tables[1], ledger=tables[2], **kept)
    assert any("engineered" in text.get_text() for text in figure.texts)


def test_thresholds_have_no_outlines(cells: AnnData) -> None:
    found = cells.copy()
    cc.gate.apply(found, "car_t")
    assert cc.gate.outlines(found).empty
    assert list(cc.gate.outlines(found)) == ["sample_id", "plot", "population", "line", "x", "y"]
