"""Maps: which points are drawn, in which colour, in which panel."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from cytocar import pl
from cytocar._core import palette
from cytocar._core.errors import ParameterError
from cytocar.pl._maps.points import moved_apart, point_size


@pytest.fixture
def cars(cells: anndata.AnnData) -> anndata.AnnData:
    return cells[(cells.obs["compartment"] == "car").to_numpy()].copy()


def layer(axes: object, name: str) -> object:
    return next(c for c in axes.collections if c.get_label() == name)


def test_every_cell_with_a_place_is_drawn_once_in_the_colour_of_its_cluster(cells: anndata.AnnData) -> None:
    axes = pl.map_clusters(cells).axes[0]
    points = layer(axes, "cells")
    drawn = pd.DataFrame(np.asarray(points.get_offsets()), columns=["x", "y"])
    drawn["colour"] = [tuple(np.round(c, 6)) for c in points.get_facecolors()]
    placed = np.isfinite(cells.obsm["X_tsne"]).all(axis=1)
    assert len(drawn) == placed.sum() < cells.n_obs
    colours = palette.cluster_colours(str(i) for i in range(-1, 10) if i)
    expected = pd.DataFrame(cells.obsm["X_tsne"][placed].astype(float), columns=["x", "y"])
    expected["colour"] = [
        tuple(np.round(to_rgba(colours[label]), 6)) for label in cells.obs["phenograph"].astype(str)[placed]
    ]
    merged = drawn.merge(expected, on=["x", "y"], suffixes=("", "_expected"))
    assert len(merged) == len(drawn)
    assert (merged["colour"] == merged["colour_expected"]).all()


def test_no_cluster_lies_on_top_of_all_others(cars: anndata.AnnData) -> None:
    points = np.asarray(layer(pl.map_clusters(cars).axes[0], "cells").get_offsets())
    where = {tuple(p): i for i, p in enumerate(cars.obsm["X_tsne"].astype(float).tolist())}
    order = [where[tuple(p)] for p in points.tolist()]
    assert abs(np.corrcoef(order, np.arange(len(order)))[0, 1]) < 0.2


def test_points_are_rasterised(cars: anndata.AnnData) -> None:
    assert all(c.get_rasterized() for axes in pl.map_timepoints(cars).axes for c in axes.collections)


def test_timepoints_in_order_of_months_with_their_cells(cars: anndata.AnnData) -> None:
    figure = pl.map_timepoints(cars)
    names = [axes.get_label() for axes in figure.axes]
    times = ["2mo", "1yr", "3yr", "5yr"]
    assert names == [f"{column} {time}" for column in ("phenograph", "subset") for time in times]
    for axes, time in zip(figure.axes, times, strict=False):
        n = int((cars.obs["timepoint"] == time).sum())
        assert len(layer(axes, "cells").get_offsets()) == n
        assert len(layer(axes, "others").get_offsets()) == cars.n_obs - n
        assert axes.get_title("left") == f"{time}  n = {n:,}"
    assert len({(axes.get_xlim(), axes.get_ylim()) for axes in figure.axes}) == 1


def test_timepoints_without_order_go_by_months_or_by_their_names(cars: anndata.AnnData) -> None:
    cars.obs["timepoint"] = cars.obs["timepoint"].astype(str)
    by_months = [axes.get_label() for axes in pl.tsne(cars, color="subset", split_by="timepoint").axes]
    del cars.obs["months"]
    by_name = [axes.get_label() for axes in pl.tsne(cars, color="subset", split_by="timepoint").axes]
    assert by_months == by_name == ["2mo", "1yr", "3yr", "5yr"]


def test_months_decide_where_labels_name_no_time(cars: anndata.AnnData) -> None:
    visits = {"2mo": "visit d", "1yr": "visit b", "3yr": "visit c", "5yr": "visit a"}
    cars.obs["timepoint"] = cars.obs["timepoint"].astype(str).map(visits)
    names = [axes.get_label() for axes in pl.tsne(cars, color="subset", split_by="timepoint").axes]
    assert names == ["visit d", "visit b", "visit c", "visit a"]


def test_markers_show_values_with_high_ones_on_top(cars: anndata.AnnData) -> None:
    low, high = np.quantile(np.asarray(cars.X), [0.01, 0.99], axis=0)
    flat = str(cars.var_names[(high - low).argmin()])
    figure = pl.map_markers(cars, markers=["gzmb", flat])
    gzmb, narrow, _ = figure.axes
    shown = np.asarray(gzmb.collections[0].get_array())
    values = np.sort(np.asarray(cars[:, "GZMB"].X).ravel())
    assert shown.tolist() == values.tolist()
    assert gzmb.collections[0].get_clim() == pytest.approx(tuple(np.quantile(values, [0.01, 0.99])))
    low, high = narrow.collections[0].get_clim()
    assert high - low == pytest.approx(2.0)
    assert narrow.get_title("right") == f"{low:.1f}–{high:.1f}"


def test_one_panel_coloured_by_a_marker_names_its_unit(cars: anndata.AnnData) -> None:
    figure = pl.tsne(cars, color="ki 67")
    assert figure.axes[-1].get_ylabel() == "arcsinh(counts / 5)"
    assert figure.axes[-1].get_title("left") == "Ki67"
    cars.var["cofactor"] = 3.0
    assert pl.tsne(cars, color="Ki67").axes[-1].get_ylabel() == "arcsinh(counts / 3)"


def test_umap_is_drawn_from_its_own_coordinates(cars: anndata.AnnData) -> None:
    points = np.asarray(layer(pl.map_clusters(cars, basis="umap").axes[0], "cells").get_offsets())
    assert points[:, 0].max() == pytest.approx(cars.obsm["X_umap"][:, 0].max())
    assert pl.umap(cars).axes[0].get_xlabel() == "UMAP 1"


def same_panels(figure: Figure, other: Figure) -> bool:
    return [(a.get_label(), a.get_xlim()) for a in figure.axes] == [
        (a.get_label(), a.get_xlim()) for a in other.axes
    ]


@pytest.mark.parametrize("what", ["clusters", "timepoints", "markers"])
def test_figures_of_a_run_are_drawn_by_their_names(cars: anndata.AnnData, what: str) -> None:
    named, draw = getattr(pl, f"tsne_{what}"), getattr(pl, f"map_{what}")
    assert same_panels(named(cars), draw(cars, basis="tsne"))
    with pytest.warns(DeprecationWarning, match=rf"tsne_{what} draws the t-SNE map; write map_{what}\(basis"):
        assert same_panels(named(cars, basis="umap"), draw(cars, basis="umap"))


@pytest.mark.parametrize("what", ["clusters", "timepoints", "markers"])
def test_former_names_warn_and_draw_the_map_they_name(cars: anndata.AnnData, what: str) -> None:
    with pytest.warns(DeprecationWarning, match=f"umap_{what} is now called map_{what}"):
        figure = getattr(pl, f"umap_{what}")(cars)
    assert same_panels(figure, getattr(pl, f"map_{what}")(cars, basis="umap"))
    assert f"umap_{what}" not in pl.__all__


def test_errors_name_what_is_missing(cars: anndata.AnnData) -> None:
    with pytest.raises(ParameterError, match="'timepiont' is not a column of obs; did you mean 'timepoint'"):
        pl.tsne(cars, split_by="timepiont")
    with pytest.raises(ParameterError, match="basis is 'pca'"):
        pl.map_clusters(cars, basis="pca")
    del cars.obsm["X_umap"]
    with pytest.raises(
        ParameterError, match=r"obsm has no 'X_umap': run cytocar\.tl\.umap first; it has X_tsne"
    ):
        pl.umap(cars)
    del cars.obs["phenograph"], cars.obs["flowsom"]
    with pytest.raises(ParameterError, match=r"run cytocar\.tl\.phenograph"):
        pl.map_timepoints(cars)
    cars.obsm["X_tsne"][:] = np.nan
    with pytest.raises(ParameterError, match="no cell has coordinates"):
        pl.tsne(cars, color="subset")


def test_points_shrink_with_their_number_within_limits() -> None:
    sizes = [point_size(n, 40) for n in (1, 100, 10_000, 10**7)]
    assert sizes == sorted(sizes, reverse=True)
    assert 0.3 < sizes[-1] < sizes[0] < 10


def test_labels_moved_apart_do_not_overlap_and_others_stay() -> None:
    places = np.array([[0.0, 0.0], [0.1, 0.0], [0.0, 0.05], [9.0, 9.0]])
    sizes = np.full((4, 2), 1.0)
    moved = moved_apart(places, sizes)
    for i in range(4):
        for j in range(i):
            assert (np.abs(moved[i] - moved[j]) >= 1.0 - 1e-6).any()
    assert moved[3].tolist() == [9.0, 9.0]
    assert places[1].tolist() == [0.1, 0.0]
