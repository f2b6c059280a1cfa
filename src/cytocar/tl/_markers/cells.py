"""The cells that `cytocar.tl.compare` compares: their groups, in order of time, sorted once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import ParameterError, did_you_mean
from cytocar._core.vocabulary import CONTROL_ROLE
from cytocar.tl import _counts

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass
class Cells:
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
    def of(cls, adata: AnnData, groupby: str, markers: str | Sequence[str] | None) -> Cells:
        import pandas as pd

        from cytocar import get

        if groupby not in adata.obs:
            raise ParameterError(
                f"groupby is {groupby!r}, which is not a column of obs",
                fix=did_you_mean(groupby, map(str, adata.obs)),
            )
        asked = get.markers(adata, clustering=False) if markers is None else markers
        present: list[str] = []
        absent: dict[str, str] = {}
        for name in [asked] if isinstance(asked, str) else list(asked):
            try:
                column_name = str(adata.var_names[get.columns(adata, [name])[0]])
            except ParameterError as error:
                absent[str(name)] = str(error)
                continue
            # Two spellings of one marker are one marker.
            if column_name not in present:
                present.append(column_name)
        if not present:
            raise ParameterError("none of the markers is in these data: " + "; ".join(absent.values()))
        obs = adata.obs
        months = _counts.number(obs, keys.MONTHS)
        use = _counts.text(obs, keys.ROLE) != CONTROL_ROLE
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
        present = dict.fromkeys(self.compartment)
        return sorted(present, key=lambda name: (name != keys.CAR, name != keys.HOST, name))

    @property
    def has_subsets(self) -> bool:
        return any(name not in ("", keys.ALL) for name in set(self.subset))

    @property
    def known_subsets(self) -> list[str]:
        """The subsets that cells may be of: CD4, CD8, DN, DP, and others that a strategy has made."""
        return [*keys.SUBSETS, *sorted(set(map(str, self.subset)) - {"", keys.ALL, *keys.SUBSETS})]

    def order(self, patient: str) -> list[str]:
        """Return the labels of a patient's cells in order of time, else in the order of the categories."""
        mine = self.patient == patient
        when = {name: self.months[mine & (self.label == name)] for name in self.labels}
        present = [name for name in self.labels if when[name].size]
        if all(np.isfinite(when[name]).all() for name in present):
            present.sort(key=lambda name: float(when[name].mean()))
        return present

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

    def measured_in_host(self, patient: str, *labels: str) -> np.ndarray:
        """Return for each marker whether every host T cell of these tubes has a value."""
        hosts = [self.group(patient, label, keys.HOST, keys.ALL) for label in labels]
        return np.asarray(np.all([np.isfinite(host).all(axis=1) for host in hosts], axis=0))


def measured_or_zero(values: np.ndarray) -> np.ndarray:
    """Return values with unmeasured ones as 0; markers that have any are reported without numbers."""
    return np.asarray(np.where(np.isfinite(values), values, 0.0))
