"""The rows of `cytocar.tl.compare`: which groups are compared, with which words beside the numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np

from cytocar._core import checks, keys
from cytocar._core.errors import ParameterError
from cytocar._core.seeds import generator
from cytocar.tl._markers import staining as _compare_staining
from cytocar.tl._markers.calls import (
    INCONCLUSIVE,
    UNCHANGED,
    contrast,
    decide,
    impurity_of,
    uncalled,
    within_both,
)
from cytocar.tl._markers.cells import Cells, known
from cytocar.tl._markers.groups import DifferenceInDifferences, Effect, Group
from cytocar.tl._markers.host import MIN_HOST, difference_in_differences, host_pair, standardised
from cytocar.tl._statistics.tests import mann_whitney, smallest_p

COLUMNS = (
    "comparison", keys.COMPARTMENT, keys.TIMEPOINT, keys.SUBSET, "marker", "group_a", "group_b", "n_cells_a",
    "n_cells_b", "n_patients_a", "n_patients_b", "median_a", "median_b", "effect", "effect_low", "effect_high",
    "cliffs_delta", "unit", "p_value", "p_adjusted", "p_minimum", "call", keys.PATIENT, "technical_shift",
    "shift_low", "shift_high", "adjusted", "adjusted_low", "adjusted_high", "margin", "note", "adjusted_mean",
    "adjusted_mean_low", "adjusted_mean_high", "delta_low", "delta_high", "host_effect", "did", "did_low", "did_high",
    "did_host",
)  # fmt: skip
CAR_VS_HOST = "car vs host"
FEW = 30
# From this expected share of false cells on, the row says so; from the other on, nothing is called.
MANY_FALSE = 0.05
TOO_MANY_FALSE = 0.3
HALF_FALSE = 0.5
_SHOWN = ("CD4", "CD8", "DN")


@dataclass(frozen=True)
class Settings:
    """The numbers that `compare` was called with."""

    margin: float
    staining_sd: float
    min_cells: int
    level: float
    p_values: bool
    n_boot: int
    seed: int
    false_cells: Mapping[tuple[str, str, str], float | tuple[float, float]] | None = None

    def false(self, patient: str, label: str, subset: str) -> tuple[float, float]:
        """Return how many false cells are expected in a group, and the most that may be."""
        found = (self.false_cells or {}).get((patient, label, subset), 0.0)
        expected, most = found if isinstance(found, tuple) else (found, found)
        return float(expected), float(max(expected, most))

    def check(self) -> None:
        """Raise `ParameterError` on the first number outside its domain."""
        for name, value in (("margin", self.margin), ("staining_sd", self.staining_sd)):
            if not (np.isfinite(value) and value >= 0):
                raise ParameterError(
                    f"{name} is {value!r}", fix="it must be a number of at least 0, in arcsinh units"
                )
        if self.min_cells < 2:
            raise ParameterError(
                f"min_cells is {self.min_cells!r}", fix="an interval needs at least 2 cells a group"
            )
        checks.proportion(self.level, "level")
        if self.n_boot < 100:
            raise ParameterError(f"n_boot is {self.n_boot!r}", fix="an interval needs at least 100 draws")
        for where, found in (self.false_cells or {}).items():
            values = found if isinstance(found, tuple) else (found,)
            usable = [isinstance(value, Real) and 0 <= float(value) < np.inf for value in values]
            if len(values) not in (1, 2) or not all(usable):
                raise ParameterError(
                    f"false_cells has {found!r} for {' '.join(where)}",
                    fix="it must be a number of cells of at least 0, or the pair (expected, at most)",
                )


def decided(rows: Iterator[dict[str, object]]) -> list[dict[str, object]]:
    """Return the rows of one family with their calls."""
    family = list(rows)
    judged = [row for row in family if "evidence" in row]
    p, direction, within = (
        np.array([row[name] for row in judged]) for name in ("evidence", "direction", "within")
    )
    for row, call in zip(judged, decide(p, direction, within) if judged else (), strict=True):
        row["call"] = str(call)
    return family


def over_time(
    cells: Cells,
    patient: str,
    first: str,
    second: str,
    compartment: str,
    staining: _compare_staining.Staining,
    settings: Settings,
) -> Iterator[dict[str, object]]:
    """Yield the rows of one compartment of one patient: `second` less `first`."""
    comparison = f"{second} vs {first}"
    for subset in (*_SHOWN, keys.ALL) if cells.has_subsets else (keys.ALL,):
        a = cells.group(patient, first, compartment, subset)
        b = cells.group(patient, second, compartment, subset)
        row = _Rows(cells, settings, patient, comparison, compartment, "", subset, first, second)
        too_few = _too_few({first: a, second: b}, settings.min_cells, subset)
        if too_few:
            yield from row.empty(too_few, a.shape[1], b.shape[1])
            continue
        impurity, words, hopeless = _impurity(cells, patient, (first, second), subset, (a, b), settings)
        effect = row.effect(
            Group.of(known(a)),
            Group.of(known(b)),
            staining.used,
            staining.used_error,
            impurity if compartment == keys.CAR else None,
        )
        did = None
        if compartment == keys.CAR and keys.HOST in cells.compartments:
            did = row.did(a, b, (first, second))
            effect = within_both(effect, did, settings.margin)
        if compartment == keys.CAR and hopeless:
            effect = uncalled(effect)
        notes = _time_notes(cells, compartment, subset, staining, a, b)
        if compartment == keys.CAR and words:
            notes = ["; ".join(filter(None, [note, words])) for note in notes]
        yield from row.full(effect, a, b, notes, staining, did=did)


def _impurity(
    cells: Cells,
    patient: str,
    labels: tuple[str, str],
    subset: str,
    groups: tuple[np.ndarray, np.ndarray],
    settings: Settings,
) -> tuple[tuple[np.ndarray, np.ndarray], str, bool]:
    """Return the least and the most that false cells may take from a difference, words, and whether too many.

    Any number of false cells from none to the most that may be is possible, in either tube.
    """
    low = high = np.zeros(len(cells.names))
    words, hopeless = "", False
    for label, group, sign in zip(labels, groups, (-1.0, 1.0), strict=True):
        expected, most = settings.false(patient, label, subset)
        n = max(group.shape[1], 1)
        host = cells.group(patient, label, keys.HOST, subset)
        of_host = Group.of(known(host)) if host.shape[1] >= MIN_HOST else None
        change = sign * impurity_of(Group.of(known(group)), of_host, most / n)
        change = np.where(cells.measured_in_host(patient, label), change, 0.0)
        low, high = low + np.minimum(change, 0.0), high + np.maximum(change, 0.0)
        words = _false_words(expected, most, group.shape[1], label) or words
        hopeless |= _too_many(expected, most, n)
    return (low, high), words, hopeless


def _too_many(expected: float, most: float, n: int) -> bool:
    return expected / n >= TOO_MANY_FALSE or most / n >= HALF_FALSE


def _false_words(expected: float, most: float, n: int, label: str) -> str:
    """Return what a reader should know about the false cells that are expected among n."""
    if most / max(n, 1) < MANY_FALSE:
        return ""
    rest = "too many for a call" if _too_many(expected, most, max(n, 1)) else "a call holds without them"
    number = f"about {min(expected, n):.1f}" + (f", at most {min(most, n):.1f}," if most > expected else "")
    return f"{number} of {n} CAR-T cells at {label} may be false: {rest}"


def _time_notes(
    cells: Cells,
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


def staining_between(
    cells: Cells, patient: str, first: str, second: str, settings: Settings
) -> _compare_staining.Staining:
    """Measure the change of staining from `first` to `second` in the patient's host T cells."""
    strata = ("CD4", "CD8") if cells.has_subsets else (keys.ALL,)
    # all of a marker as 0 is no staining to measure
    whole = cells.measured_in_host(patient, first, second)[:, None]
    pairs = [
        tuple(
            np.where(whole, known(cells.group(patient, label, keys.HOST, s)), 0.0)
            for label in (first, second)
        )
        for s in strata
    ]
    rng = generator(settings.seed, "compare staining", patient, first, second)
    return _compare_staining.estimate(
        [pair[0] for pair in pairs], [pair[1] for pair in pairs], settings.staining_sd, rng
    )


