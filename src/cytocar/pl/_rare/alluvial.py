"""Subsets over time as bars with ribbons between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import ParameterError, did_you_mean
from cytocar.pl._page import fitted_text, inputs, style
from cytocar.pl._page.sheet import Box, Sheet
from cytocar.pl._rare.subsets import names_height, sample_axis, write_totals

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

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
    """Draw the share of every subset as a bar a sample, with ribbons that join a subset from sample to sample.

    A ribbon says how the share of a subset moved; it does not follow cells, and samples stand at equal
    distances. One panel a patient where `samples` names patients.

    Parameters
    ----------
    table
        `sample_id`, `compartment`, `subset`, `n`, `fraction`, as `cytocar.tl.subsets` returns them.
    samples
        A table with `sample_id` and, as far as known, `timepoint`, `months` and `patient_id`: samples are ordered by
        time, and called by their timepoint where that tells them apart.
    compartment
        Whose subsets.
    patient
        Only the samples of this patient.

    Returns
    -------
    Figure with one Axes a patient, labelled ``alluvial`` or ``alluvial <patient>``.

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
    inputs.require(table, _COLUMNS, "the table of subsets")
    places = table[keys.COMPARTMENT].astype(str)
    if compartment not in set(places):
        raise ParameterError(
            f"the table of subsets has no compartment {compartment!r}",
            fix=did_you_mean(compartment, places.unique()),
        )
    part = table[(places == compartment).to_numpy()]
    panels = _panels(inputs.sample_order(part[keys.SAMPLE], samples), samples)
    if patient is not None:
        if patient not in panels:
            raise ParameterError(f"no patient {patient!r}", fix=did_you_mean(patient, panels))
        panels = {patient: panels[patient]}
    found = set(part[keys.SUBSET].astype(str))
    shown = [name for name in keys.SUBSETS if name in found] + sorted(found - set(keys.SUBSETS))
    left, height, head = 14.0, 40.0, 9.0
    width = min(128.0, max(50.0, 22.0 * max(map(len, panels.values()))))
    called = {person: list(inputs.sample_labels(ids, samples).values()) for person, ids in panels.items()}
    foot = max(names_height(names, width) for names in called.values())
    sheet = Sheet(len(panels) * (head + height + foot + 2) + 1)
    for row, (person, ids) in enumerate(panels.items()):
        top = row * (head + height + foot + 2) + head
        axes = sheet.axes(Box(left, top, width, height), label=f"alluvial {person}".strip())
        share, n = (_wide(part, column, ids, shown) for column in ("fraction", "n"))
        tops = np.cumsum(np.nan_to_num(100 * share), axis=1)
        ease = np.linspace(0, 1, 40)
        smooth = 3 * ease**2 - 2 * ease**3
        for place, name in enumerate(shown):
            colour, upper = style.subset_colour(name), tops[:, place]
            lower = tops[:, place - 1] if place else np.zeros(len(ids))
            axes.bar(
                range(len(ids)), upper - lower, bottom=lower, width=_BAR, color=colour, linewidth=0,
                label=fitted_text.label(name),
            )  # fmt: skip
            for i in range(len(ids) - 1):
                # Nothing is known of a sample without cells, so no ribbon leads to it or from it.
                if np.isfinite(share[[i, i + 1], place]).all():
                    x = i + _BAR / 2 + (1 - _BAR) * ease
                    edges = [edge[i] + (edge[i + 1] - edge[i]) * smooth for edge in (lower, upper)]
                    axes.fill_between(x, *edges, color=colour, alpha=0.35, linewidth=0, label=f"{name} {i}")
        sample_axis(axes, called[person], width)
        axes.set(ylim=(0, 100), yticks=[0, 25, 50, 75, 100])
        axes.set_ylabel(f"% of {fitted_text.label(compartment)} cells")
        write_totals(axes, np.nansum(n, axis=1), width)
        if len(panels) > 1 or patient is not None:
            sheet.text(left, top - head + 1.0, fitted_text.label(person), size=style.TITLE)
    from matplotlib.patches import Patch

    sheet.legend(
        left + width + 6, head, [Patch(color=style.subset_colour(name)) for name in reversed(shown)],
        [fitted_text.label(name) for name in reversed(shown)], title="subset",
    )  # fmt: skip
    return sheet.figure


def _panels(order: list[str], samples: pd.DataFrame | None) -> dict[str, list[str]]:
    """Return the samples of each patient, in order; all in one panel where no patients are known."""
    if samples is None or keys.PATIENT not in samples or keys.SAMPLE not in samples:
        return {"": order}
    who = dict(zip(samples[keys.SAMPLE].astype(str), samples[keys.PATIENT].astype(str), strict=True))
    panels: dict[str, list[str]] = {}
    for sample in order:
        panels.setdefault(who.get(sample, ""), []).append(sample)
    return panels


def _wide(part: pd.DataFrame, column: str, ids: list[str], shown: list[str]) -> np.ndarray:
    named = part.assign(s=part[keys.SAMPLE].astype(str), c=part[keys.SUBSET].astype(str))
    wide = named.pivot_table(index="s", columns="c", values=column, aggfunc="first")
    return np.asarray(wide.reindex(index=ids, columns=shown).to_numpy(dtype=float))
