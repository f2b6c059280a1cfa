"""The whole strategy on one page: what is counted, where the gates are, what is written beside them."""

from __future__ import annotations

from functools import cache

import anndata
import numpy as np
import pytest

import cytocar as cc
from cytocar import pl
from cytocar._core.errors import GateError, ParameterError
from cytocar.pl._page import raster


@cache
def gated() -> anndata.AnnData:
    adata = cc.datasets.legend2(cells=3000, timepoints=["2mo", "5yr"])
    cc.pp.clean(adata)
    cc.pp.arcsinh(adata)
    cc.gate.apply(adata, "car_t")
    return adata


def page(**kwargs: object) -> dict[str, object]:
    figure = pl.strategy(gated(), sample="P1_2mo", **kwargs)
    return {axes.get_label(): axes for axes in figure.axes}


def values(sample: str = "P1_2mo") -> tuple[np.ndarray, dict[str, np.ndarray]]:
    adata = gated()
    rows = (adata.obs["sample_id"] == sample).to_numpy()
    gates = {name: np.asarray(adata.obsm["gates"][name])[rows] for name in adata.obsm["gates"]}
    return rows, gates


def test_every_step_shows_all_its_cells_where_they_are() -> None:
    adata = gated()
    rows, gates = values()
    panels = page()
    assert len(panels) == 8
    axes = panels["5 CD14-"]
    left, right, bottom, top = axes.images[0].get_extent()
    part = adata.X[rows][gates["CD14-"]]
    x, y = (part[:, adata.var_names.get_loc(marker)] for marker in ("CD3", "CD7"))
    shown = np.ma.filled(axes.images[0].get_array(), np.nan)
    bins = len(shown)
    # counted anew by numpy, then the shade that the fullest pixel and those of one event must have
    counts = np.histogram2d(
        np.clip(y, bottom, top), np.clip(x, left, right), bins, [[bottom, top], [left, right]]
    )[0]
    assert (np.isfinite(shown) == (counts > 0)).mean() > 0.999
    assert shown[counts == counts.max()] == pytest.approx(1.0)
    assert shown[counts == 1].max() == pytest.approx(0.0, abs=0.2)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("CD3", "CD7")
    assert axes.get_title("right") == f"n = {int(gates['CD14-'].sum()):,}"


def test_gates_are_drawn_at_the_thresholds_of_the_sample() -> None:
    found = cc.gate.thresholds(gated()).query("sample_id == 'P1_2mo'").set_index("name")["value"]
    lines = page()["5 CD14-"].lines
    assert {line.get_label() for line in lines} == {"gate T cells"}
    upright = next(line for line in lines if len(set(line.get_xdata())) == 1)
    flat = next(line for line in lines if len(set(line.get_ydata())) == 1)
    assert upright.get_xdata()[0] == pytest.approx(found["CD3"])
    # the gate ends where its sides meet: it is a corner, not a cross
    assert min(upright.get_ydata()) == pytest.approx(found["CD7"])
    assert min(flat.get_xdata()) == pytest.approx(found["CD3"])


def test_a_side_that_two_gates_share_is_drawn_once_and_says_both_shares() -> None:
    axes = page()["6 T cells"]
    assert len(axes.lines) == 1
    _, gates = values()
    whole = gates["T cells"].sum()
    words = {text.get_text().splitlines()[0]: text.get_text().splitlines()[1] for text in axes.texts}
    assert set(words) == {"CAR-T", "Host T"}
    assert float(words["CAR-T"].split()[0]) == pytest.approx(100 * gates["CAR-T"].sum() / whole, rel=0.05)
    corners = {text.get_text().split("\n")[0]: text for text in page()["8 Host T"].texts}
    assert set(corners) == {"CD4", "CD8", "DN", "DP"}
    assert corners["CD4"].xy[0] > corners["DN"].xy[0]
    assert corners["CD8"].xy[1] > corners["CD4"].xy[1]


