"""Values by marker name."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from cytocar import get
from cytocar._core.errors import ParameterError, StateError

# anndata asks pandas 3.1 for options that pandas is about to drop
pytestmark = pytest.mark.filterwarnings("ignore:The '.*' option is deprecated:Warning")

NAMES = ["CD3", "PD-1", "TCRγδ", "HLA-DR", "DNA1"]


@pytest.fixture
def cells() -> anndata.AnnData:
    x = np.arange(15, dtype=np.float32).reshape(3, 5)
    panel = pd.DataFrame(
        {"role": ["marker"] * 4 + ["dna"], "used_for_clustering": [False, True, True, False, False]},
        index=NAMES,
    )
    adata = anndata.AnnData(x, var=panel, layers={"counts": 10 * x})
    adata.uns["cytocar"] = {"state": "arcsinh"}
    return adata


def test_columns_come_in_the_order_asked_for_whatever_the_spelling(cells: anndata.AnnData) -> None:
    found = get.matrix(cells, ["hla dr", "TCRgd", "pd1", "CD3"])
    np.testing.assert_array_equal(found, cells.X[:, [3, 2, 1, 0]])
    assert get.columns(cells, "PD1").tolist() == [1]
    assert get.columns(cells).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("markers", [None, ["CD3", "DNA1"]])
def test_a_matrix_is_new_dense_float32_rows(cells: anndata.AnnData, markers: list[str] | None) -> None:
    before = cells.X.copy()
    found = get.matrix(cells, markers)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    found += 1
    np.testing.assert_array_equal(cells.X, before)


def test_sparse_and_float64_values_come_dense_as_float32(cells: anndata.AnnData) -> None:
    expected = get.matrix(cells, ["PD1"])
    cells.X = csr_matrix(cells.X.astype(np.float64))
    np.testing.assert_array_equal(get.matrix(cells, ["PD1"]), expected)
    assert get.matrix(cells).dtype == np.float32


def test_a_view_gives_its_own_rows(cells: anndata.AnnData) -> None:
    np.testing.assert_array_equal(get.matrix(cells[1:], "CD3"), [[5], [10]])


def test_counts_come_from_where_they_are(cells: anndata.AnnData) -> None:
    np.testing.assert_array_equal(get.counts(cells, "CD3"), [[0], [50], [100]])
    np.testing.assert_array_equal(get.matrix(cells, "CD3", layer="counts"), [[0], [50], [100]])
    cells.uns["cytocar"]["state"] = "counts"
    np.testing.assert_array_equal(get.counts(cells, "CD3"), [[0], [5], [10]])


def test_counts_that_were_lost(cells: anndata.AnnData) -> None:
    del cells.layers["counts"]
    with pytest.raises(StateError, match=r"layers\['counts'\] is not there"):
        get.counts(cells)


def test_markers_by_use(cells: anndata.AnnData) -> None:
    assert get.markers(cells) == ["PD-1", "TCRγδ"]
    assert get.markers(cells, clustering=False) == ["CD3", "PD-1", "TCRγδ", "HLA-DR"]
    cells.var["used_for_clustering"] = 0
    with pytest.raises(ParameterError, match="used_for_clustering = 1"):
        get.markers(cells)
    del cells.var["role"]
    with pytest.raises(ParameterError, match="var has no column 'role'"):
        get.markers(cells, clustering=False)


def test_another_name_of_the_antigen(cells: anndata.AnnData) -> None:
    expected = get.matrix(cells, ["PD-1", "TCRγδ", "CD3"])
    assert np.array_equal(get.matrix(cells, ["CD279", "gdTCR", "CD3e"]), expected)


def test_unknown_names(cells: anndata.AnnData) -> None:
    with pytest.raises(ParameterError) as caught:
        get.matrix(cells, ["PD-l", "CD33"])
    first, second = caught.value.problems
    assert (first.what, first.fix) == ("'PD-l' is not a marker of these data", "did you mean 'PD-1'?")
    assert second.what == "'CD33' is not a marker of these data"
    with pytest.raises(ParameterError, match="the list of markers is empty"):
        get.matrix(cells, [])
    with pytest.raises(ParameterError, match="'count' is not a layer of these data; did you mean 'counts'"):
        get.matrix(cells, layer="count")


def test_a_name_that_stands_twice(cells: anndata.AnnData) -> None:
    cells.var_names = ["CD3", "CD3", "a", "b", "c"]
    with pytest.raises(ParameterError, match="'CD3' fits 2 columns"):
        get.matrix(cells, "CD3")
