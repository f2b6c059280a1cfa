"""From where on a difference counts: the numbers that several rooms decide by, each written once."""

from __future__ import annotations

from typing import Final

MARGIN: Final = 0.2
"""Smallest difference of a marker that counts unless another is stated, in arcsinh units."""

WITHIN_PATIENT_FDR: Final = 0.1
"""Of the rows called within one patient no more than a tenth is expected to be false; cells are not replicates, so
the margin and the error of staining guard these calls too (docs/calibration.md)."""

BETWEEN_PATIENTS_FDR: Final = 0.05
"""Of the rows called between patients, whose unit is the patient, at most one in twenty is expected to be false."""
