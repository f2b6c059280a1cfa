"""Documents of gates: names of populations and files, and which stored values an axis is."""

from __future__ import annotations

from dataclasses import replace

import anndata
import numpy as np
import pandas as pd
import pytest

from cytocar import GateError
from cytocar.gate import Asinh, Combination, Dimension, GatingDocument, Operand, SpectrumMatrix, interval
from cytocar.gate._documents.values import Axes, Channels, Columns, column

A = Dimension("A")


@pytest.mark.parametrize(
    ("scale", "equal"),
    [
        (Asinh.of_cofactor(5), True),
        (Asinh.of_cofactor(6), False),
        (Asinh(t=Asinh.of_cofactor(5).t, m=Asinh.of_cofactor(5).m, a=1e-3), False),
        # The same cofactor and unit, moved along the axis.
        (Asinh(t=5 * np.sinh(0.9), m=0.9 / np.log(10), a=0.1 / np.log(10)), False),
        # The same cofactor, drawn to another height of the axis.
        (Asinh(t=5 * np.sinh(2 * np.log(10)), m=2.0), False),
    ],
)
def test_an_axis_is_the_arcsinh_value_only_where_every_position_agrees(scale: Asinh, equal: bool) -> None:
    assert scale.equals_arcsinh(5.0) == equal
    values = np.array([-3.0, 0.0, 50.0])
    assert np.allclose(scale.apply(values), np.arcsinh(values / 5), rtol=1e-12) == equal


def data() -> anndata.AnnData:
    """Return arcsinh values of two channels; the cofactors are 5."""
    counts = np.array([[10.0, 100.0], [20.0, 0.0]])
    var = pd.DataFrame({"channel": ["A", "B"], "cofactor": 5.0}, index=["CD3", "CD4"])
    return anndata.AnnData(np.arcsinh(counts / 5), var=var, layers={"counts": counts})


def test_stored_values_are_an_axis_unless_a_matrix_or_bounds_are_in_between() -> None:
    scales = {"s": Asinh.of_cofactor(5), "bounded": Asinh(**vars(Asinh.of_cofactor(5)) | {"bound_max": 3.0})}
    matrices = {"m": SpectrumMatrix(("A", "B"), ("A", "B"), ((1.0, 0.1), (0.0, 1.0)))}
    channels = Channels(data(), scales, matrices)
    for compensation in ("uncompensated", "FCS"):
        own = channels.transformed(Dimension("A", compensation, "s"))
        assert own is not None
        assert own.tolist() == data().X[:, 0].tolist()
    assert channels.transformed(Dimension("A", "m", "s")) is None
    assert channels.transformed(Dimension("A", transformation="bounded")) is None
    assert channels.transformed(A) is None


def test_a_compensated_axis_is_the_sum_of_its_detectors() -> None:
    matrix = SpectrumMatrix(("a", "b"), ("A", "B"), ((1.0, 0.25), (0.0, 1.0)))
    events = np.array([[8.0, 10.0], [4.0, 1.0]])
    axes = Axes(Columns(["A", "B"], {}, {"m": matrix}), events)
    assert axes.values(Dimension("b", "m")).tolist() == [10.0 - 0.25 * 8.0, 1.0 - 0.25 * 4.0]
    with pytest.raises(GateError, match="channel 'c' is not a fluorochrome of the matrix 'm'") as caught:
        axes.values(Dimension("c", "m"))
    assert caught.value.fix == "known: a, b"


def test_one_column_of_a_sparse_matrix_is_dense() -> None:
    from scipy.sparse import csr_matrix

    assert column(csr_matrix(np.eye(3)), 1).tolist() == [0.0, 1.0, 0.0]


def test_populations_of_one_name_below_one_parent_are_told_apart_by_their_ids() -> None:
    gates = [replace(interval(name, A, low=low), name="T") for name, low in (("g1", 1.0), ("g2", 2.0))]
    document = GatingDocument([*gates, interval("below", A, low=3.0, parent="g2")])
    assert [population.path for population in document.populations] == [
        ("T",), ("T [g2]",), ("T [g2]", "below"),
    ]  # fmt: skip


def test_an_and_is_below_the_population_that_asks_for_most_of_what_it_asks_for() -> None:
    shapes = [interval(name, Dimension(name), low=1.0) for name in "ABC"]
    sets = [
        Combination(id=name, operation="and", operands=tuple(Operand(gate) for gate in name))
        for name in ("AB", "ABC")
    ]
    document = GatingDocument([*shapes, *sets], populations=["A", "AB", "ABC"])
    assert [population.path for population in document.populations] == [
        ("A",), ("A", "AB"), ("A", "AB", "ABC"),
    ]  # fmt: skip
    flat = GatingDocument([*shapes, *sets], populations=["A", "AB", "ABC"], nested=False)
    assert {population.parent for population in flat.populations} == {()}


def test_a_file_is_known_without_its_ending_where_that_is_clear() -> None:
    base = interval("T", A, low=1.0)
    versions = [
        replace(interval(f"T [{file}]", A, low=low), file=file, version_of="T")
        for file, low in (("a.fcs", 2.0), ("a", 3.0), ("b.fcs", 4.0))
    ]
    document = GatingDocument([base, *versions])
    lows = {file: document.gates_for(file)["T"].low for file in ("a.fcs", "a", "b", "b.FCS", "a.FCS", None)}
    assert lows == {
        "a.fcs": (2.0,), "a": (3.0,), "b": (4.0,), "b.FCS": (4.0,), "a.FCS": (1.0,), None: (1.0,),
    }  # fmt: skip
    assert document.name_in("unknown", "b") == "b.fcs"
    assert document.name_in("unknown", "another") == "unknown"
