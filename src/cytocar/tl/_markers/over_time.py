"""Over time: one compartment of a patient in two tubes, whose staining differs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cytocar._core import keys
from cytocar._core.population_words import words
from cytocar._core.seeds import generator
from cytocar.tl._markers.calls import uncalled, within_both
from cytocar.tl._markers.cells import Cells, measured_or_zero
from cytocar.tl._markers.false_cells import impurity_between
from cytocar.tl._markers.groups import Floats, Group
from cytocar.tl._markers.rows import Rows, compared_subsets, few, too_few
from cytocar.tl._markers.settings import Settings
from cytocar.tl._markers.staining import Staining, estimate


def over_time(
    cells: Cells,
    patient: str,
    first: str,
    second: str,
    compartment: str,
    staining: Staining,
    settings: Settings,
) -> Iterator[dict[str, object]]:
    """Yield the rows of one compartment of one patient: `second` less `first`."""
    comparison = f"{second} vs {first}"
    for subset in compared_subsets(cells):
        a = cells.group(patient, first, compartment, subset)
        b = cells.group(patient, second, compartment, subset)
        row = Rows(cells, settings, patient, comparison, compartment, "", subset, first, second)
        reason = too_few({first: a, second: b}, settings.min_cells, subset)
        if reason:
            yield from row.empty(reason, a.shape[1], b.shape[1])
            continue
        impurity = impurity_between(cells, patient, {first: a, second: b}, subset, settings)
        effect = row.effect(
            Group.of(measured_or_zero(a)),
            Group.of(measured_or_zero(b)),
            staining.used,
            staining.used_error,
            impurity if compartment == keys.CAR else None,
        )
        did = None
        if compartment == keys.CAR and keys.HOST in cells.compartments:
            did = row.did(a, b, (first, second))
            effect = within_both(effect, did, settings.margin)
        if compartment == keys.CAR and impurity.too_many:
            effect = uncalled(effect)
        notes = _time_notes(cells, compartment, subset, staining, a, b)
        if compartment == keys.CAR and impurity.note:
            notes = ["; ".join(filter(None, [note, impurity.note])) for note in notes]
        yield from row.full(effect, a, b, notes, staining=staining, did=did)


def _time_notes(
    cells: Cells,
    compartment: str,
    subset: str,
    staining: Staining,
    a: Floats,
    b: Floats,
) -> list[str]:
    common = [few(a, b)]
    if subset == keys.ALL and cells.has_subsets:
        common.append("the mix of subsets is not held fixed")
    if compartment == keys.HOST:
        common.append(f"{words().host_cells} are the reference for staining: a change is never called")
        return ["; ".join(filter(None, common))] * len(cells.names)
    notes = []
    for measured in np.isfinite(staining.shift):
        more = list(common)
        if not measured:
            more.append(
                f"staining change not measurable in {words().host_cells}: {staining.assumed:+.2f} assumed, "
                f"SD {staining.allowance:.2f} allowed for"
            )
        notes.append("; ".join(filter(None, more)))
    return notes


def staining_between(cells: Cells, patient: str, first: str, second: str, settings: Settings) -> Staining:
    """Measure the change of staining from `first` to `second` in the patient's host T cells."""
    strata = ("CD4", "CD8") if cells.has_subsets else (keys.ALL,)
    # all of a marker as 0 means that there is no staining to measure
    whole = cells.measured_in_host(patient, first, second)[:, None]
    pairs = [
        tuple(
            np.where(whole, measured_or_zero(cells.group(patient, label, keys.HOST, s)), 0.0)
            for label in (first, second)
        )
        for s in strata
    ]
    rng = generator(settings.seed, "compare staining", patient, first, second)
    return estimate([pair[0] for pair in pairs], [pair[1] for pair in pairs], settings.staining_sd, rng)
