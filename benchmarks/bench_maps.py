"""t-SNE and UMAP side by side with scikit-learn, scanpy, openTSNE and umap-learn, each in an environment of its own.

    python benchmarks/bench_maps.py --cells 5000
    python benchmarks/bench_maps.py --cells 20000 --markers 30 --umap

One matrix for all: simulated cells of 48 populations (12 lineages of 4 overlapping states). ``kept`` is the mean share
of the 30 nearest neighbours that are so on the map, ``KL`` the Kullback-Leibler divergence from the affinities of
perplexity 30 over all pairs; both are found here, in the same way for all. ``ratio`` is the time of the row over ours,
with compiled code warm; ``fresh s`` is a new process with imports and reading the matrix. ``cpu s`` adds up the threads
and minds other work on the machine less. scanpy hands its t-SNE to scikit-learn, after a PCA that is left out here.
Our UMAP is umap-learn's graph and layout on our neighbours and start; the other row is umap-learn with its own.
"""

from __future__ import annotations

import argparse

import numpy as np
import peers
from bench_flowsom import simulated

OURS = """
import anndata, numpy as np, pandas as pd
from cytocar import tl

def run(x, what, seed):
    names = [f"M{i}" for i in range(x.shape[1])]
    cells = anndata.AnnData(x, var=pd.DataFrame(index=names))
    cells.uns["cytocar"] = {"state": "arcsinh"}
    getattr(tl, what)(cells, markers=names, equal_by=None, seed=seed, n_jobs=2)
    return {"map": cells.obsm[f"X_{what}"]}
"""

SKLEARN = """
from sklearn.manifold import TSNE

def run(x, seed):
    return {"map": TSNE(perplexity=30, init="pca", learning_rate="auto", random_state=seed, n_jobs=2).fit_transform(x)}
"""

SCANPY = """
import anndata, scanpy as sc

def run(x, seed):
    cells = anndata.AnnData(x)
    sc.tl.tsne(cells, n_pcs=0, use_rep="X", perplexity=30, random_state=seed, n_jobs=2)
    return {"map": cells.obsm["X_tsne"]}
"""

OPENTSNE = """
from openTSNE import TSNE

def run(x, seed):
    return {"map": TSNE(perplexity=30, random_state=seed, n_jobs=2).fit(x)}
"""

UMAP = """
import warnings
from umap import UMAP

def run(x, seed):
    warnings.simplefilter("ignore")
    return {"map": UMAP(n_neighbors=15, min_dist=0.1, random_state=seed, n_jobs=1).fit_transform(x)}
"""

SCANPY_PACKAGES = ["scanpy==1.11.5", "pynndescent<0.6"]


def kept(x: np.ndarray, places: np.ndarray, k: int = 30) -> float:
    """Return the mean share of neighbours kept, by scikit-learn's search on at most 5,000 cells."""
    from sklearn.neighbors import NearestNeighbors

    judges = np.random.default_rng(0).permutation(len(x))[:5000]
    found = []
    for z in (x, places):
        near = NearestNeighbors(n_neighbors=k + 1).fit(z).kneighbors(z[judges], return_distance=False)
        found.append([set(row.tolist()) - {i} for i, row in zip(judges.tolist(), near, strict=True)])
    return float(np.mean([len(a & b) / k for a, b in zip(*found, strict=True)]))


def divergence(affinities: object, places: np.ndarray) -> float:
    """Return the Kullback-Leibler divergence of a map, over all pairs."""
    p = affinities.P.tocoo()
    y = np.asarray(places, np.float64)
    total = 0.0
    for start in range(0, len(y), 500):
        apart = ((y[start : start + 500, None] - y[None]) ** 2).sum(axis=2)
        total += (1 / (1 + apart)).sum()
    total -= len(y)
    apart = ((y[p.row] - y[p.col]) ** 2).sum(axis=1)
    return float((p.data * np.log(p.data * total * (1 + apart))).sum())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", type=int, default=5000)
    parser.add_argument("--markers", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--umap", action="store_true", help="UMAP instead of t-SNE")
    asked = parser.parse_args()
    x, _ = simulated(asked.cells, asked.seed, asked.markers)
    x = np.ascontiguousarray(x, np.float32)
    rows = [("cytocar", None, OURS, {"what": "umap" if asked.umap else "tsne"})]
    if asked.umap:
        rows.append(("umap-learn", ["umap-learn==0.5.12"], UMAP, {}))
    else:
        rows += [
            ("openTSNE", ["openTSNE==1.0.4"], OPENTSNE, {}),
            ("scikit-learn", ["scikit-learn==1.9.1"], SKLEARN, {}),
            ("scanpy", SCANPY_PACKAGES, SCANPY, {}),
        ]
    from openTSNE.affinity import PerplexityBasedNN

    affinities = PerplexityBasedNN(x, perplexity=30, method="exact", n_jobs=2)
    print(f"{asked.cells} x {asked.markers}, seed {asked.seed}")
    print(f"{'':14}{'s':>8}{'cpu s':>8}{'ratio':>8}{'cpu ratio':>11}{'fresh s':>9}{'kept':>8}{'KL':>8}")
    first = None
    for name, requirements, script, params in rows:
        # below 4,096 rows umap-learn compares all with all, and compiles its search when it first has more
        warm_rows = 4500 if asked.umap else 500
        done = peers.run(name, requirements, script, x, warm_rows=warm_rows, seed=asked.seed, **params)
        first = first or done
        places = np.asarray(done["result"]["map"], np.float64)
        fresh = done["process_seconds"] - done["warm_up_seconds"]
        print(
            f"{name:14}{done['seconds']:8.1f}{done['cpu_seconds']:8.1f}{done['seconds'] / first['seconds']:8.1f}"
            f"{done['cpu_seconds'] / first['cpu_seconds']:11.1f}{fresh:9.1f}{kept(x, places):8.3f}"
            f"{divergence(affinities, places):8.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
