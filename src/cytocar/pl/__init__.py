"""Floor 5: figures. Every function only reads what it is given, and returns the Figure or Axes it drew."""

from cytocar.pl._alluvial import alluvial
from cytocar.pl._backgating import backgating
from cytocar.pl._beads import beads
from cytocar.pl._cleaning import cleaning
from cytocar.pl._clinical import forest, kaplan_meier
from cytocar.pl._cluster_frequencies import cluster_frequencies
from cytocar.pl._cluster_groups import cluster_groups
from cytocar.pl._cohort import abundance, state
from cytocar.pl._comparisons import compare, comparisons
from cytocar.pl._debarcode import barcode_events, barcode_separation, barcode_yields
from cytocar.pl._detection import detection
from cytocar.pl._flowsom_stars import flowsom_stars
from cytocar.pl._gating import gating, gating_pages
from cytocar.pl._heatmap import flowsom, heatmap, phenograph
from cytocar.pl._kinetics import kinetics
from cytocar.pl._maps import (
    tsne,
    tsne_clusters,
    tsne_markers,
    tsne_timepoints,
    umap,
    umap_clusters,
    umap_markers,
    umap_timepoints,
)
from cytocar.pl._multiverse import multiverse
from cytocar.pl._quality import quality
from cytocar.pl._ridges import ridges
from cytocar.pl._robustness import robustness
from cytocar.pl._save import save
from cytocar.pl._spillover import spillover
from cytocar.pl._stability import delta_area, stability
from cytocar.pl._strategy import strategy
from cytocar.pl._subsets import subsets
from cytocar.pl._thresholds import thresholds
from cytocar.pl._time_quality import time_quality
from cytocar.pl._violins import BESIDE_HOST, violin, violins_car_vs_host, violins_subsets, violins_supplement

__all__ = [
    "BESIDE_HOST",
    "abundance",
    "alluvial",
    "backgating",
    "barcode_events",
    "barcode_separation",
    "barcode_yields",
    "beads",
    "cleaning",
    "cluster_frequencies",
    "cluster_groups",
    "compare",
    "comparisons",
    "delta_area",
    "detection",
    "flowsom",
    "flowsom_stars",
    "forest",
    "gating",
    "gating_pages",
    "heatmap",
    "kaplan_meier",
    "kinetics",
    "multiverse",
    "phenograph",
    "quality",
    "ridges",
    "robustness",
    "save",
    "spillover",
    "stability",
    "state",
    "strategy",
    "subsets",
    "thresholds",
    "time_quality",
    "tsne",
    "tsne_clusters",
    "tsne_markers",
    "tsne_timepoints",
    "umap",
    "umap_clusters",
    "umap_markers",
    "umap_timepoints",
    "violin",
    "violins_car_vs_host",
    "violins_subsets",
    "violins_supplement",
]
