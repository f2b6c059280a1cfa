"""Every option changes what it says, and only that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from cytocar import ParameterError, datasets
from cytocar.datasets._design import Settings, tubes
from cytocar.datasets._layout import layout
from cytocar.datasets._spill import spillover, spread
from cytocar.panel import Panel

if TYPE_CHECKING:
    from anndata import AnnData

SMALL: dict[str, Any] = {"cells": 3_000, "seed": 5, "timepoints": ["2mo"], "spill": False, "drift": False}


def changed_columns(a: AnnData, b: AnnData) -> set[str]:
    return {str(name) for i, name in enumerate(a.var_names) if not np.array_equal(a.X[:, i], b.X[:, i])}


@pytest.fixture(scope="module")
def small() -> AnnData:
    return datasets.legend2(**SMALL)


def test_same_seed_same_events_other_seed_others(small: AnnData) -> None:
    again = datasets.legend2(**SMALL)
    np.testing.assert_array_equal(small.X, again.X)
    pd.testing.assert_frame_equal(small.obs, again.obs)
    other = datasets.legend2(**(SMALL | {"seed": 6}))
    assert len(changed_columns(small, other)) == small.n_vars


def test_a_file_is_the_same_whichever_others_are_made() -> None:
    alone = datasets.legend2(cells=1_000, timepoints=["5yr"])
    among = datasets.legend2(cells=1_000, negative_control=True)
    among = among[(among.obs["sample_id"] == "P1_5yr").to_numpy()]
    np.testing.assert_array_equal(alone.X, among.X)
    assert list(alone.obs_names) == list(among.obs_names)


@pytest.mark.parametrize("option", ["spill", "drift"])
def test_spill_and_drift_change_counts_only(small: AnnData, option: str) -> None:
    other = datasets.legend2(**(SMALL | {option: True}))
    pd.testing.assert_frame_equal(small.obs, other.obs)
    assert len(changed_columns(small, other)) > 40


def test_spill_follows_the_matrix(plain: AnnData, spilled: AnnData) -> None:
    """The same cells with and without spillover: means of groups of events, through the matrix."""
    pd.testing.assert_frame_equal(plain.obs, spilled.obs)
    matrix = spillover(list(plain.var["channel"]), [int(mass) for mass in plain.var["mass"]]).to_numpy()
    before, after = np.ceil(plain.X.astype(float)), np.ceil(spilled.X.astype(float))
    groups = plain.obs["truth_type"].astype(str) + plain.obs["truth_population"].astype(str)
    for group in groups.value_counts().index[:30]:
        here = (groups == group).to_numpy()
        expected = before[here].mean(axis=0) @ matrix
        # Only counting noise is left: both are Poisson about the same means.
        error = np.sqrt((expected + before[here].mean(axis=0)) / here.sum()) + 0.01
        assert np.all(np.abs(after[here].mean(axis=0) - expected) < 5.5 * error), group


def test_spillover_is_measured_where_it_was_measured_else_by_mass() -> None:
    names = ["Nd146Di", "Dy162Di", "Nd145Di", "Y89Di", "In115Di", "Cd116Di", "Xe131Di", "Ce140Di", "Pr141Di",
             "Gd156Di", "La139Di", "Lu175Di", "Ir191Di", "Pt194Di", "Pt195Di"]  # fmt: skip
    masses = [146, 162, 145, 89, 115, 116, 131, 140, 141, 156, 139, 175, 191, 194, 195]
    matrix = spillover(names, masses)
    assert np.all(np.diag(matrix) == 1)
    assert matrix.loc["Nd146Di", "Dy162Di"] == pytest.approx(0.01732)
    assert matrix.loc["Nd146Di", "Nd145Di"] == pytest.approx(0.00134)
    for emitter, receiver, value in (
        ("Ce140Di", "Pr141Di", 0.005),
        ("Ce140Di", "La139Di", 0.002),
        ("Ce140Di", "Gd156Di", 0.006),
        ("In115Di", "Cd116Di", 0.005),
        ("Cd116Di", "In115Di", 0.002),
        ("In115Di", "Xe131Di", 0.006),
        ("Lu175Di", "Ir191Di", 0.006),
        ("Pt194Di", "Pt195Di", 0.005),
        ("Y89Di", "Nd146Di", 0.0),
        ("Pt195Di", "Lu175Di", 0.0),
    ):
        assert matrix.loc[emitter, receiver] == value, (emitter, receiver)
    assert not matrix.isna().any(axis=None)


def test_spread_is_the_product_with_the_matrix() -> None:
    rng = np.random.default_rng(0)
    signal, matrix = rng.exponential(50, (7, 40)), rng.random((7, 7)) * (rng.random((7, 7)) < 0.4)
    np.testing.assert_allclose(spread(signal, matrix), matrix.T @ signal)


def test_without_compensation_cd8_cells_look_ki67_positive(plain: AnnData, spilled: AnnData) -> None:
    naive = (plain.obs["truth_population"] == "H_CD8_naive").to_numpy() & (
        plain.obs["truth_type"] == "cell"
    ).to_numpy()
    at = plain.var_names.get_loc("Ki67")
    assert np.median(spilled.X[naive, at]) > 10 * np.median(plain.X[naive, at]) + 10


def test_drift_of_the_beads(drifting: AnnData) -> None:
    """The gain falls from 1 to 0.72, rises by 8 % after the pause, and heavy channels lose 6 % more per 20 Da."""
    level: dict[tuple[str, str], float] = {}
    for marker, mean in (("Bead140", 2778.0), ("ICOS", 2740.0)):
        for sample in drifting.obs["sample_id"].cat.categories:
            here = (drifting.obs["sample_id"] == sample).to_numpy()
            beads = here & (drifting.obs["truth_type"] == "bead").to_numpy()
            counts = drifting.X[beads, drifting.var_names.get_loc(marker)]
            event = drifting.obs["event_index"][beads].to_numpy() / here.sum()
            before, after = event < 0.55, event >= 0.55
            for name, part, at in (
                ("start", before, 0.0),
                ("break", before, 0.55),
                ("resume", after, 0.55),
                ("end", after, 1.0),
            ):
                slope, level_0 = np.polyfit(event[part], counts[part], 1)
                level[marker, f"{sample} {name}"] = (level_0 + slope * at) / mean
    for marker, tilt in (("Bead140", 1 + 0.045), ("ICOS", 1 - 0.06)):
        for sample, gain in (("P1_2mo", 1.0), ("P1_1yr", 0.85), ("P1_3yr", 1.1), ("P1_5yr", 0.95)):
            assert level[marker, f"{sample} start"] == pytest.approx(gain, rel=0.03)
            end = gain * 0.72 * 1.08 * tilt
            assert level[marker, f"{sample} end"] == pytest.approx(end, rel=0.04)
            jump = level[marker, f"{sample} resume"] / level[marker, f"{sample} break"]
            assert jump == pytest.approx(1.08, abs=0.04)


def test_false_positives_are_host_t_cells_with_vhh_signal(small: AnnData) -> None:
    none = datasets.legend2(**(SMALL | {"false_positive_rate": 0.0}))
    many = datasets.legend2(**(SMALL | {"false_positive_rate": 0.2}))
    assert not none.obs["truth_false_positive"].any()
    assert changed_columns(none, many) == {"VHH"}
    flagged = many.obs["truth_false_positive"].to_numpy()
    pd.testing.assert_frame_equal(
        none.obs.drop(columns="truth_false_positive"), many.obs.drop(columns="truth_false_positive")
    )
    host_t = (
        (many.obs["truth_type"] == "cell") & (many.obs["truth_lineage"] == "T") & ~many.obs["truth_is_car"]
    ).to_numpy()
    assert not (flagged & ~host_t).any()
    assert flagged.sum() / host_t.sum() == pytest.approx(0.2, abs=0.04)
    vhh = np.arcsinh(many.X[:, many.var_names.get_loc("VHH")] / 5)
    assert vhh[flagged].mean() == pytest.approx(3.6, abs=0.1)
    assert vhh[host_t & ~flagged].max() < 3.2


def test_host_dn_is_a_share_of_the_host_t_cells() -> None:
    tube, without = (tubes(Settings(cells=50_000, host_dn=share))[0] for share in (0.04, 0.0))
    t_cells = {name: n for name, n in tube.counts.items() if name.startswith("H_")}
    assert t_cells["H_DN_gd"] == pytest.approx(0.04 * sum(t_cells.values()), abs=1)
    assert sum(t_cells.values()) == pytest.approx(
        sum(n for k, n in without.counts.items() if k.startswith("H_")), abs=2
    )
    others = [name for name in tube.counts if not name.startswith("H_")]
    assert all(abs(tube.counts[name] - without.counts[name]) <= 1 for name in others)
    adata = datasets.legend2(**(SMALL | {"host_dn": 1.0}))
    host = adata.obs[
        (adata.obs["truth_lineage"] == "T") & (adata.obs["truth_type"] == "cell") & ~adata.obs["truth_is_car"]
    ]
    assert set(host["truth_subset"]) == {"DN"}


def test_car_fraction_is_percent_of_cd45() -> None:
    adata = datasets.legend2(cells=2_000, timepoints=["2mo", "5yr"], car_fraction={"5yr": 0, "2mo": 12.5})
    found = adata.obs.groupby("timepoint", observed=True)["truth_is_car"].sum().to_dict()
    assert found == {"2mo": 250, "5yr": 0}
    assert (
        not adata.obs["truth_population"][adata.obs["timepoint"] == "5yr"]
        .astype(str)
        .str.contains("CAR")
        .any()
    )
    all_car = tubes(Settings(cells=900, car_fraction={"2mo": 100.0}))[0]
    assert all_car.n_car == sum(all_car.counts.values()) == 900


def test_equal_truth_gives_all_timepoints_the_first() -> None:
    planned = tubes(Settings(cells=20_000, equal_truth=True))
    assert all(tube.counts == planned[0].counts for tube in planned)
    assert planned[0].counts == tubes(Settings(cells=20_000))[0].counts
    # The tubes still differ in sensitivity, and in the cells drawn.
    assert [tube.gain for tube in planned] == [1.0, 0.85, 1.1, 0.95]
    with_share = tubes(Settings(cells=20_000, equal_truth=True, car_fraction={"2mo": 1.0}))
    assert [tube.n_car for tube in with_share] == [200] * 4


def test_staining_shift_moves_the_positives_of_a_file(small: AnnData) -> None:
    shifted = datasets.legend2(**(SMALL | {"staining_shift": 0.3, "timepoints": ["2mo", "1yr"]}))
    straight = datasets.legend2(**(SMALL | {"timepoints": ["2mo", "1yr"]}))
    pd.testing.assert_frame_equal(shifted.obs, straight.obs)
    antibodies = set(straight.var_names[straight.var["role"] == "marker"])
    assert changed_columns(shifted, straight) <= antibodies
    cell = (straight.obs["truth_type"] == "cell").to_numpy()
    moved = {}
    for sample in ("P1_2mo", "P1_1yr"):
        here = cell & (straight.obs["sample_id"] == sample).to_numpy()
        for i, marker in enumerate(straight.var_names):
            before, after = straight.X[here, i], shifted.X[here, i]
            bright = before > 40
            if marker in antibodies and bright.sum() > 200:
                change = np.arcsinh(after[bright] / 5) - np.arcsinh(before[bright] / 5)
                moved[sample, marker] = np.median(change)
                # One shift for the file and marker: what is left is counting noise.
                assert change.std() < 0.35, marker
    shifts = np.array(list(moved.values()))
    assert len(shifts) > 20
    assert 0.18 < shifts.std() < 0.45
    pairs = [
        (moved["P1_2mo", m], moved["P1_1yr", m]) for s, m in moved if s == "P1_2mo" and ("P1_1yr", m) in moved
    ]
    assert abs(np.corrcoef(np.array(pairs).T)[0, 1]) < 0.75


def test_negative_control_has_no_car_t_cells() -> None:
    adata = datasets.legend2(cells=1_000, timepoints=["5yr"], negative_control=True, false_positive_rate=0.0)
    control = adata.obs[adata.obs["sample_id"] == "HD1_control"]
    assert len(control) == len(adata.obs) / 2
    assert not control["truth_population"].astype(str).str.contains("CAR").any()
    assert control["months"].isna().all()
    assert set(control["patient_id"]) == {"HD1"}


def test_matrix_has_the_panel_and_its_state(drifting: AnnData) -> None:
    panel = Panel.read("legend2")
    assert tuple(drifting.var_names) == panel.markers
    assert drifting.n_vars == 49
    assert int(drifting.var["used_for_clustering"].sum()) == 33
    assert drifting.uns["cytocar"]["state"] == "counts"
    assert list(drifting.obs["timepoint"].cat.categories) == ["2mo", "1yr", "3yr", "5yr"]
    assert drifting.obs["timepoint"].cat.ordered
    assert drifting.obs_names.is_unique
    assert layout().channels[0] == "Y89Di"


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"cells": 0}, "cells is 0"),
        ({"cells": 10.5}, r"cells is 10\.5"),
        ({"cells": True}, "cells is True"),
        ({"seed": -1}, "seed is -1"),
        ({"spill": 1}, "spill is 1"),
        ({"drift": "no"}, "drift is 'no'"),
        ({"equal_truth": None}, "equal_truth is None"),
        ({"negative_control": 0}, "negative_control is 0"),
        ({"host_dn": 5}, r"host_dn is 5; .*0\.02 for 2 %"),
        ({"host_dn": True}, "host_dn is True"),
        ({"false_positive_rate": -1e-9}, "false_positive_rate is -1e-09"),
        ({"staining_shift": float("nan")}, "staining_shift is nan"),
        ({"staining_shift": float("inf")}, "staining_shift is inf"),
        ({"car_fraction": 3.0}, r"car_fraction is 3\.0"),
        ({"car_fraction": {"5y": 0}}, "names '5y'; did you mean '5yr'"),
        ({"car_fraction": {"5yr": 101}}, r"car_fraction\['5yr'\] is 101"),
        ({"car_fraction": {"5yr": 0}, "equal_truth": True}, "names '5yr' while equal_truth is True"),
        ({"car_fraction": {"5yr": 0}, "timepoints": ["2mo"]}, "names '5yr'; known: 2mo"),
        ({"timepoints": []}, r"timepoints is \[\]"),
        ({"timepoints": ["2mo", "2mo"]}, "each of them once"),
        ({"timepoints": "2mo"}, r"give a list, such as \['2mo'\]"),
        ({"timepoints": ["2 mo"]}, "holds '2 mo'; did you mean '2mo'"),
    ],
)
def test_arguments_outside_their_domain(option: dict[str, Any], said: str, tmp_path: Any) -> None:
    with pytest.raises(ParameterError, match=said):
        datasets.legend2(**option)
    with pytest.raises(ParameterError, match=said):
        datasets.write_legend2(tmp_path / "study", **option)
    assert not any(tmp_path.iterdir())
