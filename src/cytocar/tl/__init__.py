"""Floor 4: populations -> results: clusters, maps, frequencies, comparisons, as labels and tidy tables."""

from cytocar._core.deprecation import renamed
from cytocar.tl._clinical.cox import cox
from cytocar.tl._clinical.group_tests import group_test
from cytocar.tl._clinical.patients import follow_up, join_patients, persistence
from cytocar.tl._clinical.pooled import pooled_proportions
from cytocar.tl._clinical.survival import kaplan_meier, log_rank, median_survival, survival_at
from cytocar.tl._clinical.table_tests import table_test
from cytocar.tl._clusters.agreement import agreement, contingency_table
from cytocar.tl._clusters.flowsom import flowsom
from cytocar.tl._clusters.leiden import leiden
from cytocar.tl._clusters.metaclusters import metacluster_table, metaclusters
from cytocar.tl._clusters.names import describe_clusters
from cytocar.tl._clusters.phenograph import phenograph
from cytocar.tl._clusters.profiles import cluster_frequencies, cluster_profiles
from cytocar.tl._clusters.reference import Reference, make_reference, map_to_reference
from cytocar.tl._clusters.reference_fit import reference_fit
from cytocar.tl._clusters.renaming import rename_clusters
from cytocar.tl._clusters.som import SelfOrganisingMap, flowsom_map
from cytocar.tl._clusters.som_outliers import flowsom_outliers
from cytocar.tl._clusters.som_tree import flowsom_tree
from cytocar.tl._clusters.stability import Stability, stability
from cytocar.tl._cohorts.abundance import abundance
from cytocar.tl._cohorts.confounding import confounding
from cytocar.tl._cohorts.state import state
from cytocar.tl._maps.quality import map_quality
from cytocar.tl._maps.tsne import tsne
from cytocar.tl._maps.umap import umap
from cytocar.tl._markers.compare import compare
from cytocar.tl._markers.rank_markers import rank_markers
from cytocar.tl._rare.detection import detection
from cytocar.tl._rare.kinetics import kinetics
from cytocar.tl._rare.planner import plan_acquisition
from cytocar.tl._rare.subset_shares import subset_order, subset_shares
from cytocar.tl._rare.subsets import subset_trend, subsets

__all__ = [
    "Reference",
    "SelfOrganisingMap",
    "Stability",
    "abundance",
    "agreement",
    "cluster_frequencies",
    "cluster_profiles",
    "compare",
    "confounding",
    "contingency_table",
    "cox",
    "describe_clusters",
    "detection",
    "flowsom",
    "flowsom_map",
    "flowsom_outliers",
    "flowsom_tree",
    "follow_up",
    "group_test",
    "join_patients",
    "kaplan_meier",
    "kinetics",
    "leiden",
    "log_rank",
    "make_reference",
    "map_quality",
    "map_to_reference",
    "median_survival",
    "metacluster_table",
    "metaclusters",
    "persistence",
    "phenograph",
    "plan_acquisition",
    "pooled_proportions",
    "rank_markers",
    "reference_fit",
    "rename_clusters",
    "stability",
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

agreement_table = renamed("agreement_table", contingency_table)
