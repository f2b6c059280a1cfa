"""Stars of a FlowSOM map, numbers of metaclusters, and what stays of clusters: read off the pictures."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import anndata
import numpy as np
import pandas as pd
import pytest

from cytocar import pl, tl
from cytocar._core.errors import ParameterError

MARKERS = ["CD4", "CD8a", "Ki67", "PD-1"]


@cache
def mapped() -> anndata.AnnData:
    rng = np.random.default_rng(0)
    x = np.abs(rng.normal(0, 0.3, (600, 4))) + 4 * np.repeat(np.eye(4)[:3], 200, axis=0)
    cells = anndata.AnnData(x.astype(np.float32), var=pd.DataFrame(index=MARKERS))
    cells.uns["cytocar"] = {"state": "arcsinh"}
    tl.flowsom(cells, markers=MARKERS, grid=(4, 6))
    return cells


def artists(axes: object, label: str) -> object:
    return next(c for c in axes.collections if c.get_label() == label)


def test_nodes_stand_where_the_tree_and_the_grid_have_them() -> None:
    tree, grid = pl.flowsom_stars(mapped()).axes
    nodes, edges = tl.flowsom_tree(mapped())
    lines = artists(tree, "edges").get_segments()
    assert len(lines) == len(edges) == len(nodes) - 1
    lengths = [float(np.linalg.norm(line[1] - line[0])) for line in lines]
    at = nodes[["x", "y"]].to_numpy()
    wanted = np.linalg.norm(at[edges["a"]] - at[edges["b"]], axis=1)
    # the picture may be turned, not stretched
    assert lengths == pytest.approx(wanted)
    middles = np.array(
        [path.get_extents().get_points().mean(axis=0) for path in artists(grid, "nodes").get_paths()]
    )
    # nodes are counted row by row: 4 rows of 6
    assert middles[:6, 0] == pytest.approx(range(6))
    assert middles[6:12, 1] == pytest.approx([-1.0] * 6)
    assert tree.get_xlim()[1] - tree.get_xlim()[0] == pytest.approx(
        (tree.get_ylim()[1] - tree.get_ylim()[0]) * tree.bbox.width / tree.bbox.height
    )


def test_the_area_of_a_node_tells_its_cells_and_a_ray_its_median() -> None:
    grid = pl.flowsom_stars(mapped(), layout="grid").axes[0]
    nodes, _ = tl.flowsom_tree(mapped())
    cells = nodes["cells"].to_numpy(dtype=float)
    radii = np.array([path.get_extents().width / 2 for path in artists(grid, "nodes").get_paths()])
    many = cells >= 0.1 * cells.max()
    assert radii[many] ** 2 / cells[many] == pytest.approx(radii.max() ** 2 / cells.max())
    # the node with the highest CD4 has a ray to its rim
    best = int(np.nanargmax(nodes["CD4"].to_numpy()))
    centre = np.array([best % 6, -(best // 6)])
    rays = [path for path in artists(grid, "ray 0").get_paths() if np.abs(path.vertices - centre).max() < 0.5]
    reach = np.linalg.norm(rays[0].vertices - centre, axis=1).max()
    assert reach == pytest.approx(radii[best], rel=0.05)  # arcs are drawn by points just outside


def test_the_markers_that_differ_most_are_the_rays() -> None:
    rng = np.random.default_rng(1)
    flat = [f"flat{i}" for i in range(8)]
    x = np.hstack([np.asarray(mapped().X), rng.normal(2, 0.01, (600, 8))]).astype(np.float32)
    x[0, 4:] = 4.0  # one cell far out does not make a marker a good one
    cells = anndata.AnnData(x, var=pd.DataFrame(index=[*MARKERS, *flat]))
    cells.uns["cytocar"] = {"state": "arcsinh"}
    tl.flowsom(cells, markers=[*MARKERS, *flat], grid=(4, 4))
    figure = pl.flowsom_stars(cells)
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(named) == 8
    assert set(MARKERS[:3]) <= set(named)
    with pytest.raises(ParameterError, match="9 markers are asked for; a star shows 1 to 8"):
        pl.flowsom_stars(cells, markers=[*MARKERS, *flat[:5]])


def test_stars_say_what_is_wrong_and_only_read(complaints: Callable[[object], list[str]]) -> None:
    cells = mapped()
    before = np.asarray(cells.X).tobytes(), cells.obs.copy()
    figure = pl.flowsom_stars(cells, markers=["pd1", "ki67"], layout="tree")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["PD-1", "Ki67"]
    assert complaints(figure) == []
    assert complaints(pl.flowsom_stars(cells)) == []
    assert np.asarray(cells.X).tobytes() == before[0]
    pd.testing.assert_frame_equal(cells.obs, before[1])
    with pytest.raises(ParameterError, match="layout is 'mst'; "):
        pl.flowsom_stars(cells, layout="mst")
    with pytest.raises(ParameterError, match="layout is empty"):
        pl.flowsom_stars(cells, layout=[])


def test_numbers_of_metaclusters_with_the_chosen_one(complaints: Callable[[object], list[str]]) -> None:
    table = tl.metacluster_table(mapped())
    figure = pl.delta_area(table)
    assert [axes.get_label() for axes in figure.axes] == ["delta_area", "ambiguous", "modularity"]
    for axes in figure.axes:
        whole, chosen = axes.lines
        assert whole.get_ydata() == pytest.approx(table[axes.get_label()].to_numpy())
        assert list(chosen.get_xdata()) == table.loc[table["chosen"], "k"].tolist()
    assert complaints(figure) == []
    # a table without modularity, and truth values as a CSV file has them
    other = pl.delta_area(table.assign(modularity=np.nan, chosen=table["chosen"].astype(str)))
    assert [axes.get_label() for axes in other.axes] == ["delta_area", "ambiguous"]
    assert len(other.axes[0].lines[1].get_xdata()) == 1
    with pytest.raises(ParameterError, match="is missing columns: chosen"):
        pl.delta_area(table.drop(columns="chosen"))


def repeats(methods: tuple[str, ...] = ("phenograph", "flowsom")) -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(2)
    rows = [
        (m, w, i + 1, 0.8 + 0.15 * rng.random())
        for m in methods
        for w in ("seed", "resample")
        for i in range(9)
    ]
    found = [
        (m, str(c), 90 - c, 1 - c / 30, 0.9 - c / 28, "stable")
        for m in methods
        for c in (*range(1, 26), -1)
        if c > 0
    ]
    return (
        pd.DataFrame(rows, columns=["method", "what", "repeat", "ari"]),
        pd.DataFrame(found, columns=["method", "cluster", "n", "jaccard", "jaccard_low", "verdict"]),
    )


def test_stability_shows_every_repeat_and_every_cluster(complaints: Callable[[object], list[str]]) -> None:
    methods, clusters = repeats()
    figure = pl.stability(methods, clusters)
    panels = {axes.get_label(): axes for axes in figure.axes}
    assert list(panels) == ["phenograph", "phenograph clusters", "flowsom", "flowsom clusters"]
    axes = panels["flowsom"]
    part = methods.query("method == 'flowsom' and what == 'resample'")["ari"]
    spots = next(line for line in axes.lines if line.get_label() == "resample")
    assert list(spots.get_ydata()) == pytest.approx(sorted(part))
    mean = next(line for line in axes.lines if line.get_label() == "mean resample")
    assert mean.get_ydata()[0] == pytest.approx(part.mean())
    below = panels["phenograph clusters"]
    own = clusters.query("method == 'phenograph'").set_index("cluster")
    for cluster in ("1", "12"):
        dot = next(line for line in below.lines if line.get_label() == cluster)
        assert list(dot.get_ydata()) == [own.loc[cluster, "jaccard"]]
        bar = next(line for line in below.lines if line.get_label() == f"low {cluster}")
        assert list(bar.get_ydata()) == own.loc[cluster, ["jaccard_low", "jaccard"]].tolist()
    assert complaints(figure) == []
    with pytest.raises(ParameterError, match="the table of cluster stability is missing columns: verdict"):
        pl.stability(methods, clusters.drop(columns="verdict"))
