"""Time PhenoGraph side by side with published packages on the same cells, with the quality of each beside it.

    python benchmarks/bench_phenograph.py --cells 100000 300000
    python benchmarks/bench_phenograph.py --cells 1000000 --peers
    python benchmarks/bench_phenograph.py --h1 FOLDER_WITH_H1_PhenoGraph_cluster2.fcs

The cells are a mixture of 24 clusters of 40 markers: shares fall from 20 % to 0.1 %, each second cluster differs from
the one before in four markers only, markers are correlated within clusters, and values are cut at 0 as arcsinh values
are. Each package runs in a process and an environment of its own, with two threads, one after the other in turn,
`--repeats` times. Times are those of the call after a first run on 2,000 cells; "fresh" is the whole of a process that
does nothing else, imports included. CPU seconds count all threads and child processes. ARI is to the clusters that the
cells were drawn from. Modularity is judged for all packages on one graph, that of our search (exact up to 100,000
cells).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import peers

from cytocar.tl import _neighbours
from cytocar.tl._clusters.agreement import adjusted_rand
from cytocar.tl._clusters.graph_kernels import modularity
from cytocar.tl._clusters.phenograph import jaccard_graph
from cytocar.tl._neighbours import nearest

OWN = """
import anndata, pandas
import numpy as np
import cytocar

def run(x, n_runs, n_jobs):
    names = [f"m{i}" for i in range(x.shape[1])]
    cells = anndata.AnnData(x, var=pandas.DataFrame(index=names))
    cells.uns["cytocar"] = {"state": "arcsinh"}
    cytocar.tl.phenograph(cells, markers=names, n_runs=n_runs, n_jobs=n_jobs)
    facts = cells.uns["phenograph"]
    return {"labels": cells.obs["phenograph"].astype(int).to_numpy(), "recall": facts["recall"],
            "runs": facts["n_runs"]}
"""
PHENOGRAPH = """
import phenograph

def run(x, n_jobs):
    labels, _, _ = phenograph.cluster(x, k=30, n_jobs=n_jobs)
    return labels
"""
PARC = """
import parc

def run(x, n_jobs):
    found = parc.PARC(x, num_threads=n_jobs)
    found.run_PARC()
    return found.labels
"""
SCANPY = """
import anndata
import scanpy as sc

def run(x, n_jobs):
    cells = anndata.AnnData(x)
    sc.pp.neighbors(cells, n_neighbors=30, use_rep="X")
    sc.tl.leiden(cells, flavor="igraph", n_iterations=2, directed=False)
    return cells.obs["leiden"].astype(int).to_numpy()
"""
PEERS: dict[str, tuple[list[str], str]] = {
    "phenograph": (["phenograph==1.5.7", "scipy<2"], PHENOGRAPH),
    "parc": (["parc"], PARC),
    "scanpy": (["scanpy==1.11.5", "pynndescent<0.6", "igraph", "leidenalg"], SCANPY),
}
THREADS = 2
EXACT_GRAPH_UP_TO = 100_000


def mixture(n: int, seed: int = 0, markers: int = 40, clusters: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Return cells and the cluster each was drawn from."""
    rng = np.random.default_rng(seed)
    shares = np.geomspace(1, 0.005, clusters)
    truth = rng.choice(clusters, n, p=shares / shares.sum())
    high = rng.random((clusters, markers)) < 0.35
    means = np.where(high, rng.uniform(2, 4.5, high.shape), rng.uniform(0, 0.8, high.shape))
    for c in range(1, clusters, 2):
        other = rng.choice(markers, 4, replace=False)
        means[c] = means[c - 1]
        means[c, other] += rng.choice([-1, 1], 4) * rng.uniform(1.2, 2, 4)
    loadings = rng.normal(size=(clusters, 6, markers)) * 0.25
    x = means[truth] + rng.normal(size=(n, markers)) * 0.45
    for c in range(clusters):
        rows = np.flatnonzero(truth == c)
        x[rows] += rng.normal(size=(len(rows), 6)) @ loadings[c]
    return np.maximum(x, 0).astype(np.float32), truth


def once(name: str, x: np.ndarray, *, warm_rows: int) -> dict[str, Any]:
    if name == "cytocar":
        return peers.run(name, None, OWN, x, warm_rows=warm_rows, n_runs="auto", n_jobs=THREADS)
    if name.startswith("cytocar, "):
        runs = int(name.removeprefix("cytocar, ").split()[0])
        return peers.run("cytocar", None, OWN, x, warm_rows=warm_rows, n_runs=runs, n_jobs=THREADS)
    requirements, script = PEERS[name]
    return peers.run(name, requirements, script, x, warm_rows=warm_rows, n_jobs=THREADS)


