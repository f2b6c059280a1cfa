"""Normalise simulated files whose drift is known to their beads, and print what is beads and what is left.

    python benchmarks/bench_beads.py [--cells 104167] [--seeds 0 1] [--million]

Prints recall of the beads and cells lost, spread of the beads before and after, gain of the files before and after,
the error of the factor against the true sensitivity, what the tilt over mass leaves in each bead channel, and time.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
import pandas as pd

from cytocar import datasets, pp
from cytocar.datasets._instrument import PAUSE_AT, PAUSE_S, gain
from cytocar.pp._beads.find import find_beads

GAINS = {"P1_2mo": 1.0, "P1_1yr": 0.85, "P1_3yr": 1.1, "P1_5yr": 0.95}


def one(cells: int, seed: int) -> None:
    raw = datasets.legend2(cells=cells, seed=seed)
    start = time.perf_counter()
    normal = pp.normalize_beads(raw, copy=True)
    seconds = time.perf_counter() - start
    kind = raw.obs["truth_type"].astype(str).to_numpy()
    table = pp.bead_table(normal)
    dna = list(raw.var["role"]).index("dna")
    rows, products = [], []
    for beads, (_, line) in zip(
        find_beads(raw, beads="auto", sample_key="sample_id"), table.iterrows(), strict=True
    ):
        of = kind[beads.rows]
        taken = beads.alone | beads.with_cell
        clock = raw.obs["Time"].to_numpy(dtype=float)[beads.rows]
        after = np.arange(clock.size) >= round(PAUSE_AT * clock.size)
        acquiring = clock - 1000 * PAUSE_S * after
        truth, _ = gain(acquiring / acquiring[-1], after, GAINS[beads.sample], np.array([155.0]))
        counts = raw.X[beads.rows, dna].astype(float)
        factor = normal.X[beads.rows, dna] / np.where(counts > 0, counts, np.nan)
        products.append(factor * truth)
        rows.append(
            {
                "sample": beads.sample,
                "recall": beads.alone[of == "bead"].mean(),
                "cells lost %": 100 * taken[of == "cell"].mean(),
                "cell_bead": beads.with_cell[of == "cell_bead"].mean(),
                "spread before %": 100 * (line["spread_before"] - 1),
                "after %": 100 * (line["spread_after"] - 1),
                "gain before": GAINS[beads.sample],
                "gain after": float(np.nanmedian(products[-1])),
                "worst left %": 100 * (line["worst_spread_after"] - 1),
                "in": line["worst_channel"],
            }
        )
    print(f"\n{cells} cells a file, seed {seed}: {seconds:.2f} s for {raw.n_obs} events")
    shown = pd.DataFrame(rows)
    level = float(np.nanmedian(np.concatenate(products)))
    shown["gain after"] /= level
    print(shown.round(4).to_string(index=False))
    error = np.abs(np.concatenate(products) / level - 1)
    quantiles = 100 * np.nanpercentile(error, [50, 95, 100])
    print(
        "error of the factor against the true sensitivity: median {:.2f} %, 95 % {:.2f} %, largest {:.2f} %".format(
            *quantiles
        )
    )
    traces = pp.bead_traces(normal)
    ends = traces.groupby(["channel", "sample_id"])["after"].agg(
        lambda x: x.iloc[-20:].mean() / x.iloc[:20].mean()
    )
    print("end of the run over its start, after normalisation (tilt over mass):")
    print(ends.groupby("channel").mean().round(3).to_dict())


def million() -> None:
    raw = datasets.legend2(cells=180_000, seed=0)
    start = time.perf_counter()
    pp.normalize_beads(raw)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"\n{raw.n_obs} events x {raw.n_vars} channels: {seconds:.2f} s, peak {peak:.0f} MB with the simulation"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cells", type=int, nargs="+", default=[104_167])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--million", action="store_true", help="time a million events")
    asked = parser.parse_args()
    for cells in asked.cells:
        for seed in asked.seeds:
            one(cells, seed)
    if asked.million:
        million()


if __name__ == "__main__":
    main()
