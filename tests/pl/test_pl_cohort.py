"""Effects between groups of patients, and the shares of every patient: numbers read off the pictures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from cytocar import pl, tl
from cytocar._core.errors import ParameterError


def cohort(n: int = 6, clusters: int = 5) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Make counts of clusters in R, NR and HD; cluster 1 is 1.7 times as large in R."""
    rng = np.random.default_rng(0)
    groups = ["HD"] * n + ["NR"] * n + ["R"] * n
    sheet = pd.DataFrame(
        {"sample_id": [f"s{i}" for i in range(3 * n)], "group": groups, "batch": ["x", "y"] * (3 * n // 2)}
    )
    rows = [
        (
            s,
            str(c),
            int(rng.poisson(300 * (1.7 if c == 1 and group == "R" else 1.0) * rng.lognormal(0, 0.35))),
        )
        for s, group in zip(sheet["sample_id"], groups, strict=True)
        for c in range(1, clusters + 1)
    ]
    return pd.DataFrame(rows, columns=["sample_id", "cluster", "n"]), sheet


def effects(contrasts: tuple[str, ...] = ("R vs NR", "NR vs HD")) -> pd.DataFrame:
    counts, sheet = cohort()
    return pd.concat([tl.abundance(counts, sheet, formula="~ group", contrast=name) for name in contrasts])


def test_effects_and_intervals_stand_where_the_table_has_them() -> None:
    table = effects()
    figure = pl.abundance(table)
    assert [axes.get_label() for axes in figure.axes] == ["R vs NR", "NR vs HD"]
    order = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    rows = table[table["contrast"] == "R vs NR"].set_index("cluster").loc[order]
    assert rows["effect"].is_monotonic_decreasing
    axes = figure.axes[0]
    dots = [line for line in axes.lines if line.get_label() in ("clear", "not clear")]
    assert [line.get_xdata()[0] for line in dots] == rows["effect"].tolist()
    reach = axes.get_xlim()[1]
    for place, (low, high) in enumerate(rows[["effect_low", "effect_high"]].to_numpy()):
        bar = next(line for line in axes.lines if line.get_label() == f"interval {place}")
        assert list(bar.get_xdata()) == pytest.approx([max(low, -reach), min(high, reach)])
    clear = [line.get_label() == "clear" for line in dots]
    assert clear == (rows["p_adjusted"] <= 0.05).tolist()
    assert clear[0]
    assert not all(clear)
    hollow = next(line for line in dots if line.get_label() == "not clear")
    assert to_hex(hollow.get_markerfacecolor()) == "#ffffff"
    # a log2 ratio of 1 is written as 2
    ticks = dict(zip(axes.get_xticks(), (t.get_text() for t in axes.get_xticklabels()), strict=True))
    assert ticks[1.0] == "2"
    assert ticks[-1.0] == "1/2"


def test_one_contrast_has_its_p_beside_it() -> None:
    table = effects(("R vs NR",))
    figure = pl.abundance(table)
    words = [text.get_text() for text in figure.texts]
    best = table.sort_values("p_value").iloc[0]
    assert f"least p of the design {best['p_minimum']:.2g}" in words
    assert figure.axes[0].get_title("right") == "6 : 6 patients"
    assert f"{table['p_adjusted'].max():.2g}" in words
    with pytest.raises(ParameterError, match="the table has no contrast 'R vs N'; did you mean 'R vs NR'"):
        pl.abundance(table, contrast="R vs N")


def test_an_endless_interval_is_an_arrow_and_a_missing_number_says_so() -> None:
    table = effects(("R vs NR",))
    table.loc[table["cluster"] == "1", "effect_high"] = np.inf
    other = table.assign(contrast="NR vs HD")
    other.loc[other["cluster"] == "2", ["effect", "effect_low", "effect_high", "p_value", "p_adjusted"]] = (
        np.nan
    )
    first, second = pl.abundance(pd.concat([table, other])).axes
    arrows = [line for line in first.lines if line.get_label() == "goes on"]
    assert first.get_xlim()[1] in [line.get_xdata()[0] for line in arrows]
    rows = [tick.get_text() for tick in first.get_yticklabels()]
    assert (first.get_xlim()[1], rows.index("1")) in [tuple(line.get_xydata()[0]) for line in arrows]
    assert [text.get_text() for text in second.texts] == ["no number"]
    nothing = table.assign(effect=np.nan)
    with pytest.raises(ParameterError, match="no row of the table has an effect"):
        pl.abundance(nothing)


def test_shares_of_several_kinds_are_in_blocks(complaints: Callable[[object], list[str]]) -> None:
    table = effects(("R vs NR",))
    both = pd.concat(
        [table.assign(of="subsets", compartment="car"), table.assign(of="flowsom", compartment="car")]
    )
    figure = pl.abundance(both)
    rows = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert len(rows) == 10
    assert {"flowsom", "subsets"} <= {text.get_text() for text in figure.texts}
    assert len(pl.abundance(both, of="flowsom").axes[0].get_yticklabels()) == 5
    assert complaints(figure) == []
    with pytest.raises(ParameterError, match="the table has no of 'phenograph'"):
        pl.abundance(both, of="phenograph")
    with pytest.raises(ParameterError, match="the table has no column 'of'"):
        pl.abundance(table, of="flowsom")


def test_markers_of_clusters_with_the_smallest_p(complaints: Callable[[object], list[str]]) -> None:
    rng = np.random.default_rng(1)
    _, sheet = cohort()
    rows = [
        (
            s,
            str(c),
            marker,
            80,
            2 + 0.2 * rng.normal() + (1.0 if group == "R" and c == 2 and marker == "PD-1" else 0.0),
        )
        for s, group in zip(sheet["sample_id"], sheet["group"], strict=True)
        for c in range(1, 16)
        for marker in ("PD-1", "Ki67", "HLA-DR", "GZMB")
    ]
    medians = pd.DataFrame(rows, columns=["sample_id", "cluster", "marker", "n", "median"])
    table = tl.state(medians, sheet, formula="~ group", contrast="R vs NR")
    figure = pl.state(table)
    names = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert len(names) == 40
    assert names[0] == "2  PD-1"
    assert figure.axes[0].get_xlabel() == "difference, arcsinh units"
    assert "40 of 60 rows: those with the smallest p" in {text.get_text() for text in figure.texts}
    assert complaints(figure) == []
    assert [tick.get_text() for tick in pl.state(table, most=1).axes[0].get_yticklabels()] == ["2  PD-1"]
    with pytest.raises(ParameterError, match="most is 0"):
        pl.state(table, most=0)


def test_every_sample_is_a_point_in_its_group(complaints: Callable[[object], list[str]]) -> None:
    counts, sheet = cohort()
    figure = pl.cluster_groups(counts, sheet, tests=effects())
    panels = {axes.get_label(): axes for axes in figure.axes}
    assert list(panels) == [f"cluster {c}" for c in range(1, 6)]
    axes = panels["cluster 1"]
    whole = counts.groupby("sample_id")["n"].sum()
    share = 100 * counts[counts["cluster"] == "1"].set_index("sample_id")["n"] / whole
    for place, group in enumerate(("HD", "NR", "R")):
        mine = sheet.loc[sheet["group"] == group, "sample_id"]
        points = [line for line in axes.lines if line.get_label() in (f"{place} x", f"{place} y")]
        assert len(points) == 2  # two batches, two shapes
        assert points[0].get_marker() != points[1].get_marker()
        y = np.concatenate([line.get_ydata() for line in points])
        assert sorted(y) == pytest.approx(sorted(share[mine]))
        x = np.concatenate([line.get_xdata() for line in points])
        assert (np.abs(x - place) < 0.4).all()
        median = next(line for line in axes.lines if line.get_label() == f"median {place}")
        assert median.get_ydata()[0] == pytest.approx(share[mine].median())
    smallest = effects().query("cluster == '1'")["p_adjusted"].min()
    assert axes.get_title("right") == f"{smallest:.2g}"
    assert complaints(figure) == []


def test_controls_and_samples_without_a_group_are_left_out() -> None:
    counts, sheet = cohort()
    sheet["role"] = ["negative_control", *["patient"] * (len(sheet) - 1)]
    sheet.loc[1, "group"] = np.nan
    axes = pl.cluster_groups(counts, sheet, batch=None).axes[0]
    points = next(line for line in axes.lines if line.get_label() == "0")
    assert len(points.get_xdata()) == 4
    with pytest.raises(ParameterError, match="groupby is 'grup'; did you mean 'group'"):
        pl.cluster_groups(counts, sheet, groupby="grup")
    with pytest.raises(ParameterError, match="no sample of the table has a value in 'group'"):
        pl.cluster_groups(counts, sheet.assign(group=np.nan))


def test_of_many_clusters_those_that_differ_most_are_drawn() -> None:
    counts, sheet = cohort(clusters=30)
    tests = tl.abundance(counts, sheet, formula="~ group", contrast="R vs NR")
    labels = [axes.get_label() for axes in pl.cluster_groups(counts, sheet, tests=tests).axes]
    assert len(labels) == 24
    assert labels[0] == "cluster 1"
    kept = tests.sort_values("p_adjusted", kind="stable")["cluster"].tolist()
    assert f"cluster {kept[0]}" in labels
