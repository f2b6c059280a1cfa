"""The words that sample sheets, tables and labels use, each written once."""

from __future__ import annotations

from typing import Final

CONTROL = "negative_control"


DAYS_PER_MONTH = 365.25 / 12.0


PATIENT_ROLE: Final = "patient"


CONTROL_ROLE: Final = "negative_control"


FMO_ROLE: Final = "fmo"


ROLES: Final = (PATIENT_ROLE, CONTROL_ROLE, FMO_ROLE)


NO_CLUSTER: Final = "-1"
