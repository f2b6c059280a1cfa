"""The tables of a run: their names, the columns that are always there, and how they are written and read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from cytocar._core.files import replacing

if TYPE_CHECKING:
    import pandas as pd

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "ledger": ("sample_id", "order", "population", "parent", "events", "fraction_of_parent", "fraction_of_cd45"),
    "car_frequency": (
        "sample_id", "patient_id", "timepoint", "months", "n_cd45", "n_car", "n_host_t", "pct_of_cd45", "pct_low",
        "pct_high", "background_events", "lob_events", "lod_events", "loq_events", "call",
    ),
    "subsets": ("sample_id", "compartment", "subset", "n", "fraction", "low", "high"),
    "clusters": ("sample_id", "method", "cluster", "n", "fraction", "low", "high"),
    "cluster_profiles": ("method", "cluster", "marker", "median", "scaled", "fraction_positive", "subset"),
    "comparisons": (
        "comparison", "compartment", "timepoint", "subset", "marker", "group_a", "group_b", "n_cells_a", "n_cells_b",
        "n_patients_a", "n_patients_b", "median_a", "median_b", "effect", "effect_low", "effect_high", "cliffs_delta",
        "unit", "p_value", "p_adjusted", "p_minimum", "call",
    ),
    "stability": ("method", "what", "repeat", "n_cells", "n_clusters", "ari"),
    "cluster_stability": ("method", "cluster", "n", "jaccard", "jaccard_low", "dissolved", "verdict"),
    "cluster_names": ("method", "cluster", "n", "description", "name", "made_for"),
    "map_quality": ("basis", "k", "n_cells", "n_judged", "kept", "low", "high", "by_chance"),
    "kinetics": ("patient_id", "measure", "value", "low", "high", "unit", "note"),
}  # fmt: skip


def write(folder: Path, name: str, table: pd.DataFrame) -> None:
    r"""Write one table as ``folder/name.csv``: UTF-8, ``\\n``, numbers to ten significant digits.

    Raises
    ------
    KeyError
        A column that the table always has is missing: a bug here, not a fault of the user.
    """
    missing = [column for column in COLUMNS.get(name, ()) if column not in table.columns]
    if missing:
        raise KeyError(f"table {name!r} lacks {missing}")
    first = list(COLUMNS.get(name, ()))
    ordered = table[first + [column for column in table.columns if column not in first]]
    with replacing(folder / f"{name}.csv") as temporary:
        ordered.to_csv(temporary, index=False, float_format="%.10g", lineterminator="\n", encoding="utf-8")


def read(folder: Path, name: str) -> pd.DataFrame | None:
    """Read ``folder/name.csv``, or return None where the run made no such table.

    Texts stay texts: a sample called ``NA`` or ``007`` is not a number. Numbers that were not known are NaN.
    """
    import pandas as pd

    path = folder / f"{name}.csv"
    if not path.is_file():
        return None
    text = dict.fromkeys(_TEXT_COLUMNS, str)
    header = pd.read_csv(path, nrows=0).columns
    text |= {str(column): str for column in header if str(column).startswith("rule_")}
    known = {column: kind for column, kind in text.items() if column in header}
    return pd.read_csv(
        path, dtype=known, keep_default_na=False, na_values={c: [""] for c in header if c not in known}
    )


_TEXT_COLUMNS = (
    "sample_id", "patient_id", "timepoint", "population", "parent", "compartment", "subset", "method", "cluster",
    "marker", "comparison", "group_a", "group_b", "unit", "call", "measure", "note", "name", "rule", "found_in",
    "x_marker", "y_marker", "x_name", "y_name", "criterion", "channel", "class", "worst_channel", "car_channel",
    "main_source", "x_side", "by", "source", "file", "role", "group", "batch", "background_source", "threshold", "kind",
    "contrast", "of", "effect_unit", "family", "model", "formula", "factor", "verdict", "message", "not_separable",
    "what", "basis", "description", "made_for",
)  # fmt: skip
