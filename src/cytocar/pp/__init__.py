"""Floor 3: counts to clean counts, counts to arcsinh values."""

from cytocar.pp._arcsinh import arcsinh
from cytocar.pp._clean import clean, clean_limits, clean_table
from cytocar.pp._debarcode import barcode_table, barcode_yields, debarcode
from cytocar.pp._debarcode_key import read_barcode_key

__all__ = [
    "arcsinh",
    "barcode_table",
    "barcode_yields",
    "clean",
    "clean_limits",
    "clean_table",
    "debarcode",
    "read_barcode_key",
]
