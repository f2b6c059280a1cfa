"""How often `tl.compare` and `tl.detection` call what is there, and what is not, on the simulated study.

Run ``python benchmarks/calibrate_calls.py --seeds 6``: about ten seconds a seed. The rules in
``cytocar/tl/_markers/rules.py`` were chosen by these tables; run it again when they change.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterator

import anndata
import numpy as np
import pandas as pd

from cytocar import datasets, tl
from cytocar._core import keys

FIRST, LAST = "2mo", "5yr"
HOST_KEPT = 10_000
PLANTED = {
    ("DN", "up"): ("HLADR", "CCR7", "CD27", "CD28", "CD107a"),
    ("DN", "down"): ("GZMB", "PD1", "TIM3"),
    ("DN", "equal"): ("Ki67", "CD38"),
    ("CD8", "down"): ("GZMB", "PD1"),
    ("CD8", "equal"): ("Ki67", "HLADR"),
}
AGAINST_HOST = ("PD1", "CD57", "GZMB", "CD107a")
# Cells left in each group of a study in which nothing changes.
SIZES = ((10, 2000), (20, 2000), (30, 30), (50, 2000), (90, 90), (150, 150), (450, 450), (3000, 3000))


def true_cells(seed: int, **options: object) -> anndata.AnnData:
    """Return the T cells of a simulated study by their truth: all CAR-T cells, 10,000 host cells a tube."""
    adata = datasets.legend2(seed=seed, spill=False, timepoints=[FIRST, LAST], **options)
    obs = adata.obs
    is_car = obs["truth_is_car"].to_numpy(bool)
    is_host = ((obs["truth_type"] == "cell") & (obs["truth_lineage"] == "T")).to_numpy() & ~is_car
    rng = np.random.default_rng(seed)
    keep = is_car.copy()
    for timepoint in (FIRST, LAST):
        hosts = np.flatnonzero(is_host & (obs[keys.TIMEPOINT] == timepoint).to_numpy())
        keep[rng.choice(hosts, min(HOST_KEPT, hosts.size), replace=False)] = True
    cells = adata[keep].copy()
    cells.X = np.arcsinh(cells.X / np.float32(5))
    cells.uns[keys.UNS] = {keys.STATE: keys.STATE_ARCSINH}
    cells.obs[keys.COMPARTMENT] = np.where(is_car[keep], keys.CAR, keys.HOST)
    cells.obs[keys.SUBSET] = cells.obs["truth_subset"].astype(str)
    return cells


def planted(seeds: int, cells: int) -> pd.DataFrame:
    """Return the share of seeds in which each planted difference over time, and against host, is called."""
    right: Counter[tuple[str, str, str]] = Counter()
    seconds = 0.0
    for seed in range(seeds):
        study = true_cells(seed, cells=cells)
        began = time.perf_counter()
        table = tl.compare(study)
        seconds += time.perf_counter() - began
        over_time = table[(table["comparison"] == f"{LAST} vs {FIRST}") & (table["compartment"] == keys.CAR)]
        calls = over_time.set_index(["subset", "marker"])["call"]
        for (subset, sign), markers in PLANTED.items():
            for marker in markers:
                call = calls[subset, marker]
                right[subset, marker, sign] += call == sign or (
                    sign == "equal" and call in ("unchanged", "inconclusive")
                )
        host = table[(table["comparison"] == "car vs host") & (table["timepoint"] == LAST)]
        calls = host[host["subset"] == keys.ALL].set_index("marker")["call"]
        for marker in AGAINST_HOST:
            right["all, against host", marker, "down"] += calls[marker] == "down"
    rows = [(*key, count / seeds) for key, count in right.items()]
    print(f"\nplanted, {cells:,} CD45+ cells a tube, {seeds} seeds, {seconds / seeds:.1f} s a comparison")
    return pd.DataFrame(rows, columns=["subset", "marker", "planted", "share right"])


def thinned(study: anndata.AnnData, subset: str, last: int, first: int, seed: int) -> anndata.AnnData | None:
    """Return a study with all hosts but fewer CAR-T cells of one subset, or None where there are not enough."""
    obs = study.obs
    car = ((obs[keys.COMPARTMENT] == keys.CAR) & (obs[keys.SUBSET] == subset)).to_numpy()
    keep = (obs[keys.COMPARTMENT] == keys.HOST).to_numpy().copy()
    rng = np.random.default_rng(seed)
    for timepoint, wanted in ((FIRST, first), (LAST, last)):
        there = np.flatnonzero(car & (obs[keys.TIMEPOINT] == timepoint).to_numpy())
        if there.size < 0.7 * wanted:
            return None
        keep[rng.choice(there, min(wanted, there.size), replace=False)] = True
    return study[keep].copy()


def null(seeds: int, cells: int) -> pd.DataFrame:
    """Return false calls per 1,000 rows where nothing changes but staining, SD 0.1 a tube and marker."""
    false: Counter[tuple[int, int]] = Counter()
    rows: Counter[tuple[int, int]] = Counter()
    whole = Counter[str]()
    for seed in range(seeds):
        study = true_cells(seed, cells=cells, equal_truth=True, staining_shift=0.1)
        table = tl.compare(study)
        over_time = table[(table["comparison"] == f"{LAST} vs {FIRST}") & (table["compartment"] == keys.CAR)]
        whole.update(over_time["call"])
        for size, part in _thinned_tables(study, seed):
            false[size] += int(part["call"].isin(["up", "down"]).sum())
            rows[size] += len(part)
    print(f"\nequal truth, staining SD 0.1, {cells:,} CD45+ cells a tube, {seeds} seeds: calls {dict(whole)}")
    found = [(*size, rows[size], 1000 * false[size] / rows[size]) for size in SIZES if rows[size]]
    return pd.DataFrame(found, columns=["cells 5yr", "cells 2mo", "rows", "false calls per 1,000"])


def _thinned_tables(study: anndata.AnnData, seed: int) -> Iterator[tuple[tuple[int, int], pd.DataFrame]]:
    for size in SIZES:
        for subset in ("CD4", "CD8", "DN"):
            part = thinned(study, subset, *size, seed)
            if part is not None:
                table = tl.compare(part, n_boot=1000)
                yield (
                    size,
                    table[
                        (table["comparison"] != "car vs host")
                        & (table["compartment"] == keys.CAR)
                        & (table["subset"] == subset)
                    ],
                )


def blank(draws: int) -> pd.DataFrame:
    """Return how often a tube without CAR-T cells is called detected.

    Known-negative cells pass the threshold at 1e-4, host T cells at 1e-4 and 5e-5 more, which the former do not show.
    """
    rng = np.random.default_rng(0)
    rows = []
    for cells in (20_000, 60_000, 104_167, 500_000, 2_000_000):
        negative, hosts = round(0.34 * cells), round(0.525 * cells)
        counts = pd.DataFrame(
            {
                "sample_id": [str(i) for i in range(draws)],
                "n_cd45": cells,
                "n_car": rng.poisson(1.5e-4 * hosts, draws),
                "n_host_t": hosts,
                "n_negative": negative,
                "n_negative_above": rng.poisson(1e-4 * negative, draws),
            }
        )
        found = tl.detection(counts)
        rows.append((cells, found["lob_events"].mean(), (found["call"] != "not_detected").mean()))
    return pd.DataFrame(rows, columns=["CD45+ cells", "mean LoB", "falsely detected"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--cells", type=int, default=104_167)
    options = parser.parse_args()
    print(blank(5000).round(4).to_string(index=False))
    print(planted(options.seeds, options.cells).round(2).to_string(index=False))
    print(null(options.seeds, options.cells).round(2).to_string(index=False))


if __name__ == "__main__":
    main()
