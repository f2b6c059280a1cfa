from __future__ import annotations

import copy
import dataclasses
import pickle

import numpy as np
import pytest

from cytocar import GateError
from cytocar.gate import ThresholdNotFound
from cytocar.gate._populations.frozen import FrozenDict
from cytocar.gate._populations.parts import Term
from cytocar.gate._rules.base import ReferenceCells, RuleInput
from cytocar.gate._rules.lower_limit import LowerLimit
from cytocar.gate._rules.negatives import Negatives
from cytocar.gate._rules.other_samples import OtherSamples
from cytocar.gate._rules.upper_limit import UpperLimit
from cytocar.gate._rules.valley import Valley
from cytocar.gate._strategy.threshold import Threshold
from cytocar.gate._thresholds.find import GRID, find
from cytocar.gate._thresholds.not_found import sketch

RNG = np.random.default_rng(0)
TWO_HUMPS = np.concatenate([RNG.exponential(0.3, 3000), RNG.normal(4.0, 0.3, 1000)]).astype(np.float32)
SHALLOW = np.concatenate([RNG.exponential(0.5, 3000), RNG.normal(2.2, 0.5, 2000)]).astype(np.float32)
ONE_HUMP = RNG.exponential(0.3, 5000).astype(np.float32)
NOT_T = ReferenceCells("CD45+", (Term("CD3", False),))
VALLEY = Threshold("CD4", ("CD4",), "T cells", Valley(low=1.0, high=4.0))
NEGATIVES = Threshold(
    "VHH",
    ("VHH",),
    "T cells",
    Negatives(population="CD45+", gate=(Term("CD3", False),), false_positive_rate=1e-3),
)


def test_a_valley_lies_between_the_humps_and_keeps_its_density() -> None:
    found = find(VALLEY, RuleInput(TWO_HUMPS), "S1")
    assert 1.5 < found.value < 3.4
    assert found.confidence > 0.8
    assert (found.rule, found.found_in, found.n_cells) == ("valley", "T cells", 4000)
    assert not found.pinned
    assert not found.fallback
    assert found.note == ""
    assert found.grid.shape == found.density.shape == (GRID,)
    assert np.trapezoid(found.density, found.grid) == pytest.approx(1.0, abs=0.01)
    right = found.grid > found.value
    assert np.trapezoid(found.density[right], found.grid[right]) == pytest.approx(0.25, abs=0.01)


def test_a_missing_valley_is_an_error_that_shows_and_tells() -> None:
    with pytest.raises(ThresholdNotFound) as caught:
        find(VALLEY, RuleInput(ONE_HUMP), "5yr")
    error, text = caught.value, str(caught.value)
    assert (error.name, error.sample, error.marker, error.needs_others) == ("CD4", "5yr", "CD4", False)
    assert isinstance(error, GateError)
    assert "sample 5yr: no threshold CD4 (marker CD4) in T cells (5,000 cells)" in text
    assert "no valley in the range 1 to 4" in text
    assert "█" in text
    assert "thresholds: {CD4: 2.5}" in text
    assert "thresholds: {CD4: {5yr: 2.5}}" in text
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.name, again.needs_others) == (text, "CD4", False)


@pytest.mark.parametrize(
    ("rule", "values", "message"),
    [
        (Valley(), TWO_HUMPS[:150], "150 cells, and at least 200 are needed"),
        (Valley(min_cells=9000), TWO_HUMPS, "4,000 cells, and at least 9,000 are needed"),
        (
            Valley(min_confidence=0.9),
            SHALLOW,
            r"the best valley, at 1\..., has a confidence of 0\.[1-8]., and 0\.9 is needed",
        ),
        (Valley(low=0.0, high=0.5), TWO_HUMPS, "no valley in the range 0 to 0.5"),
        (UpperLimit(low=4.0), ONE_HUMP, "outside the range of 4 to inf"),
        (LowerLimit(high=-3.0), ONE_HUMP, "outside the range of -inf to -3"),
        (LowerLimit(min_cells=9000), ONE_HUMP, "5,000 cells"),
        (OtherSamples(), TWO_HUMPS, "their numbers are not known here"),
        (Negatives(controls="only"), TWO_HUMPS, "wants control tubes, and there are none"),
        (Negatives(population="cells"), TWO_HUMPS, "known negatives are too few"),
    ],
)
def test_the_reason_names_what_is_missing(rule, values, message: str) -> None:
    with pytest.raises(ThresholdNotFound, match=message):
        find(Threshold("A", ("A",), "cells", rule), RuleInput(values), "S1")


