"""Tables of counts: checked where users hand them in, or read off an AnnData with gates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import ParameterError, StateError, did_you_mean
from cytocar._core.samples import require_sample_column

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

# Columns of the sample sheet that a table of counts carries along, where obs or the table has them.
SHEET = (keys.PATIENT, keys.TIMEPOINT, keys.MONTHS, keys.ROLE, keys.LYMPHOCYTES, keys.LEUKOCYTES)


def is_table(data: object) -> bool:
    """Return whether `data` is a DataFrame, without importing pandas for what is not one."""
    return type(data).__name__ == "DataFrame"


def require_columns(table: pd.DataFrame, columns: Sequence[str], what: str) -> None:
    """Raise `ParameterError` with the missing columns and what is there."""
    missing = [column for column in columns if column not in table.columns]
    if missing:
        have = did_you_mean(missing[0], map(str, table.columns))
        raise ParameterError(f"{what} has no column {', '.join(map(repr, missing))}", fix=f"{have}")


def whole(table: pd.DataFrame, column: str, what: str) -> np.ndarray:
    """Return a column of counts as floats, or raise with the first value that is not a count."""
    import pandas as pd

    values = pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=np.float64)
    wrong = ~(np.isfinite(values) & (values >= 0) & (values == np.floor(values)))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        name = f" of sample {str(table[keys.SAMPLE].iloc[row])!r}" if keys.SAMPLE in table else ""
        raise ParameterError(
            f"{what}: {column}{name} is {table[column].iloc[row]}",
            fix="a count is a whole number of at least 0",
        )
    return values


def number(table: pd.DataFrame, column: str) -> np.ndarray:
    """Return a column as floats, NaN where it is empty or not there."""
    import pandas as pd

    if column not in table.columns:
        return np.full(len(table), np.nan)
    return pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=np.float64)


def text(table: pd.DataFrame, column: str, default: str = "") -> np.ndarray:
    """Return a column as texts, `default` where it is empty or not there."""
    if column not in table.columns:
        return np.full(len(table), default, dtype=object)
    values = table[column].astype(object)
    return np.array([default if is_missing(value) else str(value) for value in values], dtype=object)


def is_missing(value: Any) -> bool:
    """Return whether a cell of a table is None, NaN or NA."""
    return value is None or (value != value) is True or type(value).__name__ in ("NAType", "NaTType")


def sheet_of(adata: AnnData) -> pd.DataFrame:
    """Return one row per sample with the columns of the sample sheet that `obs` holds, in order of appearance."""
    import pandas as pd

    require_sample_column(adata.obs, keys.SAMPLE)
    columns = [column for column in SHEET if column in adata.obs]
    first = ~adata.obs[keys.SAMPLE].astype(str).duplicated().to_numpy()
    rows = adata.obs.loc[first, [keys.SAMPLE, *columns]]
    frame = {keys.SAMPLE: text(rows, keys.SAMPLE)}
    for column in columns:
        numeric = column in (keys.MONTHS, keys.LYMPHOCYTES, keys.LEUKOCYTES)
        frame[column] = number(rows, column) if numeric else text(rows, column)
    return pd.DataFrame(frame)


def gated_counts(adata: AnnData, *, car: str, host: str, denominator: str) -> pd.DataFrame:
    """Return the table of counts that `detection` takes, from the ledger of the gates as applied.

    Raises
    ------
    StateError
        No gates were applied.
    ParameterError
        One of the populations is not among the gates.
    """
    from cytocar import gate

    if keys.GATES not in adata.obsm:
        raise StateError(
            "no gates were applied, so there is nothing to count",
            fix="run cytocar.gate.apply first, or hand in a table of counts",
        )
    ledger = gate.table(adata)
    names = list(dict.fromkeys(ledger["population"].astype(str)))
    for wanted in (car, host, denominator):
        if wanted not in names:
            raise ParameterError(
                f"population {wanted!r} is not among the gates", fix=did_you_mean(wanted, names)
            )
    where = zip(text(ledger, keys.SAMPLE), text(ledger, "population"), strict=True)
    events = dict(zip(where, whole(ledger, "events", "the ledger").astype(int), strict=True))
    table = sheet_of(adata)
    for column, population in (("n_cd45", denominator), ("n_car", car), ("n_host_t", host)):
        table[column] = [events[sample, population] for sample in table[keys.SAMPLE]]
    reference = gate.reference_counts(adata)
    for column in ("n_negative", "n_negative_above"):
        sums = reference.groupby(reference[keys.SAMPLE].astype(str))[column].sum()
        table[column] = [int(sums.get(sample, 0)) for sample in table[keys.SAMPLE]]
    return table
