"""What figures show, arranged from tables and cells before anything is drawn: no canvas is needed for these."""

from __future__ import annotations

from types import SimpleNamespace

import anndata
import numpy as np
import pandas as pd
import pytest

from cytocar.pl._clusters import cluster_frequencies, cluster_groups, heatmap
from cytocar.pl._cohorts import clinical, cohort
from cytocar.pl._gates import multiverse, ridges, robustness, run_page, thresholds
from cytocar.pl._maps import maps, points
from cytocar.pl._markers import compare, violin_panels, violins
from cytocar.pl._page import inputs
from cytocar.pl._rare import alluvial, kinetics, subsets
from cytocar.pl._steps import cleaning, debarcode


def test_shares_of_subsets_are_those_of_the_cells(tables: SimpleNamespace, cells: anndata.AnnData) -> None:
    shown = subsets.arrange(tables.subsets, tables.frequency)
    assert shown.names == ["2mo", "1yr", "3yr", "5yr"]
    assert shown.subsets == ["CD4", "CD8", "DN", "DP"]
    cars = cells.obs[cells.obs["compartment"] == "car"]
    counts = cars.groupby(["timepoint", "subset"], observed=False).size().unstack()[shown.subsets]
    assert shown.of["car"]["n"].tolist() == counts.to_numpy().tolist()
    assert shown.of["car"]["fraction"].sum(axis=1) == pytest.approx([100] * 4)


def test_clusters_of_a_subset_hold_all_cells_of_the_subset(tables: SimpleNamespace) -> None:
    shown = cluster_frequencies.arrange(tables.clusters, tables.profiles, samples=tables.frequency)
    assert list(shown.made_of.index) == ["CD4", "CD8", "DN"]
    assert shown.made_of.to_numpy().sum() == tables.clusters["n"].sum()
    # a cluster belongs to one subset
    assert (shown.made_of > 0).sum(axis=0).max() == 1
    assert shown.joined == [[0, 1, 2, 3]]


def test_groups_keep_the_clusters_with_the_smallest_p(tables: SimpleNamespace) -> None:
    sheet = tables.frequency[["sample_id"]].assign(group=["early", "early", "late", "late"])
    tests = pd.DataFrame({"cluster": ["7", "2"], "p_adjusted": [0.01, 0.5]})
    shown = cluster_groups.arrange(tables.clusters, sheet, groupby="group", tests=tests, most=2)
    assert list(shown.shares.columns) == ["2", "7"]
    assert shown.groups == ["early", "late"]
    of_all = cluster_groups.arrange(tables.clusters, sheet, groupby="group").shares
    assert of_all.sum(axis=1).tolist() == pytest.approx([100] * 4)


def test_rows_of_the_heat_map_go_by_subset(cells: anndata.AnnData) -> None:
    shown = heatmap.arrange(cells, "phenograph")
    order = [shown.subset_of[group] for group in shown.groups]
    assert order == sorted(order)
    assert shown.counts.sum() == (cells.obs["phenograph"] != "").sum()
    assert shown.scaled.shape == (len(shown.groups), len(shown.markers))
    assert 0 <= shown.scaled.min() < shown.scaled.max() <= 1


def test_ribbons_of_patients_are_apart(tables: SimpleNamespace) -> None:
    sheet = tables.frequency.assign(patient_id=["A", "B", "A", "B"])
    panels = alluvial.arrange(tables.subsets, sheet)
    assert [(panel.patient, panel.names) for panel in panels] == [
        ("A", ["2mo", "3yr"]),
        ("B", ["1yr", "5yr"]),
    ]


def test_the_fall_halves_the_share_in_a_half_life(tables: SimpleNamespace) -> None:
    (course,) = kinetics.arrange(tables.frequency, tables.kinetics).of
    assert course.fall is not None
    (start, high), (end, low) = course.fall
    half_life = course.measures["half_life"][0]
    assert high / low == pytest.approx(2 ** ((end - start) / half_life))
    late = tables.frequency.assign(call=["detected", "quantified", "quantified", "not_detected"])
    (course,) = kinetics.arrange(late, tables.kinetics).of
    assert course.fall is not None
    assert course.fall[:, 0].tolist() == [12, 36]


