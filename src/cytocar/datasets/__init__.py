"""The simulated LEGEND-2-like study: raw events with known truth, and how well a run finds it."""

from cytocar.datasets._legend2 import legend2, write_legend2

__all__ = ["legend2", "write_legend2"]
