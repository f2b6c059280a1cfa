"""Floor 4: populations -> results: clusters, maps, frequencies, comparisons, as labels and tidy tables."""

from cytocar.tl._agreement import agreement, agreement_table
from cytocar.tl._detection import detection
from cytocar.tl._kinetics import kinetics
from cytocar.tl._phenograph import phenograph
from cytocar.tl._subsets import subset_trend, subsets

__all__ = [
    "agreement",
    "agreement_table",
    "detection",
    "kinetics",
    "phenograph",
    "subset_trend",
    "subsets",
]