def test_axes_of_kinetics_hold_every_interval_and_limit(tables: SimpleNamespace) -> None:
    shown = kinetics.arrange(tables.frequency)
    assert shown.low < tables.frequency["pct_low"].min()
    assert shown.high > tables.frequency["pct_high"].max()
    assert [limit.short for limit in shown.limits()] == ["LoD", "LoQ"]
    assert kinetics.arrange(tables.frequency.assign(lod_events=0.0)).limits()[0].short == "LoQ"


def test_panels_of_a_map_share_the_cells_out(cells: anndata.AnnData) -> None:
    on_map = points.Map(cells, "tsne")
    shown = maps.arrange(cells, on_map, "CD4", "timepoint")
    assert list(shown.masks) == ["2mo", "1yr", "3yr", "5yr"]
    assert np.sum(list(shown.masks.values()), axis=0).tolist() == [1] * on_map.rows.size
    assert shown.values is not None
    assert shown.groups is None
    assert set(maps.arrange(cells, on_map, None, None).used) == set(map(str, range(1, 10)))


def test_violins_hold_every_cell_of_their_group(cells: anndata.AnnData) -> None:
    rows = (cells.obs["compartment"] == "car").to_numpy()
    panels, parts = violins.arrange(cells, ["ki-67"], "timepoint", split="subset", rows=rows)
    assert list(parts) == ["CD4", "CD8", "DN"]
    assert sum(len(violin.values) for panel in panels for violin in panel.violins) == rows.sum()
    low, high = violin_panels.value_limits(panels)["Ki67"]
    of_drawn = np.concatenate([v.values for p in panels for v in p.violins if len(v.values) >= 3])
    assert low == of_drawn.min()
    assert high <= of_drawn.max()


def test_car_stands_left_of_host_in_each_panel(cells: anndata.AnnData) -> None:
    markers, panels = violins.arrange_sides(cells, ["PD1"])
    assert markers == ["PD1"]
    assert [panel.title for panel in panels][-1] == "all"
    assert {tuple(violin.side for violin in panel.violins) for panel in panels} == {(-1, 1) * 4}


def test_a_comparison_of_car_with_host_is_within_the_last_timepoint(tables: SimpleNamespace) -> None:
    shown = compare.arrange(tables.comparisons, comparison="car vs host")
    assert shown.heading == "CAR-T against host T cells at 5yr"
    assert {str(time) for rows in shown.subsets.values() for time in rows["timepoint"]} == {"5yr"}
    assert shown.host == {}
    assert set(compare.arrange(tables.comparisons).host) == {"CD4", "CD8", "DN", "all"}


def test_thresholds_have_a_curve_and_a_row_per_sample(tables: SimpleNamespace) -> None:
    shown = thresholds.arrange(tables.densities, tables.thresholds, ["CD3"])
    (panel,) = shown.of
    assert list(panel.curves) == list(panel.rows) == shown.samples
    assert panel.population == "CD45+"


def test_a_hill_is_cut_only_where_its_top_is_far_above_the_rest() -> None:
    x = np.linspace(0, 5, 200)
    negative, positive = np.exp(-((x - 0.2) ** 2) / 0.01), np.exp(-((x - 4) ** 2) / 0.1)
    assert ridges.hill(x, negative + 0.01 * positive, 2.5).cut
    assert not ridges.hill(x, negative + positive, 2.5).cut
    assert not ridges.hill(x, negative + 0.01 * positive, np.nan).cut