def compare(n: int, given: argparse.Namespace) -> list[str]:
    x, truth = mixture(n, given.seed)
    names = ["cytocar", "cytocar, 1 run", "cytocar, 10 runs", *given.peers]
    done: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for _ in range(given.repeats):
        for name in names:
            done[name].append(once(name, x, warm_rows=min(n, 2000)))
    fresh = {name: once(name, x, warm_rows=0) for name in names} if given.fresh else {}

    exact = n if n <= EXACT_GRAPH_UP_TO else nearest.EXACT_UP_TO
    neighbours, _ = _neighbours.nearest_neighbours(x, 30, n_jobs=THREADS, exact_up_to=exact)
    graph = jaccard_graph(neighbours, n_jobs=THREADS)
    best = {name: min(done[name], key=lambda facts: facts["seconds"]) for name in names}
    base = best.get("phenograph")
    rows = []
    for name in names:
        facts = best[name]
        labels = np.unique(facts["result"]["labels"], return_inverse=True)[1].astype(np.int64)
        quality = modularity(graph.indptr.astype(np.int64), graph.indices, graph.data, labels, 1.0)
        recall = facts["result"].get("recall")
        shown = name
        if name == "cytocar":
            shown = f"cytocar, best of {int(facts['result']['runs'])} (auto)"
        cells = [
            f"{n:,}",
            shown,
            f"{facts['seconds']:.1f}",
            f"{facts['cpu_seconds']:.1f}",
            f"{base['seconds'] / facts['seconds']:.1f}" if base else "",
            f"{fresh[name]['process_seconds']:.1f}" if fresh else "",
            f"{fresh[name]['process_cpu_seconds']:.1f}" if fresh else "",
            f"{facts['peak_mb']:.0f}",
            f"{adjusted_rand(truth, labels):.4f}",
            f"{quality:.4f}",
            str(labels.max() + 1),
            f"{float(recall):.3f}" if recall is not None else "",
        ]
        rows.append("| " + " | ".join(cells) + " |")
    return rows


def bone_marrow(folder: Path) -> list[str]:
    """Compare with the labels of the published clusters, one file each."""
    import anndata

    import cytocar

    surface = ["CD19", "CD11b", "CD34", "CD45", "CD123", "CD33", "CD47", "CD7"]
    surface += ["CD44", "CD38", "CD3", "CD117", "HLA-DR", "CD64", "CD41", "CD15"]
    parts = []
    for number in (2, 3):
        part = cytocar.io.read_fcs(folder / f"H1_PhenoGraph_cluster{number}.fcs")
        part.obs_names = [f"{number}:{name}" for name in part.obs_names]
        part.obs["published"] = str(number)
        cytocar.pp.arcsinh(part)
        parts.append(part)
    cells = anndata.concat(parts, merge="same")
    cells.uns["cytocar"] = {"state": "arcsinh"}
    rows = [
        "| cells | resolution | clusters | ARI | cells in a cluster of their own kind |",
        "|---|---|---|---|---|",
    ]
    for resolution in (1.0, 0.5, 0.2, 0.1):
        cytocar.tl.phenograph(cells, markers=surface, resolution=resolution, n_jobs=THREADS)
        found = cells.obs.groupby("phenograph", observed=True)["published"].value_counts().unstack()
        ari = adjusted_rand(cells.obs["published"], cells.obs["phenograph"])
        pure = found.max(axis=1).sum() / cells.n_obs
        rows.append(f"| {cells.n_obs:,} | {resolution} | {len(found)} | {ari:.3f} | {pure:.4f} |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", type=int, nargs="*", default=[100_000, 300_000])
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--fresh", action="store_true", help="time whole processes as well")
    parser.add_argument("--h1", type=Path, help="folder of the published clusters of bone marrow H1")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.h1:
        print("\n".join(bone_marrow(given.h1)))
        return
    for name in given.peers:
        peers.environment(name, PEERS[name][0])
    head = ["cells", "package", "seconds", "CPU s", "times as fast", "fresh s", "fresh CPU s", "peak MB"]
    head += ["ARI", "modularity", "clusters", "recall"]
    print("| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|", flush=True)
    for n in given.cells:
        print("\n".join(compare(n, given)), flush=True)


if __name__ == "__main__":
    main()
