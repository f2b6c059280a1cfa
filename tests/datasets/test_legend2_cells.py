"""The simulated cells follow the design: numbers, expression, technical channels, beads."""

from __future__ import annotations

from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cytocar import datasets, io
from cytocar.datasets._design import Settings, apportion, event_numbers, tubes

if TYPE_CHECKING:
    from anndata import AnnData


@pytest.fixture(scope="module")
def design() -> pd.DataFrame:
    path = resources.files("cytocar.datasets").joinpath("data", "sim_params_resolved.csv")
    with path.open() as stream:
        return pd.read_csv(stream).set_index("population")


def ions(adata: AnnData, marker: str) -> np.ndarray:
    """Return the whole ions that were counted: stored is k - U(0, 1)."""
    return np.ceil(adata.X[:, adata.var_names.get_loc(marker)].astype(float))


def of(adata: AnnData, kind: str) -> np.ndarray:
    return (adata.obs["truth_type"] == kind).to_numpy()


def test_numbers_of_cells_are_those_of_the_publication() -> None:
    planned = tubes(Settings(cells=104_167))
    assert [tube.n_car for tube in planned] == [3135, 1083, 510, 250]
    assert [sum(tube.counts.values()) for tube in planned] == [104_167] * 4
    last = planned[-1].counts
    by_subset = {
        "DN": sum(last[f"CAR_{c}"] for c in ("C4", "C7", "C8", "C9")),
        "CD8": sum(last[f"CAR_{c}"] for c in ("C1", "C2", "C3", "C5")),
        "CD4": last["CAR_C6"],
    }
    assert by_subset == {"DN": 229, "CD8": 20, "CD4": 1}


def test_host_cells_keep_their_ratios() -> None:
    percent = {
        "H_CD4_naive": 6, "H_CD4_mem": 16, "H_Treg": 1.5, "H_CD8_naive": 5, "H_CD8_em": 14, "H_CD8_temra": 10,
        "NK_dim": 12, "NK_bright": 1, "Mono_c": 18, "Mono_nc": 2.5, "cDC": 0.8, "pDC": 0.3, "Neut": 1,
    }  # fmt: skip
    for tube, b_cells in zip(tubes(Settings(cells=100_000)), (0.2, 6, 9, 10), strict=True):
        host = sum(n for name, n in tube.counts.items() if not name.startswith("CAR_"))
        scale = host / (sum(percent.values()) + b_cells)
        for name, share in percent.items():
            assert tube.counts[name] == pytest.approx(share * scale, abs=1)
        assert tube.counts["B_naive"] + tube.counts["B_mem"] == pytest.approx(b_cells * scale, abs=2)
        assert tube.counts["H_DN_gd"] == 0


@pytest.mark.parametrize("total", [0, 1, 7, 250, 1083])
def test_apportion_leaves_nothing_and_is_never_off_by_one(total: int) -> None:
    shares = {"a": 26.6, "b": 34.0, "c": 0.4, "d": 39.0}
    found = apportion(total, shares)
    assert sum(found.values()) == total
    for name, share in shares.items():
        assert abs(found[name] - total * share / 100) < 1


def test_event_mix() -> None:
    numbers = event_numbers(72_000)
    assert numbers == {
        "cell": 72_000, "debris": 14_000, "dead": 6_000, "doublet": 4_000, "bead": 3_500, "cell_bead": 300,
    }  # fmt: skip


def test_exactly_so_many_live_single_cells(plain: AnnData) -> None:
    types = plain.obs["truth_type"].value_counts().to_dict()
    assert types == {
        "cell": 60_000,
        "debris": 11_667,
        "dead": 5_000,
        "doublet": 3_333,
        "bead": 2_917,
        "cell_bead": 250,
    }
    assert int(plain.obs["truth_is_car"].sum()) == 624


def test_every_marker_of_every_population_follows_its_distribution(
    plain: AnnData, design: pd.DataFrame
) -> None:
    """Means and tails of the ions against numerical integrals over the design."""
    cell = of(plain, "cell")
    population = plain.obs["truth_population"].to_numpy(dtype=object)
    z = (np.arange(4001) + 0.5) / 4001
    normal, exponential = stats.norm.ppf(z), stats.expon.ppf(z)
    scores: dict[str, list[float]] = {"mean": [], "seen": [], "dim": [], "bright": []}
    for name in design.index:
        here = cell & (population == name) & ~plain.obs["truth_false_positive"].to_numpy()
        n = int(here.sum())
        if n < 100:
            continue
        for marker in [column[:-5] for column in design.columns if column.endswith("_ppos")]:
            p, mu, sd = (design.loc[name, f"{marker}_{part}"] for part in ("ppos", "mu", "sd"))
            positive = 5 * np.sinh(np.maximum(mu + np.hypot(sd, 0.12) * normal, 0))
            negative = 2.5 * exponential
            k = ions(plain, marker)[here]
            mean = p * positive.mean() + (1 - p) * 0.35 * negative.mean()
            scores["mean"].append((k.mean() - mean) / (k.std() / np.sqrt(n)))
            for what, least in (("seen", 1), ("dim", 6), ("bright", 40)):
                share = p * stats.poisson.sf(least - 1, positive).mean()
                share += (1 - p) * 0.35 * stats.poisson.sf(least - 1, negative).mean()
                error = np.sqrt(max(share * (1 - share), 1 / n) / n)
                scores[what].append(((k >= least).mean() - share) / error)
            assert max(abs(found[-1]) for found in scores.values()) < 5.5, (name, marker)
    for what, found in scores.items():
        # Each is within its error; together they must not lean to one side.
        assert len(found) > 15 * 41
        assert abs(np.mean(found)) * np.sqrt(len(found)) < 5, (what, np.mean(found))