def test_gates_of_a_run_end_where_the_strategy_says(tables: SimpleNamespace) -> None:
    from cytocar.gate import car_t

    across, boxed = (
        run_page.arrange(
            run_page.RunTables(tables.plots, tables.thresholds, tables.ledger, strategy), None, 1, 2
        )
        for strategy in (None, car_t())
    )
    assert across.page == inputs.Page(("P1_2mo", "P1_1yr"), 1, 4, 2)
    assert [biaxial.parent for biaxial in across.biaxials][:2] == ["cells", "CD45+"]
    assert across.biaxials[5].goes_on == ("CAR-T", "Host T")
    row = across.rows[0]
    assert row.counts["CAR-T"] == tables.frequency["n_car"].iloc[0]
    # thresholds alone cut the whole panel, gates only their part of it
    lengths = [
        max(np.ptp(line, axis=0).max() for line in page.rows[0].gates["6"]) for page in (across, boxed)
    ]
    assert lengths[0] >= lengths[1]
    image = across.biaxials[0].image(row.bins["1"])
    assert np.nansum(image) == row.bins["1"]["n"].sum()


def test_thresholds_that_hardly_move_a_number_are_only_counted() -> None:
    table = pd.DataFrame(
        {
            "threshold": ["A", "B", "C"],
            "result": 5.0,
            "result_low": [5.0, 4.0, 5.01],
            "result_high": [6.0, 4.5, 5.0],
        }
    )
    moves = robustness.moves(table)
    assert [row["threshold"] for row in moves.moving] == ["A", "B"]
    assert moves.still == 1
    assert robustness.moves(table.assign(result=np.nan)).moving == []


def test_the_universe_as_found_is_always_drawn() -> None:
    n = 500
    table = pd.DataFrame(
        {"sample_id": "a", "measure": "m", "universe": range(n), "result": np.arange(n) % 97,
         "rule_VHH": ["x", "y"] * 250}
    )  # fmt: skip
    shown = multiverse.arrange_one(table)
    assert len(shown.rows) <= 81
    assert 0 in shown.rows["universe"].to_numpy()
    assert shown.n == n
    assert np.sum(list(shown.used.values()), axis=0).tolist() == [1] * len(shown.rows)


def test_effects_go_from_the_largest_to_the_smallest_of_those_with_small_p() -> None:
    table = pd.DataFrame(
        {
            "contrast": "R vs NR", "cluster": ["1", "2", "3"], "group_a": "NR", "group_b": "R",
            "effect": [0.5, 2.0, -1.0], "effect_low": -2.0, "effect_high": 2.5, "effect_unit": "log2",
            "p_value": [0.9, 0.01, 0.02], "p_adjusted": 0.5, "p_minimum": 0.1, "n_patients_a": 3, "n_patients_b": 3,
        }
    )  # fmt: skip
    shown = cohort.arrange(table, ["cluster"], most=2)
    assert shown.names == ["2", "3"]
    assert shown.known == 3
    assert shown.reach > 2.5


def test_patients_at_risk_are_those_not_yet_gone() -> None:
    curve = pd.DataFrame({"group": "all", "time": [2, 5, 9], "n_events": [1, 0, 1], "n_censored": [0, 2, 0]})
    assert clinical.at_risk(curve, [0, 2, 3, 9, 10]).loc["all"].tolist() == [4, 4, 3, 1, 0]


def test_bins_of_the_clean_up_lie_on_their_grid() -> None:
    bins = pd.DataFrame({"x": [2.0, 2.5, 4.0], "y": [5.0, 5.5, 5.0], "n": [90, 7, 3]})
    grid = cleaning.bin_grid(bins)
    image = grid.image(bins)
    assert (grid.step, grid.x, grid.y, grid.most) == (0.5, (1.75, 4.25), (4.75, 5.75), 90)
    assert image[0, 0] == 90
    assert image[1, 1] == 7
    assert image[0, 4] == 3
    assert np.isnan(image).sum() == image.size - 3


def test_events_drawn_are_evenly_spaced_with_both_ends() -> None:
    rows = np.arange(1000)
    drawn = debarcode.evenly(rows, 11)
    assert (drawn[0], drawn[-1], drawn.size) == (0, 999, 11)
    assert set(np.diff(drawn)) <= {99, 100, 101}
    assert debarcode.evenly(rows, 5000) is rows
