"""Figures of tables of shares: bars, intervals and names."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from cytocar import pl
from cytocar._core.errors import ParameterError


def by_label(figure: object) -> dict[str, object]:
    return {axes.get_label(): axes for axes in figure.axes}


def heights(axes: object) -> dict[str, list[float]]:
    return {c.get_label(): [bar.get_height() for bar in c.patches] for c in axes.containers}


def test_subsets_bars_are_the_shares_of_the_table(tables: SimpleNamespace) -> None:
    axes = by_label(pl.subsets(tables.subsets, tables.frequency))
    for compartment in ("car", "host"):
        part = tables.subsets[tables.subsets["compartment"] == compartment]
        found = heights(axes[f"{compartment} bars"])
        for subset, rows in part.groupby("subset"):
            assert found[subset] == pytest.approx((100 * rows["fraction"]).tolist())
        # every part stands on those below it
        bars = [c.patches[0] for c in axes[f"{compartment} bars"].containers]
        heights_below = np.cumsum([0, *(bar.get_height() for bar in bars[:-1])])
        assert [bar.get_y() for bar in bars] == pytest.approx(heights_below.tolist())
    assert axes["car bars"].get_ylabel() == "% of CAR-T cells"
    assert [t.get_text() for t in axes["car bars"].get_xticklabels()] == ["2mo", "1yr", "3yr", "5yr"]
    counts = [t.get_text() for t in axes["car bars"].texts]
    part = tables.subsets[tables.subsets["compartment"] == "car"]
    assert counts[:4] == [f"{n:,}" for n in part.groupby("sample_id", sort=False)["n"].sum()]


def test_subsets_intervals_are_those_of_the_table(tables: SimpleNamespace) -> None:
    axes = by_label(pl.subsets(tables.subsets, tables.frequency))["car intervals"]
    part = tables.subsets.query("compartment == 'car' and subset == 'DN'")
    bars = next(c for c in axes.containers if c.get_label() == "DN")
    ends = np.array([segment[:, 1] for segment in bars[2][0].get_segments()])
    assert ends[:, 0] == pytest.approx(100 * part["low"].to_numpy())
    assert ends[:, 1] == pytest.approx(100 * part["high"].to_numpy())


def test_samples_go_by_months_and_are_called_by_sample_where_timepoints_repeat(
    tables: SimpleNamespace,
) -> None:
    shuffled = tables.subsets.iloc[::-1]
    ticks = by_label(pl.subsets(shuffled, tables.frequency))["car bars"].get_xticklabels()
    assert [t.get_text() for t in ticks] == ["2mo", "1yr", "3yr", "5yr"]
    ticks = by_label(pl.subsets(tables.subsets))["car bars"].get_xticklabels()
    assert [t.get_text() for t in ticks] == ["P1_2mo", "P1_1yr", "P1_3yr", "P1_5yr"]
    twice = tables.frequency.assign(timepoint="2mo")
    ticks = by_label(pl.subsets(tables.subsets, twice))["car bars"].get_xticklabels()
    assert [t.get_text() for t in ticks] == ["P1_2mo", "P1_1yr", "P1_3yr", "P1_5yr"]


def test_cluster_bars_stack_to_100(tables: SimpleNamespace) -> None:
    # a run rarely has cells that are in no cluster: here those of one cluster are
    clusters = tables.clusters.replace({"cluster": {"5": "-1"}})
    axes = by_label(pl.cluster_frequencies(clusters, tables.profiles, samples=tables.frequency))
    found = heights(axes["samples"])
    assert list(found) == ["1", "2", "3", "4", "6", "7", "8", "9", "-1"]
    for cluster, rows in clusters.groupby("cluster"):
        assert found[cluster] == pytest.approx((100 * rows["fraction"]).tolist())
    assert np.sum(list(found.values()), axis=0) == pytest.approx([100] * 4)


def test_clusters_that_make_up_a_subset(tables: SimpleNamespace) -> None:
    axes = by_label(pl.cluster_frequencies(tables.clusters, tables.profiles))["subsets"]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["CD4", "CD8", "DN"]
    found = heights(axes)
    n = tables.clusters.groupby("cluster")["n"].sum()
    subset_of = tables.profiles.drop_duplicates("cluster").set_index("cluster")["subset"]
    assert set(subset_of) == {"CD4", "CD8", "DN"}
    of_subset = n.groupby(subset_of).sum()
    for cluster, subset in subset_of.items():
        share = 100 * n[cluster] / of_subset[subset]
        assert found[cluster] == pytest.approx([share if subset == s else 0 for s in ("CD4", "CD8", "DN")])


def test_a_panel_a_cluster_with_intervals(tables: SimpleNamespace) -> None:
    axes = by_label(pl.cluster_frequencies(tables.clusters, tables.profiles))["cluster 9"]
    rows = tables.clusters[tables.clusters["cluster"] == "9"]
    ends = np.array([segment[:, 1] for segment in axes.containers[0][2][0].get_segments()])
    assert ends[:, 1] == pytest.approx(100 * rows["high"].to_numpy())
    subset = tables.profiles.set_index("cluster").loc["9", "subset"].iloc[0]
    assert axes.get_title("left") == f"9 {subset}"
    assert axes.get_title("right") == f"n = {rows['n'].sum():,}"


def test_method_is_the_first_or_the_one_asked_for(tables: SimpleNamespace) -> None:
    import pandas as pd

    both = pd.concat(
        [tables.clusters, tables.clusters.query("cluster in ['1', '2']").assign(method="flowsom")]
    )
    assert len(pl.cluster_frequencies(both).axes) == 10
    assert len(pl.cluster_frequencies(both, method="flowsom").axes) == 3
    with pytest.raises(ParameterError, match="the table has no method 'flowsum'; did you mean 'flowsom'"):
        pl.cluster_frequencies(both, method="flowsum")


def test_errors_name_the_missing_column(tables: SimpleNamespace) -> None:
    with pytest.raises(
        ParameterError, match="the table of subsets is missing columns: low, high; it has sample_id"
    ):
        pl.subsets(tables.subsets.drop(columns=["low", "high"]))
    with pytest.raises(ParameterError, match="the table of clusters has no rows"):
        pl.cluster_frequencies(tables.clusters.iloc[:0])


def test_lines_between_samples_stay_within_a_patient(tables: SimpleNamespace) -> None:
    sheet = tables.frequency.assign(patient_id=["P1", "P1", "P2", "P2"])
    axes = {a.get_label(): a for a in pl.cluster_frequencies(tables.clusters, samples=sheet).axes}
    joined = [line for line in axes["cluster 1"].lines if line.get_label() == "over time"]
    assert [len(line.get_xdata()) for line in joined] == [2, 2]
    alone = tables.frequency.assign(patient_id=["P1", "P2", "P3", "P4"])
    axes = {a.get_label(): a for a in pl.cluster_frequencies(tables.clusters, samples=alone).axes}
    assert [line for line in axes["cluster 1"].lines if line.get_label() == "over time"] == []
