"""Gates on single FCS files: a table of counts, and FCS files of chosen populations."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import CytocarError, ParameterError
from cytocar._core.files import fcs_stem, require_folder

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

    from cytocar.gate import Strategy

StrPath = str | os.PathLike[str]


def gate_files(
    strategy: StrPath,
    files: Sequence[StrPath],
    *,
    out: StrPath | None = None,
    populations: Sequence[str] = (),
    panel: StrPath | None = None,
    group: str | None = None,
) -> pd.DataFrame:
    """Gate FCS files by a strategy, count every population, and write chosen ones as FCS files.

    Parameters
    ----------
    strategy
        A strategy that comes with cytocar, a YAML file of one, Gating-ML 2.0 (``.xml``, also of Cytobank), or a
        FlowJo workspace (``.wsp``). For a strategy of cytocar the events are cleaned up and transformed first; gates of
        other programs get the counts as they are, and gates drawn for a single file are chosen by its name.
    files
        FCS files of counts; they are only read.
    out
        Folder for the new files, one per file and population; needed where `populations` are named.
    populations
        Names of the populations to write; in gates of other programs also paths such as ``A/B``, or their ends.
    panel
        Panel that says what the channels are; None goes by the names in each file.
    group
        For a FlowJo workspace, the group whose gates are taken; None takes those of all samples.

    Returns
    -------
    DataFrame [file, population, parent, events, fraction_of_parent], one row per file and population.

    Raises
    ------
    ParameterError
        `out` is missing, is the folder of an input, or a new file is there already.
    GateError
        The strategy does not fit a file, or has no such population.

    Examples
    --------
    >>> gate_files("car_t", [])
    Traceback (most recent call last):
    cytocar._core.errors.ParameterError: there are no files; give at least one FCS file
    """
    import pandas as pd

    from cytocar import gate
    from cytocar.io import write_fcs

    paths = [Path(file) for file in files]
    if not paths:
        raise ParameterError("there are no files", fix="give at least one FCS file")
    if out is not None:
        require_folder(out)
    targets = _targets(paths, out, populations)
    gates = gate.load(strategy, group=group)
    for name in populations:
        gates.require_population(name)
    names = [path.name for path in paths]
    tables = []
    for path in paths:
        try:
            events, table, members = _gate(path, gates, panel)
        except CytocarError as error:
            error.add_note(f"while gating {path}")
            raise
        # Files of the same name in several folders differ in these.
        tables.append(table.assign(file=path.name if names.count(path.name) == 1 else str(path)))
        for name in populations:
            target = targets[(path, name)]
            layer = keys.COUNTS if keys.COUNTS in events.layers else None
            chosen = events[np.flatnonzero(members(name))].copy()
            target.parent.mkdir(parents=True, exist_ok=True)
            chosen.obsm.pop(keys.GATES, None)
            write_fcs(chosen, target, layer=layer)
    columns = ["file", "population", "parent", "events", "fraction_of_parent"]
    return pd.concat(tables, ignore_index=True)[columns]


def _targets(
    paths: Sequence[Path], out: StrPath | None, populations: Sequence[str]
) -> Mapping[tuple[Path, str], Path]:
    if not populations:
        return {}
    if out is None:
        raise ParameterError("populations are to be written, but no folder is named", fix="give one with -o")
    folder = Path(out)
    if any(path.parent.resolve() == folder.resolve() for path in paths):
        raise ParameterError(
            f"{folder} holds an input", fix="nothing is written beside input files: name another folder"
        )
    targets = {
        (path, name): folder / f"{fcs_stem(path)}_{re.sub(r'[^A-Za-z0-9+-]+', '_', name).strip('_')}.fcs"
        for path in paths
        for name in populations
    }
    if len(set(targets.values())) < len(targets):
        raise ParameterError("two new files would have one name", fix="write them to folders of their own")
    there = [str(target) for target in targets.values() if target.exists()]
    if there:
        raise ParameterError(
            f"{', '.join(there[:5])} exists already", fix="name another folder, or remove it"
        )
    return targets


def _gate(
    path: Path, gates: Strategy, panel: StrPath | None
) -> tuple[AnnData, pd.DataFrame, Callable[[str], NDArray[np.bool_]]]:
    """Return the events of a file, its counts, and what tells the members of a population."""
    from cytocar import gate, pp
    from cytocar.io import read_fcs

    adata = read_fcs(path, panel=panel, sample_id=fcs_stem(path))
    document = gates.as_document()
    if document is not None:
        masks = document.evaluate_fcs(path)
        return adata, document.table(masks), lambda name: masks[document.population(name).id]
    if (adata.var[keys.ROLE] == "dna").any():
        pp.clean(adata)
    pp.arcsinh(adata)
    # Each file is gated alone: other samples that numbers are pinned for are those of other files.
    gate.apply(adata, gates, study_samples=[fcs_stem(path), *gates.pinned_samples()])
    return adata, gate.table(adata), partial(gate.membership, adata)
