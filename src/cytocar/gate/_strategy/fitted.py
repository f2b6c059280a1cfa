"""A strategy of thresholds on data: its markers among the columns, its thresholds found, its populations filled."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core.errors import GateError, Problem
from cytocar.gate._populations.order import Step
from cytocar.gate._strategy.strategy import Gated, GatingOptions, controlled_by
from cytocar.gate._thresholds.not_found import ThresholdNotFound
from cytocar.gate._thresholds.resolve import Resolved, resolve
from cytocar.gate._thresholds.schedule import (
    Controls,
    Numbers,
    SampleTurn,
    Work,
    controls_first,
    waiting_last,
)
from cytocar.panel.antigens import marker_hint, marker_index, several

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from cytocar.gate._populations.gated_input import GatedInput
    from cytocar.gate._strategy.strategy import ThresholdStrategy

_POOLED = "tubes"
"""What control cells are called that come as one array."""


@dataclass(frozen=True)
class MarkerColumns:
    """Where the markers of a strategy are among the columns of data.

    Parameters
    ----------
    columns
        Marker, by its first name, to position.
    missing, left_out
        Markers that are not there, with their thresholds: those without which the strategy cannot be applied, and
        optional ones.
    """

    columns: Mapping[str, int]
    missing: Mapping[str, Sequence[str]]
    left_out: Mapping[str, Sequence[str]]


def marker_columns(tree: ThresholdStrategy, names: Sequence[str]) -> MarkerColumns:
    """Look for the markers of a strategy among the names of columns, by any name of each."""
    index = marker_index(names)
    columns: dict[str, int] = {}
    missing: dict[str, list[str]] = {}
    left_out: dict[str, list[str]] = {}
    ambiguous: list[Problem] = []
    for threshold in tree.thresholds.values():
        hits = index.positions(*threshold.markers)
        if len(hits) > 1:
            where = f"threshold {threshold.name!r}"
            ambiguous.append(several(threshold.marker, [names[hit] for hit in hits], "columns", where=where))
        elif not hits and tree.may_lack(threshold):
            left_out.setdefault(threshold.marker, []).append(threshold.name)
        elif not hits:
            missing.setdefault(" or ".join(threshold.markers), []).append(threshold.name)
        elif columns.setdefault(threshold.marker, hits[0]) != hits[0]:
            raise GateError(
                f"threshold {threshold.name!r}: marker {threshold.marker!r} means two different columns in this "
                "strategy",
                fix="list its other names in the same order everywhere",
            )
    if ambiguous:
        raise GateError(problems=ambiguous)
    return MarkerColumns(columns, missing, left_out)


@dataclass(frozen=True, eq=False)
class FittedTree:
    """A strategy of thresholds and the data that it is applied to.

    Parameters
    ----------
    tree
        Without the thresholds of optional markers that the data do not have.
    data
        The samples.
    columns
        Marker to the position of its column.
    left_out
        Optional markers that the data do not have, with their thresholds.
    seed
        Of the resamples that tell how far each threshold may move; None leaves them out.
    """

    tree: ThresholdStrategy
    data: GatedInput
    columns: Mapping[str, int]
    left_out: Mapping[str, Sequence[str]]
    seed: int | None = None

    @classmethod
    def of(cls, tree: ThresholdStrategy, data: GatedInput, *, seed: int | None = None) -> FittedTree:
        """Fit a strategy to data; `GateError` names every marker that it needs and the data do not have."""
        names = [str(name) for name in data.adata.var_names]
        markers = marker_columns(tree, names)
        if markers.missing:
            raise GateError(_missing_message(tree, markers.missing, names))
        without = (name for listed in markers.left_out.values() for name in listed)
        return cls(tree.without(without), data, markers.columns, markers.left_out, seed)

    def turns(self, controls: Controls | None = None, others: Numbers | None = None) -> list[SampleTurn]:
        """Return each sample, with what is told of other samples."""
        return [SampleTurn(sample, controls or {}, others) for sample in self.data.samples]

    def resolve(self, turn: SampleTurn) -> Resolved:
        """Return the thresholds and populations of a sample."""
        return self._resolve(turn, targets=None, controls=turn.controls, seed=self.seed)

    def control_values(
        self, turn: SampleTurn, names: Sequence[str] | None = None
    ) -> dict[str, NDArray[np.float32]]:
        """Return for thresholds that ask a tube the values of its cells in the population that they divide.

        Without `names`, these are the thresholds that the name and the role of the sample are asked for.
        """
        if names is None:
            names = controlled_by(self.tree, turn.sample_id, self.data.role(turn.sample_id))
        masks = self._resolve(turn, targets=self._above(names)).masks
        values = self.data.values(turn.sample_id, self.columns)
        asked = [self.tree.thresholds[name] for name in names]
        return {
            threshold.name: np.asarray(
                values[threshold.marker][masks[threshold.population]], dtype=np.float32
            )
            for threshold in asked
        }

    def numbers_above(self, turn: SampleTurn) -> dict[str, list[float]]:
        """Return the numbers of a sample that a control tube takes that has none of its own.

        A control tube whose own CD3 has no clear place takes the other samples' numbers, and these are wanted before
        the other samples can be gated, since they wait for the control tube. A sample that finds none gives none.
        """
        with contextlib.suppress(ThresholdNotFound):
            return own_numbers(self._resolve(turn, targets=self._above(self.tree.controlled())))
        return {}

    def controls(self, others: Numbers | None = None) -> Controls:
        """Return what the control tubes among the samples tell."""
        turns = self.turns(others=others)
        tubes = [
            turn for turn in turns if controlled_by(self.tree, turn.sample_id, self.data.role(turn.sample_id))
        ]
        return controls_first(turns, tubes, self._work()) if tubes else {}

    def gate(self, controls: Controls, others: Numbers | None) -> dict[str, Resolved]:
        """Return thresholds and populations of every sample."""
        turns = self.turns(controls, others)
        # A single sample may be a part of a study: it does not wait, its error asks for the numbers of the others.
        results = waiting_last(turns, self._work()) if len(turns) > 1 else [self.resolve(turns[0])]
        return {turn.sample_id: result for turn, result in zip(turns, results, strict=True)}

    def _work(self) -> Work[SampleTurn, Resolved]:
        return Work(self.control_values, self.numbers_above, self.resolve, own_numbers)

    def _above(self, names: Iterable[str]) -> list[Step]:
        return [Step("population", self.tree.thresholds[name].population) for name in names]

    def _resolve(
        self,
        turn: SampleTurn,
        *,
        targets: Sequence[Step] | None,
        controls: Controls | None = None,
        seed: int | None = None,
    ) -> Resolved:
        sample = turn.sample_id
        return resolve(
            self.tree,
            self.data.values(sample, self.columns),
            self.data.cells(sample),
            sample=sample,
            controls=controls,
            others=turn.others,
            targets=targets,
            seed=seed,
        )


def gate_by_thresholds(tree: ThresholdStrategy, data: GatedInput, options: GatingOptions) -> Gated:
    """Find the thresholds of a strategy in every sample and assign its events."""
    fitted = FittedTree.of(tree.with_pins(options.pins), data, seed=options.seed)
    given = options.controls
    controls = fitted.controls(options.others) if given is None else named_controls(fitted.tree, given)
    names = data.adata.var_names
    return Gated(
        fitted.tree,
        fitted.gate(controls, options.others),
        {marker: str(names[position]) for marker, position in fitted.columns.items()},
        fitted.left_out,
        {
            "thresholds": options.pins,
            "controls": {name: list(tubes) for name, tubes in controls.items()},
            "seed": options.seed,
        },
    )


def named_controls(
    tree: ThresholdStrategy, controls: Mapping[str, NDArray[Any] | Mapping[str, NDArray[Any]]]
) -> dict[str, dict[str, NDArray[Any]]]:
    """Return control values as they were handed in, by the name of the threshold and of the tube."""
    given: dict[str, dict[str, NDArray[Any]]] = {}
    for name, values in controls.items():
        tubes = values if isinstance(values, Mapping) else {_POOLED: values}
        given[tree.threshold_name(name)] = {tube: np.asarray(array).ravel() for tube, array in tubes.items()}
    return given


def own_numbers(resolved: Resolved) -> dict[str, list[float]]:
    """Return the numbers that a sample found or was given, without stand-ins of a fallback."""
    return {item.name: [item.value] for item in resolved.found.values() if not item.fallback}


def _missing_message(
    tree: ThresholdStrategy, missing: Mapping[str, Sequence[str]], panel: Sequence[str]
) -> str:
    count = f"{len(missing)} marker{'s' if len(missing) > 1 else ''}"
    lines = [f"strategy {tree.name!r} needs {count} that the panel does not have:"]
    for marker, names in missing.items():
        hint = marker_hint(marker.split(" or ")[0], panel)
        near = (
            hint if hint.startswith("did you mean") else "no marker of the panel is called anything like it"
        )
        lines.append(f"  {marker} (threshold {', '.join(names)}): {near}")
    lines.append(
        "Write the panel's name into the strategy (marker: [VHH, CAR_ID]), list the marker under optional_markers "
        "so that its gate is left out, or choose another strategy."
    )
    return "\n".join(lines)
