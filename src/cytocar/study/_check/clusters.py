"""What can be wrong with the tables and runs that the clusters of a study are taken from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cytocar._core import keys
from cytocar._core.errors import CytocarError, ParameterError, Problem

if TYPE_CHECKING:
    from cytocar.io import StudyConfig
    from cytocar.panel import Panel


def cluster_problems(file: Path, config: StudyConfig, panel: Panel | None) -> Iterator[Problem]:
    """Find a method whose package is missing, names that cannot be read, and a reference that is none or does not fit.

    Whether a table of names was made for these very clusters is known only when they are there.
    """
    from cytocar.tl._clusters.leiden import require_igraph
    from cytocar.tl._clusters.reference import Reference
    from cytocar.tl._clusters.renaming import read_names

    clustering = config.clustering
    if clustering.method == keys.LEIDEN and not clustering.reference:
        try:
            require_igraph()
        except CytocarError as error:
            yield from Problem.all_of(error.within(f"{file} (clustering.method)"), fix="")
    if clustering.names:
        try:
            read_names(file.parent / Path(clustering.names).expanduser())
        except ParameterError as error:
            fix = "name the table cluster_names.csv of an earlier run of this study, as you edited it"
            yield from Problem.all_of(error.within(f"{file} (clustering.names)"), fix=fix)
    if not clustering.reference:
        return
    where = f"{file} (clustering.reference)"
    try:
        reference = Reference.read(file.parent / Path(clustering.reference).expanduser())
    except ParameterError as error:
        fix = "name the folder of a finished run whose cells have clusters"
        yield from Problem.all_of(error.within(where), fix=fix)
        return
    missing = [marker for marker in reference.markers if panel is not None and not panel.candidates(marker)]
    if missing:
        yield Problem(
            where,
            f"the reference compares cells by markers that the panel lacks: {', '.join(missing)}",
            "give a renamed marker its old name in the panel, or take a reference made without these markers",
        )
