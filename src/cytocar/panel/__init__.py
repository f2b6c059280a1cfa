"""Floor 1: what each channel measures."""

from cytocar.panel._builtin import builtin_names
from cytocar.panel._match import PanelMatch
from cytocar.panel._panel import Panel

__all__ = ["Panel", "PanelMatch", "builtin_names"]
