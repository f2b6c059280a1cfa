from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cytocar import GateError, gate
from cytocar.gate import GateTree, evaluate
from cytocar.gate._populations.parts import Boolean

TEXT = """
cytocar_gating: 1
name: x
thresholds: {A: {value: 0}, B: {value: 0}, C: {value: 0}}
populations:
  - {name: late, parent: a, gate: [C+]}
  - {name: a, parent: cells, gate: [A+]}
  - {name: not a, parent: cells, gate: [A-]}
  - {name: ab, parent: a, gate: [B+, C-]}
  - {name: either, parent: cells, any_of: [late, ab], not: [late]}
  - {name: both, parent: a, all_of: [ab, either]}
compartments: {car: a, host: not a}
subsets: {b: [B+], rest: [B-]}
"""
TREE = GateTree.from_yaml(TEXT)


def slowly(tree: GateTree, columns: dict, numbers: dict, root: np.ndarray) -> dict[str, list[bool]]:
    """Ask event by event, population by population, up to the root: the obvious way."""

    def inside(name: str, event: int) -> bool:
        if name == "cells":
            return bool(root[event])
        population = tree.population(name)
        if not inside(population.parent, event):
            return False
        gate_ = population.gate
        if isinstance(gate_, Boolean):
            return (
                all(inside(other, event) for other in gate_.all_of)
                and (not gate_.any_of or any(inside(other, event) for other in gate_.any_of))
                and not any(inside(other, event) for other in gate_.none_of)
            )
        return all(
            (columns[term.threshold][event] >= numbers[term.threshold]) == term.positive
            for term in gate_.terms
        )

    names = ["cells", *(population.name for population in tree.expanded())]
    return {name: [inside(name, event) for event in range(len(root))] for name in names}


values = arrays(np.float32, 20, elements=st.floats(0, 4, width=32).map(lambda x: round(x, 1)))


@settings(max_examples=60, deadline=None)
@given(values, values, values, arrays(bool, 20), st.sampled_from([0.0, 1.5, 2.0, 9.0]))
def test_every_event_is_where_the_obvious_way_puts_it(a, b, c, root, number) -> None:
    columns, numbers = {"A": a, "B": b, "C": c}, {"A": number, "B": 2.0, "C": 1.0}
    numbers = {name: float(np.float32(value)) for name, value in numbers.items()}
    found = evaluate(TREE, columns, numbers, root)
    assert {name: mask.tolist() for name, mask in found.items()} == slowly(TREE, columns, numbers, root)
    for population in TREE.expanded():
        assert not (found[population.name] & ~found[population.parent]).any()
    assert not (found["a"] & found["not a"]).any()
    assert ((found["a"] | found["not a"]) == found["cells"]).all()


def test_an_event_on_the_threshold_is_positive() -> None:
    tree = GateTree.from_yaml(TEXT)
    column = np.array([np.nextafter(np.float32(2.4321), np.float32(0)), 2.4321, 3.0], dtype=np.float32)
    columns = dict.fromkeys("ABC", column)
    found = evaluate(tree, columns, dict.fromkeys("ABC", 2.4321), np.ones(3, dtype=bool))
    assert found["a"].tolist() == [False, True, True]
    assert found["not a"].tolist() == [True, False, False]


def test_the_root_is_left_as_it_was() -> None:
    root = np.array([True, True, False])
    found = evaluate(TREE, dict.fromkeys("ABC", np.zeros(3)), dict.fromkeys("ABC", 1.0), root)
    assert root.tolist() == [True, True, False]
    assert list(found) == ["cells", *(population.name for population in TREE.expanded())]


def test_what_is_missing_is_named() -> None:
    root = np.ones(1, dtype=bool)
    with pytest.raises(GateError, match="no number is given for threshold 'A'"):
        evaluate(TREE, {}, {}, root)
    with pytest.raises(GateError, match="no column is given for marker 'A'"):
        evaluate(TREE, {}, {"A": 1.0}, root)


def test_every_threshold_is_compared_with_its_column_once() -> None:
    """What a million events cost is in `benchmarks/bench_gating.py`; here, that no comparison is made again."""

    class Counted(dict[str, np.ndarray]):
        def __init__(self, columns: dict[str, np.ndarray]) -> None:
            super().__init__(columns)
            self.taken = dict.fromkeys(columns, 0)

        def __getitem__(self, marker: str) -> np.ndarray:
            self.taken[marker] += 1
            return super().__getitem__(marker)

    tree = gate.car_t()
    columns = Counted(dict.fromkeys(tree.required_markers(), np.linspace(0, 6, 1000, dtype=np.float32)))
    evaluate(tree, columns, dict.fromkeys(tree.thresholds, 3.0), np.ones(1000, dtype=bool))
    of_marker = Counter(threshold.marker for threshold in tree.thresholds.values())
    assert columns.taken == {marker: of_marker[marker] for marker in columns}
