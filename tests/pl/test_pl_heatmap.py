"""The heat map: medians, scale, order, and the bars beside it."""

from __future__ import annotations

import anndata
import numpy as np
import pytest

from cytocar import pl
from cytocar._core.errors import ParameterError, StateError


@pytest.fixture(scope="module")
def cars(cells: anndata.AnnData) -> anndata.AnnData:
    return cells[(cells.obs["compartment"] == "car").to_numpy()].copy()


def parts(figure: object) -> dict[str, object]:
    return {axes.get_label(): axes for axes in figure.axes}


def test_shows_scaled_medians_of_labelled_cells(cells: anndata.AnnData, cars: anndata.AnnData) -> None:
    # host cells carry no label: they must change neither the medians nor the scale
    shown = parts(pl.heatmap(cells, groupby="phenograph"))["heatmap"]
    matrix = np.asarray(shown.images[0].get_array())
    clusters = [tick.get_text() for tick in shown.get_yticklabels()]
    markers = [tick.get_text() for tick in shown.get_xticklabels()]
    assert sorted(markers) == sorted(cars.var_names[cars.var["used_for_clustering"]])
    labels = cars.obs["phenograph"].astype(str).to_numpy()
    for cluster in ("1", "6", "9"):
        for marker in ("CD4", "CD8a", "GZMB"):
            values = np.asarray(cars[:, marker].X).ravel()
            low, high = np.percentile(values, [1, 99])
            expected = np.clip((np.median(values[labels == cluster]) - low) / (high - low), 0, 1)
            assert matrix[clusters.index(cluster), markers.index(marker)] == pytest.approx(expected, abs=1e-6)


def test_rows_go_by_subset_with_none_last(cars: anndata.AnnData) -> None:
    # a run rarely has cells that are in no cluster: here those of one cluster are
    some = cars.copy()
    some.obs["phenograph"] = some.obs["phenograph"].astype(str).replace({"5": "-1"})
    axes = parts(pl.heatmap(some))
    rows = [tick.get_text() for tick in axes["heatmap"].get_yticklabels()]
    usual = some.obs.groupby("phenograph")["subset"].agg(lambda s: s.astype(str).mode()[0])
    by_subset = sorted(set(rows) - {"-1"}, key=lambda name: (usual[name], int(name)))
    assert rows == [*by_subset, "-1"]
    assert usual[rows[0]] == "CD4"
    assert len(axes["subset"].patches) == len(rows)


def test_bars_are_shares_and_say_n(cars: anndata.AnnData) -> None:
    axes = parts(pl.heatmap(cars))
    rows = [tick.get_text() for tick in axes["heatmap"].get_yticklabels()]
    counts = cars.obs["phenograph"].astype(str).value_counts()
    widths = [bar.get_width() for bar in axes["frequency"].patches]
    assert widths == pytest.approx([100 * counts[row] / counts.sum() for row in rows])
    assert sum(widths) == pytest.approx(100)
    assert axes["frequency"].texts[0].get_text().endswith(f"n = {counts[rows[0]]}")


def test_markers_asked_for_keep_their_order_in_any_spelling(cars: anndata.AnnData) -> None:
    axes = parts(pl.heatmap(cars, markers=["pd1", "ki-67", "HLADR"]))["heatmap"]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["PD1", "Ki67", "HLADR"]


def test_works_by_any_column_and_without_subsets(cars: anndata.AnnData) -> None:
    bare = cars.copy()
    del bare.obs["subset"]
    axes = parts(pl.heatmap(bare, groupby="timepoint"))
    assert [tick.get_text() for tick in axes["heatmap"].get_yticklabels()] == ["2mo", "1yr", "3yr", "5yr"]
    assert "subset" not in axes


def test_errors_name_what_is_wrong(cars: anndata.AnnData) -> None:
    with pytest.raises(ParameterError, match="'phenograf' is not a column of obs; did you mean 'phenograph'"):
        pl.heatmap(cars, groupby="phenograf")
    with pytest.raises(ParameterError, match="'CD999' is not a marker"):
        pl.heatmap(cars, markers=["CD999"])
    empty = cars.copy()
    empty.obs["phenograph"] = ""
    with pytest.raises(ParameterError, match=r"no cell has a value in obs\['phenograph'\]"):
        pl.heatmap(empty)
    empty.uns["cytocar"] = {"state": "counts"}
    empty.obs["phenograph"] = "1"
    with pytest.raises(StateError, match=r"cytocar\.pp\.arcsinh"):
        pl.heatmap(empty)
