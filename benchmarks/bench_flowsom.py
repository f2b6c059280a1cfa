"""FlowSOM side by side with `flowsom` 0.2.2 (both estimators) and `minisom`, each in an environment of its own.

    python benchmarks/bench_flowsom.py --cells 1000000 --seeds 1
    python benchmarks/bench_flowsom.py --cells 100000 --seeds 3

One matrix for all: simulated cells of 48 populations (12 lineages of 4 overlapping states) on 40 markers. Ours is the
whole of `cytocar.tl.flowsom`, with consensus clustering for 2 to 20 metaclusters and the choice among them; `flowsom`
is ``fit_predict`` of its estimators, with one plain hierarchical cut. minisom trains one cell after the other in
Python: it gets a share of the cells, and its time for all is reckoned from that.

``error``: mean distance of all cells to the nearest code, ``purity``: share of cells that are of the most frequent
population of their node, both found here in the same way for all. ``ratio`` is the time of the default estimator over
the time of the row, with compiled code warm; ``cpu s`` adds up the threads and minds other work on the machine less.
Metaclusters swing with the seed and rank nothing; their ARI is shown for completeness.
"""

from __future__ import annotations

import argparse

import numpy as np
import peers
from scipy.spatial.distance import cdist

OURS = """
import anndata, numpy as np, pandas as pd
from cytocar import tl

def run(x, method, seed):
    names = [f"M{i}" for i in range(x.shape[1])]
    cells = anndata.AnnData(x, var=pd.DataFrame(index=names))
    cells.uns["cytocar"] = {"state": "arcsinh"}
    tl.flowsom(cells, markers=names, method=method, seed=seed, n_jobs=2)
    return {"codes": cells.uns["flowsom"]["codes"], "labels": cells.obs["flowsom"].cat.codes.to_numpy()}
"""

FLOWSOM = """
import numpy as np
from flowsom.models import BatchFlowSOMEstimator, FlowSOMEstimator

def run(x, method, seed):
    estimator = {"default": FlowSOMEstimator, "batch": BatchFlowSOMEstimator}[method]
    model = estimator(n_clusters=20, seed=seed)
    labels = model.fit_predict(x)
    return {"codes": model.codes, "labels": labels}
"""

MINISOM = """
import numpy as np
from minisom import MiniSom

def run(x, seed):
    som = MiniSom(10, 10, x.shape[1], sigma=3.0, learning_rate=0.05, random_seed=seed)
    som.random_weights_init(x)
    som.train_random(x, 10 * len(x))
    return {"codes": som.get_weights().reshape(100, -1), "labels": np.zeros(len(x))}
"""


def simulated(cells: int, seed: int = 0, markers: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Return arcsinh values (cells x markers, float32) and the population of each cell."""
    rng = np.random.default_rng(seed)
    positive = rng.random((12, markers)) < 0.4
    centres = np.where(positive, rng.normal(3.5, 0.8, positive.shape), 0.2)
    centres = np.repeat(centres, 4, axis=0)
    for state in range(48):
        changed = rng.choice(markers, 4, replace=False)
        centres[state, changed] += rng.choice([-1.0, 1.0], 4) * rng.uniform(0.8, 1.6, 4)
    spread = np.where(centres > 1, rng.uniform(0.4, 0.8, centres.shape), 0.35)
    shares = rng.lognormal(0.0, 1.2, 48)
    truth = rng.choice(48, cells, p=shares / shares.sum())
    x = np.empty((cells, markers), np.float32)
    for start in range(0, cells, 100_000):
        part = truth[start : start + 100_000]
        noise = rng.standard_normal((len(part), markers), dtype=np.float32)
        x[start : start + 100_000] = np.maximum(0, centres[part] + spread[part] * noise)
    return x, truth


def quality(x: np.ndarray, truth: np.ndarray, codes: np.ndarray) -> tuple[float, float]:
    """Return quantisation error and node purity of codes, in float64 and apart from all that is compared."""
    counts = np.zeros((len(codes), truth.max() + 1), np.int64)
    total = 0.0
    for start in range(0, len(x), 50_000):
        part = slice(start, start + 50_000)
        distances = cdist(x[part].astype(float), codes.astype(float))
        np.add.at(counts, (distances.argmin(axis=1), truth[part]), 1)
        total += distances.min(axis=1).sum()
    return total / len(x), counts.max(axis=1).sum() / len(x)


def main() -> None:
    from cytocar.tl._clusters.agreement import adjusted_rand

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--minisom-cells", type=int, default=10_000, help="0 leaves it out")
    parser.add_argument("--without-default", action="store_true", help="leave out the slowest peer")
    chosen = parser.parse_args()
    x, truth = simulated(chosen.cells)
    flowsom = ("flowsom", ["flowsom==0.2.2"], FLOWSOM)
    rows = [
        ("flowsom 0.2.2, default", *flowsom, {"method": "default"}),
        ("flowsom 0.2.2, batch", *flowsom, {"method": "batch"}),
        ("cytocar, online", "cytocar", None, OURS, {"method": "online"}),
        ("cytocar, batch", "cytocar", None, OURS, {"method": "batch"}),
        ("minisom 2.3.6", "minisom", ["minisom==2.3.6", "numpy"], MINISOM, {}),
    ]
    if chosen.without_default:
        rows = rows[1:]
    if not chosen.minisom_cells:
        rows = rows[:-1]
    print(
        f"{chosen.cells} cells x {x.shape[1]} markers, 100 nodes, two threads, mean of {chosen.seeds} seed(s)"
    )
    print(f"{'':24s}{'s':>8s}{'ratio':>7s}{'error':>8s}{'purity':>8s}{'ARI':>6s}{'MB':>7s}{'cpu s':>8s}")
    slowest = None
    for title, name, requirements, script, options in rows:
        shown = x[: chosen.minisom_cells] if name == "minisom" else x
        facts = []
        for seed in range(chosen.seeds):
            done = peers.run(name, requirements, script, shown, seed=seed, **options)
            error, purity = quality(x, truth, done["result"]["codes"])
            agreement = np.nan if name == "minisom" else adjusted_rand(truth, done["result"]["labels"])
            scale = len(x) / len(shown)
            facts.append(
                (
                    done["seconds"] * scale,
                    error,
                    purity,
                    agreement,
                    done["peak_mb"],
                    done["cpu_seconds"] * scale,
                )
            )
        seconds, error, purity, agreement, memory, cpu = np.mean(facts, axis=0)
        slowest = slowest or seconds
        print(
            f"{title:24s}{seconds:8.2f}{slowest / seconds:7.1f}{error:8.4f}{purity:8.4f}"
            f"{agreement:6.2f}{memory:7.0f}{cpu:8.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
