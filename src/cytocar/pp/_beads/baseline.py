"""The signal to which beads are brought: taken from beads, stored, read and checked."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from cytocar._core import checks, keys
from cytocar._core.errors import ParameterError, Problem
from cytocar._core.hand_tables import load_table
from cytocar.panel.antigens import marker_index
from cytocar.panel.names import parse_isotope
from cytocar.pp._beads.find import SampleBeads, label_of

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

BASELINE_FILE: Final = "baseline.csv"


def bead_baseline(values: pd.DataFrame | Sequence[pd.DataFrame]) -> dict[str, float]:
    """Return the signal to which beads are brought: the median of each channel over all beads of all samples.

    Parameters
    ----------
    values
        The table of `bead_values`, or those of several files.

    Returns
    -------
    Mapping from channel to counts, as `normalize_beads` takes it.

    Raises
    ------
    ParameterError
        There are no beads.

    Examples
    --------
    >>> import pandas
    >>> bead_baseline(pandas.DataFrame({"sample_id": ["a", "a", "b"], "Ce140Di": [2700.0, 2800.0, 2500.0]}))
    {'Ce140Di': 2700.0}
    """
    import pandas as pd

    tables = [values] if isinstance(values, pd.DataFrame) else [table for table in values if len(table)]
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    medians = table.drop(columns=keys.SAMPLE, errors="ignore").astype(np.float64).median()
    baseline = {str(name): float(value) for name, value in medians.items() if np.isfinite(value)}
    if not baseline:
        raise ParameterError("there are no beads to take a baseline from", fix="pass one that was stored")
    return baseline


def _column_of(adata: AnnData, name: str) -> int:
    """Return the column of a channel or marker, -1 where there is none."""
    names = [str(marker) for marker in adata.var_names]
    labels = [label_of(adata, column) for column in range(adata.n_vars)]
    channels = [str(channel) for channel in adata.var[keys.CHANNEL]] if keys.CHANNEL in adata.var else names
    for spelled in (channels, names, labels):
        if name in spelled:
            return spelled.index(name)
    isotope = parse_isotope(name)
    if isotope is not None and f"{isotope.symbol}{isotope.mass}Di" in labels:
        return labels.index(f"{isotope.symbol}{isotope.mass}Di")
    position = marker_index(names).position(name)
    return -1 if position is None else position


def _needed(adata: AnnData, samples: Sequence[SampleBeads]) -> list[str]:
    columns = [column for beads in samples if not beads.fault for column in beads.columns]
    return list(dict.fromkeys(label_of(adata, column) for column in columns))


def check_baseline(
    adata: AnnData, baseline: Mapping[str, float], samples: Sequence[SampleBeads]
) -> dict[str, float]:
    """Return the baseline by the label of each bead channel, or raise with all that is wrong with it."""
    needed = _needed(adata, samples)
    problems = [
        Problem("", f"the baseline of {name} is {value!r}", "it must be a number of counts above 0")
        for name, value in baseline.items()
        if not checks.is_number(value) or not 0 < float(value) < np.inf
    ]
    if problems:
        raise ParameterError(problems=problems)
    level: dict[str, float] = {}
    for name, value in baseline.items():
        column = _column_of(adata, str(name))
        if column >= 0 and label_of(adata, column) in needed:
            level[label_of(adata, column)] = float(value)
    missing = [label for label in needed if label not in level]
    if missing:
        names = ", ".join(map(str, baseline)) or "none"
        raise ParameterError(
            f"the baseline has no value for {', '.join(missing)}",
            fix=f"it has {names}, but must have the bead channels",
        )
    return level


def read_baseline(path: str | os.PathLike[str]) -> dict[str, float]:
    """Return a stored baseline: a CSV file with the columns ``channel`` and ``baseline`` (counts)."""
    file = Path(path)
    if not file.is_file():
        raise ParameterError(
            f"there is no baseline file {file}", fix="it is what an earlier normalisation wrote"
        )
    table, problems = load_table(file)
    if table is None:
        raise ParameterError(problems=problems)
    missing = [name for name in ("channel", "baseline") if name not in table.columns]
    if missing:
        raise ParameterError(
            f"{file} is missing columns: {', '.join(missing)}",
            fix="a baseline has 'channel' and 'baseline' (counts)",
        )
    baseline: dict[str, float] = {}
    for row in table.rows:
        name, value = row.get("channel"), table.number(row.get("baseline"))
        where = f"{file}, line {row.line}"
        if value is None:
            what = f"the baseline is {row.get('baseline')!r}"
            raise ParameterError(what, where=where, fix="it must be a number of counts")
        if name in baseline:
            raise ParameterError(f"names {name} more than once", where=where)
        baseline[name] = value
    return baseline