def test_a_fallback_is_taken_only_when_the_strategy_says_so_and_is_flagged() -> None:
    limit = Threshold("CD19", ("CD19",), "CD45+", Valley(low=0.5, high=4.0), (UpperLimit(rate=0.005),))
    found = find(limit, RuleInput(ONE_HUMP), "S1")
    assert found.fallback
    assert found.rule == "upper_limit_of_negatives"
    assert "no valley: the density has no valley" in found.note
    assert found.value == pytest.approx(-0.3 * np.log(0.005), rel=0.1)
    assert not find(limit, RuleInput(TWO_HUMPS), "S1").fallback


def test_the_limits_are_mirror_images() -> None:
    x = RNG.normal(0, 1, 20_000)
    upper = find(Threshold("A", ("A",), rule=UpperLimit(rate=1e-3)), RuleInput(x), "S").value
    lower = find(Threshold("A", ("A",), rule=LowerLimit(rate=1e-3)), RuleInput(-x), "S").value
    assert upper == pytest.approx(-lower, abs=1e-4)
    assert 3.0 < upper < 4.0


def test_other_samples_give_their_median() -> None:
    threshold = Threshold("CD4", ("CD4",), "T cells", Valley(low=1.0), (OtherSamples(),))
    found = find(threshold, RuleInput(TWO_HUMPS[:50], others=[2.0, 2.6, 9.0]), "S1")
    assert (found.value, found.rule, found.fallback) == (2.6, "other_samples", True)
    assert "median of 3 other samples" in found.note
    with pytest.raises(ThresholdNotFound, match=r"others=\{\} to go on without") as caught:
        find(threshold, RuleInput(TWO_HUMPS[:50]), "S1")
    assert caught.value.needs_others
    with pytest.raises(ThresholdNotFound, match="no other sample has a number of its own") as caught:
        find(threshold, RuleInput(TWO_HUMPS[:50], others=[]), "S1")
    assert not caught.value.needs_others


def test_a_later_fallback_does_not_step_in_for_numbers_that_are_not_known_yet() -> None:
    chain = (OtherSamples(), UpperLimit())
    threshold = Threshold("CD4", ("CD4",), "T cells", Valley(low=1.0), chain)
    with pytest.raises(ThresholdNotFound) as caught:
        find(threshold, RuleInput(ONE_HUMP), "S1")
    assert caught.value.needs_others
    assert find(threshold, RuleInput(ONE_HUMP, others=[2.0]), "S1").rule == "other_samples"
    assert find(threshold, RuleInput(ONE_HUMP, others=[]), "S1").rule == "upper_limit_of_negatives"


def test_a_stated_number_is_taken_as_it_is() -> None:
    pinned = Threshold("CD4", ("CD4",), "T cells", Valley(), value=2.0, samples=FrozenDict({"S2": 2.4}))
    first, second = (find(pinned, RuleInput(ONE_HUMP), sample) for sample in ("S1", "S2"))
    assert (first.value, second.value) == (2.0, 2.4)
    assert first.pinned
    assert (first.rule, first.found_in, first.n_cells) == ("value", "T cells", 5000)
    assert first.grid.size == GRID
    only = Threshold("CD4", ("CD4",), samples=FrozenDict({"S2": 2.4}))
    with pytest.raises(ThresholdNotFound, match="no number is stated for this sample"):
        find(only, RuleInput(ONE_HUMP), "S1")
    assert find(pinned, RuleInput(np.empty(0)), "S1").value == 2.0


