"""Quadrants with names such as q++, which are not ids of XML: in tables, in trees, and in files of other programs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cytocar.gate import (
    Dimension,
    Divider,
    GatingDocument,
    Quadrants,
    read_flowjo,
    read_gatingml,
    threshold_gate,
    write_flowjo,
    write_gatingml,
)

QUADRANTS = ("q++", "q+-", "q-+", "q--")


def quadrants_of(populations: list[str] | None = None) -> GatingDocument:
    """Return a document whose quadrants have ids that XML does not allow, with a gate below one of them."""
    x, y = (Divider(name, Dimension(channel), (5.0,)) for name, channel in (("x", "A"), ("y", "B")))
    parts = {
        name: {"x": 9.0 if name[1] == "+" else 1.0, "y": 9.0 if name[2] == "+" else 1.0} for name in QUADRANTS
    }
    return GatingDocument(
        [
            threshold_gate("T", Dimension("A"), 1),
            Quadrants(id="Q 1", parent="T", dividers=(x, y), quadrants=parts, names={"q--": "neither & nor"}),
            threshold_gate("high", Dimension("B"), 12, parent="q++"),
        ],
        populations=populations,
    )


@pytest.mark.parametrize("flavour", ["gatingml", "cytobank", "flowjo"])
@pytest.mark.parametrize("populations", [None, ["T", "q++", "q--"]])
def test_quadrants_keep_their_names_and_counts(
    flavour: str, populations: list[str] | None, tmp_path: Path
) -> None:
    document = quadrants_of(populations)
    path = tmp_path / "gates"
    if flavour == "flowjo":
        write_flowjo(document, path, files=["a.fcs"])
        back = read_flowjo(path)
    else:
        write_gatingml(document, path, flavour=flavour)
        back = read_gatingml(path)
    values = np.random.default_rng(0).exponential(8, (2000, 2))
    tables = [
        gates.table(gates.evaluate(values, ["A", "B"])).set_index("population") for gates in (document, back)
    ]
    assert list(tables[0].index) == (
        ["T", "T/q++", "T/q++/high", "T/q+-", "T/q-+", "T/neither & nor"]
        if populations is None
        else ["T", "T/q++", "T/neither & nor"]
    )
    assert tables[1].loc[tables[0].index, "events"].tolist() == tables[0]["events"].tolist()
    assert len(tables[1]) == len(tables[0])
    assert "q++" in str(back)
    low = (values < 5).all(axis=1) & (values[:, 0] >= 1)
    assert tables[1].loc["T/neither & nor", "events"] == low.sum()
