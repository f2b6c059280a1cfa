"""Within a tube: CAR-T less host T cells, between which no staining stands."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cytocar._core import keys
from cytocar._core.population_words import words
from cytocar.tl._markers.calls import uncalled
from cytocar.tl._markers.cells import Cells, measured_or_zero
from cytocar.tl._markers.false_cells import false_note, too_many
from cytocar.tl._markers.groups import Group
from cytocar.tl._markers.host import MIN_HOST, standardised
from cytocar.tl._markers.rows import Rows, compared_subsets, few, has_too_few, too_few
from cytocar.tl._markers.settings import Settings

CAR_VS_HOST = "car vs host"


def car_vs_host(cells: Cells, patient: str, label: str, settings: Settings) -> Iterator[dict[str, object]]:
    """Yield the rows of one tube: CAR-T less host T cells."""
    for subset in compared_subsets(cells):
        car = cells.group(patient, label, keys.CAR, subset)
        host = cells.group(patient, label, keys.HOST, subset)
        if car.shape[1] == 0 and host.shape[1] == 0 and subset != keys.ALL:
            reason = f"neither host nor {words().car} has {subset} cells"
        else:
            reason = too_few({words().car: car}, settings.min_cells, subset)
            reason = reason or (
                "" if host.shape[1] >= MIN_HOST else has_too_few("host", host.shape[1], subset, MIN_HOST)
            )
        row = Rows(cells, settings, patient, CAR_VS_HOST, keys.CAR, label, subset, keys.HOST, keys.CAR)
        remarks = [few(host, car)]
        group = Group.of(measured_or_zero(host))
        standardise = subset == keys.ALL and cells.has_subsets
        if not reason and standardise:
            standard, remark = standardised(cells, patient, label)
            remarks.append(remark)
            if standard is None:
                reason = remark
            else:
                group = standard
        if reason:
            yield from row.empty(reason, host.shape[1], car.shape[1])
            continue
        none = np.zeros(len(cells.names))
        effect = row.effect(group, Group.of(measured_or_zero(car)), none, none)
        expected, most = settings.false(patient, label, subset)
        if too_many(expected, most, max(car.shape[1], 1)):
            remarks.append(false_note(expected, most, car.shape[1], label))
            effect = uncalled(effect)
        notes = ["; ".join(filter(None, remarks))] * len(cells.names)
        yield from row.full(effect, host, car, notes, standardised_to=group.n if standardise else None)
