"""Subsets over time as bars with ribbons between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import keys, palette
from cytocar._core.errors import ParameterError, did_you_mean
from cytocar.pl._page import fitted_text, inputs, style
from cytocar.pl._page.sample_axis import names_height, sample_axis, write_totals
from cytocar.pl._page.sheet import Box, Sheet

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_BAR = 0.34
_COLUMNS = (keys.SAMPLE, keys.COMPARTMENT, keys.SUBSET, "n", "fraction")


@style.styled
def alluvial(
    table: pd.DataFrame,
    samples: pd.DataFrame | None = None,
    *,
    compartment: str = keys.CAR,
    patient: str | None = None,
) -> Figure:
    """Draw the share of every subset as one bar per sample, with ribbons that join a subset from sample to sample.

    A ribbon says how the share of a subset moved; it does not follow cells, and samples stand at equal
    distances. One panel per patient where `samples` names patients.

    Parameters
    ----------
    table
        `sample_id`, `compartment`, `subset`, `n`, `fraction`, as `cytocar.tl.subsets` returns them.
    samples
        A table with `sample_id` and, where available, `timepoint`, `months` and `patient_id`: samples are ordered by
        time, and called by their timepoint where that tells them apart.
    compartment
        Whose subsets.
    patient
        Only the samples of this patient.

    Returns
    -------
    Figure with one Axes per patient, labelled ``alluvial`` or ``alluvial <patient>``.

    Raises
    ------
    ParameterError
        A column, the compartment or the patient is missing, or there are no rows.

    Examples
    --------
    >>> import pandas
    >>> shares = pandas.DataFrame({"sample_id": ["a", "b"], "compartment": "car", "subset": "DN", "n": [5, 9],
    ...                            "fraction": [1.0, 1.0]})
    >>> alluvial(shares).axes[0].get_ylabel()
    '% of CAR-T cells'
    """
    panels = arrange(table, samples, compartment=compartment, patient=patient)
    return _draw(panels, compartment, titled=len(panels) > 1 or patient is not None)


@dataclass(frozen=True)
class Panel:
    """The samples of one patient, in the order drawn."""

    patient: str
    names: list[str]
    """What the samples are called."""
    subsets: list[str]
    share: NDArray[np.float64]
    """Percent of the cells of a sample (rows) in a subset (columns); NaN for a sample without cells."""
    n: NDArray[np.float64]


def arrange(
    table: pd.DataFrame,
    samples: pd.DataFrame | None = None,
    *,
    compartment: str = keys.CAR,
    patient: str | None = None,
) -> list[Panel]:
    """Arrange what `alluvial` draws: one panel per patient."""
    inputs.require(table, _COLUMNS, "the table of subsets")
    compartments = inputs.texts(table, keys.COMPARTMENT)
    if compartment not in set(compartments):
        raise ParameterError(
            f"the table of subsets has no compartment {compartment!r}",
            fix=did_you_mean(compartment, compartments.unique()),
        )
    rows = table[(compartments == compartment).to_numpy()]
    of_patient = _by_patient(inputs.sample_order(rows[keys.SAMPLE], samples), samples)
    if patient is not None:
        if patient not in of_patient:
            raise ParameterError(f"no patient {patient!r}", fix=did_you_mean(patient, of_patient))
        of_patient = {patient: of_patient[patient]}
    subsets = inputs.subset_order(inputs.texts(rows, keys.SUBSET))
    panels = []
    for person, ids in of_patient.items():
        wide = inputs.wide(rows, ("fraction", "n"), samples=ids, by=keys.SUBSET, groups=subsets)
        names = list(inputs.sample_labels(ids, samples).values())
        panels.append(Panel(person, names, subsets, 100 * wide["fraction"], wide["n"]))
    return panels


def _draw(panels: Sequence[Panel], compartment: str, *, titled: bool) -> Figure:
    from matplotlib.patches import Patch

    left, height, head = 14.0, 40.0, 9.0
    width = min(128.0, max(50.0, 22.0 * max(len(panel.names) for panel in panels)))
    foot = max(names_height(panel.names, width) for panel in panels)
    sheet = Sheet(len(panels) * (head + height + foot + 2) + 1)
    for row, panel in enumerate(panels):
        top = row * (head + height + foot + 2) + head
        axes = sheet.axes(Box(left, top, width, height), label=f"alluvial {panel.patient}".strip())
        _ribbons(axes, panel)
        sample_axis(axes, panel.names, width)
        axes.set(ylim=(0, 100), yticks=[0, 25, 50, 75, 100])
        axes.set_ylabel(f"% of {fitted_text.label(compartment)} cells")
        write_totals(axes, np.nansum(panel.n, axis=1), width)
        if titled:
            sheet.text(left, top - head + 1.0, fitted_text.label(panel.patient), size=style.TITLE)
    upwards = list(reversed(panels[0].subsets))  # as the bars are stacked
    sheet.legend(
        left + width + 6, head, [Patch(color=palette.subset_colour(name)) for name in upwards],
        [fitted_text.label(name) for name in upwards], title="subset",
    )  # fmt: skip
    return sheet.figure


def _ribbons(axes: Axes, panel: Panel) -> None:
    """Draw a bar per sample, and a ribbon from bar to bar for each subset."""
    tops = np.cumsum(np.nan_to_num(panel.share), axis=1)
    along = np.linspace(0, 1, 40)
    smooth = 3 * along**2 - 2 * along**3
    for position, name in enumerate(panel.subsets):
        colour, upper = palette.subset_colour(name), tops[:, position]
        lower = tops[:, position - 1] if position else np.zeros(len(tops))
        axes.bar(
            range(len(tops)), upper - lower, bottom=lower, width=_BAR, color=colour, linewidth=0,
            label=fitted_text.label(name),
        )  # fmt: skip
        for i in range(len(tops) - 1):
            # Nothing is known of a sample without cells, so no ribbon leads to it or from it.
            if np.isfinite(panel.share[[i, i + 1], position]).all():
                x = i + _BAR / 2 + (1 - _BAR) * along
                edges = [edge[i] + (edge[i + 1] - edge[i]) * smooth for edge in (lower, upper)]
                axes.fill_between(x, *edges, color=colour, alpha=0.35, linewidth=0, label=f"{name} {i}")


def _by_patient(order: list[str], samples: pd.DataFrame | None) -> dict[str, list[str]]:
    """Return the samples of each patient, in order; all in one panel where no patients are known."""
    if samples is None or keys.PATIENT not in samples or keys.SAMPLE not in samples:
        return {"": order}
    who = dict(zip(samples[keys.SAMPLE].astype(str), samples[keys.PATIENT].astype(str), strict=True))
    panels: dict[str, list[str]] = {}
    for sample in order:
        panels.setdefault(who.get(sample, ""), []).append(sample)
    return panels
