"""Floor 6: figures and one HTML page from a finished run; nothing is computed again."""

from cytocar.report._build import build

__all__ = ["build"]