def car_vs_host(cells: Cells, patient: str, label: str, settings: Settings) -> Iterator[dict[str, object]]:
    """Yield the rows of one tube: CAR-T less host T cells."""
    for subset in (*_SHOWN, keys.ALL) if cells.has_subsets else (keys.ALL,):
        car = cells.group(patient, label, keys.CAR, subset)
        host = cells.group(patient, label, keys.HOST, subset)
        if car.shape[1] == 0 and host.shape[1] == 0 and subset != keys.ALL:
            reason = f"neither host nor CAR-T has {subset} cells"
        else:
            reason = _too_few({"CAR-T": car}, settings.min_cells, subset)
            reason = reason or (
                "" if host.shape[1] >= MIN_HOST else _lacks("host", host.shape[1], subset, MIN_HOST)
            )
        row = _Rows(cells, settings, patient, CAR_VS_HOST, keys.CAR, label, subset, keys.HOST, keys.CAR)
        words = [_few(host, car)]
        group = Group.of(known(host))
        standardise = subset == keys.ALL and cells.has_subsets
        if not reason and standardise:
            standard, remark = standardised(cells, patient, label)
            words.append(remark)
            if standard is None:
                reason = remark
            else:
                group = standard
        if reason:
            yield from row.empty(reason, host.shape[1], car.shape[1])
            continue
        none = np.zeros(len(cells.names))
        effect = row.effect(group, Group.of(known(car)), none, none)
        expected, most = settings.false(patient, label, subset)
        if _too_many(expected, most, max(car.shape[1], 1)):
            words.append(_false_words(expected, most, car.shape[1], label))
            effect = uncalled(effect)
        notes = ["; ".join(filter(None, words))] * len(cells.names)
        yield from row.full(effect, host, car, notes, None, n_a=group.n, weighted=standardise)


