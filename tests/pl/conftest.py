"""A small made-up study, as tables and as cells, that looks like the real one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from cytocar.pl._page import style

MARKERS = [
    "CD57", "CCR6", "CXCR5", "CD45RA", "CD4", "CD8a", "CD16", "CD25", "LAG-3", "CD107a", "TCRgd",
    "TIGIT", "TIM-3", "PD-1", "CXCR3", "CD27", "CCR7", "CD28", "CTLA-4", "Ki67", "CD56", "CD161",
    "CD45RO", "CD62L", "CD39", "CD127", "GZMB", "CD38", "CD69", "HLA-DR", "ICOS", "CD95", "CD7",
]  # fmt: skip

# mean of the positive cells in tenths of an arcsinh unit, one column a marker; -- is negative
PROFILES = {
    "1 CD8": "14 -- -- 15 -- 59 -- -- -- 08 -- -- 14 18 14 12 -- 10 -- 12 -- -- 27 -- -- 08 34 15 -- 21 -- 27 35",
    "2 CD8": "32 -- -- 33 -- 59 -- -- -- 08 -- -- 14 18 14 -- -- -- -- 12 -- -- 11 -- -- 08 42 15 -- 21 -- 27 35",
    "3 CD8": "-- -- -- 15 -- 59 -- -- -- 08 -- -- 14 13 28 31 -- 24 -- 12 -- -- 27 -- -- 08 21 15 -- 21 -- 27 35",
    "4 DN": "14 -- -- 15 -- -- -- -- -- 08 -- -- 14 18 14 12 -- 10 -- 12 -- -- 27 -- -- 08 34 15 -- 12 -- 27 35",
    "5 CD8": "-- -- -- 15 -- 59 -- -- -- 09 -- -- -- -- 14 29 16 26 -- 12 -- -- 27 19 -- 23 09 15 -- 21 -- 27 35",
    "6 CD4": "-- -- -- 15 42 -- -- -- -- 13 -- -- -- 12 14 29 16 26 -- 12 -- -- 27 -- -- 08 10 15 -- 16 -- 27 35",
    "7 DN": "-- -- -- 15 -- -- -- -- -- 13 -- -- -- -- 31 29 09 26 -- 12 -- -- 27 -- 19 08 09 15 -- 25 -- 27 35",
    "8 DN": "-- 23 -- 15 -- -- -- -- -- 13 -- -- -- -- -- 29 21 32 -- 12 -- 31 27 -- -- 08 09 15 -- 28 -- 27 35",
    "9 DN": "-- -- -- 35 -- -- -- -- -- 15 -- -- -- -- 10 36 27 26 -- 12 -- -- -- 28 -- 23 09 15 -- 31 -- 27 35",
}
HOST_PROFILES = {
    "CD4 naive": "-- -- -- 40 42 -- -- -- -- 07 -- -- -- -- -- 32 24 28 -- -- -- -- -- 30 -- 22 -- 10 -- -- -- 16 35",
    "CD4 memory": "-- 12 -- -- 42 -- -- -- -- 15 -- -- -- 14 13 22 13 28 -- -- -- -- 36 -- -- 19 -- 10 -- -- 10 16 35",
    "CD8 naive": "-- -- -- 40 -- 59 -- -- -- 07 -- -- -- -- -- 32 24 28 -- -- -- -- -- 30 -- 22 -- 10 -- -- -- 16 35",
    "CD8 EM": "16 -- -- -- -- 59 -- -- -- 19 -- -- -- 18 -- 19 -- 16 -- -- -- -- 30 -- -- -- 25 10 -- -- -- 16 35",
    "CD8 TEMRA": "32 -- -- 36 -- 59 -- -- -- 22 -- -- -- 12 -- -- -- -- -- -- -- -- -- -- -- -- 39 10 -- -- -- 16 35",
}
FIRST = np.array([30, 20, 12, 15, 8, 5, 6, 3, 1.0])
LAST = np.array([1, 1.5, 1.5, 5, 4, 0.4, 26, 34, 26.6])
HOST_SHARE = np.array([6, 16, 5, 14, 10.0])
FOUR = (("2mo", 2.0, 3.01), ("1yr", 12.0, 1.04), ("3yr", 36.0, 0.49), ("5yr", 60.0, 0.24))


def _expression(profile: str, n: int, rng: np.random.Generator) -> np.ndarray:
    values = np.where(
        rng.random((n, len(MARKERS))) < 0.65, 0.0, np.arcsinh(rng.exponential(2.5, (n, len(MARKERS))) / 5)
    )
    shared = rng.normal(0, 0.12, n)
    for place, code in enumerate(profile.split()):
        if code != "--":
            values[:, place] = np.maximum(rng.normal(int(code) / 10, 0.42, n) + shared, 0)
    return values.astype(np.float32)


def make_cells(
    n_car: int = 400,
    n_host: int = 600,
    times: Sequence[tuple[str, float, float]] = FOUR,
    *,
    split: int = 1,
    seed: int = 0,
    markers: Sequence[str] = (),
) -> anndata.AnnData:
    """Make CAR-T cells (more in early samples) and host cells; `split` divides every cluster in so many."""
    rng = np.random.default_rng(seed)
    share = np.array([pct for _, _, pct in times])
    per_sample = np.maximum(np.round(n_car * share / share.sum()).astype(int), 1)
    parts, rows = [], []
    centres = rng.normal(0, 12, (len(PROFILES) * split, 2))
    maps = []
    for t, (label, months, _) in enumerate(times):
        weight = t / max(len(times) - 1, 1)
        mix = (1 - weight) * FIRST / FIRST.sum() + weight * LAST / LAST.sum()
        for i, n in enumerate(rng.multinomial(per_sample[t], mix)):
            name, profile = list(PROFILES.items())[i]
            number, subset = name.split()
            parts.append(_expression(profile, n, rng))
            piece = rng.integers(0, split, n)
            cluster = (int(number) - 1) * split + piece + 1
            maps.append(centres[cluster - 1] + rng.normal(0, 2.2, (n, 2)))
            rows += [(label, months, "car", subset, str(c)) for c in cluster]
        for name, n in zip(
            HOST_PROFILES, rng.multinomial(n_host // len(times), HOST_SHARE / HOST_SHARE.sum()), strict=True
        ):
            parts.append(_expression(HOST_PROFILES[name], n, rng))
            maps.append(np.full((n, 2), np.nan))
            rows += [(label, months, "host", name.split()[0], "")] * int(n)
    obs = pd.DataFrame(rows, columns=["timepoint", "months", "compartment", "subset", "phenograph"])
    stray = rng.random(len(obs)) < 0.01
    obs.loc[stray & (obs["phenograph"] != ""), "phenograph"] = "-1"
    obs["sample_id"] = "P01_" + obs["timepoint"]
    obs["patient_id"] = "P01"
    obs["timepoint"] = pd.Categorical(obs["timepoint"], [label for label, _, _ in times], ordered=True)
    for column in ("compartment", "subset", "sample_id", "patient_id", "phenograph"):
        obs[column] = pd.Categorical(obs[column])
    obs["flowsom"] = obs["phenograph"]
    obs.index = [str(i) for i in range(len(obs))]
    var = pd.DataFrame({"used_for_clustering": True, "cofactor": 5.0, "role": "marker"}, index=list(MARKERS))
    cells = anndata.AnnData(np.concatenate(parts), obs=obs, var=var)
    cells.obsm["X_tsne"] = np.concatenate(maps).astype(np.float32)
    cells.obsm["X_umap"] = cells.obsm["X_tsne"][:, ::-1].copy()
    cells.uns["cytocar"] = {"state": "arcsinh"}
    return cells[:, list(markers)].copy() if markers else cells


def _interval(n: float, of: float) -> tuple[float, float]:
    share = n / of if of else 0.0
    half = 1.96 * np.sqrt(max(share * (1 - share), 1 / max(of, 1)) / max(of, 1))
    return max(0.0, share - half), min(1.0, share + half)


def make_tables(cells: anndata.AnnData, times: Sequence[tuple[str, float, float]] = FOUR) -> SimpleNamespace:
    """Make the tables of a run that fit `cells`."""
    obs = cells.obs
    frequency, subsets, clusters = [], [], []
    for label, months, pct in times:
        n = round(60_000 * pct / 100)
        low, high = (100 * x for x in _interval(n, 60_000))
        call = "not_detected" if n <= 5 else "detected" if n < 25 else "quantified"
        frequency.append(
            (
                "P01_" + label,
                "P01",
                label,
                months,
                60_000,
                n,
                31_000,
                pct,
                low,
                high,
                1.6,
                4.0,
                9.0,
                25.0,
                call,
            )
        )
        mine = obs[obs["timepoint"].astype(str) == label]
        for compartment in ("car", "host"):
            part = mine[mine["compartment"] == compartment]
            for subset in ("CD4", "CD8", "DN", "DP"):
                k = int((part["subset"] == subset).sum())
                subsets.append(
                    ("P01_" + label, compartment, subset, k, k / max(len(part), 1), *_interval(k, len(part)))
                )
        part = mine[mine["compartment"] == "car"]
        for cluster in sorted(set(obs["phenograph"].astype(str)) - {""}, key=int):
            k = int((part["phenograph"].astype(str) == cluster).sum())
            clusters.append(
                ("P01_" + label, "phenograph", cluster, k, k / max(len(part), 1), *_interval(k, len(part)))
            )
    cars = obs[obs["compartment"] == "car"]
    most = cars.groupby(cars["phenograph"].astype(str))["subset"].agg(lambda s: s.astype(str).mode()[0])
    profiles = pd.DataFrame(
        [("phenograph", c, m, 0.0, 0.0, 0.0, s) for c, s in most.items() for m in ("CD4", "CD8a")],
        columns=["method", "cluster", "marker", "median", "scaled", "fraction_positive", "subset"],
    )
    return SimpleNamespace(
        frequency=pd.DataFrame(
            frequency,
            columns=[
                "sample_id",
                "patient_id",
                "timepoint",
                "months",
                "n_cd45",
                "n_car",
                "n_host_t",
                "pct_of_cd45",
                "pct_low",
                "pct_high",
                "background_events",
                "lob_events",
                "lod_events",
                "loq_events",
                "call",
            ],
        ),
        subsets=pd.DataFrame(
            subsets, columns=["sample_id", "compartment", "subset", "n", "fraction", "low", "high"]
        ),
        clusters=pd.DataFrame(
            clusters, columns=["sample_id", "method", "cluster", "n", "fraction", "low", "high"]
        ),
        profiles=profiles,
        kinetics=pd.DataFrame(
            [
                ("P01", "half_life", 17.24, 6.5, 23.3, "months", "log-linear, 4 quantified points"),
                ("P01", "auc", 47.37, np.nan, np.nan, "%.months", ""),
            ],
            columns=["patient_id", "measure", "value", "low", "high", "unit", "note"],
        ),
        comparisons=make_comparisons(),
        quality=make_quality(["P01_" + label for label, _, _ in times]),
        **make_gates(["P01_" + label for label, _, _ in times]),
    )


def make_comparisons(markers: Sequence[str] = tuple(MARKERS), seed: int = 0) -> pd.DataFrame:
    """Make a table of comparisons over time, for CAR-T and host T cells."""
    rng = np.random.default_rng(seed)
    rows = []
    sizes = {"CD4": (157, 3), "CD8": (2190, 20), "DN": (780, 230), "all": (3127, 250)}
    for compartment in ("car", "host"):
        for subset, (n_a, n_b) in sizes.items():
            for marker in markers:
                effect = rng.normal(0, 0.9 if compartment == "car" else 0.12)
                half = 1.5 / np.sqrt(n_b) if compartment == "car" else 0.05
                low, high = effect - half, effect + half
                call = "up" if low > 0.2 else "down" if high < -0.2 else "inconclusive"
                call = "unchanged" if low > -0.35 and high < 0.35 else call
                rows.append(
                    ("5yr vs 2mo", compartment, "", subset, marker, "2mo", "5yr", n_a, n_b, 1, 1, 1.0, 1.0 + effect,
                     effect, low, high, np.tanh(effect), "cell", np.nan, np.nan, np.nan, call)
                )  # fmt: skip
    return pd.DataFrame(
        rows,
        columns=[
            "comparison",
            "compartment",
            "timepoint",
            "subset",
            "marker",
            "group_a",
            "group_b",
            "n_cells_a",
            "n_cells_b",
            "n_patients_a",
            "n_patients_b",
            "median_a",
            "median_b",
            "effect",
            "effect_low",
            "effect_high",
            "cliffs_delta",
            "unit",
            "p_value",
            "p_adjusted",
            "p_minimum",
            "call",
        ],
    )


def make_quality(samples: Sequence[str], bins: int = 40) -> pd.DataFrame:
    """Make quality over time with a drift and a pause."""
    parts = []
    for place, sample in enumerate(samples):
        rng = np.random.default_rng(place)
        time = np.arange(bins) * 8.0 + np.where(np.arange(bins) > bins // 2, 30.0, 0.0)
        gain = np.linspace(1, 0.75, bins) * (1 + 0.05 * place)
        parts.append(
            pd.DataFrame(
                {
                    "sample_id": sample, "bin": range(bins), "start_s": time, "end_s": time + 8.0,
                    "events": rng.poisson(2000, bins), "events_per_s": rng.poisson(2000, bins) / 8.0,
                    "cell_fraction": rng.normal(0.72, 0.01, bins), "dna_median": 275 * gain,
                    "bead_median": 2700 * gain if place != 1 else np.nan, "cd45_median": 450 * gain,
                }
            )
        )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


PLOTS = (
    ("cells", "CD45", "CD11b", "CD45+", 0.97),
    ("CD45+", "CD11c", "CD66b", "myeloid-", 0.8),
    ("myeloid-", "CD19", "CD14", "B/mono-", 0.78),
    ("B/mono-", "CD7", "CD3", "T cells", 0.8),
    ("T cells", "CD3", "VHH", "CAR-T", 0.01),
    ("CAR-T", "CD4", "CD8a", "CAR-T DN", 0.4),
)


def make_gates(samples: Sequence[str], bins: int = 64) -> dict[str, Any]:
    """Make biaxial histograms, thresholds, densities and a ledger."""
    rng = np.random.default_rng(3)
    plots, ledger, thresholds, densities = [], [], [], []
    for sample in samples:
        events = 60_000
        ledger.append((sample, 0, "cells", "", events, 1.0, np.nan))
        for order, (parent, x, y, child, share) in enumerate(PLOTS, start=1):
            n = 4000
            high = rng.random(n) < share
            points = np.where(
                high[:, None], rng.normal([4.2, 1.0], 0.4, (n, 2)), rng.normal([0.7, 3.8], 0.5, (n, 2))
            )
            counts, xe, ye = np.histogram2d(
                points[:, 0], points[:, 1], bins=bins, range=[[-0.5, 7.5], [-0.5, 7.5]]
            )
            i, j = np.nonzero(counts)
            plots.append(
                pd.DataFrame(
                    {
                        "sample_id": sample, "plot": f"{parent}: {x} x {y}", "parent": parent, "x_marker": x,
                        "y_marker": y, "x": (xe[i] + xe[i + 1]) / 2, "y": (ye[j] + ye[j + 1]) / 2,
                        "n": counts[i, j].astype(int),
                    }
                )
            )  # fmt: skip
            events = round(events * share)
            ledger.append((sample, order, child, parent, events, share, events / 60_000))
        for place, marker in enumerate(("CD45", "CD3", "VHH", "CD4", "CD8a")):
            value = 2.0 + 0.1 * rng.normal()
            rule = ("valley", "valley", "negatives", "other_samples", "stated")[place]
            thresholds.append(
                (sample, marker, marker, value, rule, 0.9 if place != 3 else 0.2, "T cells", 20_000, rule == "stated",
                 rule == "other_samples", "no valley" if rule == "other_samples" else "")
            )  # fmt: skip
            grid = np.linspace(-0.3, 6.5, 128)
            curve = np.exp(-(((grid - 0.4) / 0.4) ** 2)) + 0.6 * np.exp(-(((grid - 4) / 0.6) ** 2))
            densities.append(
                pd.DataFrame(
                    {"sample_id": sample, "name": marker, "marker": marker, "x": grid, "density": curve / 1.7}
                )
            )
    return {
        "plots": pd.concat(plots, ignore_index=True),
        "ledger": pd.DataFrame(
            ledger,
            columns=[
                "sample_id", "order", "population", "parent", "events", "fraction_of_parent",
                "fraction_of_cd45",
            ],
        ),
        "thresholds": pd.DataFrame(
            thresholds,
            columns=[
                "sample_id", "name", "marker", "value", "rule", "confidence", "found_in", "n_cells", "pinned",
                "fallback", "note",
            ],
        ),
        "densities": pd.concat(densities, ignore_index=True),
    }  # fmt: skip


def many_times(n: int) -> tuple[tuple[str, float, float], ...]:
    """Make `n` timepoints of three months each, falling."""
    return tuple((f"m{3 * i + 1}", 3.0 * i + 1, 3.0 * 0.9**i) for i in range(n))


@pytest.fixture(scope="session")
def cells() -> anndata.AnnData:
    return make_cells()


@pytest.fixture(scope="session")
def tables(cells: anndata.AnnData) -> SimpleNamespace:
    return make_tables(cells)


@pytest.fixture(scope="session")
def cells_maker() -> Callable[..., anndata.AnnData]:
    return make_cells


@pytest.fixture(scope="session")
def tables_maker() -> Callable[..., SimpleNamespace]:
    return make_tables


@pytest.fixture(scope="session")
def times_maker() -> Callable[[int], tuple[tuple[str, float, float], ...]]:
    return many_times


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
