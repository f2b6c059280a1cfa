"""Floor 3: counts to clean counts, counts to arcsinh values."""

from cytocar.pp._arcsinh.arcsinh import arcsinh
from cytocar.pp._barcodes.debarcode import barcode_table, barcode_yields, debarcode
from cytocar.pp._barcodes.files import debarcode_file
from cytocar.pp._barcodes.key import read_barcode_key
from cytocar.pp._beads.baseline import bead_baseline
from cytocar.pp._beads.files import normalize_files
from cytocar.pp._beads.find import bead_values
from cytocar.pp._beads.normalize import normalize_beads
from cytocar.pp._beads.tables import bead_table, bead_traces
from cytocar.pp._cleaning.clean import clean
from cytocar.pp._cleaning.plots import clean_plots
from cytocar.pp._cleaning.tables import clean_limits, clean_losses, clean_table
from cytocar.pp._spillover.car_audit import car_audit
from cytocar.pp._spillover.compensate import compensate, spillover_table
from cytocar.pp._spillover.estimate import estimate_spillover
from cytocar.pp._spillover.files import compensate_files
from cytocar.pp._spillover.matrix import Spillover
from cytocar.pp._spillover.read import read_spillover
from cytocar.pp._time.time_quality import time_quality, time_quality_table

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
