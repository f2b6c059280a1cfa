#!/usr/bin/env bash
# Guess: ConsensusCluster (the default metaclustering of the Python package flowsom) clusters by the consensus
#   of 100 resamples, as the R package does.
# What happens: The consensus matrix is computed and never used: fit_predict clusters the given nodes directly
#   by average linkage. Labels are the same for 1 and 100 resamples, for every seed, and for any matrix that
#   is put in place of the one that was fitted.
# Why it matters: Metaclusters differ from those of R's FlowSOM on the same nodes, and lack the stability that
#   consensus is for; the time for the resamples is spent all the same.
# Read: source of flowsom 0.2.2 (models/consensus_cluster.py); Monti et al. 2003, doi 10.1023/A:1023949509487;
#   Van Gassen et al. 2015, doi 10.1002/cyto.a.22625
# Versions: flowsom==0.2.2, scikit-learn==1.9.1, numpy==2.4.6, pandas==2.3.3, anndata==0.12.19,
#   scanpy==1.11.5, pynndescent<0.6
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check flowsom==0.2.2 scikit-learn==1.9.1 numpy==2.4.6 pandas==2.3.3 anndata==0.12.19 scanpy==1.11.5 'pynndescent<0.6'
cat >show.py <<'PY'
import sys

import numpy as np
from flowsom.models.consensus_cluster import ConsensusCluster
from sklearn.cluster import AgglomerativeClustering

nodes = np.random.default_rng(0).normal(size=(100, 5))
plain = AgglomerativeClustering(n_clusters=8, linkage="average").fit_predict(nodes)
same = []
for resamples, seed in ((1, 0), (100, 1), (100, 2)):
    np.random.seed(seed)
    model = ConsensusCluster(n_clusters=8, H=resamples)
    model.fit(nodes)
    same.append(bool(np.array_equal(model.fit_predict(nodes), plain)))
    print(f"{resamples} resamples, seed {seed}: equal to plain average linkage: {same[-1]}")
# A consensus that puts nodes 0 to 49 and 50 to 99 into one cluster each changes nothing.
model.Mk = np.kron(np.eye(2), np.ones((50, 50)))
same.append(bool(np.array_equal(model.fit_predict(nodes), plain)))
print(f"with another consensus matrix: {same[-1]}")
sys.exit(0 if all(same) else "ConsensusCluster behaves otherwise than stated above")
PY
env/bin/python show.py
