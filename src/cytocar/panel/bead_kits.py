"""Calibration beads: the metals in each kit. A kit is added here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# Kit to the mass of each of its metals, and the metal.
BEAD_KITS: Final[Mapping[str, Mapping[int, str]]] = {
    "EQ4": {140: "Ce", 151: "Eu", 153: "Eu", 165: "Ho", 175: "Lu"},
    "EQ6": {89: "Y", 115: "In", 140: "Ce", 159: "Tb", 175: "Lu", 209: "Bi"},
}

# With fewer channels a cell that carries all their antibodies could pass for a bead.
FEWEST_BEAD_CHANNELS: Final = 3
