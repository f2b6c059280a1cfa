"""Floor 3: counts to clean counts, counts to arcsinh values."""

from cytocar.pp._arcsinh import arcsinh
from cytocar.pp._beads import bead_baseline, bead_table, bead_traces, bead_values, normalize_beads
from cytocar.pp._clean import clean, clean_limits, clean_table
from cytocar.pp._debarcode import barcode_table, barcode_yields, debarcode
from cytocar.pp._debarcode_key import read_barcode_key
from cytocar.pp._files_beads import normalize_files
from cytocar.pp._files_debarcode import debarcode_file
from cytocar.pp._time_quality import time_quality, time_quality_table

__all__ = [
    "arcsinh",
    "barcode_table",
    "barcode_yields",
    "bead_baseline",
    "bead_table",
    "bead_traces",
    "bead_values",
    "clean",
    "clean_limits",
    "clean_table",
    "debarcode",
    "debarcode_file",
    "normalize_beads",
    "normalize_files",
    "read_barcode_key",
    "time_quality",
    "time_quality_table",
]
