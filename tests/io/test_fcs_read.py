"""FCS to AnnData: what is in X, obs, var and uns, with and without a panel."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cytocar import FcsError, PanelError, io
from cytocar._core import provenance
from cytocar.io._fcs.data import read_events
from cytocar.io._fcs.header import read_header
from cytocar.io._fcs.read import column_runs, event_names
from cytocar.io._fcs.write import write_events

CHANNELS = [
    ("Time", ""),
    ("Ir191Di", "191Ir_DNA1"),
    ("Event_length", ""),
    ("Tm169Di", "169Tm_VHH"),
    ("Y89Di", "89Y_CD45"),
    ("tSNE1", ""),
]
PANEL = "channel,marker\n89Y,CD45\n(Tm169)Dd,CAR\nTime,Time\n"


def events(n: int = 30) -> np.ndarray:
    return np.random.default_rng(1).exponential(60, size=(n, len(CHANNELS))).astype(np.float32)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.fcs"
    write_events(path, events(), CHANNELS, {"$CYT": "Helios", "NOTE": "β cells"})
    return path


@pytest.fixture
def panel(tmp_path: Path) -> Path:
    path = tmp_path / "panel.csv"
    path.write_text(PANEL)
    return path


def last_step(adata: ad.AnnData) -> dict[str, Any]:
    return provenance.steps(adata)[-1]["settings"]


def test_without_a_panel(file: Path) -> None:
    adata = io.read_fcs(file)
    assert list(adata.var_names) == ["DNA1", "VHH", "CD45"]
    assert adata.X.dtype == np.float32
    assert np.array_equal(adata.X, events()[:, [1, 3, 4]])
    assert list(adata.var.columns) == [
        "channel",
        "marker",
        "marker_class",
        "role",
        "metal",
        "mass",
        "used_for_clustering",
        "cofactor",
    ]
    assert list(adata.var["channel"]) == ["Ir191Di", "Tm169Di", "Y89Di"]
    assert list(adata.var["role"]) == ["dna", "marker", "marker"]
    assert list(adata.var["metal"]) == ["Ir", "Tm", "Y"]
    assert list(adata.var["mass"]) == [191, 169, 89]
    assert adata.var["mass"].dtype == np.int64
    assert adata.var["used_for_clustering"].dtype == bool
    assert list(adata.obs.columns) == ["Time", "Event_length", "tSNE1", "event_index"]
    for column, name in ((0, "Time"), (2, "Event_length"), (5, "tSNE1")):
        assert np.array_equal(adata.obs[name], events()[:, column])
    assert adata.obs["event_index"].dtype == np.int64
    assert adata.obs["event_index"].tolist() == list(range(30))
    assert list(adata.obs_names[:2]) == ["0", "1"]


def test_with_a_panel(file: Path, panel: Path) -> None:
    adata = io.read_fcs(file, panel=panel, sample_id="5yr")
    assert list(adata.var_names) == ["CD45", "CAR"]
    assert np.array_equal(adata.X, events()[:, [4, 3]])
    assert list(adata.obs.columns) == ["Time", "Event_length", "tSNE1", "sample_id", "event_index"]
    assert list(adata.obs["sample_id"].cat.categories) == ["5yr"]
    assert list(adata.obs_names[:2]) == ["5yr:0", "5yr:1"]
    step = last_step(adata)
    assert step["extra_channels"] == ["Ir191Di"]
    assert step["panel"] == str(panel)
    assert any("'CAR' in the panel and 'VHH' in the file" in note for note in step["tolerances"])


def test_panel_object_and_name(file: Path, panel: Path) -> None:
    from cytocar.panel import Panel

    by_path = io.read_fcs(file, panel=panel)
    by_object = io.read_fcs(file, panel=Panel.read(panel))
    assert np.array_equal(by_path.X, by_object.X)
    with pytest.raises(PanelError, match="there is no panel of this name"):
        io.read_fcs(file, panel="legend9")


def test_channels_of_the_panel_that_the_file_lacks_are_named(file: Path, panel: Path) -> None:
    panel.write_text(PANEL + "Yb171Di,Ki67\nLu175Di,PD-1\n")
    with pytest.raises(PanelError) as caught:
        io.read_fcs(file, panel=panel)
    message = str(caught.value)
    assert "a.fcs: has no channel 'Yb171Di' (Ki67)" in message
    assert "a.fcs: has no channel 'Lu175Di' (PD-1)" in message


def test_names_of_obs_are_those_of_the_panel(tmp_path: Path) -> None:
    path, panel = tmp_path / "a.fcs", tmp_path / "panel.csv"
    write_events(path, np.ones((2, 2)), [("Cell_length", ""), ("(Y89)Dd", "CD45")])
    panel.write_text("channel,marker\nY89Di,CD45\nEvent_length,Event_length\n")
    adata = io.read_fcs(path, panel=panel)
    assert list(adata.obs.columns) == ["Event_length", "event_index"]
    assert adata.var["channel"].tolist() == ["Y89Di"]


def test_history_and_keywords(file: Path) -> None:
    adata = io.read_fcs(file, sample_id="s")
    assert provenance.state(adata) == "counts"
    assert provenance.steps(adata) == [
        {
            "step": "io.read_fcs",
            "settings": {
                "file": "a.fcs",
                "version": "3.1",
                "data_set": 0,
                "sample_id": "s",
                "events": 30,
                "tolerances": [],
            },
        }
    ]
    keywords = json.loads(adata.uns["cytocar"]["keywords"])
    assert keywords == read_header(file).keywords
    assert keywords["NOTE"] == "β cells"


# anndata asks pandas 3 for an option that pandas is about to drop.
@pytest.mark.filterwarnings("ignore:The 'future.infer_string' option:Warning")
def test_h5ad_round_trip(file: Path, tmp_path: Path) -> None:
    adata = io.read_fcs(file, sample_id="s")
    adata.write_h5ad(tmp_path / "a.h5ad")
    again = ad.read_h5ad(tmp_path / "a.h5ad")
    assert np.array_equal(again.X, adata.X)
    assert again.uns["cytocar"] == adata.uns["cytocar"]
    assert list(again.obs.columns) == list(adata.obs.columns)
    assert again.obs["sample_id"].tolist() == ["s"] * 30
    assert list(again.var_names) == list(adata.var_names)
    assert again.var["mass"].tolist() == [191, 169, 89]


def test_same_names_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "a.fcs"
    channels = [("Y89Di", "89Y_CD45"), ("Gd154Di", "154Gd_CD45"), ("Ce140Di", "Bead"), ("Lu175Di", "Bead")]
    write_events(path, np.ones((2, 4)), channels)
    adata = io.read_fcs(path)
    assert list(adata.var_names) == ["CD45_89Y", "CD45_154Gd", "Bead140", "Bead175"]
    assert last_step(adata)["tolerances"] == [
        "markers of one name were made distinct: 'CD45' is 'CD45_89Y' in channel Y89Di; "
        "'CD45' is 'CD45_154Gd' in channel Gd154Di; 'Bead' is 'Bead140' in channel Ce140Di; "
        "'Bead' is 'Bead175' in channel Lu175Di"
    ]


def test_columns_of_obs_do_not_collide(tmp_path: Path) -> None:
    path = tmp_path / "a.fcs"
    channels = [("Y89Di", "CD45"), ("sample_id", ""), ("event_index", ""), ("cluster/k=9", "")]
    write_events(path, np.array([[1, 2, 3, 4]]), channels)
    adata = io.read_fcs(path, sample_id="s")
    assert list(adata.obs.columns) == [
        "sample_id_channel",
        "event_index_channel",
        "cluster_k=9",
        "sample_id",
        "event_index",
    ]
    assert adata.obs.iloc[0, :3].tolist() == [2, 3, 4]
    notes = last_step(adata)["tolerances"]
    assert "channel 'sample_id' is the column 'sample_id_channel' of obs" in notes
    assert "channel 'cluster/k=9' is the column 'cluster_k=9' of obs" in notes


def test_fluorescence(tmp_path: Path) -> None:
    path = tmp_path / "a.fcs"
    channels = [("FSC-A", ""), ("FL1-A", "CD4"), ("FL1-H", "CD4"), ("FL2-A", ""), ("Time", "")]
    write_events(path, np.arange(10).reshape(2, 5), channels)
    adata = io.read_fcs(path)
    assert list(adata.var_names) == ["FSC-A", "CD4_FL1-A", "CD4_FL1-H", "FL2-A"]
    assert list(adata.var["role"]) == ["none", "marker", "marker", "marker"]
    assert set(adata.var["mass"]) == {0}
    assert set(adata.var["cofactor"]) == {150.0}
    assert np.array_equal(adata.X, np.arange(10).reshape(2, 5)[:, :4])
    assert list(adata.obs.columns) == ["Time", "event_index"]
    notes = last_step(adata)["tolerances"]
    assert notes[0] == "no channel has a mass: all channels but time are in X, as fluorescence"


def test_values_are_as_stored(tmp_path: Path) -> None:
    path = tmp_path / "a.fcs"
    values = np.array([[-0.7, 1e9], [np.nan, np.inf], [0, 3]], dtype=np.float32)
    write_events(path, values, [("Y89Di", "CD45"), ("Tm169Di", "VHH")], {"$P1R": "100", "$P2R": "100"})
    adata = io.read_fcs(path)
    assert np.array_equal(adata.X, values, equal_nan=True)
    assert last_step(adata)["tolerances"] == ["2 values are NaN or infinite"]


def test_sum_that_overflows_is_no_bad_value(tmp_path: Path) -> None:
    path = tmp_path / "a.fcs"
    write_events(path, np.full((2, 1), 3e38, dtype=np.float32), [("Y89Di", "CD45")])
    assert last_step(io.read_fcs(path))["tolerances"] == []


def test_transformed_values_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.fcs"
    raw = np.random.default_rng(0).exponential(100, size=(300, 6)).astype(np.float32)
    channels = [(f"{metal}Di", "") for metal in ("Y89", "Pr141", "Nd142", "Nd143", "Tm169", "Yb171")]
    write_events(path, raw, channels)
    assert last_step(io.read_fcs(path))["tolerances"] == []
    write_events(path, np.arcsinh(raw / 5), channels)
    (note,) = last_step(io.read_fcs(path))["tolerances"]
    assert (
        note
        == f"no mass channel goes above {np.arcsinh(raw / 5).max():.2f}: the values look transformed already"
    )


def test_data_sets(test_data: Path) -> None:
    path = test_data / "fcs_corpus" / "ADM_09SEP2020_181310.VIA.FCS"
    for data_set, n in ((0, 7960), (1, 20897)):
        adata = io.read_fcs(path, data_set=data_set)
        assert adata.n_obs == n
        notes = last_step(adata)["tolerances"]
        assert f"the file has 2 data sets; read is number {data_set}, counted from 0" in notes


def test_no_events(tmp_path: Path) -> None:
    path = tmp_path / "a.fcs"
    write_events(path, np.empty((0, 2)), [("Time", ""), ("Y89Di", "CD45")])
    adata = io.read_fcs(path, sample_id="s")
    assert adata.shape == (0, 1)
    assert list(adata.obs.columns) == ["Time", "sample_id", "event_index"]


def test_state_that_is_unknown_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.fcs"
    write_events(path, np.ones((1, 1)), [("Y89Di", "CD45")], {"CYTOCAR_STATE": "logicle"})
    with pytest.raises(FcsError, match="CYTOCAR_STATE is 'logicle'"):
        io.read_fcs(path)


def test_history_that_is_no_json_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.fcs"
    for text in ("[1", "{}", "[1]"):
        write_events(path, np.ones((1, 1)), [("Y89Di", "CD45")], {"CYTOCAR_STEPS": text})
        assert [step["step"] for step in provenance.steps(io.read_fcs(path))] == ["io.read_fcs"]


@pytest.mark.parametrize(
    ("name", "shape", "first", "without_mass"),
    [
        ("cart/Yescarta-Exhaustion-032219_CD19-HA-Control.fcs", (27071, 35), ["CD45", "CD278"], ["Width"]),
        ("cohort/Data23_Panel3_base_R1.fcs", (945, 30), ["CD11b", "CD11c"], []),
        (
            "helios_beads/raw_cytof.fcs",
            (6450, 49),
            ["CD45", "Live_Dead"],
            ["Time", "Event_length", "Center", "Offset", "Width", "Residual"],
        ),
        ("debarcode/sample_barcoded_file.fcs", (100000, 8), ["BC102", "BC104"], ["Time", "Cell_length"]),
        (
            "gatingml/example_cytof_data_for_gatingML.fcs",
            (50000, 12),
            ["CD19", "CD4"],
            ["Time", "Cell_length"],
        ),
        (
            "phenograph_h1/H1_PhenoGraph_cluster2.fcs",
            (23302, 40),
            ["DNA1", "DNA2"],
            ["Time", "Cell_length", "PhenoGraph", "Condition"],
        ),
    ],
)
def test_real_files(
    test_data: Path, name: str, shape: tuple[int, int], first: list[str], without_mass: list[str]
) -> None:
    adata = io.read_fcs(test_data / name)
    assert adata.shape == shape
    assert list(adata.var_names[:2]) == first
    assert list(adata.obs.columns) == [*without_mass, "event_index"]
    header = read_header(test_data / name)
    stored = read_events(header)
    names = [channel.pnn for channel in header.channels]
    for column in without_mass:
        assert np.array_equal(adata.obs[column], stored[:, names.index(column)])
    in_x = [n for n, pnn in enumerate(names) if pnn not in without_mass]
    assert np.array_equal(adata.X, stored[:, in_x])


@pytest.mark.parametrize("n", [0, 1, 999, 1000, 1001, 2000, 12_345])
@pytest.mark.parametrize("prefix", ["", "s1:"])
def test_names_of_events(n: int, prefix: str) -> None:
    assert event_names(n, prefix).tolist() == [f"{prefix}{number}" for number in range(n)]


@given(st.lists(st.integers(0, 30), unique=True, max_size=20))
def test_neighbouring_columns_are_copied_together(columns: list[int]) -> None:
    found = [-1] * len(columns)
    runs = column_runs(columns)
    for first, last, source in runs:
        found[first:last] = range(source, source + last - first)
    assert found == columns
    breaks = sum(after != before + 1 for before, after in pairwise(columns))
    assert len(runs) == (breaks + 1 if columns else 0)
