"""The host T cells that CAR-T cells are held against: of the same subset, standardised, and their change over time."""

from __future__ import annotations

import numpy as np

from cytocar._core import keys
from cytocar.tl._markers.cells import Cells, known
from cytocar.tl._markers.groups import DifferenceInDifferences, Group

# Fewer host cells than this are gating errors more often than a subset.
MIN_HOST = 20


def difference_in_differences(
    car: tuple[Group, Group],
    host: tuple[Group, Group],
    *,
    level: float,
    n_boot: int,
    rng: np.random.Generator,
    words: str = "",
) -> DifferenceInDifferences:
    """Return (b - a of CAR-T) - (b - a of host T), differences of medians, with a percentile bootstrap interval.

    What changes all T cells of a tube alike cancels. All four groups vary in the bootstrap, since each is a sample of
    cells; the medians of a bootstrap sample are drawn exactly, see `Group.drawn_medians`.

    Parameters
    ----------
    car, host
        Groups (a, b) of CAR-T and of host T cells.
    level
        Of the interval.
    n_boot
        Bootstrap draws.
    rng
        Of this comparison.
    words
        Which host cells these are.
    """
    of_host = host[1].median() - host[0].median()
    did = car[1].median() - car[0].median() - of_host
    signs = (-1.0, 1.0, 1.0, -1.0)
    drawn = np.zeros((len(did), n_boot))
    for group, sign in zip((*car, *host), signs, strict=True):
        drawn += sign * group.drawn_medians(n_boot, rng)
    low, high = np.quantile(drawn, [(1.0 - level) / 2.0, (1.0 + level) / 2.0], axis=1)
    return DifferenceInDifferences(
        of_host, did, np.minimum(low, did), np.maximum(high, did), (words,) * len(did)
    )


def host_pair(
    cells: Cells, patient: str, labels: tuple[str, str], subset: str
) -> tuple[tuple[Group, Group] | None, str]:
    """Return the host cells of two tubes whose change is held against that of CAR-T cells, and which they are.

    Those of the same subset; where the host lacks it, CD4 and CD8 with equal weights in both tubes; for all cells
    those standardised to the CAR-T cells' mix of each tube, as in the comparison within a tube.
    """
    if subset == keys.ALL and cells.has_subsets:
        found = [standardised(cells, patient, label)[0] for label in labels]
        if found[0] is not None and found[1] is not None:
            return (found[0], found[1]), "standardised to the CAR-T cells' mix"
        subset = "CD4 and CD8"
    elif _enough(cells, patient, labels, subset):
        first, second = (Group.of(known(cells.group(patient, label, keys.HOST, subset))) for label in labels)
        return (first, second), subset
    if cells.has_subsets and all(_enough(cells, patient, labels, name) for name in ("CD4", "CD8")):
        half = np.array([0.5, 0.5])
        first, second = (
            Group(tuple(known(cells.group(patient, label, keys.HOST, name)) for name in ("CD4", "CD8")), half)
            for label in labels
        )
        return (first, second), "CD4 and CD8, half each"
    return None, f"fewer than {MIN_HOST} host cells"


def _enough(cells: Cells, patient: str, labels: tuple[str, str], subset: str) -> bool:
    return all(cells.group(patient, label, keys.HOST, subset).shape[1] >= MIN_HOST for label in labels)


def standardised(cells: Cells, patient: str, label: str) -> tuple[Group | None, str]:
    """Return the host weighted to the CAR-T cells' mix of those subsets that the host has, and words about it."""
    car = {name: cells.group(patient, label, keys.CAR, name).shape[1] for name in keys.SUBSETS}
    host = {name: known(cells.group(patient, label, keys.HOST, name)) for name in keys.SUBSETS}
    total = cells.group(patient, label, keys.CAR, keys.ALL).shape[1]
    shared = [name for name in keys.SUBSETS if car[name] and host[name].shape[1] >= MIN_HOST]
    n_shared = sum(car[name] for name in shared)
    lacking = [name for name in keys.SUBSETS if car[name] and name not in shared]
    if not n_shared:
        return (
            None,
            f"host has no counterpart of the CAR-T cells, which are {', '.join(lacking) or 'of no subset'}",
        )
    weights = np.array([car[name] / n_shared for name in shared])
    words = "host standardised to " + ", ".join(
        f"{name} {100 * weight:.3g} %" for name, weight in zip(shared, weights, strict=True)
    )
    if n_shared < total:
        words += f"; {100 * (1 - n_shared / total):.3g} % of the CAR-T cells"
        words += f" ({', '.join(lacking)})" if lacking else ""
        words += " have no host counterpart"
    return Group(tuple(host[name] for name in shared), weights), words
