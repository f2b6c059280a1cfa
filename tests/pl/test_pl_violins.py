"""Violins: which cells go where, and what is drawn when there are few."""

from __future__ import annotations

import anndata
import numpy as np
import pytest

from cytocar import pl
from cytocar._core import palette
from cytocar._core.errors import ParameterError, StateError


def by_label(figure: object) -> dict[str, object]:
    return {axes.get_label(): axes for axes in figure.axes}


def layers(axes: object, name: str) -> list[object]:
    return [c for c in axes.collections if c.get_label() == name]


def small(values: list[float], subset: str = "CD8", time: str = "2mo") -> anndata.AnnData:
    import pandas as pd

    cells = anndata.AnnData(
        np.array(values, dtype="float32")[:, None],
        obs=pd.DataFrame({"timepoint": time, "subset": subset}, index=[str(i) for i in range(len(values))]),
        var=pd.DataFrame(index=["Ki67"]),
    )
    cells.uns["cytocar"] = {"state": "arcsinh"}
    return cells


def test_medians_and_quartiles_are_those_of_the_cells(cells: anndata.AnnData) -> None:
    axes = by_label(pl.violins_subsets(cells))["GZMB CD8"]
    drawn = (
        cells.obs["compartment"].eq("car") & cells.obs["subset"].eq("CD8") & cells.obs["timepoint"].eq("2mo")
    )
    values = np.asarray(cells[drawn.to_numpy(), "GZMB"].X).ravel()
    assert axes.collections
    x, median = layers(axes, "medians")[0].get_offsets()[0]
    assert (x, median) == (0, pytest.approx(np.median(values)))
    (_, low), (_, high) = layers(axes, "quartiles")[0].get_segments()[0]
    assert (low, high) == (pytest.approx(np.quantile(values, 0.25)), pytest.approx(np.quantile(values, 0.75)))
    assert axes.texts[0].get_text() == f"n = {len(values)}"


def test_panels_are_markers_by_subsets_and_ticks_are_timepoints(cells: anndata.AnnData) -> None:
    figure = pl.violins_subsets(cells)
    markers, subsets = ("Ki67", "HLADR", "CCR7", "GZMB", "PD1"), ("CD4", "CD8", "DN")
    assert [axes.get_label() for axes in figure.axes] == [f"{m} {s}" for m in markers for s in subsets]
    assert [tick.get_text() for tick in figure.axes[-1].get_xticklabels()] == ["2mo", "1yr", "3yr", "5yr"]
    assert figure.axes[0].get_ylabel() == "Ki67"
    assert "arcsinh(counts / 5)" in {text.get_text() for text in figure.texts}
    for row in range(0, len(figure.axes), 3):
        assert len({axes.get_ylim() for axes in figure.axes[row : row + 3]}) == 1


def test_supplement_has_its_own_markers(cells: anndata.AnnData) -> None:
    rows = [axes.get_ylabel() for axes in pl.violins_supplement(cells).axes[::3]]
    assert rows == ["CD27", "CD28", "CD107a", "CD38", "TIM3"]


@pytest.mark.parametrize(("n", "violins", "points"), [(20, 1, 0), (19, 0, 19), (3, 0, 3), (2, 0, 0)])
def test_few_cells_are_points_and_fewer_are_only_counted(n: int, violins: int, points: int) -> None:
    values = np.linspace(0.5, 3, n).tolist()
    axes = pl.violin(small(values), "Ki67").axes[0]
    assert len(layers(axes, "violins")) == violins
    drawn = [y for c in layers(axes, "few cells") for y in c.get_offsets()[:, 1]]
    assert sorted(drawn) == (pytest.approx(values) if points else [])
    assert axes.texts[0].get_text() == f"n = {n}"


def test_car_is_left_of_host_in_the_same_tube(cells: anndata.AnnData) -> None:
    figure = pl.violins_car_vs_host(cells)
    axes = by_label(figure)["CD107a CD8"]
    left, right = layers(axes, "violins")[0].get_paths()[:2]
    assert left.vertices[:, 0].max() == 0 == right.vertices[:, 0].min()
    n = {
        name: int(
            (
                cells.obs["compartment"].eq(name)
                & cells.obs["subset"].eq("CD8")
                & cells.obs["timepoint"].eq("2mo")
            ).sum()
        )
        for name in ("car", "host")
    }
    assert axes.texts[0].get_text().replace("n = ", "") == f"{n['car']:,}\n{n['host']:,}"
    assert [axes.get_label() for axes in figure.axes[:4]] == ["Ki67 CD4", "Ki67 CD8", "Ki67 DN", "Ki67 all"]


def test_stray_double_positive_cells_get_no_panels(cells: anndata.AnnData) -> None:
    some = cells.copy()
    subset = some.obs["subset"].astype(str)
    cars = np.flatnonzero(some.obs["compartment"] == "car")
    few, many = subset.copy(), subset.copy()
    few.iloc[cars[:3]] = "DP"
    many.iloc[cars[: len(cars) // 5]] = "DP"
    some.obs["subset"] = few
    assert not any("DP" in axes.get_label() for axes in pl.violins_subsets(some, markers=["Ki67"]).axes)
    some.obs["subset"] = many
    assert any("DP" in axes.get_label() for axes in pl.violins_subsets(some, markers=["Ki67"]).axes)
    assert any("DP" in axes.get_label() for axes in pl.violins_car_vs_host(some, markers=["Ki67"]).axes)


def test_groups_by_clusters_in_their_colours(cells: anndata.AnnData) -> None:

    cars = cells[(cells.obs["compartment"] == "car").to_numpy()]
    axes = pl.violin(cars, "cd27", groupby="phenograph", split=None).axes[0]
    assert [t.get_text() for t in axes.get_xticklabels()] == [*map(str, range(1, 10))]
    first = layers(axes, "violins")[0].get_facecolors()[0]
    assert first == pytest.approx(__import__("matplotlib").colors.to_rgba(palette.CLUSTER_COLOURS[0]))
    assert axes.get_title("left") == "CD27"


def test_a_panel_without_the_published_markers_shows_its_first() -> None:
    cells = small(np.linspace(0, 3, 40).tolist())
    cells.var_names = ["CD999"]
    assert [axes.get_label() for axes in pl.violins_subsets(cells).axes] == ["CD999"]


def test_errors_name_what_is_wrong(cells: anndata.AnnData) -> None:
    with pytest.raises(ParameterError, match="'Kii67' is not a marker of these data; did you mean 'Ki67'"):
        pl.violin(cells, ["Kii67"])
    with pytest.raises(ParameterError, match="list of markers is empty"):
        pl.violin(cells, [])
    with pytest.raises(ParameterError, match="list of markers is empty"):
        pl.violins_subsets(cells, markers=[])
    with pytest.raises(ParameterError, match="'month' is not a column of obs; did you mean 'months'"):
        pl.violin(cells, "Ki67", groupby="month")
    hosts = cells[(cells.obs["compartment"] == "host").to_numpy()]
    with pytest.raises(ParameterError, match="no cell has compartment 'car'"):
        pl.violins_car_vs_host(hosts)
    raw = small([1.0, 2.0])
    raw.uns["cytocar"] = {"state": "counts"}
    with pytest.raises(StateError, match="X holds counts"):
        pl.violin(raw, "Ki67")
    raw.obs["timepoint"] = ""
    raw.uns["cytocar"] = {"state": "arcsinh"}
    with pytest.raises(ParameterError, match=r"no cell drawn has a value in obs\['timepoint'\]"):
        pl.violin(raw, "Ki67")
