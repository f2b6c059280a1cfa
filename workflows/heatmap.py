"""Heat map of the clusters of a finished run.

Copy this file and change what you like:  python heatmap.py RESULTS heatmap.png
"""

import sys

import anndata

import cytocar as cc

results, picture = sys.argv[1], sys.argv[2]

cells = anndata.read_h5ad(f"{results}/cells.h5ad")
cars = cells[cells.obs["compartment"] == "car"].copy()
cars.obs["phenograph"] = cars.obs["phenograph"].cat.remove_unused_categories()

figure = cc.pl.heatmap(cars, groupby="phenograph")
figure.savefig(picture, dpi=300)
print(f"{cars.n_obs:,} CAR-T cells in {cars.obs['phenograph'].nunique()} clusters: {picture}")