@dataclass(frozen=True)
class _Rows:
    """The rows of one pair of groups, one a marker."""

    cells: Cells
    settings: Settings
    patient: str
    comparison: str
    compartment: str
    timepoint: str
    subset: str
    group_a: str
    group_b: str

    def effect(
        self,
        a: Group,
        b: Group,
        shift: np.ndarray,
        error: np.ndarray,
        impurity: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> Effect:
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
            impurity=impurity,
        )

    def did(self, a: np.ndarray, b: np.ndarray, labels: tuple[str, str]) -> DifferenceInDifferences:
        """Return how much more the CAR-T cells changed than the host T cells of the same tubes."""
        host, words = host_pair(self.cells, self.patient, labels, self.subset)
        if host is None:
            return DifferenceInDifferences.none(len(self.cells.names), words)
        found = difference_in_differences(
            (Group.of(known(a)), Group.of(known(b))),
            host,
            level=self.settings.level,
            n_boot=self.settings.n_boot,
            rng=generator(self.settings.seed, "compare did", self.patient, self.comparison, self.subset),
            words=words,
        )
        return found.of(self.cells.measured_in_host(self.patient, *labels))

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
        did: DifferenceInDifferences | None = None,
    ) -> Iterator[dict[str, object]]:
        count_a, count_b = a.shape[1] if n_a is None else n_a, b.shape[1]
        measured_a, measured_b = np.isfinite(a).all(axis=1), np.isfinite(b).all(axis=1)
        p = np.full(len(notes), np.nan)
        if self.settings.p_values and not weighted:
            p = mann_whitney(known(a), known(b), effect.delta)
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
            note = notes[m]
            shift = error = 0.0
            if staining is not None:
                shift, error = float(staining.shift[m]), float(staining.error[m])
            if is_host:
                inside = max(-effect.effect_low[m], effect.effect_high[m]) < self.settings.margin
                verdict: dict[str, object] = {"call": UNCHANGED if inside else INCONCLUSIVE}
            else:
                verdict = {
                    "evidence": float(effect.p[m]),
                    "direction": int(effect.direction[m]),
                    "within": bool(effect.within[m]),
                }
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
            if did is not None:
                numbers |= {
                    "host_effect": did.host[m],
                    "did": did.did[m],
                    "did_low": did.low[m],
                    "did_high": did.high[m],
                }
                verdict["did_host"] = did.words[m]
            yield self._row(marker, count_a, count_b, note=note, numbers=numbers) | verdict
        yield from self._absent(count_a, count_b)

    def _row(
        self,
        marker: str,
        n_a: int,
        n_b: int,
        *,
        note: str,
        numbers: dict[str, float] | None = None,
    ) -> dict[str, object]:
        row: dict[str, object] = dict.fromkeys(COLUMNS, np.nan)
        row |= {
            "comparison": self.comparison,
            keys.COMPARTMENT: self.compartment,
            keys.TIMEPOINT: self.timepoint,
            keys.SUBSET: self.subset,
            "marker": marker,
            "group_a": self.group_a,
            "group_b": self.group_b,
            "n_cells_a": n_a,
            "n_cells_b": n_b,
            "n_patients_a": int(n_a > 0),
            "n_patients_b": int(n_b > 0),
            "unit": "cell",
            "call": INCONCLUSIVE,
            keys.PATIENT: self.patient,
            "margin": self.settings.margin,
            "note": note,
            "did_host": "",
        }
        return row | {name: float(value) for name, value in (numbers or {}).items()}


def _too_few(groups: dict[str, np.ndarray], least: int, subset: str) -> str:
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
