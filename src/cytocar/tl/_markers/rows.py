"""The rows of `cytocar.tl.compare`: numbers, and the notes that stand beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from cytocar._core import keys
from cytocar._core.vocabulary import INCONCLUSIVE, UNCHANGED
from cytocar.tl._markers.calls import contrast
from cytocar.tl._markers.cells import Cells, measured_or_zero
from cytocar.tl._markers.false_cells import Impurity
from cytocar.tl._markers.groups import DifferenceInDifferences, Effect, Floats, Group
from cytocar.tl._markers.host import difference_in_differences, host_pair
from cytocar.tl._markers.settings import Settings
from cytocar.tl._markers.staining import Staining
from cytocar.tl._statistics import smallest_p
from cytocar.tl._statistics.p_values import mann_whitney

COLUMNS = (
    "comparison", keys.COMPARTMENT, keys.TIMEPOINT, keys.SUBSET, "marker", "group_a", "group_b", "n_cells_a",
    "n_cells_b", "n_patients_a", "n_patients_b", "median_a", "median_b", "effect", "effect_low", "effect_high",
    "cliffs_delta", "unit", "p_value", "p_adjusted", "p_minimum", "call", keys.PATIENT, "technical_shift",
    "shift_low", "shift_high", "adjusted", "adjusted_low", "adjusted_high", "margin", "note", "adjusted_mean",
    "adjusted_mean_low", "adjusted_mean_high", "delta_low", "delta_high", "host_effect", "did", "did_low", "did_high",
    "did_host",
)  # fmt: skip
SHOWN = ("CD4", "CD8", "DN")
FEW = 30
# of a 95 % interval
Z: Final = 1.959963984540054


def compared_subsets(cells: Cells) -> tuple[str, ...]:
    """Return the subsets that are compared, all cells last."""
    others = [name for name in cells.known_subsets if name not in keys.SUBSETS]
    usual = SHOWN if set(cells.subset.tolist()) & set(keys.SUBSETS) else ()
    return (*usual, *others, keys.ALL)


@dataclass(frozen=True)
class Rows:
    """The rows of one pair of groups, one per marker."""

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
        self, a: Group, b: Group, shift: Floats, error: Floats, impurity: Impurity | None = None
    ) -> Effect:
        """Return the effects of b less a; the bootstrap is that of this pair of groups."""
        task = (self.patient, self.comparison, self.compartment, self.timepoint, self.subset)
        return contrast(
            a,
            b,
            shift=shift,
            error=error,
            margin=self.settings.margin,
            bootstrap=self.settings.bootstrap("compare", *task),
            impurity=None if impurity is None else (impurity.low, impurity.high),
        )

    def did(self, a: Floats, b: Floats, labels: tuple[str, str]) -> DifferenceInDifferences:
        """Return how much more the CAR-T cells changed than the host T cells of the same tubes."""
        host, host_cells = host_pair(self.cells, self.patient, labels, self.subset)
        if host is None:
            return DifferenceInDifferences.none(len(self.cells.names), host_cells)
        did = difference_in_differences(
            (Group.of(measured_or_zero(a)), Group.of(measured_or_zero(b))),
            host,
            self.settings.bootstrap("compare did", self.patient, self.comparison, self.subset),
            host_cells=host_cells,
        )
        return did.of(self.cells.measured_in_host(self.patient, *labels))

    def empty(self, why: str, n_a: int, n_b: int) -> Iterator[dict[str, object]]:
        """Yield the rows of groups that are not compared."""
        for marker in self.cells.names:
            yield self._row(marker, n_a, n_b, note=why)
        yield from self._absent(n_a, n_b)

    def _absent(self, n_a: int, n_b: int) -> Iterator[dict[str, object]]:
        for marker, why in self.cells.absent.items():
            yield self._row(marker, n_a, n_b, note=f"not in these data: {why}")

    def full(
        self,
        effect: Effect,
        a: Floats,
        b: Floats,
        notes: Sequence[str],
        *,
        staining: Staining | None = None,
        standardised_to: int | None = None,
        did: DifferenceInDifferences | None = None,
    ) -> Iterator[dict[str, object]]:
        """Yield the rows of groups that are compared.

        `standardised_to` is the number of cells of a standardised group a, which has no cell-level p.
        """
        n_a, n_b = a.shape[1] if standardised_to is None else standardised_to, b.shape[1]
        measured = {
            group: np.asarray(np.isfinite(values).all(axis=1))
            for group, values in ((self.group_a, a), (self.group_b, b))
        }
        p = np.full(len(notes), np.nan)
        if self.settings.p_values and standardised_to is None:
            p = mann_whitney(measured_or_zero(a), measured_or_zero(b))
        for m, marker in enumerate(self.cells.names):
            unmeasured = [group for group, values in measured.items() if not values[m]]
            if unmeasured:
                yield self._row(marker, n_a, n_b, note=f"not measured in {' and '.join(unmeasured)}")
                continue
            numbers = {
                **self._numbers(effect, m),
                **_technical(staining, m),
                "p_value": p[m],
                "p_minimum": smallest_p.of_rank_test(n_a, n_b) if np.isfinite(p[m]) else np.nan,
            }
            beside: dict[str, object] = {}
            if did is not None:
                numbers |= {
                    "host_effect": did.host[m],
                    "did": did.did[m],
                    "did_low": did.low[m],
                    "did_high": did.high[m],
                }
                beside = {"did_host": did.host_cells[m]}
            note = "; ".join(filter(None, [notes[m], self._p_note(standardised_to is not None)]))
            row = self._row(marker, n_a, n_b, note=note, numbers=numbers)
            yield row | beside | self._evidence(effect, m)
        yield from self._absent(n_a, n_b)

    def _p_note(self, is_standardised: bool) -> str:
        if not self.settings.p_values:
            return ""
        if is_standardised:
            return "no cell-level p for a standardised host"
        return "p descriptive: cells of one sample are not replicates"

    def _evidence(self, effect: Effect, m: int) -> dict[str, object]:
        """Return what the call of a marker is decided by; of host T cells, which are the reference, the call itself."""
        if self.compartment == keys.HOST:
            inside = max(-effect.effect_low[m], effect.effect_high[m]) < self.settings.margin
            return {"call": UNCHANGED if inside else INCONCLUSIVE}
        return {
            "evidence": float(effect.p[m]),
            "direction": int(effect.direction[m]),
            "within": bool(effect.within[m]),
        }

    def _numbers(self, effect: Effect, m: int) -> dict[str, float]:
        numbers = {
            "median_a": effect.median_a[m],
            "median_b": effect.median_b[m],
            "effect": effect.effect[m],
            "effect_low": effect.effect_low[m],
            "effect_high": effect.effect_high[m],
            "cliffs_delta": effect.delta[m],
            "delta_low": effect.delta_low[m],
            "delta_high": effect.delta_high[m],
        }
        if self.compartment == keys.HOST:
            return numbers
        return numbers | {
            "adjusted": effect.adjusted[m],
            "adjusted_low": effect.adjusted_low[m],
            "adjusted_high": effect.adjusted_high[m],
            "adjusted_mean": effect.mean[m],
            "adjusted_mean_low": effect.mean_low[m],
            "adjusted_mean_high": effect.mean_high[m],
        }

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


def _technical(staining: Staining | None, m: int) -> dict[str, float]:
    """Return the change of staining of a marker with its 95 % interval, 0 within a tube."""
    shift, error = (0.0, 0.0) if staining is None else (float(staining.shift[m]), float(staining.error[m]))
    return {"technical_shift": shift, "shift_low": shift - Z * error, "shift_high": shift + Z * error}


def too_few(groups: dict[str, Floats], least: int, subset: str) -> str:
    """Say which groups have fewer cells than `least`; "" where none has."""
    notes = [
        has_too_few(name, values.shape[1], subset, least)
        for name, values in groups.items()
        if values.shape[1] < least
    ]
    return "; ".join(notes)


def has_too_few(name: str, n: int, subset: str, least: int) -> str:
    """Say that a group has fewer cells than `least`."""
    kind = "" if subset == keys.ALL else f" {subset}"
    return f"{name} has {n}{kind} cell{'' if n == 1 else 's'}, fewer than {least}"


def few(a: Floats, b: Floats) -> str:
    """Say that a group is small enough to be named; "" where none is."""
    n = min(a.shape[1], b.shape[1])
    return f"only {n} cells" if n < FEW else ""
