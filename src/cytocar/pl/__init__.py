"""Floor 5: figures. Every function only reads what it is given, and returns the Figure or Axes it drew."""

from cytocar._core.deprecation import renamed
from cytocar.pl._clusters.cluster_frequencies import cluster_frequencies
from cytocar.pl._clusters.cluster_groups import cluster_groups
from cytocar.pl._clusters.flowsom_stars import flowsom_stars
from cytocar.pl._clusters.heatmap import flowsom, heatmap, phenograph
from cytocar.pl._clusters.stability import delta_area, stability
from cytocar.pl._cohorts.clinical import forest, kaplan_meier
from cytocar.pl._cohorts.cohort import abundance, state
from cytocar.pl._gates.backgating import backgating
from cytocar.pl._gates.gating import gating, gating_pages
from cytocar.pl._gates.multiverse import multiverse
from cytocar.pl._gates.ridges import ridges
from cytocar.pl._gates.robustness import robustness
from cytocar.pl._gates.strategy import strategy
from cytocar.pl._gates.thresholds import thresholds
from cytocar.pl._maps.maps import (
    map_clusters,
    map_markers,
    map_timepoints,
    on_tsne,
    on_umap,
    tsne,
    umap,
)
from cytocar.pl._markers.compare import compare
from cytocar.pl._markers.violins import (
    BESIDE_HOST,
    violin,
    violins_car_vs_host,
    violins_subsets,
    violins_supplement,
)
from cytocar.pl._page.save import save
from cytocar.pl._rare.alluvial import alluvial
from cytocar.pl._rare.detection import detection
from cytocar.pl._rare.kinetics import kinetics
from cytocar.pl._rare.subsets import subsets
from cytocar.pl._steps.beads import beads
from cytocar.pl._steps.cleaning import cleaning
from cytocar.pl._steps.debarcode import barcode_events, barcode_separation, barcode_yields
from cytocar.pl._steps.quality import quality
from cytocar.pl._steps.spillover import spillover
from cytocar.pl._steps.time_quality import time_quality

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
    "map_clusters",
    "map_markers",
    "map_timepoints",
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
    "violin",
    "violins_car_vs_host",
    "violins_subsets",
    "violins_supplement",
]

# Figures of a run are drawn by the names of their files.
tsne_clusters = on_tsne("tsne_clusters", map_clusters)
tsne_markers = on_tsne("tsne_markers", map_markers)
tsne_timepoints = on_tsne("tsne_timepoints", map_timepoints)

# Former names.
comparisons = renamed("comparisons", compare)
umap_clusters = renamed("umap_clusters", on_umap(map_clusters))
umap_markers = renamed("umap_markers", on_umap(map_markers))
umap_timepoints = renamed("umap_timepoints", on_umap(map_timepoints))
