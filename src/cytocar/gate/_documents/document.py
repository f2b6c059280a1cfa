"""A set of gates that belong together: which events are in each, and the tree of populations they make."""

from __future__ import annotations

import copy
import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core.errors import GateError, ParameterError, did_you_mean
from cytocar.gate._documents.evaluate import gate_masks
from cytocar.gate._documents.hierarchy import DocumentPopulation, find_population, hierarchy
from cytocar.gate._documents.references import in_order, require_references, require_unique_ids
from cytocar.gate._documents.values import Columns
from cytocar.gate._shapes.flowjo_scales import OWN_SCALES, RunSeconds
from cytocar.gate._shapes.shapes import Dimension, Gate, Quadrants
from cytocar.gate._shapes.spillover import SpectrumMatrix, parse_spillover
from cytocar.gate._shapes.transforms import Ratio, Transformation

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from cytocar.gate._shapes.shapes import Mask


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
    >>> from cytocar.gate import Dimension, threshold_gate
    >>> document = GatingDocument([threshold_gate("T cells", Dimension("Yb170Di"), 10.0)])
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
        require_unique_ids(given)
        for gate in given:
            if not gate.version_of:
                self.gates[gate.id] = gate
        for gate in given:
            if gate.version_of:
                self._add_version(gate)
        self._members = _with_quadrants(self.gates.values())
        for gate in given:
            require_references(gate, self._members, self.transformations, self.matrices)
        self._order = in_order(self._members)
        for name, versions in self.versions.items():
            for version in versions.values():
                in_order(self._members | {name: version})
        self._listed = None if populations is None else tuple(populations)
        for name in self._listed or ():
            if name not in self._members:
                raise GateError(f"population {name!r} is not a gate", fix=did_you_mean(name, self._members))

    def with_roles(self, roles: Mapping[str, str]) -> GatingDocument:
        """Return a copy that says of other populations what they are to a study.

        Examples
        --------
        >>> GatingDocument([]).with_roles({"car": "CAR-T"}).roles
        {'car': 'CAR-T'}
        """
        again = copy.copy(self)
        again.roles = dict(roles)
        return again

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, GatingDocument):
            return NotImplemented
        return all(
            getattr(self, name) == getattr(other, name)
            for name in ("gates", "versions", "transformations", "matrices", "populations")
        )

    __hash__ = None  # type: ignore[assignment]  # equal by content, which is in dictionaries

    def _add_version(self, gate: Gate) -> None:
        if gate.version_of not in self.gates or isinstance(self.gates[gate.version_of], Quadrants):
            raise GateError(
                f"gate {gate.id!r} is a version of {gate.version_of!r}, which is not a gate",
                fix=did_you_mean(gate.version_of, self.gates),
            )
        if not gate.file:
            raise GateError(f"gate {gate.id!r} is a version of {gate.version_of!r} and names no file")
        versions = self.versions.setdefault(gate.version_of, {})
        if gate.file in (*versions, self.gates[gate.version_of].file):
            raise GateError(f"gate {gate.version_of!r} has two versions for {gate.file!r}")
        versions[gate.file] = gate

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
        versions = [version for of_gate in self.versions.values() for version in of_gate.values()]
        axes = (axis for gate in (*self._members.values(), *versions) for axis in gate.axes)
        return tuple(dict.fromkeys(name for axis in axes for name in self.sources(axis)))

    def own_scales(self) -> tuple[Transformation, ...]:
        """The scales that Gating-ML does not have."""
        return tuple(scale for scale in self.transformations.values() if scale.xml_name in OWN_SCALES)

    def name_in(self, *names: str) -> str:
        """Return the first of the names of a file that gates have versions for; else the first of them."""
        return next((own for name in names if (own := self._own_name(name))), names[0])

    def _own_name(self, file: str) -> str:
        """Return a file as the gates call it, with or without its ending; "" for one that they do not name."""
        files = self.files
        if file in files:
            return file
        fits = [own for own in files if _without_ending(own) == _without_ending(file)]
        return fits[0] if len(fits) == 1 else ""

    def version_of(self, *names: str) -> dict[str, Gate]:
        """Return id to gate as they are for a file, by any of its names; `GateError` where one is not for it."""
        return self.gates_for(self.name_in(*names))

    def axes(self, file: str | None = None) -> tuple[Dimension, ...]:
        """Return the dimensions of all gates as they are in a file, each once."""
        return tuple(dict.fromkeys(axis for gate in self.gates_for(file).values() for axis in gate.axes))

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
            raise GateError(f"gate {name!r} is not in the document", fix=did_you_mean(name, self._members))
        return self._members[name]

    def gates_for(self, file: str | None) -> dict[str, Gate]:
        """Return id to gate as they are in one file, with or without its ending; None for any file without versions."""
        if file is not None:
            file = self._own_name(file) or file
        members = dict(self._members)
        for name, gate in self._members.items():
            versions = self.versions.get(name, {})
            if file is not None and file in versions:
                members[name] = dataclasses.replace(versions[file], id=name)
            elif gate.file and gate.file != file:
                raise GateError(
                    f"gate {gate.title!r} exists only for the files "
                    f"{', '.join(dict.fromkeys((gate.file, *versions)))}",
                    fix=f"the file here is {file!r}",
                )
        return members

    @property
    def listed(self) -> tuple[str, ...]:
        """Ids of the populations, in the order of the document."""
        return self._listed if self._listed is not None else tuple(self._members)

    @cached_property
    def populations(self) -> tuple[DocumentPopulation, ...]:
        """The populations, parents first, in the order of the document."""
        return hierarchy(self._members, self._order, self.listed, nested=self.nested)

    def population(self, path: str | Sequence[str]) -> DocumentPopulation:
        """Return a population by its path.

        Parameters
        ----------
        path
            Names from the top down, such as ``("T cells", "CD8")`` or ``"T cells/CD8"``; the end of a path will do
            where it is unique.
        """
        return find_population(self.populations, path)

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
                f"events have shape {matrix.shape} and there are {len(names)} channels",
                fix="expected events x channels, and one name per column",
            )
        members = self.gates_for(file)
        order = in_order(members)
        of_file = parse_spillover(spillover) if isinstance(spillover, str) else spillover
        columns = self.columns(names, of_file)
        return gate_masks(members, order, columns, matrix, given or {})

    def columns(
        self,
        channels: Sequence[str],
        of_file: SpectrumMatrix | None = None,
        *,
        held_by: str = "in the data",
    ) -> Columns:
        """Return which of the columns of some events the names in the gates mean.

        Parameters
        ----------
        channels
            Name of each column.
        of_file
            The spillover matrix of the file; None for none.
        held_by
            Where the channels are, in the message about one that is not there.
        """
        return Columns(channels, self.transformations, self.matrices, of_file, held_by=held_by)

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
        names = [channel.pnn for channel in header.channels]
        return self._timed(names, events).evaluate(events, names, spillover=spill, file=name)

    def _timed(self, channels: Sequence[str], events: NDArray[Any]) -> GatingDocument:
        """Return these gates with seconds that depend on the last tick of a file as they are for these events."""
        waiting = {
            name: scale for name, scale in self.transformations.items() if isinstance(scale, RunSeconds)
        }
        column = next((n for n, name in enumerate(channels) if name.strip().casefold() == "time"), None)
        if not waiting or column is None:
            return self
        ticks = events[:, column]
        ticks = ticks[np.isfinite(ticks)]
        # Of no events any tick will do.
        last = float(ticks.max()) if ticks.size else 1.0 - np.sign(len(events))
        timed = copy.copy(self)
        timed.transformations = self.transformations | {
            name: scale.in_file(max(last, 0.0)) for name, scale in waiting.items()
        }
        return timed

    def table(self, masks: Mapping[str, Mask]) -> pd.DataFrame:
        """Return how many events are in each population.

        Parameters
        ----------
        masks
            What `evaluate` gave.

        Returns
        -------
        DataFrame, one row per population: `population` (its path), `parent`, `events`, `fraction_of_parent` and
        `fraction_of_all`, NaN where there is nothing to divide by.
        """
        import pandas as pd

        counts = {population.path: int(masks[population.id].sum()) for population in self.populations}
        total = len(next(iter(masks.values()))) if masks else 0
        rows = [
            {
                "population": "/".join(population.path),
                "parent": "/".join(population.parent),
                "events": counts[population.path],
                "fraction_of_parent": _share(counts[population.path], counts.get(population.parent, total)),
                "fraction_of_all": _share(counts[population.path], total),
            }
            for population in self.populations
        ]
        return pd.DataFrame(
            rows, columns=["population", "parent", "events", "fraction_of_parent", "fraction_of_all"]
        )

    def __str__(self) -> str:
        lines = [f"{'  ' * len(population.parent)}{population.name}" for population in self.populations]
        return "\n".join(lines) if lines else "no populations"

    def __repr__(self) -> str:
        return (
            f"GatingDocument({len(self._members)} gates, {len(self.populations)} populations, "
            f"{len(self.files)} files with versions of their own)"
        )


def _with_quadrants(gates: Iterable[Gate]) -> dict[str, Gate]:
    """Return id to gate, with a rectangle for each quadrant in place of the gate of quadrants."""
    members: dict[str, Gate] = {}
    for gate in gates:
        members |= gate.rectangles() if isinstance(gate, Quadrants) else {gate.id: gate}
    return members


def _without_ending(file: str) -> str:
    endings = (".fcs.gz", ".fcs.zip", ".fcs")
    return next((file[: -len(ending)] for ending in endings if file.lower().endswith(ending)), file)


def _share(count: int, of: int) -> float:
    return count / of if of else float("nan")
