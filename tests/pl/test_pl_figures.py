"""What holds for every figure: inputs unchanged, no trace left behind, readable, the same bytes twice."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import anndata
import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from cytocar import pl
from cytocar._core import palette
from cytocar.pl._page import style

Draw = Callable[[anndata.AnnData, SimpleNamespace], Figure]

FIGURES: dict[str, Draw] = {
    "cluster_frequencies": lambda c, t: pl.cluster_frequencies(t.clusters, t.profiles, samples=t.frequency),
    "compare": lambda c, t: pl.compare(t.comparisons),
    "detection": lambda c, t: pl.detection(t.frequency),
    "flowsom": lambda c, t: pl.flowsom(cars(c)),
    "gating": lambda c, t: pl.gating(t.plots, t.thresholds, t.ledger),
    "heatmap": lambda c, t: pl.heatmap(cars(c), groupby="phenograph"),
    "kinetics": lambda c, t: pl.kinetics(t.frequency, t.kinetics),
    "phenograph": lambda c, t: pl.phenograph(cars(c)),
    "quality": lambda c, t: pl.quality(t.quality),
    "ridges": lambda c, t: pl.ridges(t.densities, t.thresholds, name="CD3"),
    "subsets": lambda c, t: pl.subsets(t.subsets, t.frequency),
    "thresholds": lambda c, t: pl.thresholds(t.densities, t.thresholds),
    "tsne": lambda c, t: pl.tsne(cars(c), color="CD4", split_by="timepoint"),
    "map_clusters": lambda c, t: pl.map_clusters(cars(c)),
    "map_markers": lambda c, t: pl.map_markers(cars(c), markers=["cd4", "CD8a", "gzmb"]),
    "map_timepoints": lambda c, t: pl.map_timepoints(cars(c)),
    "umap": lambda c, t: pl.umap(cars(c)),
    "tsne_clusters": lambda c, t: pl.tsne_clusters(cars(c)),
    "tsne_markers": lambda c, t: pl.tsne_markers(cars(c), markers=["cd4"]),
    "tsne_timepoints": lambda c, t: pl.tsne_timepoints(cars(c)),
    "map_clusters on UMAP": lambda c, t: pl.map_clusters(cars(c), basis="umap"),
    "map_markers on UMAP": lambda c, t: pl.map_markers(cars(c), markers=["cd4"], basis="umap"),
    "map_timepoints on UMAP": lambda c, t: pl.map_timepoints(cars(c), basis="umap"),
    "violin": lambda c, t: pl.violin(cars(c), ["cd27", "CD28"], groupby="timepoint"),
    "violins_car_vs_host": lambda c, t: pl.violins_car_vs_host(c),
    "violins_subsets": lambda c, t: pl.violins_subsets(c),
    "violins_supplement": lambda c, t: pl.violins_supplement(c),
}


def cars(cells: anndata.AnnData) -> anndata.AnnData:
    return cells[(cells.obs["compartment"] == "car").to_numpy()]


def flat(value: Any) -> Any:
    """Return a nested value as one that compares with ``==``."""
    if isinstance(value, Mapping):
        return {key: flat(each) for key, each in value.items()}
    if isinstance(value, pd.DataFrame):
        return value.to_csv()
    return value.tobytes() if isinstance(value, np.ndarray) and value.dtype != object else str(value)


def as_bytes(cells: anndata.AnnData) -> dict[str, Any]:
    return {
        "X": np.asarray(cells.X).tobytes(),
        "obs": cells.obs.copy(),
        "var": cells.var.copy(),
        "maps": {key: np.asarray(cells.obsm[key]).tobytes() for key in cells.obsm},
        "uns": flat(cells.uns),
    }


# Figures of single steps are tested beside their step.
ELSEWHERE = {
    "abundance": "pl/test_pl_cohort.py",
    "cluster_groups": "pl/test_pl_cohort.py",
    "state": "pl/test_pl_cohort.py",
    "barcode_events": "pp/test_debarcode.py",
    "barcode_separation": "pp/test_debarcode.py",
    "barcode_yields": "pp/test_debarcode.py",
    "backgating": "pl/test_pl_backgating.py",
    "beads": "pp/test_beads.py",
    "cleaning": "pp/test_clean.py",
    "delta_area": "pl/test_pl_stability.py",
    "flowsom_stars": "pl/test_pl_stability.py",
    "multiverse": "pl/test_pl_robustness.py",
    "robustness": "pl/test_pl_robustness.py",
    "spillover": "pl/test_pl_spillover.py",
    "stability": "pl/test_pl_stability.py",
    "strategy": "pl/test_pl_strategy.py",
    "time_quality": "pp/test_time_quality.py",
}


def test_every_public_function_that_draws_is_tested_here_or_beside_its_step() -> None:
    clinical = {name for name in pl.__all__ if f"pl.{name}(" in _text("pl/test_pl_clinical.py")}
    no_figures = {"BESIDE_HOST", "save", "gating_pages"}
    assert {name.removesuffix(" on UMAP") for name in FIGURES} == set(pl.__all__) - no_figures - set(
        ELSEWHERE
    ) - clinical
    for name, file in ELSEWHERE.items():
        assert f"pl.{name}(" in _text(file), name


def _text(file: str) -> str:
    path = Path(__file__).parents[1] / file
    return path.read_text(encoding="utf-8") if path.exists() else ""


@pytest.mark.parametrize("name", FIGURES)
def test_draws_readably_and_only_reads(
    name: str, cells: anndata.AnnData, tables: SimpleNamespace, complaints: Callable[[Figure], list[str]]
) -> None:
    before, frames = as_bytes(cells), {key: frame.copy() for key, frame in vars(tables).items()}
    settings = dict(matplotlib.rcParams)
    figure = FIGURES[name](cells, tables)
    assert isinstance(figure, Figure)
    assert figure.axes
    assert figure.get_figwidth() * 25.4 <= 180.01
    assert complaints(figure) == []
    assert dict(matplotlib.rcParams) == settings
    after = as_bytes(cells)
    for key in ("X", "maps", "uns"):
        assert after[key] == before[key], key
    pd.testing.assert_frame_equal(after["obs"], before["obs"])
    pd.testing.assert_frame_equal(after["var"], before["var"])
    for key, frame in frames.items():
        pd.testing.assert_frame_equal(getattr(tables, key), frame)


HARD = [
    name
    for name in FIGURES
    if name not in ("compare", "comparisons", "flowsom", "phenograph") and "umap" not in name
]
DRAWN = {
    "thirty timepoints": [
        "cluster_frequencies", "detection", "kinetics", "quality", "subsets", "map_timepoints", "violin",
    ],
    "27 clusters": ["cluster_frequencies", "heatmap", "map_clusters", "map_timepoints"],
    "a dozen cells": ["cluster_frequencies", "heatmap", "subsets", "map_clusters", "violin", "violins_car_vs_host"],
    "long names": [
        "cluster_frequencies", "detection", "gating", "quality", "subsets", "thresholds", "map_timepoints", "violin",
    ],
}  # fmt: skip


PASSING_THE_EDGE = {
    "one timepoint": {"thresholds": ["'below positives 0.99' leaves the page"]},
    "a dozen cells": {"cluster_frequencies": ["'% of clustered cells, 95 % interval' leaves the page"]},
}
"""Texts that do not fit where there is a single sample or a single row of clusters."""


@pytest.mark.parametrize("scene", ["one timepoint", *DRAWN])
def test_stays_readable(
    scene: str,
    cells: anndata.AnnData,
    tables: SimpleNamespace,
    scenes: dict[str, Callable[..., tuple[anndata.AnnData, SimpleNamespace]]],
    complaints: Callable[[Figure], list[str]],
) -> None:
    changed, of_changed = scenes[scene](cells, tables)
    drawn = HARD if scene == "one timepoint" else DRAWN[scene]
    read = {name: complaints(FIGURES[name](changed, of_changed)) for name in drawn}
    passing = PASSING_THE_EDGE.get(scene, {})
    assert {name: texts for name, texts in read.items() if texts} == passing


def test_pyplot_is_not_needed() -> None:
    import subprocess

    code = (
        "import sys, pandas; from cytocar import pl\n"
        "assert 'matplotlib' not in sys.modules, 'importing cytocar.pl alone imports matplotlib'\n"
        "pl.subsets(pandas.DataFrame({'sample_id': ['a'], 'compartment': ['car'], 'subset': ['DN'], 'n': [9],"
        " 'fraction': [0.9], 'low': [0.55], 'high': [0.997]}))\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["heatmap", "kinetics", "map_clusters", "violins_car_vs_host", "gating"])
def test_the_same_figure_is_the_same_bytes(
    name: str, cells: anndata.AnnData, tables: SimpleNamespace, tmp_path: Path
) -> None:
    if name == "gating":
        # one of its four rows, and steps of one kind
        sample = tables.ledger["sample_id"].iloc[0]
        tables = SimpleNamespace(
            **{
                key: part[part["sample_id"] == sample]
                for key, part in vars(tables).items()
                if "sample_id" in part
            }
        )
    first = pl.save(FIGURES[name](cells, tables), tmp_path / "first")
    with matplotlib.rc_context({"font.size": 20, "svg.hashsalt": "other", "axes.grid": True}):
        second = pl.save(FIGURES[name](cells, tables), tmp_path / "second")
    for a, b in zip(first, second, strict=True):
        assert a.read_bytes() == b.read_bytes(), a.suffix


def test_points_are_an_image_within_the_svg(
    cells: anndata.AnnData, tables: SimpleNamespace, tmp_path: Path
) -> None:
    figure = pl.map_clusters(cars(cells))
    text = pl.save(figure, tmp_path / "map")[1].read_text(encoding="utf-8")
    assert "<image" in text
    n_shapes = text.count("<use") + text.count("<path")
    assert n_shapes < 150 < len(cars(cells))


def test_save_writes_both_kinds_at_their_size(
    cells: anndata.AnnData, tables: SimpleNamespace, tmp_path: Path
) -> None:
    figure = pl.subsets(tables.subsets)
    png, svg = pl.save(figure, tmp_path / "by.name.png")
    assert (png.name, svg.name) == ("by.name.png", "by.name.svg")
    with Image.open(png) as image:
        width = image.size[0]
    assert width / style.DPI * 25.4 == pytest.approx(180, abs=0.2)
    root = ElementTree.parse(svg).getroot()
    assert root.tag.endswith("svg")
    texts = {element.text for element in root.iter() if element.tag.endswith("text")}
    assert {"CAR-T", "Host T", "DN"} <= texts
    assert b"dc:date" not in svg.read_bytes()


def test_save_takes_axes_and_letters_without_a_font(tables: SimpleNamespace, tmp_path: Path) -> None:
    figure = pl.subsets(tables.subsets.assign(sample_id="随访\U00010900"))
    svg = pl.save(figure.axes[0], tmp_path / "unicode")[1]
    assert "随访" in svg.read_text(encoding="utf-8")


def test_save_leaves_nothing_when_it_fails(tables: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        pl.save(pl.subsets(tables.subsets), tmp_path / "no folder" / "a")
    assert list(tmp_path.iterdir()) == []


def test_a_figure_shows_itself_in_a_notebook(tables: SimpleNamespace) -> None:
    assert pl.subsets(tables.subsets)._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]  # our Figure has it


def test_the_same_cluster_and_subset_have_one_colour_everywhere(
    cells: anndata.AnnData, tables: SimpleNamespace
) -> None:
    from matplotlib.colors import to_hex

    wanted = palette.cluster_colours(str(i) for i in range(1, 10))
    bars = {}
    frequencies = FIGURES["cluster_frequencies"](cells, tables).axes[0]
    for container in frequencies.containers:
        bars[container.get_label()] = to_hex(container.patches[0].get_facecolor()).upper()
    assert {name: bars[name] for name in wanted} == wanted

    heat = {axes.get_label(): axes for axes in FIGURES["heatmap"](cells, tables).axes}
    rows = [tick.get_text() for tick in heat["heatmap"].get_yticklabels()]
    in_heat = {
        row: to_hex(bar.get_facecolor()).upper()
        for row, bar in zip(rows, heat["frequency"].patches, strict=True)
    }
    assert {name: in_heat[name] for name in wanted} == wanted

    on_map = FIGURES["map_clusters"](cells, tables)
    legends = [
        dict(
            zip(
                (text.get_text() for text in legend.get_texts()),
                (to_hex(handle.get_color()).upper() for handle in legend.legend_handles),
                strict=True,
            )
        )
        for legend in on_map.legends
    ]
    assert {name: legends[0][name] for name in wanted} == wanted
    assert legends[1] == {name: palette.SUBSET_COLOURS[name] for name in ("CD4", "CD8", "DN")}
    stacked = FIGURES["subsets"](cells, tables).axes[0]
    for container in stacked.containers:
        assert (
            to_hex(container.patches[0].get_facecolor()).upper()
            == palette.SUBSET_COLOURS[container.get_label()]
        )