def test_markers_of_a_cell_share_a_part_of_their_spread(plain: AnnData) -> None:
    t_cells = of(plain, "cell") & (plain.obs["truth_lineage"] == "T").to_numpy()
    cd45, cd3 = (np.arcsinh(ions(plain, marker)[t_cells] / 5) for marker in ("CD45", "CD3"))
    # 0.12^2 common, 0.35^2 own, and the counting noise of about 450 and 170 ions.
    expected = 0.0144 / np.sqrt((0.1369 + 1 / 450) * (0.1369 + 1 / 150))
    assert np.corrcoef(cd45, cd3)[0, 1] == pytest.approx(expected, abs=0.02)


def test_stored_values_are_ions_less_a_random_part(plain: AnnData) -> None:
    values = plain.X
    assert values.dtype == np.float32
    assert values.min() == 0
    seen = values[values > 0].astype(float)
    part = np.ceil(seen[seen < 1000]) - seen[seen < 1000]
    assert stats.kstest(part[:20_000], "uniform").pvalue > 1e-4
    beads = values[of(plain, "bead")][:, plain.var_names.get_loc("Bead140")]
    # float32 has a step of 0.0002 at 2,700, so that a few land on a whole number.
    assert np.mean(beads == np.rint(beads)) < 0.003


def test_doublets_add_two_random_cells(plain: AnnData) -> None:
    doublet, cell = of(plain, "doublet"), of(plain, "cell")
    for marker in ("DNA1", "DNA2", "CD45", "CD8a"):
        k = ions(plain, marker)
        twice = 2 * k[cell].mean()
        assert k[doublet].mean() == pytest.approx(twice, rel=0.05), marker
    lineage = plain.obs["truth_lineage"].astype(str)[cell].value_counts(normalize=True)
    pairs = plain.obs["truth_lineage"].astype(str)[doublet]
    mixed = pairs.isin(["T+Mono", "Mono+T"]).mean()
    assert mixed == pytest.approx(2 * lineage["T"] * lineage["Mono"], abs=0.03)
    with_car = plain.obs["truth_population"].astype(str)[doublet].str.contains("CAR_").mean()
    assert 0.005 < with_car < 0.04


def test_dna_and_cisplatin(plain: AnnData) -> None:
    cell, dead, debris, doublet = (of(plain, kind) for kind in ("cell", "dead", "debris", "doublet"))
    dna1, dna2 = ions(plain, "DNA1"), ions(plain, "DNA2")
    assert np.median(dna1[cell]) == pytest.approx(275, rel=0.02)
    assert np.median(dna2[cell] / dna1[cell]) == pytest.approx(1.72, rel=0.01)
    assert np.log(dna1[cell]).std() == pytest.approx(np.hypot(0.28, 1 / np.sqrt(275)), rel=0.05)
    assert dna1[debris].mean() / dna1[cell].mean() == pytest.approx(0.2, rel=0.03)
    assert dna1[doublet].mean() / dna1[cell].mean() == pytest.approx(2, rel=0.03)
    pt194, pt195 = ions(plain, "Cisplatin194"), ions(plain, "Cisplatin195")
    assert np.median(pt195[cell]) == pytest.approx(45, rel=0.03)
    assert np.median(pt195[dead]) == pytest.approx(1000, rel=0.03)
    assert np.log(pt195[dead]).std() == pytest.approx(0.5, rel=0.05)
    assert pt194[dead].sum() / pt195[dead].sum() == pytest.approx(0.97, rel=0.01)


def test_cycling_cells_are_some_of_the_ki67_positive(plain: AnnData) -> None:
    car = plain.obs["truth_is_car"].to_numpy()
    b_cells = of(plain, "cell") & (plain.obs["truth_lineage"] == "B").to_numpy()
    # Against the same lognormal: above 275 * exp(2 * 0.28) lie 2.3 % of resting cells, and most cycling ones.
    limit = 275 * np.exp(2 * 0.28)
    extra = (ions(plain, "DNA1")[car] > limit).mean() - (ions(plain, "DNA1")[b_cells] > limit).mean()
    assert 0.005 < extra < 0.08


