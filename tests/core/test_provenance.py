import json
from pathlib import Path

import anndata
import numpy as np
import pytest

from cytocar import StateError
from cytocar._core import keys, provenance


def empty():
    return anndata.AnnData(np.zeros((2, 1), np.float32))


def test_steps_are_kept_in_order_and_survive_h5ad(tmp_path):
    adata = empty()
    provenance.record(adata, "read", {"path": Path("a.fcs"), "n": np.int64(3)})
    provenance.record(adata, "arcsinh", {"cofactor": (5, 5.5), "nothing": None})
    adata.write_h5ad(tmp_path / "a.h5ad")
    back = anndata.read_h5ad(tmp_path / "a.h5ad")
    assert provenance.steps(back) == [
        {"step": "read", "settings": {"path": "a.fcs", "n": 3}},
        {"step": "arcsinh", "settings": {"cofactor": [5, 5.5], "nothing": None}},
    ]


def test_state_is_asked_before_a_step():
    adata = empty()
    with pytest.raises(StateError, match="does not say whether X holds counts"):
        provenance.require_state(adata, keys.STATE_COUNTS, "clean")
    provenance.set_state(adata, keys.STATE_COUNTS)
    provenance.require_state(adata, keys.STATE_COUNTS, "clean")
    with pytest.raises(StateError, match=r"gate needs arcsinh in X, but X holds counts.*pp\.arcsinh"):
        provenance.require_state(adata, keys.STATE_ARCSINH, "gate")


def test_plain_is_json_for_whatever_settings_hold():
    value = {"a": {1, 2}, "b": np.array([1.5, np.nan]), 3: np.bool_(True), "p": Path("x")}
    assert json.loads(json.dumps(provenance.plain(value))) == {
        "a": [1, 2],
        "b": [1.5, "nan"],
        "3": True,
        "p": "x",
    }
