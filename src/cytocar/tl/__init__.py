"""Floor 4: populations -> results: clusters, maps, frequencies, comparisons, as labels and tidy tables."""

from cytocar.tl._abundance import abundance
from cytocar.tl._agreement import agreement, agreement_table
from cytocar.tl._clinical import follow_up, join_patients, persistence
from cytocar.tl._compare import compare
from cytocar.tl._confounding import confounding
from cytocar.tl._cox import cox
from cytocar.tl._detection import detection
from cytocar.tl._flowsom import flowsom, metaclusters
from cytocar.tl._group_tests import group_test
from cytocar.tl._kinetics import kinetics
from cytocar.tl._phenograph import phenograph
from cytocar.tl._planner import plan_acquisition
from cytocar.tl._pooled import pooled_proportions
from cytocar.tl._profiles import cluster_frequencies, cluster_profiles
from cytocar.tl._state import state
from cytocar.tl._subset_shares import subset_order, subset_shares
from cytocar.tl._subsets import subset_trend, subsets
from cytocar.tl._survival import kaplan_meier, log_rank, median_survival, survival_at
from cytocar.tl._tables_tests import table_test
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
    "cox",
    "detection",
    "flowsom",
    "follow_up",
    "group_test",
    "join_patients",
    "kaplan_meier",
    "kinetics",
    "log_rank",
    "median_survival",
    "metaclusters",
    "persistence",
    "phenograph",
    "plan_acquisition",
    "pooled_proportions",
    "state",
    "subset_order",
    "subset_shares",
    "subset_trend",
    "subsets",
    "survival_at",
    "table_test",
    "tsne",
    "umap",
]
