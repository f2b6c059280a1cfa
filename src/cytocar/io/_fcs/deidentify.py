"""Keywords that say nothing about whom a sample is from, who measured it, and when."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

# What stays is listed, not what goes: vendors and users add fields under any name.
_KEPT: Final = frozenset(
    {
        "$ABRT",
        "$COMP",
        "$CSMODE",
        "$CSVBITS",
        "$CYT",
        "$LOST",
        "$SPILLOVER",
        "$SPILL",
        "SPILL",
        "$TIMESTEP",
        "$TR",
        "$UNSTAINEDCENTERS",
        "$VOL",
    }
)
# Of the fields of a channel: name, width, amplification, range, gain, voltage, filter, wavelength, power, ...
_KEPT_OF_CHANNEL: Final = re.compile(
    r"^\$P\d+(N|S|B|E|R|G|V|F|L|O|P|T|D|DATATYPE|TYPE|DET|TAG|ANALYTE|FEATURE|CALIBRATION)$"
)


def deidentified(keywords: Mapping[str, str]) -> dict[str, str]:
    """Return only the keywords that describe the measurement itself.

    Names of people, institutions, files, samples, patients and cells, comments, serial numbers, dates and
    times of day go, and with them every field that is not of the FCS standard.

    Examples
    --------
    >>> deidentified({"$CYT": "Helios", "$OP": "A. Nurse", "PATIENT ID": "17", "$P1N": "Time", "$DATE": "1-JAN-2024"})
    {'$CYT': 'Helios', '$P1N': 'Time'}
    """
    return {key: value for key, value in keywords.items() if key in _KEPT or _KEPT_OF_CHANNEL.match(key)}
