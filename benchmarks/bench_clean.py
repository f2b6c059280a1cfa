"""Measure the clean-up and the quality over time on simulated studies: what is removed, what it costs, how long.

    python benchmarks/bench_clean.py [--cells 100000] [--seeds 0 1 2 3] [--gate]

Raw counts, and counts from which the true drift is divided out, as bead normalisation does at best. With ``--gate``
also how many CAR-T cells are found at the end of the gates, and how many events found are CAR-T cells.
"""

from __future__ import annotations

import argparse
import time

import anndata
import numpy as np
import pandas as pd

from cytocar import datasets, gate, pp
from cytocar.datasets._design import settings, tubes
from cytocar.datasets._instrument import PAUSE_AT, PAUSE_S, gain
from cytocar.datasets._layout import layout


def without_drift(adata: anndata.AnnData, cells: int, seed: int) -> anndata.AnnData:
    """Return a copy whose counts are divided by the true gain of each event and channel."""
    options = settings(
        cells=cells, seed=seed, spill=True, drift=True, host_dn=0.0, false_positive_rate=5e-5, car_fraction=None,
        staining_shift=0.0, equal_truth=False, timepoints=None, negative_control=False,
    )  # fmt: skip
    result = adata.copy()
    sample_of = adata.obs["sample_id"].to_numpy()
    for tube in tubes(options):
        rows = np.flatnonzero(sample_of == tube.sample_id)
        after = np.arange(rows.size) >= round(PAUSE_AT * rows.size)
        active = adata.obs["Time"].to_numpy()[rows].astype(float) - 1000 * PAUSE_S * after
        done = active / active[-1]
        of_event, loss = gain(done, after, tube.gain, layout().masses)
        result.X[rows] = adata.X[rows] / (of_event[:, None] * (1 - loss * done[:, None]))
    return result


def measured(adata: anndata.AnnData, *, gated: bool) -> pd.DataFrame:
    """Return percentages by sample: CAR-T cells and cells lost, others removed; sensitivity and precision."""
    pp.clean(adata)
    if gated:
        pp.arcsinh(adata)
        gate.apply(adata, gate.car_t())
    rows = []
    for sample, obs in adata.obs.groupby("sample_id", observed=True, sort=False):
        truth = obs["truth_type"].astype(str).to_numpy()
        found = obs["event_class"].astype(str).to_numpy()
        car = obs["truth_is_car"].to_numpy(dtype=bool)
        row = {"sample": sample, "n_car": int(car.sum()), "car_lost": np.mean(found[car] != "cell")}
        row |= {f"car_{name}": np.mean(found[car] == name) for name in ("debris", "dead", "doublet")}
        row["cells_lost"] = np.mean(found[truth == "cell"] != "cell")
        row |= {
            f"{name}_removed": np.mean(found[truth == name] != "cell")
            for name in ("debris", "dead", "doublet")
        }
        if gated:
            called = (obs["compartment"].astype(str) == "car").to_numpy()
            row |= {"sensitivity": np.mean(called[car]), "precision": np.mean(car[called])}
        rows.append(row)
    table = pd.DataFrame(rows)
    table.iloc[:, 2:] *= 100
    return table


def clogs(adata: anndata.AnnData) -> pd.DataFrame:
    """Return how much of a planted stretch of half signal, or of a burst, is found, and how much of the rest kept."""
    one = adata[adata.obs["sample_id"] == adata.obs["sample_id"].iloc[0]].copy()
    place = np.arange(one.n_obs) / one.n_obs
    rows = []
    for share in (0.02, 0.1, 0.2):
        bad = (place >= 0.5) & (place < 0.5 + share)
        for kind in ("half signal", "burst"):
            run = one.copy()
            if kind == "burst":
                step = np.diff(run.obs["Time"].to_numpy(dtype=float), prepend=0)
                run.obs["Time"] = np.cumsum(np.where(bad, step / 4, step))
            else:
                run.X[bad] *= 0.5
            start = time.perf_counter()
            pp.time_quality(run)
            stable = run.obs["stable"].to_numpy()
            rows.append(
                (kind, share, np.mean(~stable[bad]), np.mean(stable[~bad]), time.perf_counter() - start)
            )
    return pd.DataFrame(rows, columns=["kind", "share", "found", "rest_kept", "seconds"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--gate", action="store_true")
    options = parser.parse_args()
    for how in ("raw", "without drift"):
        parts = []
        for seed in options.seeds:
            adata = datasets.legend2(cells=options.cells, seed=seed)
            if how == "raw" and seed == options.seeds[0]:
                print(clogs(adata).round(3).to_string(index=False), flush=True)
            if how != "raw":
                adata = without_drift(adata, options.cells, seed)
            part = measured(adata, gated=options.gate)
            part.insert(0, "seed", seed)
            parts.append(part)
        table = pd.concat(parts)
        print(f"\n{how}, per cent\n{table.round(2).to_string(index=False)}")
        print(table.drop(columns=["seed", "sample", "n_car"]).mean().round(2).to_string())
        print(
            f"CAR-T cells lost of all: {np.average(table['car_lost'], weights=table['n_car']):.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
