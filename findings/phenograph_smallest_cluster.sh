#!/usr/bin/env bash
# Guess: min_cluster_size=10 keeps a cluster of ten cells, and Q is the modularity of the weighted graph,
#   whichever algorithm is asked for.
# What happens: A cluster of exactly min_cluster_size cells becomes -1 (larger ones only are kept), and with
#   clustering_algo='leiden' Q is computed without the weights, while Louvain's is with them.
# Why it matters: With a few hundred CAR-T cells a cluster of the smallest size is a result; and Q of Leiden
#   reads as worse than Q of Louvain on the same graph when it is better, so that the two must not be
#   compared.
# Read: source of phenograph 1.5.7 (core.py sort_by_size, cluster.py runleiden); Levine et al. 2015, doi
#   10.1016/j.cell.2015.05.047
# Versions: phenograph==1.5.7, scipy==1.17.1, numpy==2.4.6, igraph==1.0.0, leidenalg==0.12.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check phenograph==1.5.7 scipy==1.17.1 numpy==2.4.6 igraph==1.0.0 leidenalg==0.12.0
cat >show.py <<'PY'
import contextlib
import io
import logging
import sys

import igraph
import numpy as np
import phenograph
import scipy.sparse as sp

logging.disable(logging.CRITICAL)
rng = np.random.default_rng(0)
values = np.vstack([rng.normal(mean, 1, (150, 8)) for mean in (0, 1.5, 3)])


def leiden(smallest):
    with contextlib.redirect_stdout(io.StringIO()):
        return phenograph.cluster(
            values, k=15, clustering_algo="leiden", min_cluster_size=smallest, seed=1, n_jobs=1
        )


labels, graph, reported = leiden(2)
assert labels.min() == 0
smallest = int(np.bincount(labels).min())
kept = [int((leiden(size)[0] == -1).sum()) for size in (smallest - 1, smallest)]
print(f"smallest cluster: {smallest} cells; cells that are -1 with min_cluster_size {smallest - 1} and {smallest}: {kept}")
edges = sp.triu(graph + graph.T).tocoo()
whole = igraph.Graph(n=len(labels), edges=list(zip(edges.row.tolist(), edges.col.tolist())))
unweighted = whole.modularity(labels.tolist())
weighted = whole.modularity(labels.tolist(), weights=edges.data.tolist())
print(f"Q reported {reported:.6f}, unweighted {unweighted:.6f}, weighted {weighted:.6f}")
as_seen = kept == [0, smallest] and abs(reported - unweighted) < 1e-9 and abs(reported - weighted) > 1e-3
sys.exit(0 if as_seen else "phenograph behaves otherwise than stated above")
PY
env/bin/python show.py
