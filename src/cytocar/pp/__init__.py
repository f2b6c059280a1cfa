"""Floor 3: counts to clean counts, counts to arcsinh values."""

from cytocar.pp._arcsinh import arcsinh

__all__ = ["arcsinh"]
