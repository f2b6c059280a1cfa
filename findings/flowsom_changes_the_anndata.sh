#!/usr/bin/env bash
# Guess: FlowSOM(adata) reads the AnnData that it is given.
# What happens: It renames the variables of the caller's AnnData from markers to channels (var_names become
#   those of var['channel']), adds columns to its obs, and puts a graph object into uns, after which the
#   caller's own object can no longer be written as h5ad.
# Why it matters: adata[:, 'CD3'] fails, or means another channel, after a clustering that should not touch
#   it; hours of work cannot be saved.
# Read: source of flowsom 0.2.2 (main.py); anndata 0.12, writing of uns
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
import warnings

import anndata
import flowsom
import numpy as np
import pandas as pd

warnings.simplefilter("ignore")
rng = np.random.default_rng(0)
values = np.vstack([rng.normal(mean, 1, (300, 3)) for mean in (0, 3, 6)]).astype("f4")
markers, channels = ["CD3", "CD19", "CD8a"], ["Er170Di", "Nd142Di", "Nd146Di"]
table = pd.DataFrame({"channel": channels, "marker": markers}, index=markers)
adata = anndata.AnnData(values, var=table)
adata.copy().write_h5ad("before.h5ad")
flowsom.FlowSOM(adata, cols_to_use=markers, n_clusters=3, xdim=5, ydim=5, seed=1)
print("var_names:", markers, "->", list(adata.var_names))
print("obs:", list(adata.obs.columns))
try:
    adata.write_h5ad("after.h5ad")
    error = ""
except Exception as problem:
    error = type(problem).__name__
print("write_h5ad:", error or "written")
as_seen = list(adata.var_names) == channels and "metaclustering" in adata.obs and error == "TypeError"
sys.exit(0 if as_seen else "flowsom treats the AnnData otherwise than stated above")
PY
env/bin/python show.py
