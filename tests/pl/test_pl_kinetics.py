"""CAR-T cells over time and against their limits."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

from cytocar import pl
from cytocar._core.errors import ParameterError


def line(axes: Axes, label: str) -> np.ndarray:
    return next(np.array(found.get_data()) for found in axes.lines if found.get_label() == label)


def test_points_and_intervals_on_a_logarithmic_axis(tables: SimpleNamespace) -> None:
    axes = pl.kinetics(tables.frequency, tables.kinetics).axes[0]
    assert axes.get_yscale() == "log"
    months, share = line(axes, "quantified")
    assert months.tolist() == [2, 12, 36, 60]
    assert share.tolist() == tables.frequency["pct_of_cd45"].tolist()
    bars = next(c for c in axes.containers if c.get_label() == "intervals")
    ends = np.array([segment[:, 1] for segment in bars[2][0].get_segments()])
    assert ends == pytest.approx(tables.frequency[["pct_low", "pct_high"]].to_numpy())
    assert [t.get_text() for t in axes.get_xticklabels()] == ["2", "12", "36", "60"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("months after infusion", "CAR-T, % of CD45+ cells")


def test_limits_are_those_of_each_sample(tables: SimpleNamespace) -> None:
    whole = np.array([10_000, 20_000, 40_000, 80_000])
    axes = pl.kinetics(tables.frequency.assign(n_cd45=whole)).axes[0]
    lod = 100 * tables.frequency["lod_events"].to_numpy() / whole
    assert line(axes, "LoD")[1] == pytest.approx(lod)
    assert line(axes, "LoQ")[1] == pytest.approx([0.25, 0.125, 0.0625, 0.03125])
    assert axes.get_ylim()[0] < lod.min()


def test_not_detected_is_an_arrow_from_the_upper_limit_and_not_a_point(tables: SimpleNamespace) -> None:
    frequency = tables.frequency.copy()
    last = frequency.index[-1]
    frequency.loc[last, ["n_car", "pct_of_cd45", "pct_low", "pct_high"]] = [0, 0.0, 0.0, 0.0061]
    frequency.loc[last, "call"] = "not_detected"
    frequency.loc[frequency.index[-2], "call"] = "detected"
    figure = pl.kinetics(frequency)
    axes = figure.axes[0]
    assert line(axes, "quantified")[0].tolist() == [2, 12]
    assert line(axes, "detected")[0].tolist() == [36]
    arrow = next(c for c in axes.containers if c.get_label() == "not_detected")
    (_, top), *_ = arrow[2][0].get_segments()[0][::-1]
    assert arrow[2][0].get_segments()[0][:, 0].tolist() == [60, 60]
    assert top == pytest.approx(0.0061)
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words[:3] == ["quantified", "detected", "not detected: upper limit"]
    assert axes.get_ylim()[0] < 0.45 * 0.0061


def test_the_broken_line_falls_by_the_half_life_through_the_points(tables: SimpleNamespace) -> None:
    x, y = line(pl.kinetics(tables.frequency, tables.kinetics).axes[0], "fit")
    slope, intercept = np.polyfit([2, 12, 36, 60], np.log(tables.frequency["pct_of_cd45"]), 1)
    assert y == pytest.approx(np.exp(intercept + slope * x), rel=1e-3)


def test_half_life_is_written_with_its_interval(tables: SimpleNamespace) -> None:
    texts = "\n".join(text.get_text() for text in pl.kinetics(tables.frequency, tables.kinetics).texts)
    value, low, high = tables.kinetics.set_index("measure").loc["half_life", ["value", "low", "high"]]
    assert f"half-life\n  {value:.3g} months\n  ({low:.3g} to {high:.3g})" in texts


def test_a_panel_a_patient_with_one_scale_and_controls_left_out(tables: SimpleNamespace) -> None:
    others = [tables.frequency.assign(patient_id=f"P{i}") for i in (10, 2)]
    control = tables.frequency.iloc[:1].assign(patient_id="none", months=np.nan)
    figure = pl.kinetics(pd.concat([*others, control], ignore_index=True))
    assert [axes.get_label() for axes in figure.axes] == ["P2", "P10"]
    assert len({axes.get_ylim() for axes in figure.axes}) == 1


def test_many_patients_are_readable(tables: SimpleNamespace, complaints: object) -> None:
    table = pd.concat(
        [tables.frequency.assign(patient_id=f"patient {i}") for i in range(17)], ignore_index=True
    )
    assert complaints(pl.kinetics(table, tables.kinetics)) == []


def test_detection_shows_events_interval_and_limits(tables: SimpleNamespace) -> None:
    axes = pl.detection(tables.frequency).axes[0]
    events, _ = line(axes, "quantified")
    assert events.tolist() == tables.frequency["n_car"].tolist()
    for limit, column in (("blank", "lob"), ("detection", "lod"), ("quantitation", "loq")):
        assert line(axes, f"limit of {limit}")[0].tolist() == tables.frequency[f"{column}_events"].tolist()
    assert [t.get_text() for t in axes.get_yticklabels()] == ["2mo", "1yr", "3yr", "5yr"]
    ends = np.array([segment[:, 0] for segment in axes.containers[0][2][0].get_segments()])
    whole = tables.frequency["n_cd45"].to_numpy()
    assert ends == pytest.approx(tables.frequency[["pct_low", "pct_high"]].to_numpy() * whole[:, None] / 100)


def test_detection_draws_into_axes_and_without_known_limits(tables: SimpleNamespace) -> None:
    from matplotlib.figure import Figure

    ax = Figure().add_subplot()
    unknown = tables.frequency.assign(
        lob_events=np.nan, lod_events=np.nan, n_car=0, pct_low=0.0, call="not_detected"
    )
    assert pl.detection(unknown, ax=ax) is ax
    assert line(ax, "not detected")[0].tolist() == [0] * 4


def test_errors(tables: SimpleNamespace) -> None:
    with pytest.raises(ParameterError, match="no sample has months"):
        pl.kinetics(tables.frequency.assign(months=np.nan))
    with pytest.raises(ParameterError, match="is missing columns: pct_low"):
        pl.kinetics(tables.frequency.drop(columns="pct_low"))
    with pytest.raises(ParameterError, match="table of kinetics is missing columns: unit"):
        pl.kinetics(tables.frequency, tables.kinetics.drop(columns="unit"))
