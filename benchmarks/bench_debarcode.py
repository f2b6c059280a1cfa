"""Time debarcoding of simulated pools, and print seconds per million events.

    python benchmarks/bench_debarcode.py [--events 1000000] [--repeats 3]

The pools: 20 samples with three positives of six channels (fixed cut-off, and automatic), and 120 samples with three
positives of ten channels; a fifth of the events are doublets of two samples.
"""

from __future__ import annotations

import argparse
import time
from itertools import combinations

import anndata
import numpy as np
import pandas as pd

from cytocar import pp

MASSES = [89, 102, 104, 105, 106, 108, 110, 113, 115, 198]


def key_of(masses: list[int], positives: int) -> pd.DataFrame:
    rows = list(combinations(range(len(masses)), positives))
    codes = np.zeros((len(rows), len(masses)), dtype=int)
    for code, row in zip(codes, rows, strict=True):
        code[list(row)] = 1
    return pd.DataFrame(codes, index=[f"S{i:03}" for i in range(len(rows))], columns=masses)


def pool_of(key: pd.DataFrame, events: int) -> anndata.AnnData:
    rng = np.random.default_rng(0)
    codes = key.to_numpy()[rng.integers(len(key), size=events)]
    second = key.to_numpy()[rng.integers(len(key), size=events)]
    codes = np.where((rng.random(events) < 0.2)[:, None], codes | second, codes)
    high = 300 * np.exp(0.4 * rng.standard_normal((events, 1)) + 0.2 * rng.standard_normal(codes.shape))
    counts = rng.poisson(np.where(codes == 1, high, rng.exponential(4, codes.shape))).astype(np.float32)
    masses = list(key.columns)
    panel = pd.DataFrame({"mass": masses}, index=[f"BC{mass}" for mass in masses])
    obs = pd.DataFrame(index=pd.RangeIndex(events).astype(str))
    return anndata.AnnData(counts, obs=obs, var=panel, uns={"cytocar": {"state": "counts"}})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    for masses, separation in ((MASSES[1:7], 0.3), (MASSES[1:7], "auto"), (MASSES, 0.3)):
        key = key_of(masses, 3)
        pool = pool_of(key, options.events)
        seconds = []
        for _ in range(options.repeats):
            start = time.perf_counter()
            pp.debarcode(pool, key, separation=separation)
            seconds.append(time.perf_counter() - start)
        share = (pool.obs["barcode"] != "").mean()
        print(
            f"{len(key)} samples, {len(masses)} channels, separation {separation}: "
            f"{min(seconds) * 1e6 / options.events:.2f} s per million events (best of {options.repeats}), "
            f"{100 * share:.1f} % assigned"
        )


if __name__ == "__main__":
    main()
