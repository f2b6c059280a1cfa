#!/usr/bin/env bash
# Guess: rank_genes_groups on arcsinh values says by how much, and in which direction, a marker differs.
# What happens: It takes X for log1p values: logfoldchanges is log2 of a ratio of expm1 of the means. On
#   arcsinh values its size means nothing, and where both means are below 0 (background after compensation or
#   randomised counts) its sign is opposite to scores and to the difference. No warning.
# Why it matters: A marker that is higher is listed as lower; a filter by fold change then drops or keeps the
#   wrong markers.
# Read: documentation of scanpy.tl.rank_genes_groups and its source (_rank_genes_groups.py) in scanpy 1.11.5
# Versions: scanpy==1.11.5, anndata==0.12.19, numpy==2.4.6, pandas==2.3.3, scipy==1.17.1, scikit-learn==1.9.1,
#   pynndescent<0.6
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check scanpy==1.11.5 anndata==0.12.19 numpy==2.4.6 pandas==2.3.3 scipy==1.17.1 scikit-learn==1.9.1 'pynndescent<0.6'
cat >show.py <<'PY'
import sys
import warnings

import anndata
import numpy as np
import pandas as pd
import scanpy as sc

warnings.simplefilter("ignore")
rng = np.random.default_rng(0)
n = 200
higher, lower = rng.normal(-1, 0.3, n), rng.normal(-2, 0.3, n)
dim, bright = rng.normal(50, 5, n), rng.normal(100, 10, n)
counts = np.column_stack([np.r_[higher, lower], np.r_[bright, dim]])
values = np.arcsinh(counts / 5).astype("f4")
names = [str(number) for number in range(2 * n)]
group = pd.Categorical(["car"] * n + ["host"] * n)
adata = anndata.AnnData(
    values, obs=pd.DataFrame({"group": group}, index=names), var=pd.DataFrame(index=["background", "bright"])
)
sc.tl.rank_genes_groups(adata, "group", method="wilcoxon", groups=["car"], reference="host")
table = sc.get.rank_genes_groups_df(adata, "car").set_index("names")
for marker, position in (("background", 0), ("bright", 1)):
    difference = float(np.median(values[:n, position]) - np.median(values[n:, position]))
    row = table.loc[marker]
    print(f"{marker}: median difference {difference:+.2f}, score {row.scores:+.1f}, logfoldchange {row.logfoldchanges:+.2f}")
row = table.loc["background"]
as_seen = row.scores > 0 > row.logfoldchanges
sys.exit(0 if as_seen else "rank_genes_groups behaves otherwise than stated above")
PY
env/bin/python show.py
