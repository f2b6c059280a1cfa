from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import cytocar as cc
from cytocar._core.errors import GateError, ParameterError
from cytocar._core.samples import own, require_sample_column, rows_by_sample, sample_positions


def events(samples: list[object] | None) -> ad.AnnData:
    n = 4 if samples is None else len(samples)
    adata = ad.AnnData(np.ones((n, 2), np.float32))
    if samples is not None:
        adata.obs["sample_id"] = pd.Series(samples, index=adata.obs_names, dtype=object)
    return adata


@pytest.mark.parametrize("categorical", [False, True])
def test_samples_come_in_order_of_appearance(categorical):
    adata = events(["b", "a", "b", "10"])
    if categorical:
        adata.obs["sample_id"] = adata.obs["sample_id"].astype("category")
    found = sample_positions(adata, "sample_id")
    assert {name: rows.tolist() for name, rows in found} == {"b": [0, 2], "a": [1], "10": [3]}


def test_without_sample_id_all_events_are_one_sample():
    ((name, rows),) = sample_positions(events(None), "sample_id")
    assert (name, rows.tolist()) == ("", [0, 1, 2, 3])
    assert rows_by_sample(events(None), "sample_id") == {"sample": slice(None)}


def test_the_rows_of_an_only_sample_are_a_slice():
    assert rows_by_sample(events(["a", "a"]), "sample_id") == {"a": slice(None)}


def test_events_without_sample_are_counted_in_the_message():
    with pytest.raises(ParameterError, match="2 events have no sample_id; give each its sample"):
        sample_positions(events(["a", None, np.nan]), "sample_id")


def test_no_events_cannot_be_gated():
    with pytest.raises(GateError, match="no events"):
        rows_by_sample(events([]), "sample_id")


def test_a_missing_sample_column_is_one_message_everywhere():
    message = " has no column 'smaple', so it is not known from which sample each row is"
    cells = events(["a", "a", "b", "b"])
    cells.obs["flowsom"] = ["1", "2", "1", "2"]
    cells.uns["cytocar"] = {"state": "arcsinh"}
    counts = events(["a"])
    counts.var["channel"], counts.var["mass"] = ["Yb171Di", "Yb172Di"], [171, 172]
    counts.var["role"] = "marker"
    counts.uns["cytocar"] = {"state": "counts"}
    sheet = pd.DataFrame({"sample_id": ["a", "b"], "group": ["x", "y"]})
    calls = [
        lambda: rows_by_sample(cells, "smaple"),
        lambda: require_sample_column(sheet, "smaple", "samples"),
        lambda: cc.pp.clean(counts, sample_key="smaple"),
        lambda: cc.gate.apply(cells, "cells", sample_key="smaple"),
        lambda: cc.tl.abundance(cells, sheet, sample_key="smaple"),
        lambda: cc.tl.state(cells, sheet, sample_key="smaple"),
    ]
    for call in calls:
        with pytest.raises(ParameterError) as caught:
            call()
        assert caught.value.what.removeprefix("samples").removeprefix("obs") == message


def test_a_view_gets_data_of_its_own():
    adata = events(["a", "a", "b", "b"])
    part = own(adata[:2])
    part.X[:] = 7
    assert not part.is_view
    assert adata.X.max() == 1
