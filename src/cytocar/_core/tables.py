"""Tables of a run as CSV files, written and read as `cytocar._core.schemas` declares them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cytocar._core.errors import Problem, StudyError
from cytocar._core.files import replacing
from cytocar._core.schemas import SCHEMAS, TEXT_IN_ANY_TABLE, Kind

if TYPE_CHECKING:
    import pandas as pd


def write(folder: Path, name: str, table: pd.DataFrame) -> None:
    r"""Write one table as ``folder/name.csv``: UTF-8, ``\\n``, numbers to ten significant digits.

    Raises
    ------
    KeyError
        The table has no schema, or a column that it always has is missing: a bug here, not a fault of the user.
    """
    schema = SCHEMAS.get(name)
    if schema is None:
        raise KeyError(f"table {name!r} has no schema; add it to cytocar._core.schemas")
    missing = [column for column in schema.always if column not in table.columns]
    if missing:
        raise KeyError(f"table {name!r} is missing columns: {missing}")
    first = list(schema.always) if schema.fixed_first else []
    ordered = table[first + [column for column in table.columns if column not in first]]
    with replacing(folder / f"{name}.csv") as temporary:
        ordered.to_csv(temporary, index=False, float_format="%.10g", lineterminator="\n", encoding="utf-8")


def read(folder: Path, name: str) -> pd.DataFrame | None:
    """Read ``folder/name.csv``, or return None where the run made no such table.

    Texts stay texts: a sample called ``NA`` or ``007`` is not a number. Numbers that were not known are NaN.

    Raises
    ------
    StudyError
        A column of numbers holds something else: the file was changed since the run.
    """
    import pandas as pd

    path = folder / f"{name}.csv"
    if not path.is_file():
        return None
    kinds = {str(column): _kind(name, str(column)) for column in pd.read_csv(path, nrows=0).columns}
    texts = [column for column, kind in kinds.items() if kind == "text"]
    table = pd.read_csv(
        path,
        dtype=dict.fromkeys(texts, str),
        keep_default_na=False,
        na_values={column: [""] for column in kinds if column not in texts},
    )
    wrong = [
        column
        for column, kind in kinds.items()
        if kind in ("number", "integer") and not pd.api.types.is_numeric_dtype(table[column])
    ]
    if wrong and len(table):
        what = f"{', '.join(wrong)} should hold numbers and holds something else"
        raise StudyError([Problem(str(path), what, "restore the file, or run the study again")])
    return table


def _kind(table: str, column: str) -> Kind:
    """Return what a column holds; in tables of other versions, what it holds elsewhere."""
    declared = SCHEMAS[table].column(column) if table in SCHEMAS else None
    if declared is not None:
        return declared.kind
    return "text" if column in TEXT_IN_ANY_TABLE else "any"
