"""The simulated study on disk: what is written is what `legend2` gives, and a study that can be read."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cytocar import ParameterError, StudyError, datasets, io
from cytocar.io._fcs import write
from cytocar.io._fcs.header import read_header
from cytocar.io._study.config import load_config
from cytocar.panel import Panel

SAMPLES = ["P1_2mo", "P1_1yr", "P1_3yr", "P1_5yr", "HD1_control"]


def fingerprints(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_files_of_the_study(study: Path) -> None:
    expected = {"study.yaml", "panel.csv", "samples.csv", "spillover.csv"}
    expected |= {f"fcs/{sample}.fcs" for sample in SAMPLES} | {
        f"truth/events/{sample}.csv" for sample in SAMPLES
    }
    expected |= {f"truth/{name}.csv" for name in ("spillover", "frequencies", "clusters", "signs")}
    assert set(fingerprints(study)) == expected
    assert not list(study.parent.glob(".study*"))
    assert stat.S_IMODE(study.stat().st_mode) & 0o500 == 0o500


def test_read_back_is_what_legend2_gives(study: Path) -> None:
    direct = datasets.legend2(cells=2_000, seed=7, negative_control=True)
    for sample in SAMPLES:
        here = (direct.obs["sample_id"] == sample).to_numpy()
        back = io.read_fcs(study / "fcs" / f"{sample}.fcs", panel="legend2")
        assert list(back.var_names) == list(direct.var_names)
        np.testing.assert_array_equal(back.X, direct.X[here])
        for column in ("Time", "Event_length", "Center", "Offset", "Width", "Residual"):
            np.testing.assert_array_equal(back.obs[column].to_numpy(), direct.obs[column][here].to_numpy())
        truth = pd.read_csv(study / "truth" / "events" / f"{sample}.csv", keep_default_na=False)
        assert list(truth["event_index"]) == list(range(here.sum()))
        for column in ("type", "lineage", "population", "is_car", "subset", "cluster", "false_positive"):
            assert list(truth[column]) == list(direct.obs[f"truth_{column}"][here]), column


def test_looks_like_a_helios_file(study: Path) -> None:
    header = read_header(study / "fcs" / "P1_5yr.fcs")
    assert header.keywords["$CYT"].startswith("DVSSCIENCES-CYTOF")
    assert not header.tolerances
    channels = {channel.pnn: channel.pns for channel in header.channels}
    assert channels["Yb171Di"] == "171Yb_GZMB"
    assert channels["Ir191Di"] == "191Ir_DNA1"
    assert channels["Ce140Di"] == "140Ce_Bead140"
    names = list(channels)
    assert names[:3] == ["Time", "Event_length", "Y89Di"]
    assert names[-5:] == ["Bi209Di", "Center", "Offset", "Width", "Residual"]
    guessed = io.read_fcs(study / "fcs" / "P1_5yr.fcs")
    panel = Panel.read("legend2").var
    stained = panel["role"] != "background"
    idle = {f"{row.mass}{row.metal}" for row in panel[~stained].itertuples()}
    assert set(guessed.var_names) == set(panel.index[stained]) | idle


def test_the_study_can_be_read(study: Path) -> None:
    adata = io.read_study(study / "study.yaml")
    assert set(adata.obs["sample_id"].astype(str)) == set(SAMPLES)
    assert adata.n_vars == 49
    sheet = pd.read_csv(study / "samples.csv", keep_default_na=False, dtype=str)
    assert list(sheet["months"]) == ["2", "12", "36", "60", ""]
    assert list(sheet["role"]) == ["patient"] * 4 + ["negative_control"]
    own, built_in = Panel.read(study / "panel.csv"), Panel.read("legend2")
    pd.testing.assert_frame_equal(own.frame, built_in.frame)


def test_truth_is_consistent(study: Path) -> None:
    frequencies = pd.read_csv(study / "truth" / "frequencies.csv").set_index("sample_id")
    clusters = pd.read_csv(study / "truth" / "clusters.csv")
    for sample in SAMPLES:
        truth = pd.read_csv(study / "truth" / "events" / f"{sample}.csv", keep_default_na=False)
        live = truth[truth["type"] == "cell"]
        row = frequencies.loc[sample]
        assert row["n_cd45"] == len(live) == 2_000
        assert row["n_car"] == truth["is_car"].sum()
        assert row["pct_of_cd45"] == pytest.approx(100 * row["n_car"] / 2_000)
        car = live[live["is_car"]]
        host = live[(live["lineage"] == "T") & ~live["is_car"]]
        assert row["n_host_t"] == len(host)
        for subset in ("CD4", "CD8", "DN"):
            assert row[f"n_{subset}"] == (car["subset"] == subset).sum()
            assert row[f"host_n_{subset}"] == (host["subset"] == subset).sum()
        its = clusters[clusters["sample_id"] == sample].set_index("cluster")
        assert its["n"].to_dict() == car["cluster"].value_counts().reindex(its.index, fill_value=0).to_dict()
        assert set(live.loc[~live["is_car"], "cluster"]) == {""}
        elsewhere = truth[truth["type"] != "cell"]
        assert not elsewhere["is_car"].any()
        assert set(elsewhere["subset"]) == {""}
        assert set(truth.loc[truth["type"] == "bead", "population"]) == {""}
        assert truth.loc[truth["type"] == "doublet", "population"].str.contains("+", regex=False).all()
    assert frequencies.loc["HD1_control", "n_car"] == 0


def test_signs_are_those_of_the_publication(study: Path) -> None:
    signs = pd.read_csv(study / "truth" / "signs.csv", keep_default_na=False)
    found = {
        (row.comparison, row.subset, sign): set(part["marker"])
        for (row, sign, part) in (
            (part.iloc[0], key[2], part) for key, part in signs.groupby(["comparison", "subset", "expected"])
        )
    }
    assert found == {
        ("5yr vs 2mo", "DN", "up"): {"HLADR", "CCR7", "CD27", "CD28", "CD107a"},
        ("5yr vs 2mo", "DN", "equal"): {"Ki67", "CD38"},
        ("5yr vs 2mo", "DN", "down"): {"GZMB", "PD1", "TIM3"},
        ("5yr vs 2mo", "CD8", "equal"): {"Ki67", "HLADR"},
        ("5yr vs 2mo", "CD8", "down"): {"GZMB", "PD1"},
        ("car vs host", "all", "up"): {"Ki67"},
        ("car vs host", "all", "down"): {"PD1", "CD57", "GZMB", "CD107a"},
    }


def test_signs_are_true_of_the_cells() -> None:
    """Mean signal of many cells without spillover and drift moves as signs.csv says."""
    adata = datasets.legend2(
        cells=20_000,
        timepoints=["2mo", "5yr"],
        spill=False,
        drift=False,
        car_fraction={"2mo": 20.0, "5yr": 20.0},
    )
    values = np.arcsinh(adata.X / 5)
    car = adata.obs["truth_is_car"].to_numpy()
    at = {name: (adata.obs["timepoint"] == name).to_numpy() for name in ("2mo", "5yr")}
    for subset, signs in (
        ("DN", {"HLADR": 1, "CCR7": 1, "CD27": 1, "CD28": 1, "CD107a": 1, "Ki67": 0, "CD38": 0}),
        ("DN", {"GZMB": -1, "PD1": -1, "TIM3": -1}),
        ("CD8", {"Ki67": 0, "HLADR": 0, "GZMB": -1, "PD1": -1}),
    ):
        its = car & (adata.obs["truth_subset"] == subset).to_numpy()
        for marker, sign in signs.items():
            column = values[:, adata.var_names.get_loc(marker)]
            change = column[its & at["5yr"]].mean() - column[its & at["2mo"]].mean()
            assert abs(change) < 0.1 if sign == 0 else change * sign > 0.2, (subset, marker, change)
    host = (
        at["5yr"]
        & ~car
        & ((adata.obs["truth_lineage"] == "T") & (adata.obs["truth_type"] == "cell")).to_numpy()
    )
    for marker, sign in {"Ki67": 1, "PD1": -1, "CD57": -1, "GZMB": -1, "CD107a": -1}.items():
        column = values[:, adata.var_names.get_loc(marker)]
        change = column[car & at["5yr"]].mean() - column[host].mean()
        assert change * sign > 0.2, (marker, change)


def test_equal_truth_has_no_signs_and_no_spill_an_identity(tmp_path: Path) -> None:
    datasets.write_legend2(tmp_path / "a", cells=300, equal_truth=True, spill=False)
    signs = pd.read_csv(tmp_path / "a" / "truth" / "signs.csv")
    assert set(signs["expected"]) == {"equal"}
    assert set(signs["comparison"]) == {"5yr vs 2mo"}
    spillover = pd.read_csv(tmp_path / "a" / "truth" / "spillover.csv").set_index("channel")
    np.testing.assert_array_equal(spillover.to_numpy(), np.eye(49))


def test_spillover_names_its_channels(study: Path) -> None:
    spillover = pd.read_csv(study / "truth" / "spillover.csv").set_index("channel")
    assert list(spillover.index) == list(spillover.columns)
    assert spillover.loc["Nd146Di", "Dy162Di"] == pytest.approx(0.01732)


def test_without_car_t_cells_nothing_is_compared(tmp_path: Path) -> None:
    datasets.write_legend2(tmp_path / "a", cells=300, car_fraction={"5yr": 0.0})
    assert pd.read_csv(tmp_path / "a" / "truth" / "signs.csv").empty


def test_same_seed_writes_the_same_bytes(study: Path, tmp_path: Path) -> None:
    calls: list[tuple[int, int, str]] = []
    (tmp_path / "again").mkdir()  # an empty folder may be there
    datasets.write_legend2(
        tmp_path / "again",
        cells=2_000,
        seed=7,
        negative_control=True,
        progress=lambda *args: calls.append(args),
    )
    assert fingerprints(tmp_path / "again") == fingerprints(study)
    assert calls == [(i, 5, sample) for i, sample in enumerate(SAMPLES)]


def test_refuses_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("dear")
    with pytest.raises(StudyError, match=r"mine: is there already and holds 1 entries"):
        datasets.write_legend2(tmp_path / "mine", cells=300)
    assert (tmp_path / "mine" / "notes.txt").read_text() == "dear"
    with pytest.raises(StudyError, match="is a file"):
        datasets.write_legend2(tmp_path / "mine" / "notes.txt", cells=300)


def test_a_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(write, "write_events", fail)
    with pytest.raises(OSError, match="disk full"):
        datasets.write_legend2(tmp_path / "study", cells=300)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_seed_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="seed is 'x'"):
        datasets.write_legend2(tmp_path / "study", seed="x")  # type: ignore[arg-type]  # the wrong type is the test
    assert list(tmp_path.iterdir()) == []


def test_spillover_as_measured_is_what_the_study_compensates_with(study: Path, tmp_path: Path) -> None:
    config, problems = load_config(study / "study.yaml")
    assert problems == []
    assert config is not None
    assert config.compensation == "spillover.csv"
    measured = pd.read_csv(study / "spillover.csv", index_col="channel")
    truth = pd.read_csv(study / "truth" / "spillover.csv", index_col="channel")
    never = measured.isna().all(axis=1)
    assert sorted(measured.index[never]) == sorted(
        ["Xe131Di", "Ba138Di", "Ce140Di", "Ir191Di", "Ir193Di", "Pt194Di", "Pt195Di", "Pb208Di"]
    )
    assert 0 < (measured - truth)[~never].abs().to_numpy().max() < 5e-4
    datasets.write_legend2(tmp_path / "plain", cells=200, timepoints=["5yr"], spill=False)
    config, _ = load_config(tmp_path / "plain" / "study.yaml")
    assert config is not None
    assert config.compensation == "off"
    assert (
        pd.read_csv(tmp_path / "plain" / "spillover.csv", index_col="channel").to_numpy() == np.eye(49)
    ).all()
