"""Violins of chosen markers over time, from a finished run.

Copy this file and change what you like:  python violins.py RESULTS violins.png Ki67 PD-1 GZMB
"""

import sys

import anndata

import cytocar as cc

results, picture, *markers = sys.argv[1:]

cells = anndata.read_h5ad(f"{results}/cells.h5ad")
cars = cells[cells.obs["compartment"] == "car"].copy()

figure = cc.pl.violin(cars, markers or ["Ki67", "PD-1"], groupby="timepoint", split="subset")
figure.savefig(picture, dpi=300)
print(f"{cars.n_obs:,} CAR-T cells: {picture}")
