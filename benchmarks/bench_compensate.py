"""How long and how much memory compensation of a million events takes.

    python benchmarks/bench_compensate.py [EVENTS]

Simulated cells of the legend2 panel, its 41 antibody channels, through the true spillover matrix. Memory is the peak
of the process after the events are made, less what it held before.
"""

from __future__ import annotations

import resource
import sys
import time

import anndata
import numpy as np
from scipy.optimize import nnls

import cytocar as cc
from cytocar.pp import Spillover


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(events: int) -> None:
    from cytocar.datasets._layout import layout

    channels = layout()
    spill = Spillover(channels.channels, channels.spillover)
    some = cc.datasets.legend2(cells=50_000, timepoints=["2mo"])
    some = some[:, (some.var["role"] == "marker").to_numpy()].copy()
    counts = np.resize(some.X, (events, some.n_vars))
    adata = anndata.AnnData(counts, var=some.var, uns=some.uns)
    size = adata.X.nbytes / 2**20
    print(f"{adata.n_obs:,} events x {adata.n_vars} channels, X is {size:.0f} MB")
    cc.pp.compensate(some, spill, copy=True)
    for n_jobs in (1, 2):
        copied = adata.copy()
        before = peak_mb()
        start, busy = time.perf_counter(), time.process_time()
        cc.pp.compensate(copied, spill, n_jobs=n_jobs)
        took, busy = time.perf_counter() - start, time.process_time() - busy
        print(
            f"n_jobs={n_jobs}: {took:.2f} s ({busy:.2f} s of processor time), peak rose by {peak_mb() - before:.0f} MB"
        )
    fitted, _ = spill.adapt([str(name) for name in adata.var["channel"]])
    start = time.perf_counter()
    expected = np.array([nnls(fitted.matrix.T, y.astype(float))[0] for y in adata.X[:2000]])
    took = time.perf_counter() - start
    worst = np.abs(copied.X[:2000] - expected).max() / expected.max()
    print(
        f"scipy.optimize.nnls, event by event: {took / 2000 * events:.0f} s; largest difference {worst:.1e} of the top"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
