"""The class of every event of a file, by the limits of each class in turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from cytocar._core.vocabulary import BEAD, CELL_BEAD, DEAD, DEBRIS, DOUBLET, EVENT_CLASSES
from cytocar.pp._cleaning.beads import separate_beads
from cytocar.pp._cleaning.dead import dead_limit
from cytocar.pp._cleaning.debris import debris_limits
from cytocar.pp._cleaning.doublets import doublet_limits
from cytocar.pp._cleaning.limit import Limit, combined, meets, meets_all, not_judged

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

# The limits that an event of a criterion meets, all of them.
LIMITS_OF: Final[dict[str, tuple[str, ...]]] = {
    BEAD: ("bead",),
    DEBRIS: ("debris", "debris_dna"),
    DEAD: ("dead",),
    DOUBLET: ("doublet", "doublet_dna", "doublet_length"),
}


def score(
    limits: Sequence[Limit], criterion: str, signals: Mapping[str, NDArray[np.floating]], n: int
) -> NDArray[np.float32]:
    """Return how far each event is beyond the limits of a criterion: above 0 it meets all of them.

    The distance to that limit which is met least, in the unit of that limit; NaN where the criterion is not judged.
    """
    mine = [limit for limit in limits if limit.criterion in LIMITS_OF[criterion] and limit.judged]
    if not mine:
        return np.full(n, np.nan, dtype=np.float32)
    result = np.full(n, np.inf, dtype=np.float32)
    for limit in mine:
        beyond = combined(limit, signals) - np.float32(limit.value)
        np.minimum(result, beyond if limit.side == "above" else -beyond, out=result)
    return result


def classify(
    signals: dict[str, NDArray[np.floating]],
    *,
    beads: list[tuple[str, ...]],
    no_beads: str,
    dna: str | None,
    viability: str | None,
    length: str | None,
    stain: str | None = None,
) -> tuple[NDArray[np.int8], list[Limit]]:
    """Return the class of every event of one file (index into `EVENT_CLASSES`), and the limits that made it.

    Parameters
    ----------
    signals
        arcsinh(counts / 5) by channel name, each of shape (events,).
    beads
        Sets of bead channels to try; the set whose valley is surest is taken.
    no_beads
        Why there is no set, where there is none.
    dna, viability, length, stain
        Names of the channels in `signals`, or `None` where the file has none; `stain` is on all cells (CD45).
    """
    beads_found = separate_beads(signals, sets=beads, no_sets=no_beads, dna=dna)
    code = np.zeros(beads_found.is_bead.size, dtype=np.int8)
    code[beads_found.is_bead] = EVENT_CLASSES.index(BEAD)
    code[beads_found.with_cell] = EVENT_CLASSES.index(CELL_BEAD)
    limits = [beads_found.limit]
    cells = ~beads_found.is_bead

    def among_cells(name: str | None) -> NDArray[np.floating] | None:
        return signals[name][cells] if name else None

    if dna is None or beads_found.dna_limit is None:
        limits += [not_judged(criterion, "there is no DNA channel") for criterion in (DEBRIS, DOUBLET)]
    else:
        if beads_found.limit.judged:
            limits.append(beads_found.dna_limit)
        of_debris = debris_limits(
            signals[dna][cells],
            among_cells(length),
            among_cells(stain),
            beads_found.dna_limit,
            (length or "", stain or ""),
        )
        limits += of_debris
        is_debris = cells & meets_all(of_debris, signals)
        code[is_debris] = EVENT_CLASSES.index(DEBRIS)
        cells = cells & ~is_debris

    if viability is None:
        limits.append(not_judged("dead", "there is no viability channel"))
    else:
        dead = dead_limit(signals[viability][cells], viability)
        limits.append(dead)
        is_dead = cells & meets(dead, signals)
        code[is_dead] = EVENT_CLASSES.index(DEAD)
        cells = cells & ~is_dead

    if dna is not None:
        of_doublets = doublet_limits(
            signals[dna][cells], among_cells(length), among_cells(stain), (dna, length or "", stain or "")
        )
        limits += of_doublets
        if of_doublets[0].judged:
            code[cells & meets_all(of_doublets, signals)] = EVENT_CLASSES.index(DOUBLET)
    return code, limits
