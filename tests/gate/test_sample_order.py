"""The order in which samples are gated, with made-up work in place of gating."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np
import pytest

from cytocar.gate._thresholds.not_found import ThresholdNotFound
from cytocar.gate._thresholds.schedule import SampleTurn, Work, controls_first, waiting_last, with_controls

OWN = {"a": 1.0, "b": 3.0, "c": 5.0}
"""Samples that find a number; all others need those of others."""


@dataclass
class Diary:
    """Made-up work that notes what was done in which order."""

    steps: list[tuple[str, str]] = field(default_factory=list)

    def number(self, turn: SampleTurn) -> float:
        if turn.sample_id in OWN:
            return OWN[turn.sample_id]
        if turn.others is None:
            raise ThresholdNotFound(f"sample {turn.sample_id}: no CD3", needs_others=True)
        if not turn.others.get("CD3"):
            raise ThresholdNotFound(f"sample {turn.sample_id}: no CD3, and nobody else has one")
        return median(turn.others["CD3"])

    def control_values(self, turn: SampleTurn) -> dict[str, np.ndarray]:
        self.steps.append(("control", turn.sample_id))
        return {"VHH": np.array([self.number(turn)])}

    def numbers_above(self, turn: SampleTurn) -> dict[str, list[float]]:
        self.steps.append(("above", turn.sample_id))
        return {"CD3": [OWN[turn.sample_id]]} if turn.sample_id in OWN else {}

    def resolve(self, turn: SampleTurn) -> tuple[str, float]:
        self.steps.append(("resolve", turn.sample_id))
        return turn.sample_id, self.number(turn)

    def work(self) -> Work[SampleTurn, tuple[str, float]]:
        return Work(
            self.control_values, self.numbers_above, self.resolve, lambda result: {"CD3": [result[1]]}
        )


def turns(names: str) -> list[SampleTurn]:
    return [SampleTurn(name) for name in names]


def test_a_sample_that_finds_nothing_comes_last_and_takes_what_the_others_found() -> None:
    diary = Diary()
    assert waiting_last(turns("xaybc"), diary.work()) == [
        ("x", 3.0), ("a", 1.0), ("y", 3.0), ("b", 3.0), ("c", 5.0),
    ]  # fmt: skip
    assert [name for _, name in diary.steps] == ["x", "a", "y", "b", "c", "x", "y"]


def test_samples_that_wait_do_not_hand_on_what_they_took() -> None:
    taken = waiting_last(turns("xyza"), Diary().work())
    assert {value for _, value in taken} == {1.0}
    with pytest.raises(ThresholdNotFound, match="nobody else"):
        waiting_last(turns("xy"), Diary().work())


def test_an_error_that_others_cannot_help_is_raised_at_once() -> None:
    diary = Diary()
    lost = [SampleTurn("x", others={}), *turns("a")]
    with pytest.raises(ThresholdNotFound, match="sample x"):
        waiting_last(lost, diary.work())
    assert diary.steps == [("resolve", "x")]


def test_control_tubes_come_first_and_a_late_one_asks_all_but_the_late_ones() -> None:
    diary = Diary()
    samples = turns("axbyc")
    controls = controls_first(samples, [samples[1], samples[2]], diary.work())
    assert list(controls["VHH"]) == ["x", "b"]
    assert controls["VHH"]["b"].tolist() == [3.0]
    assert controls["VHH"]["x"].tolist() == [3.0]
    assert diary.steps == [
        ("control", "x"), ("control", "b"), ("above", "a"), ("above", "b"), ("above", "y"), ("above", "c"),
        ("control", "x"),
    ]  # fmt: skip
    assert with_controls(samples[0], controls).controls is controls


def test_other_samples_are_not_read_while_no_control_waits() -> None:
    diary = Diary()
    samples = turns("abc")
    assert controls_first(samples, samples[:1], diary.work())["VHH"]["a"].tolist() == [1.0]
    assert diary.steps == [("control", "a")]


def test_what_is_mapped_can_go_to_another_process() -> None:
    seen: list[Any] = []

    def mapper(function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        seen.append(function)
        return [function(item) for item in items]

    work = Work(module_level, module_level, module_level, lambda _: {})
    assert waiting_last(turns("ab"), work, mapper) == ["a", "b"]
    assert pickle.loads(pickle.dumps(seen[0]))(SampleTurn("z")) == "z"


def module_level(turn: SampleTurn) -> Any:
    return turn.sample_id