def test_technical_channels(plain: AnnData) -> None:
    obs = plain.obs
    failed = (obs["Center"] == 0).to_numpy()
    for name in ("Offset", "Width", "Residual"):
        np.testing.assert_array_equal(obs[name] == 0, failed)
    assert failed.mean() == pytest.approx(0.04, abs=0.004)
    cell = of(plain, "cell") & ~failed
    for name, mean, sd in (("Center", 515, 120), ("Offset", 105, 45), ("Width", 43, 15)):
        assert obs[name][cell].mean() == pytest.approx(mean, rel=0.01), name
        assert obs[name][cell].std() == pytest.approx(sd, rel=0.02), name
    assert np.exp(np.log(obs["Residual"][cell]).mean()) == pytest.approx(78, rel=0.02)
    assert np.log(obs["Residual"][cell]).std() == pytest.approx(0.5, rel=0.02)
    lengths = {
        kind: np.median(obs["Event_length"][of(plain, kind)])
        for kind in ("cell", "debris", "bead", "doublet")
    }
    assert lengths == {"cell": 16, "debris": 11, "bead": 19, "doublet": 23}
    assert obs["Event_length"].between(10, 75).all()
    assert (obs["Event_length"] % 1 == 0).all()


def test_time_is_sorted_at_250_events_a_second_with_a_pause(plain: AnnData) -> None:
    time = plain.obs["Time"].to_numpy(dtype=float)
    gaps = np.diff(time)
    assert gaps.min() >= 0
    assert np.sort(gaps)[-2:] == pytest.approx([100, 120_000], abs=99)
    running = time[-1] - gaps.max()
    assert 1000 * plain.n_obs / running == pytest.approx(250, rel=0.02)


def test_types_of_event_are_mixed_over_the_run(plain: AnnData) -> None:
    for kind in ("bead", "debris", "dead", "doublet"):
        first = of(plain, kind)[: plain.n_obs // 2].sum()
        n = of(plain, kind).sum()
        assert abs(first - n / 2) < 4 * np.sqrt(n / 4), kind


def test_beads(plain: AnnData) -> None:
    bead, with_cell = of(plain, "bead"), of(plain, "cell_bead")
    channel = {"Bead140": 2778, "CD107a": 2214, "TIGIT": 2852, "CD45RO": 2835, "ICOS": 2740}
    signal = {marker: ions(plain, marker) for marker in channel}
    for marker, mean in channel.items():
        assert signal[marker][bead].mean() == pytest.approx(mean, rel=0.01), marker
        assert 0.075 < signal[marker][bead].std() / mean < 0.11, marker
    assert ions(plain, "CXCR5")[bead].sum() / signal["Bead140"][bead].sum() == pytest.approx(0.125, rel=0.02)
    assert np.median(ions(plain, "DNA1")[bead]) < 5
    assert np.median(ions(plain, "DNA1")[with_cell]) == pytest.approx(275, rel=0.1)
    assert signal["Bead140"][with_cell].mean() == pytest.approx(2778, rel=0.03)
    assert np.quantile(signal["Bead140"][~bead & ~with_cell], 0.999) < 60


def test_looks_like_a_real_helios_run(plain: AnnData, test_data: Path) -> None:
    """Beads and Gaussian parameters hang together as in a real run with the same beads."""
    real = io.read_fcs(test_data / "helios_beads" / "raw_cytof.fcs")
    counts = {str(channel): real.X[:, i] for i, channel in enumerate(real.var["channel"])}
    beads = ("Ce140Di", "Eu151Di", "Eu153Di", "Ho165Di", "Lu175Di")
    is_bead = np.all([counts[channel] > 800 for channel in beads], axis=0) & (counts["Ir191Di"] < 200)
    ours = {str(channel): plain.X[:, i] for i, channel in enumerate(plain.var["channel"])}
    for channel in beads:
        there, here = np.median(counts[channel][is_bead]), np.median(ours[channel][of(plain, "bead")])
        assert here / there == pytest.approx(1, abs=0.12), channel
    for a, b in pairwise(beads):
        assert np.corrcoef(ours[a][of(plain, "bead")], ours[b][of(plain, "bead")])[0, 1] > 0.6
        assert np.corrcoef(counts[a][is_bead], counts[b][is_bead])[0, 1] > 0.6
    for obs in (real.obs, plain.obs):
        fitted = obs[obs["Center"] > 0]
        assert fitted["Event_length"].corr(fitted["Center"], method="spearman") > 0.5
        assert fitted["Event_length"].corr(fitted["Width"], method="spearman") > 0.5
    for channel in ("Xe131Di", "Ba138Di", "Pb208Di"):
        there, here = (np.quantile(values[channel], 0.75) for values in (counts, ours))
        assert here == pytest.approx(there, rel=0.5, abs=1.5), channel


def test_h5ad_keeps_everything(tmp_path: Path) -> None:
    import anndata

    adata = datasets.legend2(cells=300, timepoints=["5yr"], negative_control=True)
    adata.write_h5ad(tmp_path / "a.h5ad")
    back = anndata.read_h5ad(tmp_path / "a.h5ad")
    np.testing.assert_array_equal(back.X, adata.X)
    for column in adata.obs:
        assert list(back.obs[column].astype(str)) == list(adata.obs[column].astype(str)), column
    assert back.uns["cytocar"]["state"] == "counts"
    assert list(back.obs["timepoint"].cat.categories) == ["5yr", "control"]
