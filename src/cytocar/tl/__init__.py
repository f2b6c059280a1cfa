"""Floor 4: populations -> results: clusters, maps, frequencies, comparisons, as labels and tidy tables."""

from cytocar.tl._abundance import abundance
from cytocar.tl._agreement import agreement, agreement_table
from cytocar.tl._compare import compare
from cytocar.tl._confounding import confounding
from cytocar.tl._detection import detection
from cytocar.tl._flowsom import flowsom, metaclusters
from cytocar.tl._kinetics import kinetics
from cytocar.tl._phenograph import phenograph
from cytocar.tl._profiles import cluster_frequencies, cluster_profiles
from cytocar.tl._state import state
from cytocar.tl._subsets import subset_trend, subsets
from cytocar.tl._tsne import tsne
from cytocar.tl._umap import umap

__all__ = [
    "abundance",
    "agreement",
    "agreement_table",
    "cluster_frequencies",
    "cluster_profiles",
    "compare",
    "confounding",
    "detection",
    "flowsom",
    "kinetics",
    "metaclusters",
    "phenograph",
    "state",
    "subset_trend",
    "subsets",
    "tsne",
    "umap",
]
