"""Floor 3: the simulated LEGEND-2-like study: raw events with known truth, and how well a run finds it."""

from cytocar.datasets._legend2 import legend2, write_legend2
from cytocar.datasets._score import gate_losses, score_legend2
from cytocar.datasets._single_stains import single_stains

__all__ = [
    "gate_losses",
    "legend2",
    "score_legend2",
    "single_stains",
    "write_legend2",
]
