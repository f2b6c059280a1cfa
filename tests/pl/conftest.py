"""Tables and cells of one small run of the simulated study, the same in forms that no run has, and what is readable."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

import anndata
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from cytocar import tl
from cytocar.pl._page import style

TABLES = {
    "frequency": "car_frequency", "subsets": "subsets", "clusters": "clusters", "profiles": "cluster_profiles",
    "kinetics": "kinetics", "comparisons": "comparisons", "quality": "quality", "plots": "gating_plots",
    "ledger": "ledger", "thresholds": "thresholds", "densities": "densities",
}  # fmt: skip
"""What tests call the tables of a run."""


@pytest.fixture(scope="session")
def tables(finished: Path) -> SimpleNamespace:
    """Return the tables of a run: one patient at 2 months, 1, 3 and 5 years."""
    texts = {"sample_id": str, "cluster": str, "timepoint": str}
    read = {
        name: pd.read_csv(finished / "tables" / f"{file}.csv", dtype=texts, keep_default_na=True)
        for name, file in TABLES.items()
    }
    for name in ("clusters", "profiles"):
        read[name] = read[name][read[name]["method"] == "phenograph"].reset_index(drop=True)
    return SimpleNamespace(**read)


@pytest.fixture(scope="session")
def cells(finished: Path) -> anndata.AnnData:
    """Return the cells of a run, on a t-SNE map and, mirrored, on a UMAP map."""
    adata = anndata.read_h5ad(finished / "cells.h5ad")
    adata.obsm["X_umap"] = np.asarray(adata.obsm["X_tsne"])[:, ::-1].copy()
    return adata


@pytest.fixture(scope="session")
def marked(tables: SimpleNamespace) -> pd.DataFrame:
    """Return the thresholds of a run with a stated number (CD8a) and one of a fallback rule (CD4), which it has not."""
    table = tables.thresholds.copy()
    table.loc[table["name"] == "CD8a", ["rule", "pinned"]] = ["stated", True]
    table.loc[table["name"] == "CD4", ["rule", "fallback", "confidence"]] = ["other_samples", True, 0.2]
    return table


def is_car(cells: anndata.AnnData) -> np.ndarray:
    return (cells.obs["compartment"] == "car").to_numpy()


def counted(cells: anndata.AnnData, tables: SimpleNamespace, **others: pd.DataFrame) -> SimpleNamespace:
    """Return the tables of a run with the shares counted again in cells that were changed."""
    cars = cells[is_car(cells)].copy()
    clusters = tl.cluster_frequencies(cars, "phenograph")
    counts = {"subsets": tl.subsets(cells), "clusters": clusters.assign(method="phenograph")}
    return SimpleNamespace(**{**vars(tables), **counts, **others})


def renamed(table: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """Return the rows of some samples under other names."""
    return table[table["sample_id"].isin(list(names))].assign(sample_id=lambda t: t["sample_id"].map(names))


def one_timepoint(cells: anndata.AnnData, tables: SimpleNamespace) -> tuple[anndata.AnnData, SimpleNamespace]:
    first = {"P1_2mo": "P1_2mo"}
    kept = cells[(cells.obs["sample_id"] == "P1_2mo").to_numpy()].copy()
    of_sample = {name: renamed(t, first) for name, t in vars(tables).items() if "sample_id" in t}
    return kept, SimpleNamespace(**{**vars(tables), **of_sample})


def thirty_timepoints(
    cells: anndata.AnnData, tables: SimpleNamespace
) -> tuple[anndata.AnnData, SimpleNamespace]:
    """Deal the cells out to thirty samples, three months apart, with the numbers of the four samples in turn."""
    months = [3.0 * i + 1 for i in range(30)]
    times = [f"m{m:g}" for m in months]
    dealt = np.random.default_rng(0).integers(0, 30, cells.n_obs)
    many = cells.copy()
    many.obs["timepoint"] = pd.Categorical.from_codes(dealt, times, ordered=True)
    many.obs["months"] = np.array(months)[dealt]
    many.obs["sample_id"] = pd.Categorical.from_codes(dealt, [f"P1_{t}" for t in times])
    samples = tables.frequency["sample_id"].tolist()
    rows = tables.frequency.iloc[[i % 4 for i in range(30)]].reset_index(drop=True)
    frequency = rows.assign(sample_id=[f"P1_{t}" for t in times], timepoint=times, months=months)
    quality = [renamed(tables.quality, {samples[i % 4]: f"P1_{t}"}) for i, t in enumerate(times)]
    return many, counted(many, tables, frequency=frequency, quality=pd.concat(quality, ignore_index=True))


def many_clusters(cells: anndata.AnnData, tables: SimpleNamespace) -> tuple[anndata.AnnData, SimpleNamespace]:
    """Divide each of the nine clusters in three."""
    piece = np.random.default_rng(0).integers(0, 3, cells.n_obs)
    named = cells.obs["phenograph"].astype(str).to_numpy()
    split = cells.copy()
    split.obs["phenograph"] = pd.Categorical(
        ["" if name == "" else str(3 * (int(name) - 1) + p + 1) for name, p in zip(named, piece, strict=True)]
    )
    profiles = pd.concat(
        [
            tables.profiles.assign(
                cluster=[str(3 * (int(c) - 1) + p + 1) for c in tables.profiles["cluster"]]
            )
            for p in range(3)
        ]
    )
    return split, counted(split, tables, profiles=profiles)


def a_dozen_cells(cells: anndata.AnnData, tables: SimpleNamespace) -> tuple[anndata.AnnData, SimpleNamespace]:
    rng = np.random.default_rng(0)
    cars, hosts = np.flatnonzero(is_car(cells)), np.flatnonzero(~is_car(cells))
    few = cells[np.sort([*rng.choice(cars, 9, replace=False), *rng.choice(hosts, 24, replace=False)])].copy()
    few.obs["phenograph"] = few.obs["phenograph"].cat.remove_unused_categories()
    return few, counted(few, tables)


def long_names(cells: anndata.AnnData, tables: SimpleNamespace) -> tuple[anndata.AnnData, SimpleNamespace]:
    """Name three samples as nobody should, with letters that a figure could take for a formula or for markup."""
    times = {
        time: f"visit_${i}$ after <{i}> 随访 & more words" for i, time in enumerate(("2mo", "1yr", "3yr"))
    }
    samples = {f"P1_{old}": f"P1_{new}" for old, new in times.items()}
    kept = cells[cells.obs["timepoint"].isin(list(times)).to_numpy()].copy()
    for column, names in (("timepoint", times), ("sample_id", samples)):
        order = list(names.values())
        kept.obs[column] = pd.Categorical(kept.obs[column].astype(str).map(names), order, ordered=True)
    of_samples = {name: renamed(t, samples) for name, t in vars(tables).items() if "sample_id" in t}
    of_samples["frequency"] = of_samples["frequency"].assign(timepoint=list(times.values()))
    return kept, SimpleNamespace(**{**vars(tables), **of_samples})


@pytest.fixture(scope="session")
def scenes() -> dict[str, Callable[..., tuple[anndata.AnnData, SimpleNamespace]]]:
    """Return functions that make cells and tables of a run into ones that are hard to draw."""
    return {
        "one timepoint": one_timepoint,
        "thirty timepoints": thirty_timepoints,
        "27 clusters": many_clusters,
        "a dozen cells": a_dozen_cells,
        "long names": long_names,
    }


def _drawn_texts(figure: Figure) -> list[tuple[str, Bbox, float]]:
    """Return every text that is drawn, with its box in pixels and its size; ticks beyond the axis are not."""
    with style.style():
        figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    found, of_ticks = [], set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
                for text in (tick.label1, tick.label2):
                    of_ticks.add(id(text))
                    if text.get_visible() and text.get_text() and low - 1e-9 <= tick.get_loc() <= high + 1e-9:
                        found.append(text)
    others = [
        t for t in figure.findobj(Text) if id(t) not in of_ticks and t.get_visible() and t.get_text().strip()
    ]
    return [(t.get_text(), Text.get_window_extent(t, renderer), t.get_fontsize()) for t in [*found, *others]]


def unreadable(figure: Figure) -> list[str]:
    """Return what a reader could not read: texts on each other, beyond the page, or below 6 points."""
    texts = _drawn_texts(figure)
    complaints = [f"{name!r} is {size:g} points" for name, _, size in texts if size < 6]
    page = figure.bbox
    for name, box, _ in texts:
        if box.x0 < -2 or box.y0 < -2 or box.x1 > page.width + 2 or box.y1 > page.height + 2:
            complaints.append(f"{name!r} leaves the page")
    x0, y0, x1, y1 = np.array([box.extents for _, box, _ in texts]).T
    wide = np.minimum.outer(x1, x1) - np.maximum.outer(x0, x0)
    high = np.minimum.outer(y1, y1) - np.maximum.outer(y0, y0)
    for i, j in np.argwhere(np.tril((wide > 2) & (high > 3), -1)):
        complaints.append(f"{texts[i][0]!r} lies on {texts[j][0]!r}")
    return complaints


@pytest.fixture(scope="session")
def complaints() -> Callable[[Figure], list[str]]:
    return unreadable
