"""Which markers differ: over time within a compartment, and between CAR-T and host T cells, in one patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cytocar._core import decisions, keys, provenance
from cytocar._core.errors import ParameterError, did_you_mean
from cytocar._core.samples import own
from cytocar.tl._markers.calls import called
from cytocar.tl._markers.cells import Cells
from cytocar.tl._markers.over_time import over_time, staining_between
from cytocar.tl._markers.rows import COLUMNS
from cytocar.tl._markers.settings import Settings
from cytocar.tl._markers.within_tube import car_vs_host
from cytocar.tl._statistics.p_values import benjamini_hochberg

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


def compare(  # noqa: PLR0913  # the documented settings of the method
    adata: AnnData,
    groupby: str = keys.TIMEPOINT,
    *,
    reference: str | None = None,
    against: str | None = None,
    markers: str | Sequence[str] | None = None,
    margin: float = decisions.MARGIN,
    staining_sd: float = 0.1,
    min_cells: int = 5,
    level: float = 0.95,
    p_values: bool = False,
    n_boot: int = 2000,
    seed: int = 0,
    key_added: str = "comparisons",
    false_cells: Mapping[tuple[str, str, str], float | tuple[float, float]] | None = None,
) -> pd.DataFrame:
    """Return, marker by marker, how far groups of cells differ, how sure that is, and a call.

    **Over time** (``"5yr vs 2mo"``), per patient and compartment, for CD4, CD8, DN and all cells. `effect` is the
    difference of medians, later less earlier, in arcsinh units, with a within-sample bootstrap interval. Two tubes
    differ in staining, so the change of the same marker in the host T cells of the same tubes is measured beside it
    (`technical_shift`: from the positive part of the host's distribution, CD4 and CD8 apart) and taken off cell by
    cell; `adjusted` is the difference of medians after that, its interval holds both errors. Where the host
    cannot show it, the middle of the other markers is taken off and a standard deviation allowed for, as `note` says.
    Host T cells are that reference themselves and are never called up or down. `did` is the plain difference in
    differences of medians, change of CAR-T cells less change of host T cells (`host_effect`), of the same subset
    or, where the host lacks it, of CD4 and CD8 with equal weights, for ``all`` standardised to the CAR-T cells' mix
    (`did_host` says which); all four groups vary in its bootstrap. It cancels what moves all T cells alike in arcsinh
    units. Staining multiplies counts and moves negative cells less: so calls rest on `adjusted`.

    **Within a tube** (``"car vs host"``), at every timepoint, CAR-T less host T cells: no staining stands between
    them. For the subset ``all`` the host is standardised to the CAR-T cells' mix of the subsets it has.

    **Calls.** ``up`` or ``down`` needs size and evidence. Size: the difference of medians or of means, after
    correction, is beyond `margin` with a confidence of 80 %; the error of staining counts with its 99 %. Evidence:
    the difference of means differs from 0 by more than sampling and staining explain, and by so much that of the rows
    called no more than a tenth is expected to be false (Benjamini & Hochberg 1995 within patient, comparison,
    compartment and timepoint). Means see a change of some cells of a two-humped marker that medians miss; their
    standard error is the pooled one, which for a small group comes from the large one, and the unpooled 90 %
    interval must not hold 0 either. ``unchanged``: the intervals of both, and of `did`, lie within the margin (two
    one-sided tests, Schuirmann 1987, doi:10.1007/BF01068419). ``inconclusive``: all else. With equal truth
    and staining that differs by SD 0 to 0.2 between tubes at most 4 in 1000 rows are called, down to groups of 10
    cells, and half of the changes of 0.5 are found in such a group (docs/calibration.md); `note` names groups below 30
    cells.

    Cells of one sample are not replicates of a patient: there is no p value unless asked for, and then it
    is descriptive. `cliffs_delta`, P(b > a) - P(b < a) (Cliff 1993, doi:10.1037/0033-2909.114.3.494), is of the
    values as they are.

    Parameters
    ----------
    adata
        Arcsinh values in ``X``; `obs` with `groupby` and, where there are any, ``patient_id``, ``months``,
        ``compartment`` (car, host; or cells), ``subset``, ``role``. Negative controls are left out.
    groupby
        Column of `obs` that holds the groups to compare.
    reference, against
        Groups a and b over time; by default each patient's first and last by ``months``, else by category order.
    markers
        Names; `None` takes every channel with the role marker. A name that is not there gets rows without numbers.
    margin
        Smallest difference that counts, arcsinh units, at least 0.
    staining_sd
        Standard deviation of staining between tubes, arcsinh units, that is assumed at least where the host
        cannot show it.
    min_cells
        A group with fewer cells gets no numbers.
    level
        Confidence of the intervals shown.
    p_values
        Give cell-level Mann-Whitney p values, adjusted (Benjamini-Hochberg) within patient, comparison, compartment
        and timepoint, with the smallest p two groups of that size can give.
    n_boot
        Bootstrap medians, at least 100.
    seed
        Seed of the bootstrap.
    key_added
        Where the table is kept in ``adata.uns``.
    false_cells
        How many CAR-T cells are expected to be false: ``{(patient, timepoint, subset): number}``, or pairs (expected,
        at most). They are host T cells, so what they take from a difference over time is known from the host
        cells of the same tube and subset; a call over time then has to hold for every number from none to the
        most. Where 30 % are expected to be false, or half may be, nothing is called.

    Returns
    -------
    DataFrame
        The columns of ``comparisons.csv`` (``comparison, compartment, timepoint, subset, marker, group_a, group_b,
        n_cells_a, n_cells_b, n_patients_a, n_patients_b, median_a, median_b, effect, effect_low, effect_high,
        cliffs_delta, unit, p_value, p_adjusted, p_minimum, call``), then ``patient_id, technical_shift, shift_low,
        shift_high, adjusted, adjusted_low, adjusted_high, margin, note``, ``adjusted_mean`` with its interval,
        the interval of Cliff's delta, and ``host_effect, did, did_low, did_high, did_host``. Sets
        ``adata.uns[key_added]`` to the same table. Without two groups in any patient and without both compartments the
        table is empty.

    Raises
    ------
    StateError
        ``X`` holds counts.
    ParameterError
        `groupby` is not in `obs`, `reference` or `against` is not a group, no marker is there, or a number is out of
        its domain.

    Notes
    -----
    About 2 s for 41 markers, four timepoints of 10,000 host cells, and 5,000 CAR-T cells.

    Examples
    --------
    >>> import anndata, numpy, pandas
    >>> rng = numpy.random.default_rng(0)
    >>> obs = pandas.DataFrame({"timepoint": ["2mo"] * 300 + ["5yr"] * 300, "months": [2.0] * 300 + [60.0] * 300,
    ...                         "compartment": "cells"}, index=[str(i) for i in range(600)])
    >>> values = rng.normal(2, 0.5, (600, 1)) + numpy.repeat([[0.0], [1.5]], 300, axis=0)
    >>> cells = anndata.AnnData(values.astype("float32"), obs=obs,
    ...                         var=pandas.DataFrame({"role": ["marker"]}, index=["HLA-DR"]))
    >>> cells.uns["cytocar"] = {"state": "arcsinh"}
    >>> found = compare(cells).iloc[0]
    >>> str(found["comparison"]), str(found["call"])
    ('5yr vs 2mo', 'up')
    """
    settings = Settings(margin, staining_sd, min_cells, level, p_values, n_boot, seed, false_cells)
    settings.check()
    provenance.require_state(adata, keys.STATE_ARCSINH, "comparing markers")
    cells = Cells.of(adata, groupby, markers)
    _require_groups(cells, groupby, reference, against)
    rows: list[dict[str, object]] = []
    for patient in cells.patients:
        pair = cells.pair(patient, reference, against)
        if pair is not None:
            staining = staining_between(cells, patient, *pair, settings)
            for compartment in cells.compartments:
                rows += called(over_time(cells, patient, *pair, compartment, staining, settings))
        if {keys.CAR, keys.HOST} <= set(cells.compartments):
            for label in cells.order(patient):
                rows += called(car_vs_host(cells, patient, label, settings))
    table = _table(rows, settings)
    # Writing uns of a view would copy it with a warning; say so by doing it.
    own(adata).uns[key_added] = table.copy()
    provenance.record(
        adata,
        "compare",
        {
            "groupby": groupby,
            "reference": reference,
            "against": against,
            "markers": markers,
            "key_added": key_added,
        }
        | {name: value for name, value in settings.__dict__.items() if name != "false_cells"}
        | {"false_cells": {" ".join(group): stated for group, stated in (false_cells or {}).items()}},
    )
    return table


def _require_groups(cells: Cells, groupby: str, reference: str | None, against: str | None) -> None:
    """Raise `ParameterError` where one of the two groups is not there, or both are the same."""
    for name, label in (("reference", reference), ("against", against)):
        if label is not None and label not in cells.labels:
            raise ParameterError(
                f"{name} is {label!r}, which is not a {groupby} of these cells",
                fix=did_you_mean(label, cells.labels),
            )
    if reference is not None and reference == against:
        raise ParameterError(f"reference and against are both {reference!r}", fix="they must differ")


def _table(rows: list[dict[str, object]], settings: Settings) -> pd.DataFrame:
    import pandas as pd

    table = pd.DataFrame(rows, columns=list(COLUMNS))
    if settings.p_values and len(table):
        family = [keys.PATIENT, "comparison", keys.COMPARTMENT, keys.TIMEPOINT]
        for _, rows_of in table.groupby(family, sort=False):
            table.loc[rows_of.index, "p_adjusted"] = benjamini_hochberg(
                rows_of["p_value"].to_numpy(dtype=float)
            )
    return table
