"""Floor 3: counts to clean counts, counts to arcsinh values."""

from cytocar.pp._arcsinh import arcsinh
from cytocar.pp._beads import bead_baseline, bead_table, bead_traces, bead_values, normalize_beads
from cytocar.pp._car_audit import car_audit
from cytocar.pp._clean import clean, clean_limits, clean_losses, clean_table
from cytocar.pp._clean_plots import clean_plots
from cytocar.pp._compensate import compensate, spillover_table
from cytocar.pp._debarcode import barcode_table, barcode_yields, debarcode
from cytocar.pp._debarcode_key import read_barcode_key
from cytocar.pp._files_beads import normalize_files
from cytocar.pp._files_compensate import compensate_files
from cytocar.pp._files_debarcode import debarcode_file
from cytocar.pp._spill_matrix import Spillover, read_spillover
from cytocar.pp._spillover import estimate_spillover
from cytocar.pp._time_quality import time_quality, time_quality_table

__all__ = [
    "Spillover",
    "arcsinh",
    "barcode_table",
    "barcode_yields",
    "bead_baseline",
    "bead_table",
    "bead_traces",
    "bead_values",
    "car_audit",
    "clean",
    "clean_limits",
    "clean_losses",
    "clean_plots",
    "clean_table",
    "compensate",
    "compensate_files",
    "debarcode",
    "debarcode_file",
    "estimate_spillover",
    "normalize_beads",
    "normalize_files",
    "read_barcode_key",
    "read_spillover",
    "spillover_table",
    "time_quality",
    "time_quality_table",
]
