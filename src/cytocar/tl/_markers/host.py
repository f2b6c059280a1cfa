"""The host T cells that CAR-T cells are compared with: of the same subset, standardised, and their change over time."""

from __future__ import annotations

import numpy as np

from cytocar._core import keys
from cytocar._core.population_words import words
from cytocar.tl._markers.cells import Cells, measured_or_zero
from cytocar.tl._markers.groups import Bootstrap, DifferenceInDifferences, Group

# Fewer host cells than this are gating errors more often than a subset.
MIN_HOST = 20


def difference_in_differences(
    car: tuple[Group, Group],
    host: tuple[Group, Group],
    bootstrap: Bootstrap,
    *,
    host_cells: str = "",
) -> DifferenceInDifferences:
    """Return (b - a of CAR-T) - (b - a of host T), differences of medians, with a percentile bootstrap interval.

    What changes all T cells of a tube alike cancels. All four groups vary in the bootstrap, since each is a sample of
    cells; the medians of a bootstrap sample are drawn exactly, see `Group.drawn_medians`.

    Parameters
    ----------
    car, host
        Groups (a, b) of CAR-T and of host T cells.
    bootstrap
        How medians are drawn, and the level of the interval.
    host_cells
        Which host cells these are.
    """
    of_host = host[1].median() - host[0].median()
    did = car[1].median() - car[0].median() - of_host
    signs = (-1.0, 1.0, 1.0, -1.0)
    drawn = np.zeros((len(did), bootstrap.n_boot))
    for group, sign in zip((*car, *host), signs, strict=True):
        drawn += sign * group.drawn_medians(bootstrap)
    level = bootstrap.level
    low, high = np.quantile(drawn, [(1.0 - level) / 2.0, (1.0 + level) / 2.0], axis=1)
    return DifferenceInDifferences(
        of_host, did, np.minimum(low, did), np.maximum(high, did), (host_cells,) * len(did)
    )


def host_pair(
    cells: Cells, patient: str, labels: tuple[str, str], subset: str
) -> tuple[tuple[Group, Group] | None, str]:
    """Return the host cells of two tubes whose change is compared with that of CAR-T cells, and which they are.

    Those of the same subset; where the host lacks it, CD4 and CD8 with equal weights in both tubes; for all cells
    those standardised to the CAR-T cells' mix of each tube, as in the comparison within a tube.
    """
    if subset == keys.ALL and cells.has_subsets:
        earlier, later = (standardised(cells, patient, label)[0] for label in labels)
        if earlier is not None and later is not None:
            return (earlier, later), f"standardised to the {words().car_cells}' mix"
        subset = "CD4 and CD8"
    elif _enough(cells, patient, labels, subset):
        first, second = (
            Group.of(measured_or_zero(cells.group(patient, label, keys.HOST, subset))) for label in labels
        )
        return (first, second), subset
    if cells.has_subsets and all(_enough(cells, patient, labels, name) for name in ("CD4", "CD8")):
        half = np.array([0.5, 0.5])
        first, second = (
            Group(
                tuple(
                    measured_or_zero(cells.group(patient, label, keys.HOST, name)) for name in ("CD4", "CD8")
                ),
                half,
            )
            for label in labels
        )
        return (first, second), "CD4 and CD8, half each"
    return None, f"fewer than {MIN_HOST} host cells"


def _half_each(cells: Cells, patient: str, label: str) -> Group:
    strata = (measured_or_zero(cells.group(patient, label, keys.HOST, name)) for name in ("CD4", "CD8"))
    return Group(tuple(strata), np.array([0.5, 0.5]))


def _enough(cells: Cells, patient: str, labels: tuple[str, str], subset: str) -> bool:
    return all(cells.group(patient, label, keys.HOST, subset).shape[1] >= MIN_HOST for label in labels)


def standardised(cells: Cells, patient: str, label: str) -> tuple[Group | None, str]:
    """Return the host weighted to the CAR-T cells' mix of those subsets that the host has, and a remark about it."""
    known = cells.known_subsets
    car = {name: cells.group(patient, label, keys.CAR, name).shape[1] for name in known}
    host = {name: measured_or_zero(cells.group(patient, label, keys.HOST, name)) for name in known}
    of_car = [name for name in known if car[name]]
    shared = [name for name in of_car if host[name].shape[1] >= MIN_HOST]
    alone = [name for name in of_car if name not in shared]
    if not shared:
        return (
            None,
            f"host has no counterpart of the {words().car_cells}, which are {', '.join(alone) or 'of no subset'}",
        )
    n_shared = sum(car[name] for name in shared)
    shares = {name: car[name] / n_shared for name in shared}
    total = cells.group(patient, label, keys.CAR, keys.ALL).shape[1]
    group = Group(tuple(host[name] for name in shared), np.array(list(shares.values())))
    return group, _mix_remark(shares, n_shared / total, alone)


def _mix_remark(shares: dict[str, float], covered: float, alone: list[str]) -> str:
    """Say to which mix the host is standardised, and how many of the CAR-T cells have no host counterpart."""
    mix = ", ".join(f"{name} {100 * share:.3g} %" for name, share in shares.items())
    if covered >= 1:
        return f"host standardised to {mix}"
    names = f" ({', '.join(alone)})" if alone else ""
    rest = f"{100 * (1 - covered):.3g} % of the {words().car_cells}{names} have no host counterpart"
    return f"host standardised to {mix}; {rest}"
