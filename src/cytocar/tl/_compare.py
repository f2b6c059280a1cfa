"""Which markers differ: over time within a compartment, and between CAR-T and host T cells, in one patient."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import keys, provenance
from cytocar._core.errors import ParameterError, did_you_mean
from cytocar._core.seeds import generator
from cytocar.tl import _compare_staining, _counts
from cytocar.tl._compare_rules import (
    INCONCLUSIVE,
    UNCHANGED,
    Effect,
    Group,
    benjamini_hochberg,
    contrast,
    mann_whitney,
    smallest_p,
)
from cytocar.tl._detection import CONTROL

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

COLUMNS = (
    "comparison", "compartment", "timepoint", "subset", "marker", "group_a", "group_b", "n_cells_a", "n_cells_b",
    "n_patients_a", "n_patients_b", "median_a", "median_b", "effect", "effect_low", "effect_high", "cliffs_delta",
    "unit", "p_value", "p_adjusted", "p_minimum", "call", "patient_id", "technical_shift", "shift_low",
    "shift_high", "adjusted", "adjusted_low", "adjusted_high", "margin", "note", "adjusted_mean",
    "adjusted_mean_low", "adjusted_mean_high", "delta_low", "delta_high",
)  # fmt: skip
CAR_VS_HOST = "car vs host"
# Fewer host cells than this are gating errors more often than a subset.
MIN_HOST = 20
FEW = 30
_SHOWN = ("CD4", "CD8", "DN")


def compare(
    adata: AnnData,
    groupby: str = keys.TIMEPOINT,
    *,
    reference: str | None = None,
    against: str | None = None,
    markers: str | Sequence[str] | None = None,
    margin: float = 0.2,
    staining_sd: float = 0.1,
    min_cells: int = 5,
    level: float = 0.95,
    p_values: bool = False,
    n_boot: int = 2000,
    seed: int = 0,
    key_added: str = "comparisons",
) -> pd.DataFrame:
    """Return, marker by marker, how far groups of cells differ, how sure that is, and a call.

    **Over time** (``"5yr vs 2mo"``), per patient and compartment, for CD4, CD8, DN and all cells. `effect` is the
    difference of medians, later less earlier, in arcsinh units, with a within-sample bootstrap interval. Two tubes
    differ in staining, so the change of the same marker in the host T cells of the same tubes is measured beside it
    (`technical_shift`: from the positive part of the host's distribution, CD4 and CD8 apart) and taken off cell by
    cell; `adjusted` is the difference of medians after that, its interval holds both errors. Where the host
    cannot show it, the middle of the other markers is taken off and a standard deviation allowed for, as `note` says.
    Host T cells are that reference themselves and are never called up or down.

    **Within a tube** (``"car vs host"``), at every timepoint, CAR-T less host T cells: no staining stands between
    them. For the subset ``all`` the host is standardised to the CAR-T cells' mix of the subsets it has.

    **Calls.** ``up`` or ``down``: the difference after correction, of medians or of means, has a 98 % interval without
    0 and is beyond `margin` by one standard error of sampling; the error of staining counts with its 99 % in both.
    Means see a change of some cells of a two-humped marker that medians miss; their standard error is the pooled one,
    which for a small group comes from the large one, and the unpooled 90 % interval must not hold 0 either.
    ``unchanged``: the intervals of both lie within the margin. ``inconclusive``: all else. With equal truth and
    staining that differs by SD 0.1 between tubes, fewer than 1 in 1000 rows are called where groups have a hundred
    cells or more, and about 1 in 100 where one has 10 to 30 (benchmarks/calibrate_calls.py); `note` names groups
    below 30 cells.

    Cells of one sample are no replicates of a patient: there is no p value unless asked for, and then it
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

    Returns
    -------
    DataFrame
        The columns of ``comparisons.csv`` (``comparison, compartment, timepoint, subset, marker, group_a, group_b,
        n_cells_a, n_cells_b, n_patients_a, n_patients_b, median_a, median_b, effect, effect_low, effect_high,
        cliffs_delta, unit, p_value, p_adjusted, p_minimum, call``), then ``patient_id, technical_shift, shift_low,
        shift_high, adjusted, adjusted_low, adjusted_high, margin, note``, ``adjusted_mean`` with its interval and
        the interval of Cliff's delta. Sets ``adata.uns[key_added]`` to the same table. Without two groups in any
        patient and without both compartments the table is empty.

    Raises
    ------
    StateError
        ``X`` holds counts.
    ParameterError
        `groupby` is not in `obs`, `reference` or `against` is no group, no marker is there, or a number is out of
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
    settings = _Settings(margin, staining_sd, min_cells, level, p_values, n_boot, seed)
    settings.check()
    provenance.require_state(adata, keys.STATE_ARCSINH, "comparing markers")
    cells = _Cells.of(adata, groupby, markers)
    for name, label in (("reference", reference), ("against", against)):
        if label is not None and label not in cells.labels:
            raise ParameterError(
                f"{name} is {label!r}, which is no {groupby} of these cells; {did_you_mean(label, cells.labels)}"
            )
    if reference is not None and reference == against:
        raise ParameterError(f"reference and against are both {reference!r}; they must differ")

    rows: list[dict[str, object]] = []
    for patient in cells.patients:
        pair = cells.pair(patient, reference, against)
        if pair is not None:
            rows += _over_time(cells, patient, *pair, settings)
        if {keys.CAR, keys.HOST} <= set(cells.compartments):
            for label in cells.order(patient):
                rows += _car_vs_host(cells, patient, label, settings)
    table = _table(rows, settings)
    if adata.is_view:
        # Writing uns of a view would copy it with a warning; say so by doing it.
        adata._init_as_actual(adata.copy())
    adata.uns[key_added] = table.copy()
    provenance.record(
        adata,
        "compare",
        {"groupby": groupby, "reference": reference, "against": against, "key_added": key_added}
        | settings.__dict__,
    )
    return table


@dataclass(frozen=True)
class _Settings:
    margin: float
    staining_sd: float
    min_cells: int
    level: float
    p_values: bool
    n_boot: int
    seed: int

    def check(self) -> None:
        for name, value in (("margin", self.margin), ("staining_sd", self.staining_sd)):
            if not (np.isfinite(value) and value >= 0):
                raise ParameterError(
                    f"{name} is {value!r}; it must be a number of at least 0, in arcsinh units"
                )
        if self.min_cells < 2:
            raise ParameterError(
                f"min_cells is {self.min_cells!r}; an interval needs at least 2 cells a group"
            )
        if not 0.0 < self.level < 1.0:
            raise ParameterError(f"level is {self.level!r}; it must be above 0 and below 1, such as 0.95")
        if self.n_boot < 100:
            raise ParameterError(f"n_boot is {self.n_boot!r}; an interval needs at least 100 draws")


@dataclass
class _Cells:
    """The values and labels of all cells, and sorted copies of the groups as they are asked for."""

    values: np.ndarray
    names: list[str]
    absent: dict[str, str]
    label: np.ndarray
    labels: list[str]
    patient: np.ndarray
    months: np.ndarray
    compartment: np.ndarray
    subset: np.ndarray
    _sorted: dict[tuple[str, ...], np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, adata: AnnData, groupby: str, markers: str | Sequence[str] | None) -> _Cells:
        import pandas as pd

        from cytocar import get

        if groupby not in adata.obs:
            raise ParameterError(
                f"groupby is {groupby!r}, which is no column of obs; {did_you_mean(groupby, map(str, adata.obs))}"
            )
        asked = get.markers(adata, clustering=False) if markers is None else markers
        present: list[str] = []
        absent: dict[str, str] = {}
        for name in [asked] if isinstance(asked, str) else list(asked):
            try:
                present.append(str(adata.var_names[get.columns(adata, [name])[0]]))
            except ParameterError as error:
                absent[str(name)] = str(error)
        if not present:
            raise ParameterError("none of the markers is in these data: " + "; ".join(absent.values()))
        obs = adata.obs
        months = _counts.number(obs, keys.MONTHS)
        use = _counts.text(obs, "role") != CONTROL
        if np.isfinite(months).any():
            # A tube without a time after infusion is a control.
            use &= np.isfinite(months)
        column = obs[groupby]
        label = _counts.text(obs, groupby)
        use &= label != ""
        if isinstance(column.dtype, pd.CategoricalDtype):
            labels = [str(value) for value in column.cat.categories]
        else:
            labels = sorted(set(label[use]))
        compartment = _counts.text(obs, keys.COMPARTMENT, keys.CELLS)
        if keys.COMPARTMENT in obs:
            use &= compartment != ""
        values = get.matrix(adata, present)
        return cls(
            values=values[use],
            names=present,
            absent=absent,
            label=label[use],
            labels=[name for name in labels if name in set(label[use])],
            patient=_counts.text(obs, keys.PATIENT)[use],
            months=months[use],
            compartment=compartment[use],
            subset=_counts.text(obs, keys.SUBSET)[use],
        )

    @property
    def patients(self) -> list[str]:
        return list(dict.fromkeys(self.patient))

    @property
    def compartments(self) -> list[str]:
        found = list(dict.fromkeys(self.compartment))
        return sorted(found, key=lambda name: (name != keys.CAR, name != keys.HOST, name))

    @property
    def has_subsets(self) -> bool:
        return any(name in keys.SUBSETS for name in set(self.subset))

    def order(self, patient: str) -> list[str]:
        """Return the labels of a patient's cells in order of time, else in the order of the categories."""
        mine = self.patient == patient
        when = {name: self.months[mine & (self.label == name)] for name in self.labels}
        found = [name for name in self.labels if when[name].size]
        if all(np.isfinite(when[name]).all() for name in found):
            found.sort(key=lambda name: float(when[name].mean()))
        return found

    def pair(self, patient: str, reference: str | None, against: str | None) -> tuple[str, str] | None:
        order = self.order(patient)
        a = reference if reference is not None else next((name for name in order if name != against), None)
        b = against if against is not None else next((name for name in reversed(order) if name != a), None)
        if a is None or b is None or (a not in order and b not in order):
            return None
        return a, b

    def group(self, patient: str, label: str, compartment: str, subset: str) -> np.ndarray:
        """Return the cells of a group as (markers, cells) float64, every row sorted."""
        key = (patient, label, compartment, subset)
        if key not in self._sorted:
            chosen = (self.patient == patient) & (self.label == label) & (self.compartment == compartment)
            if subset != keys.ALL:
                chosen &= self.subset == subset
            rows = np.ascontiguousarray(self.values[chosen].T)
            rows.sort(axis=1)
            self._sorted[key] = rows.astype(np.float64)
        return self._sorted[key]


def _over_time(
    cells: _Cells, patient: str, first: str, second: str, settings: _Settings
) -> Iterator[dict[str, object]]:
    staining = _staining(cells, patient, first, second, settings)
    for compartment in cells.compartments:
        for subset in (*_SHOWN, keys.ALL) if cells.has_subsets else (keys.ALL,):
            a = cells.group(patient, first, compartment, subset)
            b = cells.group(patient, second, compartment, subset)
            row = _Rows(
                cells, settings, patient, f"{second} vs {first}", compartment, "", subset, first, second
            )
            too_few = _too_few({first: a, second: b}, settings.min_cells, subset, compartment)
            if too_few:
                yield from row.empty(too_few, a.shape[1], b.shape[1])
                continue
            effect = row.effect(Group.of(_known(a)), Group.of(_known(b)), staining.used, staining.used_error)
            yield from row.full(
                effect, a, b, _time_notes(cells, compartment, subset, staining, a, b), staining
            )


def _time_notes(
    cells: _Cells,
    compartment: str,
    subset: str,
    staining: _compare_staining.Staining,
    a: np.ndarray,
    b: np.ndarray,
) -> list[str]:
    common = [_few(a, b)]
    if subset == keys.ALL and cells.has_subsets:
        common.append("the mix of subsets is not held fixed")
    if compartment == keys.HOST:
        common.append("host T cells are the reference for staining: a change is never called")
        return ["; ".join(filter(None, common))] * len(cells.names)
    notes = []
    for measured in np.isfinite(staining.shift):
        words = list(common)
        if not measured:
            words.append(
                f"staining change not measurable in host T cells: {staining.assumed:+.2f} assumed, "
                f"SD {staining.allowance:.2f} allowed for"
            )
        notes.append("; ".join(filter(None, words)))
    return notes


def _staining(
    cells: _Cells, patient: str, first: str, second: str, settings: _Settings
) -> _compare_staining.Staining:
    strata = ("CD4", "CD8") if cells.has_subsets else (keys.ALL,)
    pairs = [
        tuple(_known(cells.group(patient, label, keys.HOST, s)) for label in (first, second)) for s in strata
    ]
    rng = generator(settings.seed, "compare staining", patient, first, second)
    return _compare_staining.estimate(
        [pair[0] for pair in pairs], [pair[1] for pair in pairs], settings.staining_sd, rng
    )


def _car_vs_host(cells: _Cells, patient: str, label: str, settings: _Settings) -> Iterator[dict[str, object]]:
    for subset in (*_SHOWN, keys.ALL) if cells.has_subsets else (keys.ALL,):
        car = cells.group(patient, label, keys.CAR, subset)
        host = cells.group(patient, label, keys.HOST, subset)
        if car.shape[1] == 0 and host.shape[1] == 0 and subset != keys.ALL:
            reason = f"neither host nor CAR-T has {subset} cells"
        else:
            reason = _too_few({"CAR-T": car}, settings.min_cells, subset, keys.CAR)
            reason = reason or (
                "" if host.shape[1] >= MIN_HOST else _lacks("host", host.shape[1], subset, MIN_HOST)
            )
        row = _Rows(cells, settings, patient, CAR_VS_HOST, keys.CAR, label, subset, keys.HOST, keys.CAR)
        words = [_few(host, car)]
        group = Group.of(_known(host))
        if not reason and subset == keys.ALL and cells.has_subsets:
            standard, remark = _standardised(cells, patient, label)
            words.append(remark)
            if standard is None:
                reason = remark
            else:
                group = standard
        if reason:
            yield from row.empty(reason, host.shape[1], car.shape[1])
            continue
        none = np.zeros(len(cells.names))
        effect = row.effect(group, Group.of(_known(car)), none, none)
        notes = ["; ".join(filter(None, words))] * len(cells.names)
        yield from row.full(effect, host, car, notes, None, n_a=group.n, weighted=len(group.strata) > 1)


def _standardised(cells: _Cells, patient: str, label: str) -> tuple[Group | None, str]:
    """Return the host weighted to the CAR-T cells' mix of those subsets that the host has, and words about it."""
    car = {name: cells.group(patient, label, keys.CAR, name).shape[1] for name in keys.SUBSETS}
    host = {name: _known(cells.group(patient, label, keys.HOST, name)) for name in keys.SUBSETS}
    total = cells.group(patient, label, keys.CAR, keys.ALL).shape[1]
    shared = [name for name in keys.SUBSETS if car[name] and host[name].shape[1] >= MIN_HOST]
    n_shared = sum(car[name] for name in shared)
    lacking = [f"{name}" for name in keys.SUBSETS if car[name] and name not in shared]
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


@dataclass(frozen=True)
class _Rows:
    """The rows of one pair of groups, one a marker."""

    cells: _Cells
    settings: _Settings
    patient: str
    comparison: str
    compartment: str
    timepoint: str
    subset: str
    group_a: str
    group_b: str

    def effect(self, a: Group, b: Group, shift: np.ndarray, error: np.ndarray) -> Effect:
        task = (self.patient, self.comparison, self.compartment, self.timepoint, self.subset)
        return contrast(
            a,
            b,
            shift=shift,
            error=error,
            margin=self.settings.margin,
            level=self.settings.level,
            n_boot=self.settings.n_boot,
            rng=generator(self.settings.seed, "compare", *task),
        )

    def empty(self, why: str, n_a: int, n_b: int) -> Iterator[dict[str, object]]:
        for marker in self.cells.names:
            yield self._row(marker, n_a, n_b, note=why)
        yield from self._absent(n_a, n_b)

    def _absent(self, n_a: int, n_b: int) -> Iterator[dict[str, object]]:
        for marker, why in self.cells.absent.items():
            yield self._row(marker, n_a, n_b, note=f"not in these data: {why}")

    def full(
        self,
        effect: Effect,
        a: np.ndarray,
        b: np.ndarray,
        notes: Sequence[str],
        staining: _compare_staining.Staining | None,
        *,
        n_a: int | None = None,
        weighted: bool = False,
    ) -> Iterator[dict[str, object]]:
        count_a, count_b = a.shape[1] if n_a is None else n_a, b.shape[1]
        measured_a, measured_b = np.isfinite(a).all(axis=1), np.isfinite(b).all(axis=1)
        p = np.full(len(notes), np.nan)
        if self.settings.p_values and not weighted:
            p = mann_whitney(_known(a), _known(b), effect.delta)
        is_host = self.compartment == keys.HOST
        z = 1.959963984540054
        for m, marker in enumerate(self.cells.names):
            lacks = [
                name
                for name, known in ((self.group_a, measured_a[m]), (self.group_b, measured_b[m]))
                if not known
            ]
            if lacks:
                yield self._row(marker, count_a, count_b, note=f"not measured in {' and '.join(lacks)}")
                continue
            call = str(effect.call[m])
            note = notes[m]
            shift = error = 0.0
            if staining is not None:
                shift, error = float(staining.shift[m]), float(staining.error[m])
            if is_host:
                inside = max(-effect.effect_low[m], effect.effect_high[m]) < self.settings.margin
                call = UNCHANGED if inside else INCONCLUSIVE
            if self.settings.p_values:
                words = (
                    "no cell-level p for a standardised host"
                    if weighted
                    else "p descriptive: cells of one sample are not replicates"
                )
                note = "; ".join(filter(None, [note, words]))
            numbers = {
                "median_a": effect.median_a[m],
                "median_b": effect.median_b[m],
                "effect": effect.effect[m],
                "effect_low": effect.effect_low[m],
                "effect_high": effect.effect_high[m],
                "cliffs_delta": effect.delta[m],
                "delta_low": effect.delta_low[m],
                "delta_high": effect.delta_high[m],
                "p_value": p[m],
                "p_minimum": smallest_p(count_a, count_b) if np.isfinite(p[m]) else np.nan,
                "technical_shift": shift,
                "shift_low": shift - z * error,
                "shift_high": shift + z * error,
            }
            if not is_host:
                numbers |= {
                    "adjusted": effect.adjusted[m],
                    "adjusted_low": effect.adjusted_low[m],
                    "adjusted_high": effect.adjusted_high[m],
                    "adjusted_mean": effect.mean[m],
                    "adjusted_mean_low": effect.mean_low[m],
                    "adjusted_mean_high": effect.mean_high[m],
                }
            yield self._row(marker, count_a, count_b, note=note, call=call, numbers=numbers)
        yield from self._absent(count_a, count_b)

    def _row(
        self,
        marker: str,
        n_a: int,
        n_b: int,
        *,
        note: str,
        call: str = INCONCLUSIVE,
        numbers: dict[str, float] | None = None,
    ) -> dict[str, object]:
        row: dict[str, object] = dict.fromkeys(COLUMNS, np.nan)
        row |= {
            "comparison": self.comparison,
            "compartment": self.compartment,
            "timepoint": self.timepoint,
            "subset": self.subset,
            "marker": marker,
            "group_a": self.group_a,
            "group_b": self.group_b,
            "n_cells_a": n_a,
            "n_cells_b": n_b,
            "n_patients_a": int(n_a > 0),
            "n_patients_b": int(n_b > 0),
            "unit": "cell",
            "call": call,
            "patient_id": self.patient,
            "margin": self.settings.margin,
            "note": note,
        }
        return row | {name: float(value) for name, value in (numbers or {}).items()}


def _table(rows: list[dict[str, object]], settings: _Settings) -> pd.DataFrame:
    import pandas as pd

    table = pd.DataFrame(rows, columns=list(COLUMNS))
    if settings.p_values and len(table):
        family = ["patient_id", "comparison", "compartment", "timepoint"]
        for _, part in table.groupby(family, sort=False):
            table.loc[part.index, "p_adjusted"] = benjamini_hochberg(part["p_value"].to_numpy(dtype=float))
    return table


def _known(values: np.ndarray) -> np.ndarray:
    """Return values with unmeasured ones as 0; rows that have any are reported without numbers."""
    return np.asarray(np.where(np.isfinite(values), values, 0.0))


def _too_few(groups: dict[str, np.ndarray], least: int, subset: str, compartment: str) -> str:
    words = [
        _lacks(name, values.shape[1], subset, least)
        for name, values in groups.items()
        if values.shape[1] < least
    ]
    return "; ".join(words)


def _lacks(name: str, n: int, subset: str, least: int) -> str:
    kind = "" if subset == keys.ALL else f" {subset}"
    return f"{name} has {n}{kind} cell{'' if n == 1 else 's'}, fewer than {least}"


def _few(a: np.ndarray, b: np.ndarray) -> str:
    n = min(a.shape[1], b.shape[1])
    return f"only {n} cells" if n < FEW else ""
