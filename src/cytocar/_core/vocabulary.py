"""The words that sample sheets, labels and tables use, each written once."""

from __future__ import annotations

from typing import Final

from cytocar._core import keys

# role of a sample
PATIENT_ROLE: Final = "patient"
CONTROL_ROLE: Final = "negative_control"
FMO_ROLE: Final = "fmo"
ROLES: Final = (PATIENT_ROLE, CONTROL_ROLE, FMO_ROLE)

# call of a frequency, from the most that can be said to the least
QUANTIFIED: Final = "quantified"
DETECTED: Final = "detected"
NOT_DETECTED: Final = "not_detected"
DETECTION_CALLS: Final = (QUANTIFIED, DETECTED, NOT_DETECTED)

# call of a marker compared between two groups
UP: Final = "up"
DOWN: Final = "down"
UNCHANGED: Final = "unchanged"
INCONCLUSIVE: Final = "inconclusive"
MARKER_CALLS: Final = (UP, DOWN, UNCHANGED, INCONCLUSIVE)

# class of an event, obs["event_class"]
CELL: Final = "cell"
BEAD: Final = "bead"
CELL_BEAD: Final = "cell_bead"
DEBRIS: Final = "debris"
DOUBLET: Final = "doublet"
DEAD: Final = "dead"
EVENT_CLASSES: Final = (CELL, BEAD, CELL_BEAD, DEBRIS, DOUBLET, DEAD)

# clustering; a method is named after the column of obs that it writes
BOTH: Final = (keys.PHENOGRAPH, keys.FLOWSOM)
METHODS: Final = (*BOTH, keys.LEIDEN)
NO_CLUSTER: Final = "-1"

DAYS_PER_MONTH: Final = 365.25 / 12.0

# counts beside those of another program
ALL_EVENTS: Final = "all events"
EQUAL: Final = "equal"
DIFFERENT: Final = "different"
NOT_COUNTED: Final = "not_counted"
NOT_IN_WORKSPACE: Final = "not_in_workspace"
NOT_IN_GATES: Final = "not_in_gates"
AGREEMENTS: Final = (EQUAL, DIFFERENT, NOT_COUNTED, NOT_IN_WORKSPACE, NOT_IN_GATES)
