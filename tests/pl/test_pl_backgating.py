"""Where the CAR-T cells lie in every earlier step, in a notebook and from the tables of a run."""

from __future__ import annotations

from functools import cache

import anndata
import numpy as np
import pandas as pd
import pytest

import cytocar as cc
from cytocar import pl
from cytocar._core.errors import GateError, ParameterError


@cache
def gated() -> anndata.AnnData:
    adata = cc.datasets.legend2(cells=3000, timepoints=["2mo", "5yr"])
    cc.pp.clean(adata)
    cc.pp.arcsinh(adata)
    cc.gate.apply(adata, "car_t")
    return adata


def points(axes: object, label: str = "cells") -> np.ndarray:
    return next(np.asarray(c.get_offsets()) for c in axes.collections if c.get_label() == label)


def of(marker: str, population: str, sample: str = "P1_2mo") -> np.ndarray:
    adata = gated()
    rows = (adata.obs["sample_id"] == sample).to_numpy() & cc.gate.membership(adata, population)
    return np.asarray(adata.X[rows, adata.var_names.get_loc(marker)], dtype=float)


def test_every_car_t_cell_is_a_point_in_every_earlier_step() -> None:
    panels = {axes.get_label(): axes for axes in pl.backgating(gated(), sample="P1_2mo").axes}
    assert list(panels) == ["1 cells", "2 CD45+", "3 CD11c-", "4 CD19-", "5 CD14-", "6 T cells"]
    found = points(panels["6 T cells"])
    assert found[:, 0] == pytest.approx(
        of("CD3", "CAR-T"), abs=0.6
    )  # the few beyond the panel stand at its edge
    assert np.median(found[:, 1]) == pytest.approx(np.median(of("VHH", "CAR-T")), abs=1e-6)
    assert (
        len(found)
        == cc.gate.membership(gated(), "CAR-T")[(gated().obs["sample_id"] == "P1_2mo").to_numpy()].sum()
    )
    line = panels["6 T cells"].lines[0]
    assert (found[:, 1] >= line.get_ydata()[0]).all()
    # no names of gates and no shares: they would lie on the cells
    assert [text.get_text() for text in panels["6 T cells"].texts] == []


def test_many_cells_become_lines_that_hold_their_share(monkeypatch: pytest.MonkeyPatch) -> None:
    from cytocar.pl._gates import biaxial

    monkeypatch.setattr(biaxial, "MOST_POINTS", 500)
    axes = pl.backgating(gated(), sample="P1_2mo", population="Host T").axes[4]
    assert axes.get_label() == "5 CD14-"
    n = len(of("CD3", "Host T"))
    beyond = points(axes, "cells beyond the lines")
    assert 0.02 * n < len(beyond) < 0.09 * n  # 95 % are within the outermost line
    contours = next(c for c in axes.collections if hasattr(c, "levels"))
    assert len(contours.levels) == 3


def test_backgating_from_the_tables_of_a_run() -> None:
    adata = gated()
    plots, thresholds, ledger = cc.gate.biaxials(adata), cc.gate.thresholds(adata), cc.gate.table(adata)
    kept = adata[adata.obs["compartment"].isin(["car", "host"]).to_numpy()].copy()
    del kept.obsm["gates"]
    figure = pl.backgating(kept, plots=plots, thresholds=thresholds, ledger=ledger, strategy=cc.gate.car_t())
    panels = {axes.get_label(): axes for axes in figure.axes}
    assert list(panels) == [f"{sample} {plot}" for sample in ("P1_2mo", "P1_5yr") for plot in range(1, 7)]
    for sample in ("P1_2mo", "P1_5yr"):
        found = points(panels[f"{sample} 6"])
        assert len(found) == len(of("VHH", "CAR-T", sample))
        assert np.sort(found[:, 1]) == pytest.approx(np.sort(of("VHH", "CAR-T", sample)), abs=1e-5)
        assert panels[f"{sample} 6"].get_title("left").splitlines()[2] == f"in colour {len(found)}"
    # the picture behind is grey and holds all cells of the panel
    image = panels["P1_2mo 6"].images[0]
    assert image.get_cmap().name == "Greys"
    shown = plots[(plots["sample_id"] == "P1_2mo") & (plots["plot"] == 6)]
    assert np.ma.filled(image.get_array(), 0).sum() == shown["n"].sum()
    with pytest.raises(ParameterError, match="plots come with the tables thresholds and ledger"):
        pl.backgating(kept, plots=plots)


def test_gating_of_a_run_ends_thresholds_where_gates_end() -> None:
    adata = gated()
    tables = cc.gate.biaxials(adata), cc.gate.thresholds(adata), cc.gate.table(adata)
    found = tables[1].query("sample_id == 'P1_5yr'").set_index("name")["value"]

    def lines(strategy: object, plot: int) -> list[np.ndarray]:
        axes = next(
            a for a in pl.gating(*tables, strategy=strategy).axes if a.get_label() == f"P1_5yr {plot}"
        )
        return [line.get_xydata() for line in axes.lines]

    across, within = lines(None, 5), lines(cc.gate.car_t().to_yaml(), 5)
    assert len(across) == len(within) == 2
    assert min(across[0][:, 1]) < found["CD7"]
    assert min(within[0][:, 1]) == pytest.approx(found["CD7"])
    # of the plot with the CAR, CD3 was judged before: its line is gone
    assert len(lines(None, 6)) == 2
    (only,) = lines(cc.gate.car_t(), 6)
    assert only[:, 1] == pytest.approx([found["VHH"]] * 2)


def test_backgating_says_what_is_wrong() -> None:
    with pytest.raises(GateError, match="there is no population 'CART'; did you mean 'CAR-T'"):
        pl.backgating(gated(), sample="P1_2mo", population="CART")
    with pytest.raises(ParameterError, match="there are 2 samples and a page shows one"):
        pl.backgating(gated())


def test_backgating_leaves_the_cells_alone() -> None:
    adata = gated()
    before = (np.asarray(adata.X).tobytes(), adata.obs.copy(), adata.uns["cytocar"]["gating"])
    pl.backgating(adata, sample="P1_5yr")
    assert np.asarray(adata.X).tobytes() == before[0]
    pd.testing.assert_frame_equal(adata.obs, before[1])
    assert adata.uns["cytocar"]["gating"] == before[2]
