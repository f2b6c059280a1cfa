"""Floor 3: gating as data. Strategies, thresholds found in the data, populations, tables of what was found."""

from cytocar.gate._apply import apply, control_values
from cytocar.gate._evaluate import evaluate
from cytocar.gate._gatingml import write_gatingml
from cytocar.gate._load import car_t, load, strategy_names
from cytocar.gate._tables import (
    densities,
    membership,
    plots,
    reference_counts,
    strategy_of,
    subset,
    table,
    thresholds,
)
from cytocar.gate._thresholds import ThresholdNotFound
from cytocar.gate._tree import GateTree

__all__ = [
    "GateTree",
    "ThresholdNotFound",
    "apply",
    "car_t",
    "control_values",
    "densities",
    "evaluate",
    "load",
    "membership",
    "plots",
    "reference_counts",
    "strategy_names",
    "strategy_of",
    "subset",
    "table",
    "thresholds",
    "write_gatingml",
]
