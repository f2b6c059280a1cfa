"""One threshold over all samples."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from cytocar import pl
from cytocar._core.errors import ParameterError


def drawn(axes: object, label: str) -> list[object]:
    return [artist for artist in (*axes.lines, *axes.collections) if artist.get_label() == label]


def test_the_number_of_every_sample_stands_on_its_ridge(tables: SimpleNamespace) -> None:
    (axes,) = pl.ridges(tables.densities, tables.thresholds.drop(columns=["low", "high"])).axes
    # by default the threshold that is found in known negatives
    assert axes.get_xlabel() == "VHH, arcsinh units"
    rows = tables.thresholds[tables.thresholds["name"] == "VHH"]
    lines = drawn(axes, "threshold")
    assert [line.get_xdata()[0] for line in lines] == rows["value"].tolist()
    assert [tick.get_text() for tick in axes.get_yticklabels()] == rows["sample_id"].tolist()
    assert [line.get_ydata()[0] for line in lines] == [3, 2, 1, 0]
    words = [text.get_text() for text in axes.figure.texts]
    for value, confidence in zip(rows["value"], rows["confidence"], strict=True):
        assert f"{value:.2f}  known negatives {confidence:.2f}" in words
    assert drawn(axes, "range") == []


def test_ranges_are_bands_from_low_to_high(tables: SimpleNamespace) -> None:
    table = tables.thresholds.assign(
        low=tables.thresholds["value"] - 0.2, high=tables.thresholds["value"] + 0.3
    )
    table.loc[table["sample_id"] == "P1_1yr", ["low", "high"]] = np.nan
    (axes,) = pl.ridges(tables.densities, table, name="CD3").axes
    rows = table[table["name"] == "CD3"].dropna(subset=["low"])
    bands = drawn(axes, "range")
    assert len(bands) == 3
    for band, low, high in zip(bands, rows["low"], rows["high"], strict=True):
        box = band.get_paths()[0].get_extents()
        assert (box.x0, box.x1) == pytest.approx((low, high))
    words = [text.get_text() for text in axes.figure.texts]
    first = rows.iloc[0]
    number = f"{first['value']:.2f} ({first['low']:.2f} to {first['high']:.2f})"
    assert f"{number}  valley {first['confidence']:.2f}" in words


def test_heights_are_roots_and_a_tall_peak_far_below_is_cut() -> None:
    x = np.linspace(0, 5, 200)
    negative, positive = np.exp(-((x - 0.2) ** 2) / 0.01), 0.01 * np.exp(-((x - 4) ** 2) / 0.1)
    curves = pd.DataFrame({"sample_id": "a", "name": "VHH", "x": x, "density": negative + positive})
    found = pd.DataFrame(
        {"sample_id": ["a"], "name": ["VHH"], "value": [2.5], "rule": ["negatives"], "confidence": [1.0],
         "pinned": [False]}
    )  # fmt: skip
    axes = pl.ridges(curves, found).axes[0]
    (hill,) = drawn(axes, "density a")
    outline = hill.get_paths()[0].vertices
    hump = outline[(outline[:, 0] > 3.8) & (outline[:, 0] < 4.2), 1].max()
    # a hundredth of the density is a tenth of the height, and a third of what is left of the peak
    assert hump == pytest.approx(outline[:, 1].max() / 3, rel=0.02)
    assert "height: square root of density, tops cut" in {text.get_text() for text in axes.figure.texts}


def test_stated_fallback_and_left_out_numbers(tables: SimpleNamespace, marked: pd.DataFrame) -> None:
    stated = pl.ridges(tables.densities, marked, name="CD8a").axes[0]
    assert {to_hex(line.get_color()).upper() for line in drawn(stated, "threshold")} == {"#0072B2"}
    second = pl.ridges(tables.densities, marked.astype({"fallback": str}), name="CD4").axes[0]
    assert {to_hex(line.get_color()).upper() for line in drawn(second, "threshold")} == {"#D55E00"}
    table = tables.thresholds.copy()
    table.loc[table["name"] == "CD4", ["value", "rule"]] = [np.nan, "left out"]
    nothing = pl.ridges(tables.densities, table, name="CD4").axes[0]
    assert drawn(nothing, "threshold") == []
    assert "left out" in {text.get_text() for text in nothing.figure.texts}


def test_samples_go_by_patient_and_months(tables: SimpleNamespace) -> None:
    sheet = pd.DataFrame(
        {"sample_id": tables.thresholds["sample_id"].unique(), "patient_id": "P", "months": [60, 36, 12, 2]}
    )
    (axes,) = pl.ridges(tables.densities, tables.thresholds, samples=sheet).axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == list(sheet["sample_id"][::-1])


def test_thirty_samples_stay_readable(tables: SimpleNamespace, complaints: object) -> None:
    many = [f"Data29_Panel3_base_NR{i}" for i in range(30)]
    first = tables.thresholds["sample_id"].iloc[0]
    curves = pd.concat(
        [tables.densities[tables.densities["sample_id"] == first].assign(sample_id=s) for s in many]
    )
    found = pd.concat(
        [tables.thresholds[tables.thresholds["sample_id"] == first].assign(sample_id=s) for s in many]
    )
    figure = pl.ridges(curves, found.assign(low=1.5, high=2.5))
    assert complaints(figure) == []
    assert figure.get_figheight() * 25.4 < 200


def test_wrong_wishes(tables: SimpleNamespace) -> None:
    with pytest.raises(ParameterError, match="'CD33' is not a threshold of the table"):
        pl.ridges(tables.densities, tables.thresholds, name="CD33")
    with pytest.raises(ParameterError, match="the table of densities has none of threshold 'CD3'"):
        pl.ridges(tables.densities.query("name != 'CD3'"), tables.thresholds, name="CD3")
    with pytest.raises(ParameterError, match="the table of thresholds is missing columns: rule"):
        pl.ridges(tables.densities, tables.thresholds.drop(columns="rule"))
