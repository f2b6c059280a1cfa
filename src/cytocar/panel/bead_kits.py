"""Calibration beads: the masses of each kit."""

from __future__ import annotations

from typing import Final

# Masses of the metals in the calibration beads.
BEAD_KITS: Final[dict[str, tuple[int, ...]]] = {
    "EQ4": (140, 151, 153, 165, 175),
    "EQ6": (89, 115, 140, 159, 175, 209),
}
