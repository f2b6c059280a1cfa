"""Headline numbers when thresholds move, and under other rules: numbers read off the pictures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from cytocar import pl
from cytocar._core.errors import ParameterError

THRESHOLDS = ("CD45", "CD11b", "CD7", "VHH", "CD3", "CD14", "CD19", "CD66b")


def moved(
    samples: tuple[str, ...] = ("a", "b"), measures: tuple[str, ...] = ("CAR-T %", "DN %")
) -> pd.DataFrame:
    """Make a table in which threshold i moves the number by i^2 hundredths down and half as much up."""
    rows = []
    for s, sample in enumerate(samples):
        for measure in measures:
            result = 2.0 + s
            for i, name in enumerate(THRESHOLDS):
                low, high = result + i**2 / 100, result - i**2 / 200
                rows.append((sample, measure, name, name, 2.0, 2.0 + i / 10, 3.0, low, result, high))
    return pd.DataFrame(
        rows,
        columns=["sample_id", "measure", "threshold", "marker", "value_low", "value_found", "value_high", "result_low",
                 "result", "result_high"],
    )  # fmt: skip


def universes(samples: tuple[str, ...] = ("a", "b"), n: int = 12, far: float = 1.0) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = []
    for s, sample in enumerate(samples):
        for universe in range(n):
            for measure in ("CAR-T %", "DN %"):
                result = (2.0 + 0.1 * rng.normal()) * far**s
                rules = (
                    "valley" if universe % 3 else "mixture",
                    "negatives" if universe != 5 else "valley",
                    "valley",
                )
                rows.append((sample, universe, "found", measure, result, 0.9 * result, 1.1 * result, *rules))
    return pd.DataFrame(
        rows,
        columns=[
            "sample_id",
            "universe",
            "kind",
            "measure",
            "result",
            "low",
            "high",
            "rule_CD3",
            "rule_VHH",
            "rule_CD4",
        ],
    )


def test_the_strongest_threshold_is_on_top_with_both_its_ends() -> None:
    figure = pl.robustness(moved())
    assert [axes.get_label() for axes in figure.axes] == ["a CAR-T %", "b CAR-T %", "a DN %", "b DN %"]
    axes = figure.axes[1]
    names = [tick.get_text() for tick in axes.get_yticklabels()]
    assert names == ["CD66b", "CD19", "CD14", "CD3", "VHH"]
    bars = {container.get_label(): container.patches[0] for container in axes.containers}
    low, high = bars["CD66b low"], bars["CD66b high"]
    assert low.get_x() + low.get_width() == pytest.approx(3.0 + 49 / 100)
    assert high.get_x() + high.get_width() == pytest.approx(3.0 - 49 / 200)
    assert low.get_facecolor() != high.get_facecolor()
    assert axes.get_title("left") == "3.00 %"
    # CD7 and CD11b move it less and are not shown; CD45 does not move it
    assert axes.get_title("right") == "2 move it less; 1 hardly any"
    assert [text.get_text() for text in axes.texts] == ["2.00 to 3.00"] * 5
    (line,) = [found for found in axes.lines if found.get_label() == "as found"]
    assert set(line.get_xdata()) == {3.0}


def test_both_ends_on_one_side_do_not_cover_each_other() -> None:
    table = moved(("a",), ("CAR-T %",)).assign(result_high=lambda t: t["result"] + 0.1)
    axes = pl.robustness(table).axes[0]
    first = [c.patches[0] for c in axes.containers if c.get_label().startswith("CD66b")]
    assert len(first) == 2
    assert first[0].get_y() + first[0].get_height() <= first[1].get_y() + 1e-9


def test_many_samples_are_lines(complaints: Callable[[object], list[str]]) -> None:
    samples = tuple(f"Data29_Panel3_base_NR{i}" for i in range(30))
    figure = pl.robustness(moved(samples))
    assert [axes.get_label() for axes in figure.axes] == ["CAR-T %", "DN %"]
    axes = figure.axes[0]
    line = next(found for found in axes.lines if found.get_label() == f"range {samples[3]}")
    assert list(line.get_xdata()) == pytest.approx([5.0 - 49 / 200, 5.0 + 49 / 100])
    assert {text.get_text() for text in axes.texts} == {"CD66b"}
    assert complaints(figure) == []


def test_tornadoes_stay_readable(complaints: Callable[[object], list[str]]) -> None:
    for table in (moved(), moved(("a very long name of a sample",)), moved(("a",), ("CAR-T % of CD45+",))):
        assert complaints(pl.robustness(table)) == []


def test_numbers_that_are_not_known_are_left_out() -> None:
    table = moved(("a",), ("CAR-T %",))
    table.loc[table["threshold"] == "CD66b", "result_low"] = np.nan
    axes = pl.robustness(table).axes[0]
    assert {c.get_label() for c in axes.containers if "CD66b" in c.get_label()} == {"CD66b high"}
    nothing = table.assign(result_low=2.0, result_high=2.0)
    assert pl.robustness(nothing).axes[0].get_title("right") == "8 hardly any"


def test_universes_are_sorted_and_the_found_one_stands_out() -> None:
    table = universes()
    axes = pl.multiverse(table).axes[0]
    assert axes.get_label() == "CAR-T %"
    part = table.query("sample_id == 'b' and measure == 'CAR-T %'")
    others = next(line for line in axes.lines if line.get_label() == "universes b")
    assert (np.diff(others.get_ydata()) >= 0).all()
    assert sorted(others.get_ydata()) == pytest.approx(sorted(part.query("universe != 0")["result"]))
    found = next(line for line in axes.lines if line.get_label() == "found b")
    assert list(found.get_ydata()) == part.query("universe == 0")["result"].tolist()
    assert 0.6 <= found.get_xdata()[0] <= 1.4
    bars = next(c for c in axes.collections if c.get_label() == "interval found b")
    assert bars.get_segments()[0][:, 1] == pytest.approx(
        part.query("universe == 0")[["low", "high"]].to_numpy()[0]
    )


def test_one_sample_shows_the_rules_below_each_universe() -> None:
    table = universes()
    above, below = pl.multiverse(table, sample="a", measure="DN %").axes
    assert above.get_label() == "DN %"
    rows = [tick.get_text() for tick in below.get_yticklabels()]
    assert rows == ["mixture", "valley", "negatives", "valley"]  # CD4 is found by one rule only
    part = table.query("sample_id == 'a' and measure == 'DN %'").sort_values(["result", "universe"])
    marked = [line for line in below.lines if line.get_label() == "VHH: valley"]
    assert np.concatenate([line.get_xdata() for line in marked]).tolist() == [
        part["universe"].tolist().index(5)
    ]


def test_samples_far_apart_are_drawn_on_a_logarithmic_axis(complaints: Callable[[object], list[str]]) -> None:
    assert pl.multiverse(universes()).axes[0].get_yscale() == "linear"
    assert pl.multiverse(universes()).axes[0].get_ylim()[0] == 0
    assert pl.multiverse(universes(far=10.0)).axes[0].get_yscale() == "log"
    many = universes(tuple(f"patient {i}" for i in range(30)), n=6)
    for figure in (
        pl.multiverse(many),
        pl.multiverse(universes(far=10.0)),
        pl.multiverse(universes(), sample="a"),
    ):
        assert complaints(figure) == []


def test_very_many_universes_keep_their_ends_and_the_found_one() -> None:
    table = universes(("a",), n=300)
    above = pl.multiverse(table, sample="a").axes[0]
    part = table.query("measure == 'CAR-T %'")
    shown = np.concatenate([line.get_ydata() for line in above.lines])
    assert len(shown) <= 82
    assert (shown.min(), shown.max()) == (part["result"].min(), part["result"].max())
    assert part.query("universe == 0")["result"].iloc[0] in shown
    assert above.get_title("right") == "300 universes"


def test_wrong_wishes() -> None:
    with pytest.raises(ParameterError, match="the table has no measure 'CAR %'; did you mean 'CAR-T %'"):
        pl.robustness(moved(), measure="CAR %")
    with pytest.raises(ParameterError, match="the table has no sample_id 'c'; "):
        pl.multiverse(universes(), sample="c")
    with pytest.raises(ParameterError, match="the table of robustness is missing columns: result_low"):
        pl.robustness(moved().drop(columns="result_low"))
    with pytest.raises(ParameterError, match="the table of the multiverse has no rows"):
        pl.multiverse(universes().iloc[:0])


@pytest.mark.parametrize("ends", [float("nan"), 50.0])
@pytest.mark.parametrize("count", [1, 3, 8])
def test_a_share_of_no_cells_is_no_number_and_no_crash(count: int, ends: float) -> None:
    samples = tuple("abcdefgh"[:count])
    table = moved(samples)
    none = (table["sample_id"] == "a") & (table["measure"] == "DN %")
    table.loc[none, "result"] = np.nan
    table.loc[none, ["result_low", "result_high"]] = ends
    axes = {found.get_label(): found for found in pl.robustness(table).axes}
    if count < 8:
        assert axes["a DN %"].get_title(loc="left") == "no cells to take a share of"
        assert not axes["a DN %"].patches
        assert axes["a CAR-T %"].patches
    else:
        drawn = {line.get_label(): line for line in axes["DN %"].lines}
        assert np.isnan(drawn["found a"].get_xdata()).all()
        assert np.isfinite(drawn["found b"].get_xdata()).all()
    several = universes(samples)
    none = (several["sample_id"] == "a") & (several["measure"] == "DN %")
    several.loc[none, "result"] = np.nan
    assert pl.multiverse(several).axes
    assert pl.multiverse(several, sample="a", measure="DN %").axes