def test_known_negatives_of_the_same_tube_give_the_stated_rate() -> None:
    negatives = RNG.exponential(0.4, 50_000)
    found = find(NEGATIVES, RuleInput(TWO_HUMPS, references={NOT_T: negatives}), "S1")
    assert found.value == pytest.approx(-0.4 * np.log(1e-3), rel=0.05)
    assert (found.found_in, found.n_cells) == ("CD45+ CD3-", 50_000)
    reference = found.reference
    assert reference is not None
    assert (reference.n_negative, reference.rate, reference.source) == (50_000, 1e-3, "same tube")
    assert reference.n_above == np.count_nonzero(negatives >= found.value) == pytest.approx(50, abs=1)


def test_control_tubes_come_first_and_the_highest_of_them_counts() -> None:
    own, dim, bright = (RNG.exponential(scale, 20_000) for scale in (0.6, 0.2, 0.4))
    known = RuleInput(TWO_HUMPS, references={NOT_T: own}, controls={"dim": dim, "bright": bright})
    found = find(NEGATIVES, known, "S1")
    assert found.value == pytest.approx(-0.4 * np.log(1e-3), rel=0.1)
    assert found.found_in == "control bright"
    assert "whose staining may differ" in found.note
    assert "same tube would give 4." in found.note
    assert found.reference is not None
    assert found.reference.source == "control bright"

    rule = NEGATIVES.rule
    assert isinstance(rule, Negatives)
    off = Threshold("VHH", ("VHH",), "T cells", dataclasses.replace(rule, controls="off"))
    assert find(off, known, "S1").found_in == "CD45+ CD3-"

    few = RuleInput(TWO_HUMPS, references={NOT_T: own}, controls={"few": dim[:50]})
    found = find(NEGATIVES, few, "S1")
    assert found.found_in == "CD45+ CD3-"
    assert "control tubes have too few cells" in found.note
    only = Threshold("VHH", ("VHH",), rule=Negatives(controls="only"))
    with pytest.raises(ThresholdNotFound, match="50 in control few; 200 are needed"):
        find(only, few, "S1")


def test_a_stated_car_threshold_still_counts_the_negatives_above_it() -> None:
    pinned = Threshold("VHH", ("VHH",), "T cells", NEGATIVES.rule, value=1.0)
    negatives = np.repeat([0.5, 1.0, 2.0], [900, 60, 40])
    reference = find(pinned, RuleInput(TWO_HUMPS, references={NOT_T: negatives}), "S1").reference
    assert reference is not None
    assert (reference.n_negative, reference.n_above, reference.rate) == (1000, 100, 0.1)
    controls = {"a": negatives[:900], "b": negatives}
    reference = find(pinned, RuleInput(TWO_HUMPS, controls=controls), "S1").reference
    assert reference is not None
    assert (reference.source, reference.n_above) == ("control b", 100)
    assert find(pinned, RuleInput(TWO_HUMPS), "S1").reference is None


def test_the_sketch_is_two_lines_of_equal_width() -> None:
    blocks, axis = sketch(TWO_HUMPS)
    assert len(blocks) == len(axis) == 48
    assert blocks[0] == "█"
    assert blocks[24] == "▁"
    assert sketch(np.empty(0)) == ["(no cells)"]
    assert sketch(np.zeros(3), width=9)[0][0] == "█"


def test_a_missing_threshold_travels_from_a_worker_with_its_notes_and_its_file() -> None:
    with pytest.raises(ThresholdNotFound) as caught:
        find(VALLEY, RuleInput(ONE_HUMP), "5yr")
    error = caught.value.within("a.fcs")
    error.add_note("while gating a.fcs")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert str(again) == str(error)
        assert again.problems == error.problems
        assert (again.name, again.sample, again.marker) == ("CD4", "5yr", "CD4")
        assert again.__notes__ == ["while gating a.fcs"]
