"""Floor 3: counts to clean counts, counts to arcsinh values."""

from cytocar.pp._arcsinh import arcsinh
from cytocar.pp._clean import clean, clean_limits, clean_table

__all__ = ["arcsinh", "clean", "clean_limits", "clean_table"]
