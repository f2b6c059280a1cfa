"""Floor 3: gating as data. Strategies, thresholds found in the data, populations, tables of what was found."""

from typing import TYPE_CHECKING
from warnings import warn

from cytocar._core.deprecation import renamed
from cytocar.gate._apply.apply import apply, control_values
from cytocar.gate._apply.load import car_t, load, strategy_names
from cytocar.gate._apply.pin import pin
from cytocar.gate._documents.document import GatingDocument
from cytocar.gate._documents.hierarchy import DocumentPopulation
from cytocar.gate._documents.shape_strategy import ShapeStrategy
from cytocar.gate._exchange.flowjo_read import read_flowjo
from cytocar.gate._exchange.flowjo_write import write_flowjo
from cytocar.gate._exchange.gatingml import write_gatingml
from cytocar.gate._exchange.gatingml_read import read_gatingml
from cytocar.gate._populations.evaluate import evaluate
from cytocar.gate._results.biaxials import biaxials, outlines
from cytocar.gate._results.counted_tree import CountedTree, tree
from cytocar.gate._results.ledger import membership, strategy_of, subset, table
from cytocar.gate._results.population_file import write_population
from cytocar.gate._results.threshold_tables import densities, reference_counts, thresholds
from cytocar.gate._robustness.multiverse import multiverse
from cytocar.gate._robustness.robustness import robustness
from cytocar.gate._shapes.shapes import (
    Combination,
    Dimension,
    Divider,
    Ellipsoid,
    Operand,
    Polygon,
    Quadrants,
    Rectangle,
    interval,
    threshold_gate,
)
from cytocar.gate._shapes.spillover import SpectrumMatrix, parse_spillover
from cytocar.gate._shapes.transforms import Asinh, Hyperlog, Linear, Log, Logicle, Ratio
from cytocar.gate._strategy.strategy import Strategy, ThresholdStrategy
from cytocar.gate._strategy.tree import GateTree
from cytocar.gate._thresholds.not_found import ThresholdNotFound

__all__ = [
    "Asinh",
    "Combination",
    "CountedTree",
    "Dimension",
    "Divider",
    "DocumentPopulation",
    "Ellipsoid",
    "GateTree",
    "GatingDocument",
    "Hyperlog",
    "Linear",
    "Log",
    "Logicle",
    "Operand",
    "Polygon",
    "Quadrants",
    "Ratio",
    "Rectangle",
    "ShapeStrategy",
    "SpectrumMatrix",
    "Strategy",
    "ThresholdNotFound",
    "ThresholdStrategy",
    "apply",
    "biaxials",
    "car_t",
    "control_values",
    "densities",
    "evaluate",
    "interval",
    "load",
    "membership",
    "multiverse",
    "outlines",
    "parse_spillover",
    "pin",
    "read_flowjo",
    "read_gatingml",
    "reference_counts",
    "robustness",
    "strategy_names",
    "strategy_of",
    "subset",
    "table",
    "threshold_gate",
    "thresholds",
    "tree",
    "write_flowjo",
    "write_gatingml",
    "write_population",
]

plots = renamed("plots", biaxials)
threshold = renamed("threshold", threshold_gate)

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name != "DocumentTree":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        warn(
            "DocumentTree is now called ShapeStrategy; the former name will go away in version 1.0",
            DeprecationWarning,
            stacklevel=2,
        )
        return ShapeStrategy
