#!/usr/bin/env bash
# Guess: With precomputed_knn of more columns than n_neighbors, UMAP uses the first n_neighbors of them, as its
#   documentation says; the graph is the one of n_neighbors, whatever the number of cells.
# What happens: The columns are cut from 4,096 rows on only. Below, all columns go into the graph: with 30 columns
#   and n_neighbors=10, 300 cells get the graph of about 30 neighbours, three times the edges.
# Why it matters: Neighbours are searched once for clustering (30) and handed to UMAP (15). CAR-T cells of a late
#   timepoint are some hundreds, so their map is one of other settings than stated, and than that of the host cells.
# Read: source of umap-learn 0.5.12 (umap_.py, fit); its page on precomputed k-nn
# Versions: umap-learn==0.5.12, pynndescent==0.5.13, numpy==2.4.6, scikit-learn==1.9.1, numba==0.68.1
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check umap-learn==0.5.12 pynndescent==0.5.13 numpy==2.4.6 \
  scikit-learn==1.9.1 numba==0.68.1
cat >show.py <<'PY'
import sys
import warnings

import numpy as np
import umap
from sklearn.neighbors import NearestNeighbors

warnings.simplefilter("ignore")


def edges(cells, columns):
    x = np.random.default_rng(0).normal(size=(cells, 8)).astype(np.float32)
    lengths, neighbours = NearestNeighbors(n_neighbors=columns).fit(x).kneighbors(x)
    knn = (neighbours, lengths.astype(np.float32))
    fitted = umap.UMAP(n_neighbors=10, precomputed_knn=knn, n_epochs=1, init="random", random_state=0).fit(x)
    return fitted.graph_.nnz


few, many = (edges(300, 10), edges(300, 30)), (edges(5000, 10), edges(5000, 30))
print("edges of 300 cells, 10 or 30 columns handed over:  ", few)
print("edges of 5,000 cells, 10 or 30 columns handed over:", many)
as_seen = few[1] > 2 * few[0] and many[1] == many[0]
sys.exit(0 if as_seen else "umap-learn treats further columns otherwise than stated above")
PY
env/bin/python show.py
