"""A set of gates that belong together: which events are in each, and the tree of populations they make."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core.errors import GateError, ParameterError, did_you_mean
from cytocar.gate._shapes.flowjo_scales import OWN_SCALES
from cytocar.gate._shapes.shapes import (
    FROM_FILE,
    UNCOMPENSATED,
    Combination,
    Dimension,
    Gate,
    Quadrants,
    Rectangle,
    within,
)
from cytocar.gate._shapes.transforms import Ratio, Scale, SpectrumMatrix, Transformation, parse_spillover

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from cytocar.gate._shapes.shapes import Mask

BLOCK = 131_072
"""Events that are evaluated at a time, so that memory and cache hold the axes of all gates."""
MANY = 10_000
"""From how many events on the sides of rectangles are compared with values of channels, and not with places on axes."""


@dataclass(frozen=True)
class DocumentPopulation:
    """A population of a `GatingDocument`.

    Parameters
    ----------
    id
        Id of its gate.
    path
        Names from the top down to its own.
    parent
        Path of its parent; empty at the top.
    """

    id: str
    path: tuple[str, ...]
    parent: tuple[str, ...]

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path[-1]


class GatingDocument:
    """Gates with their scales and matrices, as one Gating-ML file holds them.

    Parameters
    ----------
    gates
        In any order; ids are unique. A gate with `version_of` replaces another in one file.
    transformations
        Id to scale or ratio.
    matrices
        Id to spectrum matrix.
    populations
        Ids of the gates that are populations, where others only help to define them; None for all.
    roles
        What populations are to a study: ``car``, ``host`` and ``cd45`` to a population, as `population` takes it.
    nested
        Put an `and` of gates that has no parent below the population that asks for most of what it asks for, as
        files of Cytobank mean it; else it is at the top.

    Raises
    ------
    GateError
        A gate names what is not there, or gates need each other in a circle.

    Examples
    --------
    >>> from cytocar.gate import Dimension, threshold
    >>> document = GatingDocument([threshold("T cells", Dimension("Yb170Di"), 10.0)])
    >>> document.evaluate(np.array([[3.0], [30.0]]), ["Yb170Di"])["T cells"].tolist()
    [False, True]
    """

    def __init__(
        self,
        gates: Iterable[Gate],
        *,
        transformations: Mapping[str, Transformation] | None = None,
        matrices: Mapping[str, SpectrumMatrix] | None = None,
        populations: Iterable[str] | None = None,
        roles: Mapping[str, str] | None = None,
        nested: bool = True,
    ) -> None:
        self.gates: dict[str, Gate] = {}
        """Id to gate, versions for single files apart."""
        self.versions: dict[str, dict[str, Gate]] = {}
        """Id of a gate to {file: its version}."""
        self.transformations = dict(transformations or {})
        self.matrices = dict(matrices or {})
        self.roles = dict(roles or {})
        self.nested = nested
        given = list(gates)
        self._check_ids(given)
        for gate in given:
            if not gate.version_of:
                self.gates[gate.id] = gate
        for gate in given:
            if gate.version_of:
                self._add_version(gate)
        self._members = self._leaves(self.gates.values())
        for gate in given:
            self._check(gate)
        self._order = self._sorted(self._members)
        for name, versions in self.versions.items():
            for version in versions.values():
                self._sorted(self._members | {name: version})
        self._listed = None if populations is None else tuple(populations)
        for name in self._listed or ():
            if name not in self._members:
                raise GateError(f"population {name!r} is no gate; {did_you_mean(name, self._members)}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, GatingDocument):
            return NotImplemented
        return all(
            getattr(self, name) == getattr(other, name)
            for name in ("gates", "versions", "transformations", "matrices", "populations")
        )

    __hash__ = None  # type: ignore[assignment]  # equal by content, which is in dictionaries

    @staticmethod
    def _check_ids(gates: Iterable[Gate]) -> None:
        seen: set[str] = set()
        for gate in gates:
            for name in (gate.id, *(gate.quadrants if isinstance(gate, Quadrants) else ())):
                if not name or name in seen:
                    raise GateError(f"the gate id {name!r} comes twice or is empty; every gate needs its own")
                seen.add(name)

    def _add_version(self, gate: Gate) -> None:
        if gate.version_of not in self.gates or isinstance(self.gates[gate.version_of], Quadrants):
            raise GateError(
                f"gate {gate.id!r} is a version of {gate.version_of!r}, which is no gate; "
                f"{did_you_mean(gate.version_of, self.gates)}"
            )
        if not gate.file:
            raise GateError(f"gate {gate.id!r} is a version of {gate.version_of!r} and names no file")
        versions = self.versions.setdefault(gate.version_of, {})
        if gate.file in (*versions, self.gates[gate.version_of].file):
            raise GateError(f"gate {gate.version_of!r} has two versions for {gate.file!r}")
        versions[gate.file] = gate

    @staticmethod
    def _leaves(gates: Iterable[Gate]) -> dict[str, Gate]:
        """Return id to gate with a rectangle for each quadrant."""
        found: dict[str, Gate] = {}
        for gate in gates:
            found |= gate.rectangles() if isinstance(gate, Quadrants) else {gate.id: gate}
        return found

    def _check(self, gate: Gate) -> None:
        for name in _needs(gate):
            if name not in self._members:
                raise GateError(
                    f"gate {gate.title!r} refers to gate {name!r}; {did_you_mean(name, self._members)}"
                )
        axes = [divider.dimension for divider in gate.dividers] if isinstance(gate, Quadrants) else gate.axes
        for axis in axes:
            for name, kind in ((axis.transformation, Scale), (axis.ratio, Ratio)):
                if name and not isinstance(self.transformations.get(name), kind):
                    known = [n for n, value in self.transformations.items() if isinstance(value, kind)]
                    raise GateError(
                        f"gate {gate.title!r} refers to transformation {name!r}; {did_you_mean(name, known)}"
                    )
            if axis.compensation not in (UNCOMPENSATED, FROM_FILE, *self.matrices):
                known = [UNCOMPENSATED, FROM_FILE, *self.matrices]
                raise GateError(
                    f"gate {gate.title!r} refers to compensation {axis.compensation!r}; "
                    f"{did_you_mean(axis.compensation, known)}"
                )

    @staticmethod
    def _sorted(members: Mapping[str, Gate]) -> list[str]:
        """Return the ids, each after those it needs."""
        waiting = {name: len(set(_needs(gate))) for name, gate in members.items()}
        users: dict[str, list[str]] = {}
        for name, gate in members.items():
            for needed in set(_needs(gate)):
                users.setdefault(needed, []).append(name)
        ready = [name for name, count in waiting.items() if not count]
        for name in ready:
            for user in users.get(name, ()):
                waiting[user] -= 1
                if not waiting[user]:
                    ready.append(user)
        if len(ready) < len(members):
            circle = [name for name in members if waiting[name]]
            raise GateError(f"gates need each other in a circle: {', '.join(map(repr, circle[:8]))}")
        return ready

    @property
    def files(self) -> tuple[str, ...]:
        """The files that have versions of gates of their own."""
        own = [gate.file for gate in self.gates.values() if gate.file]
        return tuple(
            dict.fromkeys([*own, *(file for versions in self.versions.values() for file in versions)])
        )

    @property
    def names(self) -> dict[str, str]:
        """Id to name of every gate, quadrants among them."""
        return {name: gate.title for name, gate in self._members.items()}

    @property
    def channels(self) -> tuple[str, ...]:
        """The names of channels and fluorochromes that the gates use."""
        found: dict[str, None] = {}
        for gate in (*self._members.values(), *(g for v in self.versions.values() for g in v.values())):
            for axis in gate.axes:
                for name in self.sources(axis):
                    found[name] = None
        return tuple(found)

    def own_scales(self) -> tuple[Transformation, ...]:
        """The scales that Gating-ML does not have."""
        return tuple(scale for scale in self.transformations.values() if scale.xml_name in OWN_SCALES)

    def name_in(self, *names: str) -> str:
        """Return the first of the names of a file that gates have versions for; else the first of them."""
        return next((known for name in names if (known := self._known(name))), names[0])

    def _known(self, file: str) -> str:
        """Return a file as the gates call it, with or without its ending; "" for one that they do not name."""
        files = self.files
        if file in files:
            return file
        fits = [known for known in files if _without_ending(known) == _without_ending(file)]
        return fits[0] if len(fits) == 1 else ""

    def version_of(self, *names: str) -> dict[str, Gate]:
        """Return id to gate as they are for a file, by any of its names; `GateError` where one is not for it."""
        return self._for_file(self.name_in(*names))

    def axes(self, file: str | None = None) -> tuple[Dimension, ...]:
        """Return the dimensions of all gates as they are in a file, each once."""
        return tuple(dict.fromkeys(axis for gate in self._for_file(file).values() for axis in gate.axes))

    def sources(self, axis: Dimension) -> tuple[str, ...]:
        """Return the channels that the values on an axis are made from."""
        matrix = self.matrices.get(axis.compensation)
        if matrix is not None:
            return matrix.detectors
        ratio = self.transformations.get(axis.ratio)
        return (ratio.numerator, ratio.denominator) if isinstance(ratio, Ratio) else (axis.channel,)

    def gate(self, name: str) -> Gate:
        """Return a gate by its id; a quadrant is a rectangle."""
        if name not in self._members:
            raise GateError(f"there is no gate {name!r}; {did_you_mean(name, self._members)}")
        return self._members[name]

    def _for_file(self, file: str | None) -> dict[str, Gate]:
        """Return id to gate as they are in one file, named with or without its ending."""
        if file is not None:
            file = self._known(file) or file
        members = dict(self._members)
        for name, gate in self._members.items():
            versions = self.versions.get(name, {})
            if file is not None and file in versions:
                members[name] = dataclasses.replace(versions[file], id=name)
            elif gate.file and gate.file != file:
                raise GateError(
                    f"gate {gate.title!r} exists only for the files "
                    f"{', '.join(dict.fromkeys((gate.file, *versions)))}; the file here is {file!r}"
                )
        return members

    @property
    def listed(self) -> tuple[str, ...]:
        """Ids of the populations, in the order of the document."""
        return self._listed if self._listed is not None else tuple(self._members)

    @cached_property
    def populations(self) -> tuple[DocumentPopulation, ...]:
        """The populations, parents first, in the order of the document."""
        members = self.listed
        above = self._parents(members)
        paths: dict[str, tuple[str, ...]] = {}
        taken: set[tuple[str, ...]] = set()
        children: dict[str, list[str]] = {}
        for name in members:
            children.setdefault(above[name], []).append(name)
        found: list[DocumentPopulation] = []
        waiting = children.get("", [])[::-1]
        while waiting:
            name = waiting.pop()
            parent = paths.get(above[name], ())
            path = (*parent, self._members[name].title)
            if path in taken:
                path = (*parent, f"{self._members[name].title} [{name}]")
            taken.add(path)
            paths[name] = path
            found.append(DocumentPopulation(name, path, parent))
            waiting += children.get(name, [])[::-1]
        return tuple(found)

    def _parents(self, members: Sequence[str]) -> dict[str, str]:
        """Return the population that each is directly below, or "".

        A gate is below its parent. Where populations are `nested`, an `and` without a parent is below the population
        that asks for most of what it asks for: in files of Cytobank every population is the `and` of all gates from
        the top down.
        """
        inside = set(members)
        asked: dict[str, frozenset[tuple[str, bool]]] = {}
        for name in self._order:
            gate = self._members[name]
            asked[name] = frozenset([(name, False)]) | asked.get(gate.parent, frozenset())
            if isinstance(gate, Combination) and gate.operation == "and":
                parts = [
                    {(part.gate, True)} if part.complement else asked[part.gate] for part in gate.operands
                ]
                asked[name] = frozenset().union(asked.get(gate.parent, frozenset()), *parts)
        above: dict[str, str] = {}
        for name in members:
            gate = self._members[name]
            above[name] = self._nearest(gate.parent, inside)
            free = self.nested and not gate.parent
            if free and isinstance(gate, Combination) and gate.operation == "and":
                fits = [other for other in members if asked[other] < asked[name]]
                # Of several that ask for as much, the first in the document.
                above[name] = max(fits, key=lambda other: len(asked[other]), default="")
        return above

    def _nearest(self, name: str, inside: set[str]) -> str:
        while name and name not in inside:
            name = self._members[name].parent
        return name

    def population(self, path: str | Sequence[str]) -> DocumentPopulation:
        """Return a population by its path.

        Parameters
        ----------
        path
            Names from the top down, such as ``("T cells", "CD8")`` or ``"T cells/CD8"``; the end of a path will do
            where it is unique.
        """
        wanted = tuple(path.split("/")) if isinstance(path, str) else tuple(path)
        exact = [one for one in self.populations if one.path == wanted or "/".join(one.path) == path]
        found = exact or [
            one for one in self.populations if one.path[-len(wanted) :] == wanted or one.name == path
        ]
        if len(found) == 1:
            return found[0]
        text = "/".join(wanted)
        whole = len(wanted) > 1 or bool(found)
        # A name is looked for among names: paths are long, and none is near it.
        known = ["/".join(one.path) if whole else one.name for one in (found or self.populations)]
        if found:
            raise GateError(f"population {text!r} is one of {', '.join(known)}; say which")
        raise GateError(f"there is no population {text!r}; {did_you_mean(text, dict.fromkeys(known))}")

    def evaluate(
        self,
        events: NDArray[Any],
        channels: Sequence[str],
        *,
        spillover: SpectrumMatrix | str | None = None,
        file: str | None = None,
        given: Mapping[Dimension, NDArray[Any]] | None = None,
    ) -> dict[str, Mask]:
        """Return which events are in each gate.

        Parameters
        ----------
        events
            Events x channels, values as Gating-ML means them: not compensated, not transformed, log-amplified
            integers and gains turned into what they stand for.
        channels
            ``$PnN`` of each column. A channel of the gates is looked for by its name, then by its isotope.
        spillover
            Text of ``$SPILLOVER`` or a matrix, for gates that ask for the compensation of the file. None leaves
            their dimensions uncompensated, as the standard says.
        file
            Name of the file, for gates that have a version of their own for it.
        given
            Dimension to values on its axis (events,), where these are known already.

        Returns
        -------
        Id of each gate and quadrant to bool (events,), its parents taken into account.

        Raises
        ------
        GateError
            A channel is not there or means several columns, or a gate has no version for this file.
        """
        matrix = np.asarray(events)
        names = [str(name) for name in channels]
        if matrix.ndim != 2 or matrix.shape[1] != len(names):
            raise ParameterError(
                f"events have shape {matrix.shape} and there are {len(names)} channels; "
                "events x channels is needed, a name a column"
            )
        members = self._for_file(file)
        order = self._sorted(members)
        of_file = parse_spillover(spillover) if isinstance(spillover, str) else spillover
        columns = _Columns(self, names, of_file)
        found = {name: np.empty(len(matrix), dtype=bool) for name in self._members}
        for start in range(0, len(matrix), BLOCK):
            block = slice(start, start + BLOCK)
            known = {axis: values[block] for axis, values in (given or {}).items()}
            axes = _Axes(self, columns, matrix[block], known)
            masks: dict[str, Mask] = {}
            for name in order:
                gate = members[name]
                if isinstance(gate, Combination):
                    mask = gate.combine([masks[part.gate] for part in gate.operands])
                elif isinstance(gate, Rectangle) and len(matrix) >= MANY:
                    mask = axes.within(gate)
                else:
                    mask = axes.inside(gate)
                masks[name] = mask & masks[gate.parent] if gate.parent else mask
                found[name][start : start + BLOCK] = masks[name]
        if not len(matrix):
            # Channels that are not there are an error without events too.
            empty = _Axes(self, columns, matrix, given or {})
            for gate in members.values():
                for axis in gate.axes:
                    empty.values(axis)
        return found

    def evaluate_fcs(self, path: str | os.PathLike[str], *, file: str | None = None) -> dict[str, Mask]:
        """Return which events of an FCS file are in each gate, as `evaluate` does.

        Parameters
        ----------
        path
            The file. Its ``$PnE``, ``$PnG`` and ``$SPILLOVER`` are taken into account; its time stays as it is stored.
        file
            Name of the file in the gates; None takes the name of `path`.
        """
        from cytocar.gate._shapes.scale_values import scale_values
        from cytocar.io._fcs.data import read_events
        from cytocar.io._fcs.header import read_header

        header = read_header(path)
        name = Path(path).name if file is None else file
        events = scale_values(
            read_events(header), header.keywords, [channel.pnn for channel in header.channels]
        )
        spill = next(
            (header.keywords[key] for key in ("$SPILLOVER", "SPILL", "SPILLOVER") if key in header.keywords),
            None,
        )
        return self.evaluate(events, [channel.pnn for channel in header.channels], spillover=spill, file=name)

    def table(self, masks: Mapping[str, Mask]) -> pd.DataFrame:
        """Return how many events are in each population.

        Parameters
        ----------
        masks
            What `evaluate` gave.

        Returns
        -------
        DataFrame, a row a population: `population` (its path), `parent`, `events`, `fraction_of_parent` and
        `fraction_of_all`, NaN where there is nothing to divide by.
        """
        import pandas as pd

        counts = {one.path: int(masks[one.id].sum()) for one in self.populations}
        total = len(next(iter(masks.values()))) if masks else 0
        rows = [
            {
                "population": "/".join(one.path),
                "parent": "/".join(one.parent),
                "events": counts[one.path],
                "fraction_of_parent": _share(counts[one.path], counts.get(one.parent, total)),
                "fraction_of_all": _share(counts[one.path], total),
            }
            for one in self.populations
        ]
        return pd.DataFrame(
            rows, columns=["population", "parent", "events", "fraction_of_parent", "fraction_of_all"]
        )

    def __str__(self) -> str:
        lines = [f"{'  ' * len(one.parent)}{one.name}" for one in self.populations]
        return "\n".join(lines) if lines else "no populations"

    def __repr__(self) -> str:
        return (
            f"GatingDocument({len(self._members)} gates, {len(self.populations)} populations, "
            f"{len(self.files)} files with versions of their own)"
        )


def _without_ending(file: str) -> str:
    return file[:-4] if file.lower().endswith(".fcs") else file


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def _needs(gate: Gate) -> tuple[str, ...]:
    operands = tuple(part.gate for part in gate.operands) if isinstance(gate, Combination) else ()
    return (gate.parent, *operands) if gate.parent else operands


class _Columns:
    """Which columns of the events a name of a gate means."""

    def __init__(
        self, document: GatingDocument, channels: Sequence[str], of_file: SpectrumMatrix | None
    ) -> None:
        self.document, self.channels, self.of_file = document, list(channels), of_file
        self._found: dict[str, int] = {}
        self._unmixing: dict[str, NDArray[np.float64]] = {}
        self._cuts: dict[tuple[str, float], float | None] = {}

    def cut(self, axis: Dimension, place: float | None) -> float | None:
        """Return the value of the channel that is at a place on an axis; None for no place, or none that is safe."""
        if place is None or not axis.transformation:
            return place
        key = (axis.transformation, place)
        if key not in self._cuts:
            scale = self.document.transformations[axis.transformation]
            self._cuts[key] = scale.cut(place) if isinstance(scale, Scale) else None
        return self._cuts[key]

    def position(self, name: str) -> int:
        """Return the column of a channel."""
        if name not in self._found:
            self._found[name] = self._look(name)
        return self._found[name]

    def _look(self, name: str) -> int:
        exact = [n for n, channel in enumerate(self.channels) if channel == name]
        found = exact or self._by_isotope(name)
        if len(found) == 1:
            return found[0]
        if found:
            raise GateError(
                f"channel {name!r} of the gates means several columns: "
                f"{', '.join(repr(self.channels[n]) for n in found)}"
            )
        raise GateError(
            f"channel {name!r} of the gates is not in the data; {did_you_mean(name, self.channels)}"
        )

    def _by_isotope(self, name: str) -> list[int]:
        from cytocar.panel.names import channel_isotope

        wanted = channel_isotope(name)
        if wanted is None:
            return []
        return [n for n, channel in enumerate(self.channels) if channel_isotope(channel) == wanted]

    def weights(self, name: str, compensation: str) -> list[tuple[int, float]]:
        """Return the columns, with their weights, that a compensated channel is the sum of."""
        matrix = self.of_file if compensation == FROM_FILE else self.document.matrices.get(compensation)
        if matrix is None:
            return [(self.position(name), 1.0)]
        column = matrix.column(name)
        if column is None:
            if compensation == FROM_FILE:
                # The matrix of a file says nothing of scatter and time.
                return [(self.position(name), 1.0)]
            raise GateError(
                f"channel {name!r} is no fluorochrome of the matrix {compensation!r}; "
                f"{did_you_mean(name, matrix.fluorochromes)}"
            )
        if compensation not in self._unmixing:
            self._unmixing[compensation] = matrix.unmixing()
        of_detectors = self._unmixing[compensation][:, column]
        return [
            (self.position(detector), float(weight))
            for detector, weight in zip(matrix.detectors, of_detectors, strict=True)
            if weight != 0.0
        ]


class _Axes:
    """The values of a block of events on each axis, computed once."""

    def __init__(
        self,
        document: GatingDocument,
        columns: _Columns,
        events: NDArray[Any],
        given: Mapping[Dimension, NDArray[Any]],
    ) -> None:
        self._document, self._columns, self._events, self._given = document, columns, events, given
        self._raw: dict[int, NDArray[np.float64]] = {}
        self._compensated: dict[tuple[str, str], NDArray[np.float64]] = {}
        self._axes: dict[Dimension, NDArray[np.float64]] = {}

    def values(self, axis: Dimension) -> NDArray[np.float64]:
        """Return the values of the events on one axis."""
        if axis not in self._axes:
            own = self._given.get(axis)
            self._axes[axis] = self._compute(axis) if own is None else own.astype(np.float64)
        return self._axes[axis]

    def inside(self, gate: Gate) -> Mask:
        """Return which events are in a shape."""
        if isinstance(gate, Rectangle) and any(axis in self._given for axis in gate.dimensions):
            return self.within(gate)
        return gate.inside([self.values(axis) for axis in gate.axes])

    def within(self, gate: Rectangle) -> Mask:
        """Return which events are in a rectangle, without the values on its axes where channels will do."""
        sides = []
        for axis, low, high in zip(gate.dimensions, gate.low, gate.high, strict=True):
            if axis in self._given:
                # Numbers are compared at the precision of the values, as a threshold of a strategy is.
                sides.append((self._given[axis], low, high))
                continue
            cuts = (self._columns.cut(axis, low), self._columns.cut(axis, high))
            if (low is not None or high is not None) and [c is None for c in cuts] == [
                low is None,
                high is None,
            ]:
                sides.append((self.values(dataclasses.replace(axis, transformation="")), *cuts))
            else:
                sides.append((self.values(axis), low, high))
        return within(sides, len(self._events))

    def _compute(self, axis: Dimension) -> NDArray[np.float64]:
        ratio = self._document.transformations.get(axis.ratio)
        if isinstance(ratio, Ratio):
            parts = [self._channel(name, axis.compensation) for name in (ratio.numerator, ratio.denominator)]
            found = ratio.apply(parts[0], parts[1])
        else:
            found = self._channel(axis.channel, axis.compensation)
        scale = self._document.transformations.get(axis.transformation)
        return scale.apply(found) if isinstance(scale, Scale) else found

    def _channel(self, name: str, compensation: str) -> NDArray[np.float64]:
        key = (name, compensation)
        if key not in self._compensated:
            # Summed column by column: the result of an event does not depend on how many there are.
            weights = self._columns.weights(name, compensation)
            total: NDArray[np.float64] | None = None
            for position, weight in weights:
                part = self._column(position) if weight == 1.0 else self._column(position) * weight
                total = part if total is None else total + part
            self._compensated[key] = np.zeros(len(self._events)) if total is None else total
        return self._compensated[key]

    def _column(self, position: int) -> NDArray[np.float64]:
        if position not in self._raw:
            self._raw[position] = np.ascontiguousarray(self._events[:, position], dtype=np.float64)
        return self._raw[position]
