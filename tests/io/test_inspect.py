"""Inspection: the table of channels, and every oddity in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cytocar import FcsError, io
from cytocar.io._fcs.write import write_events

METALS = ("Y89", "Ce140", "Pr141", "Eu151", "Eu153", "Ho165", "Tm169", "Lu175", "Ir191", "Ir193")
CHANNELS = [
    ("Time", ""),
    ("Event_length", ""),
    *((f"{metal}Di", f"M{n}") for n, metal in enumerate(METALS)),
    ("Center", ""),
    ("Offset", ""),
    ("Width", ""),
    ("Residual", ""),
]


def events(n: int = 300) -> np.ndarray:
    values = np.random.default_rng(0).exponential(80, size=(n, len(CHANNELS))).astype(np.float32)
    values[:, 0] = np.arange(n)
    return values


def write(
    path: Path,
    values: np.ndarray | None = None,
    channels: list[tuple[str, str]] | None = None,
    keywords: dict[str, str] | None = None,
) -> Path:
    values = events() if values is None else values
    write_events(path, values, channels or CHANNELS, {"$CYT": "Helios"} if keywords is None else keywords)
    return path


def test_nothing_is_odd_about_a_raw_file(tmp_path: Path) -> None:
    report = io.inspect_file(write(tmp_path / "a.fcs", keywords={"$CYT": "Helios", "$DATE": "1-JAN-2024"}))
    assert report.oddities == []
    assert dict(report.facts()) == {
        "FCS version": "3.1",
        "instrument": "Helios",
        "date": "1-JAN-2024",
        "events": "300",
    }


def test_table_of_channels(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fcs")
    table = io.inspect_file(path).channels
    assert list(table.columns) == [
        "number",
        "channel",
        "long_name",
        "marker",
        "metal",
        "mass",
        "role",
        "type",
        "range",
        "min",
        "max",
    ]
    assert list(zip(table["channel"], table["long_name"], strict=True)) == CHANNELS
    assert table["mass"].tolist() == [0, 0, 89, 140, 141, 151, 153, 165, 169, 175, 191, 193, 0, 0, 0, 0]
    assert table["role"].tolist()[:3] == ["time", "event_length", "marker"]
    assert set(table["type"]) == {"F32"}
    assert np.allclose(table["min"], events().min(axis=0))
    assert np.allclose(table["max"], events().max(axis=0))
    without = io.inspect_file(path, values=False).channels
    assert without["max"].isna().all()


def keep(*names: str) -> list[int]:
    return [n for n, (pnn, _) in enumerate(CHANNELS) if pnn not in names]


def odd_values(kind: str) -> np.ndarray:
    values = events()
    mass = slice(2, 12)
    if kind == "randomised":
        values[:30, mass] = -0.25
    elif kind == "compensated":
        values[3, 4] = -7
    elif kind == "arcsinh":
        values[:, mass] = np.arcsinh(values[:, mass] / 5)
    elif kind == "bad":
        values[5, 3] = np.nan
        values[6, 3] = np.inf
    elif kind == "zero":
        values[:, 6] = 0
    elif kind == "time":
        values[100:200, 0] = values[100:200, 0][::-1].copy()
    return values


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (
            "randomised",
            "10.0% of the counts lie between -1 and 0: whole counts were spread at random below themselves",
        ),
        ("compensated", "values at or below -1 in Pr141Di: compensated or transformed before"),
        ("bad", "2 values are NaN or infinite, in Ce140Di"),
        ("zero", "all values are 0 in Eu153Di"),
        ("time", "Time runs backwards 99 times: files were joined, or events were sorted"),
    ],
)
def test_odd_values(tmp_path: Path, kind: str, said: str) -> None:
    path = write(tmp_path / "a.fcs", odd_values(kind))
    assert io.inspect_file(path).oddities == [said]
    assert io.inspect_file(path, values=False).oddities == []


def test_transformed_values(tmp_path: Path) -> None:
    (said,) = io.inspect_file(write(tmp_path / "a.fcs", odd_values("arcsinh"))).oddities
    assert said.startswith("no mass channel goes above ")
    assert said.endswith(": the values look transformed already")
    # A handful of events says nothing.
    few = write(tmp_path / "b.fcs", odd_values("arcsinh")[:100])
    assert io.inspect_file(few).oddities == []


@pytest.mark.parametrize(
    ("absent", "said"),
    [
        (("Time",), "there is no Time channel"),
        (("Event_length",), "there is no Event_length channel"),
        (("Center", "Width"), "Gaussian parameters are missing: Center, Width"),
        (("Ir191Di", "Ir193Di"), "there is no DNA channel (191Ir, 193Ir)"),
        (("Ho165Di", "Ce140Di"), "bead channels are missing (140Ce, 165Ho of EQ4)"),
    ],
)
def test_missing_channels(tmp_path: Path, absent: tuple[str, ...], said: str) -> None:
    columns = keep(*absent)
    path = write(tmp_path / "a.fcs", events()[:, columns], [CHANNELS[n] for n in columns])
    (oddity,) = io.inspect_file(path).oddities
    assert oddity.startswith(said)


def test_missing_names_and_appended_columns(tmp_path: Path) -> None:
    channels = [(pnn, "" if pnn == "Tm169Di" else pns) for pnn, pns in CHANNELS]
    channels += [("tSNE1", ""), ("FlowSOM", "")]
    values = np.hstack([events(), events()[:, :2]])
    report = io.inspect_file(write(tmp_path / "a.fcs", values, channels, keywords={}))
    assert report.oddities == [
        "$CYT is missing: the file does not say what instrument it is from",
        "$PnS is missing in Tm169Di",
        "columns without mass that no instrument writes, so appended by software: tSNE1, FlowSOM",
    ]
    assert dict(report.facts())["instrument"] == "not stated"


def test_no_events_and_arcsinh_of_our_own(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fcs", events(0), keywords={"$CYT": "Helios", "CYTOCAR_STATE": "arcsinh"})
    assert io.inspect_file(path).oddities == [
        "the file has no events",
        "cytocar wrote arcsinh values into this file, no counts",
    ]


def test_real_files(test_data: Path) -> None:
    report = io.inspect_file(test_data / "phenograph_h1" / "H1_PhenoGraph_cluster2.fcs")
    text = "\n".join(report.oddities)
    for said in (
        "TEXT ends one byte late",
        "DATA ends one byte late",
        "$CYT is missing",
        "bead channels are missing (140Ce of EQ4)",
        "Gaussian parameters are missing",
        "appended by software: PhenoGraph, Condition",
        "33.9% of the counts lie between -1 and 0",
    ):
        assert said in text
    assert len(report.oddities) == 8

    coulter = io.inspect_file(test_data / "fcs_corpus" / "coulter.lmd")
    assert coulter.data_sets == 2
    assert ("data sets", "2") in coulter.facts()
    assert any("log-amplified channels are read as stored" in said for said in coulter.oddities)
    assert "no channel has a mass: this is not mass cytometry" in coulter.oddities


def test_truncated_file_is_described(test_data: Path) -> None:
    report = io.inspect_file(test_data / "fcs_corpus" / "sample_header.fcs")
    assert (report.instrument, report.events, len(report.channels)) == ("Aurora", 20000, 27)
    assert any("the file is truncated: 20000 events need 2160000 bytes" in said for said in report.oddities)
    assert report.channels["max"].isna().all()


def test_what_is_no_fcs_file_is_refused(test_data: Path) -> None:
    with pytest.raises(FcsError, match=r"corrupted\.fcs: not an FCS file"):
        io.inspect_file(test_data / "fcs_corpus" / "corrupted.fcs")
