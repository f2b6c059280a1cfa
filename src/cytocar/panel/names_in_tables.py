"""Channels as R and spreadsheets change their names in the header of a table."""

from __future__ import annotations

import re
from typing import Final

from cytocar.panel.names import Isotope, parse_isotope

# R puts X before a name that begins with a digit or a bracket, and a point for every sign that it does not take.
_X: Final = re.compile(r"X[.]*(?=[0-9A-Z])")
_GAPS: Final = re.compile(r"[\s-]+")
_POINTS: Final = re.compile(r"[.]+")


def isotope_in_table(name: str) -> Isotope | None:
    """Return the isotope that a column or row of a table names, or None.

    Beside the spellings of files (`cytocar.panel.names.parse_isotope`) these are the ones of R's ``make.names``
    (``X102Pd``, ``CD45.Gd154.Di``), and of people (``Pd 102``, ``Pd-102``).

    Parameters
    ----------
    name
        As the table has it.

    Examples
    --------
    >>> isotope_in_table("X102Pd"), isotope_in_table("CD45.Gd154.Di").channel, isotope_in_table("CD45")
    (Isotope(symbol='Pd', mass=102, span=None), 'Gd154Di', None)
    """
    plain = _X.sub("", name, count=1) if _X.match(name) else name
    for text in (name, plain, _GAPS.sub("", plain), _POINTS.sub("", plain)):
        if isotope := parse_isotope(text):
            return isotope
    found = {isotope for part in _POINTS.split(plain) if (isotope := parse_isotope(part)) is not None}
    return found.pop() if len(found) == 1 else None