def test_words_keep_away_from_cells() -> None:
    # CAR-T cells lie in the middle of their gate: its name stands in an upper corner, in a place without cells
    axes = page()["6 T cells"]
    words = next(text for text in axes.texts if text.get_text().startswith("CAR-T"))
    shown = np.ma.filled(axes.images[0].get_array(), np.nan)
    x, y = (int(share * len(shown)) for share in words.xy)
    assert np.isnan(shown[y - 2 : y + 3, x - 5 : x + 6]).all()


def test_a_million_events_are_counted_as_numpy_counts_them() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(2, 1, 300_001).astype(np.float32), rng.exponential(1, 300_001).astype(np.float32)
    counts = raster.pixels(x, y, (0, 4), (0, 4), 32)
    wanted = np.histogram2d(np.clip(y, 0, 4), np.clip(x, 0, 4), 32, [[0, 4], [0, 4]])[0]
    assert counts.sum() == len(x)
    assert np.abs(counts - wanted).sum() <= 4  # float32 beside float64 at the sides of pixels
    x[:10] = np.nan
    assert raster.pixels(x, y, (0, 4), (0, 4), 32).sum() == len(x) - 10


def test_equal_shades_cover_equal_areas() -> None:
    counts = np.random.default_rng(0).pareto(1.0, (60, 60)).astype(np.int64)
    shades = raster.shade(counts, "equal")
    assert np.isnan(shades[counts == 0]).all()
    filled = shades[counts > 0]
    assert filled.min() == 0
    assert filled.max() == 1
    order = np.argsort(counts[counts > 0], kind="stable")
    assert (np.diff(filled[order]) >= 0).all()
    assert np.nanmean(shades > 0.5) > 3 * np.nanmean(raster.shade(counts) > 0.5)
    assert raster.shade(np.array([[3, 0]]), "equal")[0, 0] == 0


def test_only_some_steps_and_wrong_wishes() -> None:
    assert list(page(parents=["Host T"])) == ["1 Host T"]
    with pytest.raises(ParameterError, match="no step starts from 'Host'; did you mean 'Host T'"):
        pl.strategy(gated(), sample="P1_2mo", parents=["Host"])
    with pytest.raises(ParameterError, match="there are 2 samples and a page shows one; name it"):
        pl.strategy(gated())
    with pytest.raises(ParameterError, match="there is no sample 'P1_2m'; did you mean 'P1_2mo'"):
        pl.strategy(gated(), sample="P1_2m")
    with pytest.raises(ParameterError, match="pixels is 4; it must be 8 to 1024"):
        pl.strategy(gated(), sample="P1_2mo", pixels=4)
    with pytest.raises(ParameterError, match="shade is 'lin'; "):
        pl.strategy(gated(), sample="P1_2mo", shade="lin")
    with pytest.raises(GateError, match="not gated"):
        pl.strategy(anndata.AnnData(np.eye(2, dtype=np.float32)))


def test_a_strategy_without_plots_is_drawn_by_its_populations() -> None:
    adata = anndata.AnnData(np.array([[0.2, 3.0, 1.0], [4.1, 0.1, 2.0], [4.0, 1.0, 3.0]], dtype=np.float32))
    adata.var_names = ["CD3", "CD19", "CD14"]
    adata.uns["cytocar"] = {"state": "arcsinh"}
    tree = cc.gate.GateTree.from_yaml(
        """
        cytocar_gating: 1
        name: small
        thresholds: {CD3: {marker: CD3, value: 2.5}, CD19: {marker: CD19, value: 1.5}, CD14: {marker: CD14, value: 2}}
        populations:
          - {name: T cells, parent: cells, gate: [CD3+, CD19-]}
          - {name: B cells, parent: cells, gate: [CD3-, CD19+]}
          - {name: odd T cells, parent: T cells, gate: [CD14+]}
        """
    )
    cc.gate.apply(adata, tree)
    first, second = pl.strategy(adata).axes
    assert (first.get_xlabel(), first.get_ylabel()) == ("CD3", "CD19")
    assert {text.get_text() for text in first.texts} == {"T cells\n67 %", "B cells\n33 %"}
    assert (second.get_xlabel(), second.get_title("left")) == ("CD14", "2  T cells")
