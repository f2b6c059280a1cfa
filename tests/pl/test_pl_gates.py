"""Gates, thresholds, quality and comparisons: numbers read off the pictures."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from cytocar import pl
from cytocar._core.errors import ParameterError


def by_label(figure: object) -> dict[str, object]:
    return {axes.get_label(): axes for axes in figure.axes}


def test_gating_shows_the_bins_where_they_are(tables: SimpleNamespace) -> None:
    axes = by_label(pl.gating(tables.plots, tables.thresholds, tables.ledger))["P1_2mo 2"]
    image = axes.images[0]
    shown = np.ma.filled(image.get_array(), 0)
    rows = tables.plots[(tables.plots["sample_id"] == "P1_2mo") & (tables.plots["plot"] == 2)]
    assert shown.sum() == rows["n"].sum()
    left, right, bottom, top = image.get_extent()
    step = (right - left) / shown.shape[1]
    row, column = np.unravel_index(shown.argmax(), shown.shape)
    fullest = rows.loc[rows["n"].idxmax()]
    assert left + (column + 0.5) * step == pytest.approx(fullest["x"])
    assert bottom + (row + 0.5) * step == pytest.approx(fullest["y"])
    assert (top - bottom) == pytest.approx(right - left)
    assert type(image.norm).__name__ == "LogNorm"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("CD11b", "CD11c")


def test_gating_draws_the_thresholds_of_the_sample(tables: SimpleNamespace) -> None:
    axes = by_label(pl.gating(tables.plots, tables.thresholds, tables.ledger))["P1_5yr 6"]
    wanted = tables.thresholds[tables.thresholds["sample_id"] == "P1_5yr"].set_index("marker")["value"]
    vertical, horizontal = axes.lines
    assert set(vertical.get_xdata()) == {wanted["CD3"]}
    assert set(horizontal.get_ydata()) == {wanted["VHH"]}


def test_gating_writes_shares_of_the_ledger(tables: SimpleNamespace) -> None:
    ledger = pd.DataFrame(
        {
            "sample_id": "a",
            "population": [
                "cells",
                "CD45+",
                "CD11b-",
                "CAR-T",
                "Host T",
                "CAR-T CD4",
                "CAR-T CD8",
                "CAR-T DN",
                "CAR-T DP",
            ],
            "parent": ["", "cells", "CD45+", "CD11b-", "CD11b-", *["CAR-T"] * 4],
            "events": [1000, 900, 450, 45, 405, 9, 18, 18, 0],
        }
    )
    bins = pd.DataFrame(
        {
            "sample_id": "a", "plot": [1, 2, 3], "parent": ["cells", "CD11b-", "CAR-T"],
            "x_marker": ["DNA1", "CD3", "CD4"], "y_marker": ["CD45", "VHH", "CD8a"],
            "x": 1.0, "y": [1.0, 1.5, 2.0], "n": 5,
        }
    )  # fmt: skip
    found = pd.DataFrame({"sample_id": ["a"], "marker": ["cd45"], "value": [3.0]})
    first, second, third = pl.gating(bins, found, ledger).axes
    # the next picture starts from CD11b-, two steps below
    assert first.get_title("left").splitlines() == ["cells", "n = 1,000", "CD11b- 45 %"]
    assert second.get_title("left").splitlines() == ["CD11b-", "n = 450", "CAR-T 10 %"]
    assert third.get_title("left").splitlines() == ["CAR-T", "n = 45", "CD4 20 CD8 40", "DN 40 DP 0 %"]
    assert len(first.lines) == 1


def test_gating_pages_hold_every_sample_once(tables: SimpleNamespace) -> None:
    samples = [f"s{i}" for i in range(8)]
    one = tables.plots[tables.plots["sample_id"] == "P1_2mo"]
    plots = pd.concat([one.assign(sample_id=s) for s in samples])
    assert pl.gating_pages(plots) == 2
    seen = []
    for page in (1, 2):
        figure = pl.gating(plots, tables.thresholds, tables.ledger.assign(sample_id="s0"), page=page)
        seen += [axes.get_label().split()[0] for axes in figure.axes[::8]]
    assert seen == samples
    with pytest.raises(ParameterError, match="page is 3; there are pages 1 to 2"):
        pl.gating(plots, tables.thresholds, tables.ledger, page=3)
    with pytest.raises(ParameterError, match="'s9' is not a sample of the plots"):
        pl.gating(plots, tables.thresholds, tables.ledger, samples=["s9"])


def test_thresholds_stand_on_their_own_density(tables: SimpleNamespace) -> None:
    figure = pl.thresholds(tables.densities, tables.thresholds)
    axes = by_label(figure)["CD3"]
    rows = tables.thresholds[tables.thresholds["name"] == "CD3"]
    lines = [found for found in axes.lines if found.get_label() == "threshold"]
    assert [found.get_xdata()[0] for found in lines] == rows["value"].tolist()
    assert [found.get_ydata()[0] for found in lines] == [3, 2, 1, 0]
    ticks = [t.get_text() for t in axes.get_yticklabels()]
    assert ticks == rows["sample_id"].tolist()
    assert [t.get_text() for t in axes.texts] == [f"valley {c:.2f}" for c in rows["confidence"]]
    low, high = rows["n_cells"].min(), rows["n_cells"].max()
    assert axes.get_title("right") == f"CD45+  n = {low:,}–{high:,}"


def test_stated_and_fallback_thresholds_are_marked(tables: SimpleNamespace, marked: pd.DataFrame) -> None:
    axes = by_label(pl.thresholds(tables.densities, marked))

    def look(name: str) -> tuple[set[str], set[str]]:
        lines = axes[name].lines
        colours = {to_hex(found.get_color()).upper() for found in lines if found.get_label() == "threshold"}
        return colours, {str(found.get_marker()) for found in lines if found.get_label() == "mark"}

    assert look("CD3") == ({"#262626"}, set())
    assert look("CD4") == ({"#D55E00"}, {"^"})
    assert look("CD8a") == ({"#0072B2"}, {"D"})
    assert {t.get_text() for t in axes["CD8a"].texts} == {"stated"}
    assert {t.get_text() for t in axes["CD4"].texts} == {"other samples 0.20"}


def test_thresholds_as_a_csv_gives_them_and_left_out_ones(
    tables: SimpleNamespace, marked: pd.DataFrame
) -> None:
    table = marked.assign(
        pinned=marked["pinned"].astype(str),
        fallback=marked["fallback"].astype(str),
        confidence=np.nan,
    )
    table.loc[table["name"] == "CD45", ["value", "rule"]] = [np.nan, "left out"]
    axes = by_label(pl.thresholds(tables.densities, table, names=["CD45", "CD3", "CD8a"]))
    assert list(axes) == ["CD45", "CD3", "CD8a"]
    by_other_names = by_label(pl.thresholds(tables.densities, table, names=["PTPRC", "CD3e", "CD8"]))
    assert list(by_other_names) == ["CD45", "CD3", "CD8a"]
    assert {t.get_text() for t in axes["CD3"].texts} == {"valley"}
    assert {t.get_text() for t in axes["CD45"].texts} == {"left out"}
    assert {t.get_text() for t in axes["CD8a"].texts} == {"stated"}
    with pytest.raises(ParameterError, match="'CD33' is not a threshold of the table"):
        pl.thresholds(tables.densities, tables.thresholds, names=["CD33"])


def test_quality_shows_values_along_each_file(tables: SimpleNamespace) -> None:
    # a pause after bin 20 of the first file, and no beads in the second
    table = tables.quality.copy()
    later = (table["sample_id"] == "P1_2mo") & (table["bin"] > 20)
    table.loc[later, ["start_s", "end_s"]] += 30.0
    table.loc[table["sample_id"] == "P1_1yr", "bead_median"] = np.nan
    axes = by_label(pl.quality(table))
    assert list(axes) == ["events_per_s", "cell_fraction", "dna_median", "bead_median", "cd45_median"]
    first = next(found for found in axes["cell_fraction"].lines if found.get_label() == "0")
    x, y = np.array(first.get_data())
    rows = tables.quality[tables.quality["sample_id"] == "P1_2mo"]
    known = np.isfinite(y)
    assert y[known] == pytest.approx(100 * rows["cell_fraction"].to_numpy())
    assert (np.diff(x[known]) > 0).all()
    assert 0 <= x[known].min() < x[known].max() <= 1
    assert np.flatnonzero(~known)[0] == 21
    assert "none" in {t.get_text() for t in axes["bead_median"].texts}


def test_quality_leaves_out_what_nobody_measured(tables: SimpleNamespace) -> None:
    figure = pl.quality(tables.quality.assign(bead_median=np.nan))
    assert "bead_median" not in by_label(figure)
    nothing = tables.quality.assign(
        **dict.fromkeys([a.get_label() for a in figure.axes], np.nan), bead_median=np.nan
    )
    with pytest.raises(ParameterError, match="every measure"):
        pl.quality(nothing)


def test_a_bin_that_holds_a_pause_stands_alone(tables: SimpleNamespace) -> None:
    rows = tables.quality[tables.quality["sample_id"] == "P1_2mo"].copy()
    rows.loc[rows["bin"] == 20, "end_s"] += 30.0
    line = next(found for found in by_label(pl.quality(rows))["dna_median"].lines if found.get_label() == "0")
    broken = np.flatnonzero(~np.isfinite(line.get_ydata()))
    assert broken[:2].tolist() == [20, 22]


def test_comparisons_show_effects_intervals_and_calls(tables: SimpleNamespace) -> None:
    table = tables.comparisons.query("comparison == '5yr vs 2mo'")
    figure = pl.compare(tables.comparisons)
    assert [axes.get_label() for axes in figure.axes] == ["CD4", "CD8", "DN", "all"]
    axes = by_label(figure)["all"]
    order = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    rows = table.query("compartment == 'car' and subset == 'all'").set_index("marker").loc[order]
    bars = next(c for c in axes.collections if c.get_label() == "intervals")
    ends = np.array([segment[:, 0] for segment in bars.get_segments()])
    assert ends == pytest.approx(rows[["effect_low", "effect_high"]].to_numpy())
    for call, marker in (("up", "^"), ("down", "v"), ("unchanged", "o"), ("inconclusive", "o")):
        found = [line for line in axes.lines if line.get_label() == call]
        near = rows[(rows["call"] == call) & (rows["effect"].abs() <= axes.get_xlim()[1])]
        assert len(found) == (1 if len(near) else 0), call
        if found:
            assert found[0].get_marker() == marker
            assert found[0].get_xdata() == pytest.approx(near["effect"].to_numpy())
            assert list(found[0].get_ydata()) == [order.index(m) for m in near.index]
    host = next(c for c in axes.collections if c.get_label() == "host")
    beside = table.query("compartment == 'host' and subset == 'all'").set_index("marker").loc[order]
    assert host.get_segments()[0][:, 0] == pytest.approx(
        beside[["effect_low", "effect_high"]].iloc[0].to_numpy()
    )
    assert figure.axes[0].get_xlabel() == "5yr minus 2mo, arcsinh units"
    assert axes.texts[-1].get_text() == f"n = {rows['n_cells_b'].max()} vs {rows['n_cells_a'].max()}"


def test_markers_are_sorted_by_the_effect_in_the_largest_subset(tables: SimpleNamespace) -> None:
    order = [t.get_text() for t in pl.compare(tables.comparisons).axes[0].get_yticklabels()]
    over_time = tables.comparisons.query("comparison == '5yr vs 2mo'")
    # of the CAR-T cells at the later time most are DN
    effects = over_time.query("compartment == 'car' and subset == 'DN'").set_index("marker")["effect"]
    assert sorted(order) == sorted(effects.index)
    assert effects[order].is_monotonic_decreasing
    asked = ["PD1", "Ki67"]
    figure = pl.compare(tables.comparisons, markers=asked)
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == asked
    by_other_names = pl.compare(tables.comparisons, markers=["CD279", "MKI67"])
    assert [t.get_text() for t in by_other_names.axes[0].get_yticklabels()] == asked


def test_an_effect_far_off_is_written_at_the_edge(tables: SimpleNamespace) -> None:
    table = tables.comparisons.query("comparison == '5yr vs 2mo'").copy()
    row = table.index[
        (table["compartment"] == "car") & (table["subset"] == "all") & (table["marker"] == "CD8a")
    ][0]
    table.loc[row, ["effect", "effect_low", "effect_high", "call"]] = [-25.0, -26.0, -24.0, "down"]
    axes = by_label(pl.compare(table))["all"]
    assert axes.get_xlim()[1] < 6
    assert "◂ -25.0" in {t.get_text() for t in axes.texts}


def test_car_vs_host_shows_one_timepoint(tables: SimpleNamespace) -> None:
    over_time = tables.comparisons.query("comparison == '5yr vs 2mo'")
    parts = [
        over_time.query("compartment == 'car'").assign(
            comparison="car vs host",
            compartment="all",
            timepoint=time,
            group_a="host",
            group_b="car",
            effect=effect,
        )
        for time, effect in (("2mo", 0.1), ("5yr", 0.3))
    ]
    table = pd.concat([over_time, *parts])
    axes = pl.compare(table, comparison="car vs host").axes[1]
    assert {x for line in axes.lines if line.get_label() in ("up", "down", "unchanged", "inconclusive")
            for x in line.get_xdata()} == {0.3}  # fmt: skip
    with pytest.raises(ParameterError, match="there is no timepoint '3yr'"):
        pl.compare(table, comparison="car vs host", timepoint="3yr")
    with pytest.raises(
        ParameterError, match="the table has no comparison '5y vs 2mo'; did you mean '5yr vs 2mo'"
    ):
        pl.compare(table, comparison="5y vs 2mo")


def test_a_subset_without_cells_says_so(tables: SimpleNamespace) -> None:
    table = tables.comparisons.copy()
    empty = (table["subset"] == "CD4") & (table["compartment"] == "car")
    table.loc[empty, ["effect", "effect_low", "effect_high"]] = np.nan
    table.loc[empty, "call"] = "inconclusive"
    assert "too few cells\nto compare" in {t.get_text() for t in by_label(pl.compare(table))["CD4"].texts}
