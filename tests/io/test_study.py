from __future__ import annotations

import json
from pathlib import Path

import anndata
import numpy as np
import pytest

import cytocar as cc
from cytocar._core.measured import not_measured
from cytocar.io._fcs.write import write_events
from cytocar.io._study.folder import load_study

CHANNELS = [("Time", ""), ("Er170Di", "170Er_CD3"), ("Yb171Di", "171Yb_GZMB"), ("Ir191Di", "191Ir_DNA1")]


def events(rows: int, columns: int, first: int) -> np.ndarray:
    return np.arange(first, first + rows * columns, dtype=np.float32).reshape(rows, columns)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Two files of one study that spell and order their channels differently, and a control tube."""
    (tmp_path / "fcs").mkdir()
    write_events(tmp_path / "fcs" / "a.fcs", events(3, 4, 0), CHANNELS)
    other = [
        ("(Ir191)Dd", "DNA"),
        ("Ce140Di", "Bead"),
        ("GB(Yb171)Dd", "GB (v)"),
        ("170Er", "CD3"),
        ("Width", ""),
    ]
    write_events(tmp_path / "fcs" / "b.fcs", events(2, 5, 100), other)
    write_events(tmp_path / "fcs" / "c.fcs", events(1, 4, 200), CHANNELS)
    (tmp_path / "panel.csv").write_text(
        "channel,marker,cofactor\nEr170Di,CD3,\nYb171Di,GZMB,2\nIr191Di,DNA1,\nTime,Time,\n"
    )
    (tmp_path / "samples.csv").write_text(
        "file,sample_id,patient_id,timepoint,months,role,batch\n"
        "fcs/a.fcs,late,P1,10mo,10,patient,x\n"
        "fcs/b.fcs,early,P1,2mo,2,patient,y\n"
        "fcs/c.fcs,tube,,,,negative_control,y\n"
    )
    (tmp_path / "study.yaml").write_text("cytocar: 1\npanel: panel.csv\nsamples: samples.csv\ncofactor: 3\n")
    return tmp_path


def test_a_study_is_read_from_its_folder_or_its_file(study: Path) -> None:
    for path in (study, study / "study.yaml", str(study)):
        folder, problems = load_study(path)
        assert not problems
        assert folder is not None
        assert folder.path == study
        assert folder.timepoints == ["2mo", "10mo"]
        assert folder.gating == "car_t"
        # The cofactor of study.yaml is for channels to which the panel gives none.
        assert list(folder.panel.var["cofactor"]) == [3, 2, 3]
        assert folder.panel.name == str(study / "panel.csv")


def test_a_strategy_in_the_folder_is_a_path(study: Path) -> None:
    (study / "gates.yaml").touch()
    (study / "study.yaml").write_text(
        "cytocar: 1\npanel: legend2\nsamples: samples.csv\ngating: gates.yaml\n"
    )
    folder, _ = load_study(study)
    assert folder is not None
    assert folder.gating == study / "gates.yaml"
    assert folder.panel.name == "legend2"


def test_problems_of_all_three_files_are_collected(study: Path) -> None:
    (study / "panel.csv").write_text("channel,marker\nFoo,CD3\n")
    (study / "samples.csv").write_text("file,sample_id,patient_id,timepoint,months\nfcs/x.fcs,s,P,t,1\n")
    folder, problems = load_study(study)
    assert folder is None
    assert [problem.what for problem in problems] == [
        "channel 'Foo' names no isotope",
        "file 'fcs/x.fcs' does not exist",
    ]
    (study / "study.yaml").write_text("cytocar: 1\npanel: panl.csv\nsamples: no.csv\n")
    _, problems = load_study(study)
    assert (
        problems[0].what
        == "panel 'panl.csv' is neither a file of the folder nor a panel that comes with cytocar"
    )
    assert problems[0].fix == "did you mean 'panel.csv'?"
    assert problems[1].what == "there is no such file"


def test_where_there_is_no_study(tmp_path: Path) -> None:
    assert load_study(tmp_path)[1][0].what == "there is no study.yaml in it"
    assert load_study(tmp_path / "no")[1][0].what == "there is no such file or folder"
    with pytest.raises(cc.StudyError, match=r"there is no study\.yaml"):
        cc.io.read_study(tmp_path)


def test_all_events_of_all_files_are_joined_by_channel(study: Path) -> None:
    adata = cc.io.read_study(study)
    assert list(adata.var_names) == ["CD3", "GZMB", "DNA1"]
    assert adata.X.dtype == np.float32
    # early (b.fcs) comes first, by months; columns 3, 2, 0 of that file.
    expected = [[103, 102, 100], [108, 107, 105], [1, 2, 3], [5, 6, 7], [9, 10, 11], [201, 202, 203]]
    np.testing.assert_array_equal(adata.X, expected)
    assert list(adata.obs_names) == ["early:0", "early:1", "late:0", "late:1", "late:2", "tube:0"]
    assert list(adata.obs["event_index"]) == [0, 1, 0, 1, 2, 0]
    assert adata.obs["event_index"].dtype == np.int64
    assert list(adata.obs["sample_id"].cat.categories) == ["early", "late", "tube"]
    assert adata.obs["timepoint"].cat.ordered
    assert list(adata.obs["timepoint"].cat.categories) == ["2mo", "10mo"]
    assert adata.obs["timepoint"].isna().tolist() == [False] * 5 + [True]
    np.testing.assert_array_equal(adata.obs["months"], [2, 2, 10, 10, 10, np.nan])
    assert list(adata.obs["batch"].astype(str)) == ["y", "y", "x", "x", "x", "y"]
    np.testing.assert_array_equal(adata.obs["Time"], [np.nan, np.nan, 0, 4, 8, 200])
    np.testing.assert_array_equal(adata.obs["Width"], [104, 109, np.nan, np.nan, np.nan, np.nan])
    assert adata.uns["cytocar"]["state"] == "counts"
    (step,) = json.loads(adata.uns["cytocar"]["steps"])
    assert step["step"] == "io.read_study"
    assert [(file["file"], file["events"]) for file in step["settings"]["files"]] == [
        ("b.fcs", 2),
        ("a.fcs", 3),
        ("c.fcs", 1),
    ]
    assert step["settings"]["files"][0]["extra_channels"] == ["Ce140Di"]


def test_what_was_read_goes_through_h5ad(study: Path, tmp_path: Path) -> None:
    adata = cc.io.read_study(study)
    adata.write_h5ad(tmp_path / "a.h5ad")
    again = anndata.read_h5ad(tmp_path / "a.h5ad")
    np.testing.assert_array_equal(again.X, adata.X)
    assert list(again.obs_names) == list(adata.obs_names)
    assert list(again.obs["timepoint"].cat.categories) == ["2mo", "10mo"]
    assert again.obs["timepoint"].cat.ordered
    assert again.uns["cytocar"] == adata.uns["cytocar"]
    assert list(again.var["mass"]) == [170, 171, 191]


def test_a_file_without_events_adds_none(study: Path) -> None:
    write_events(study / "fcs" / "c.fcs", events(0, 4, 0), CHANNELS)
    adata = cc.io.read_study(study)
    assert adata.n_obs == 5
    assert list(adata.obs["sample_id"].cat.categories) == ["early", "late", "tube"]


def test_files_that_cannot_be_read_are_told_all_at_once(study: Path) -> None:
    (study / "fcs" / "a.fcs").write_bytes(b"not FCS")
    dna = [names for names in CHANNELS if "Ir191" not in names[0]]
    write_events(study / "fcs" / "c.fcs", events(2, len(dna), 0), dna)
    with pytest.raises(cc.StudyError) as caught:
        cc.io.read_study(study)
    first, other = caught.value.problems
    assert "sample late" in first.where
    assert "sample tube" in other.where
    assert "Ir191Di" in other.what


def test_an_antibody_that_a_file_lacks_is_nan_there_and_recorded(study: Path) -> None:
    whole = cc.io.read_study(study)
    lacking = [names for names in CHANNELS if "Yb171" not in names[0]]
    write_events(study / "fcs" / "c.fcs", events(2, len(lacking), 0), lacking)
    adata = cc.io.read_study(study)
    assert list(adata.var_names) == list(whole.var_names)
    marker = str(whole.var_names[whole.var["mass"] == 171][0])
    of_tube = (adata.obs["sample_id"] == "tube").to_numpy()
    missing = np.isnan(adata[:, marker].X[:, 0])
    np.testing.assert_array_equal(missing, of_tube)
    assert not np.isnan(adata[:, [n for n in adata.var_names if n != marker]].X).any()
    assert not_measured(adata) == {"tube": [marker]}


def test_arcsinh_values_are_refused(study: Path) -> None:
    write_events(study / "fcs" / "a.fcs", events(2, 4, 0), CHANNELS, {"CYTOCAR_STATE": "arcsinh"})
    with pytest.raises(cc.StudyError, match=r"(?s)sample late.*arcsinh values"):
        cc.io.read_study(study)


def test_real_files_with_the_built_in_panel(test_data: Path, tmp_path: Path) -> None:
    cart = test_data / "cart"
    (tmp_path / "samples.csv").write_text(
        "file,sample_id,patient_id,timepoint,months,role\n"
        f"{cart}/Yescarta-Exhaustion-032219_CD19-HA-Control.fcs,cd19,P1,day0,0,patient\n"
        f"{cart}/Yescarta-Exhaustion-032219_Healthy-PBMC2-Control.fcs,pbmc,,,,negative_control\n"
    )
    (tmp_path / "study.yaml").write_text("cytocar: 1\npanel: exhaustion\nsamples: samples.csv\ngating: off\n")
    adata = cc.io.read_study(tmp_path)
    assert adata.shape == (27_071 + 1_660, 35)
    car = adata.X[:, list(adata.var_names).index("CAR_ID")]
    assert 60 < np.median(car[:27_071]) < 85
    alone = cc.io.read_fcs(cart / "Yescarta-Exhaustion-032219_Healthy-PBMC2-Control.fcs", panel="exhaustion")
    np.testing.assert_array_equal(adata.X[27_071:], alone.X)
