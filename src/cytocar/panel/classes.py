"""Whether an antibody tells cell types apart or states of a cell: the classes of CATALYST."""

from __future__ import annotations

from typing import Final

from cytocar.panel.antigens import antigens
from cytocar.panel.car_reagents import car_reagents

CLASSES: Final = ("type", "state", "none")

# Lineages, and what divides T cells into naive, memory, helper and regulatory ones. Activation, exhaustion, cytokines,
# signalling and cycle are states.
# fmt: off
_TYPES: Final = frozenset(
    (
        "cd1c", "cd2", "cd3", "cd4", "cd5", "cd7", "cd8a", "cd8b", "cd10", "cd11b", "cd11c", "cd14", "cd15",
        "cd16", "cd1632", "cd19", "cd20", "cd22", "cd24", "cd25", "cd27", "cd28", "cd33", "cd34", "cd36",
        "cd41", "cd42b", "cd45", "cd45ra", "cd45ro", "cd56", "cd57", "cd61", "cd62l", "cd64", "cd66b",
        "cd79a", "cd79b", "cd94", "cd95", "cd103", "cd117", "cd123", "cd127", "cd138", "cd141", "cd161",
        "cd203c", "cd209", "cd235ab", "cd235cd61", "cd303", "cd304", "ccr4", "ccr6", "ccr7", "ccr10",
        "clec9a", "crth2", "cx3cr1", "cxcr3", "cxcr5", "fceria", "foxp3", "igd", "igm", "klrg1", "nkp46",
        "nkg2a", "siglec8", "tcrab", "tcrgd", "tcrvd1", "tcrvd2", "tcrva72",
    )
)
# fmt: on


def guess_class(marker: str, role: str) -> str:
    """Return ``"type"`` for what tells cell types apart, ``"state"`` for any other antibody, ``"none"`` for the rest.

    Follows the habit of CATALYST (Nowicka et al. 2017, doi:10.12688/f1000research.11622) on panels of T cells.

    Parameters
    ----------
    marker
        Name of the antigen, by any of its names.
    role
        Role of the channel, one of `cytocar.panel.roles.ROLES`.

    Examples
    --------
    >>> guess_class("CD8", "marker"), guess_class("CD197", "marker"), guess_class("PD-1", "marker")
    ('type', 'type', 'state')
    >>> guess_class("DNA1", "dna")
    'none'
    """
    if role != "marker":
        return "none"
    # What shows a CAR tells CAR-T cells from others, whichever reagent it is.
    shows_car = any(reagent.certain for reagent in car_reagents([marker]))
    return "type" if shows_car or antigens(marker) & _TYPES else "state"
