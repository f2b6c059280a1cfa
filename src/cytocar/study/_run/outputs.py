"""What a run writes besides the tables of results: samples, remarks, cells."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cytocar._core import keys, measured, palette
from cytocar._core import tables as csv_tables
from cytocar._core.files import replacing, write_text
from cytocar._core.provenance import plain
from cytocar._core.vocabulary import METHODS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    from anndata import AnnData

    from cytocar.io import StudyFolder
    from cytocar.pp._spillover.matrix import Spillover
    from cytocar.study._tasks import SampleResult


# Tables whose notes are in the report, and the column that says what a note is about.
_NOTED = {"beads": "", "time_quality": "", "cleaning": "criterion", "thresholds": "name"}


def samples_table(folder: StudyFolder, results: Sequence[SampleResult]) -> pd.DataFrame:
    """Return the sample sheet with what was read of each file."""
    import pandas as pd

    facts = pd.DataFrame([{**result.file, **_share_columns(result)} for result in results])
    # What was read of a file stands in for columns of the sheet that happen to be called the same.
    sheet = folder.samples.drop(columns=["path", *facts.columns.drop(keys.SAMPLE)], errors="ignore")
    sheet = sheet.assign(**{keys.SAMPLE: sheet[keys.SAMPLE].astype(str)})
    # How long a file took is no result; tables are the same to the byte for the same seed.
    return sheet.merge(facts.drop(columns="seconds"), on=keys.SAMPLE, how="left")


def _share_columns(result: SampleResult) -> dict[str, float]:
    return {f"share_of_{name}_kept": share for name, share in result.shares.items()}


def difference_tables(folder: StudyFolder, cells: AnnData) -> dict[str, pd.DataFrame]:
    """Return the samples that were left out, and the markers that others do not have; nothing where files agree."""
    import pandas as pd

    tables = {}
    if folder.left_out:
        tables["left_out"] = pd.DataFrame(
            [[one.sample_id, one.file, one.role, one.lacks] for one in folder.left_out],
            columns=[keys.SAMPLE, "file", keys.ROLE, "lacks"],
        )
    roles = cells.var[keys.ROLE].astype(str) == "marker"
    gaps = [
        (sample, marker)
        for sample, markers in measured.not_measured(cells).items()
        for marker in markers
        if roles[marker]
    ]
    if gaps:
        tables["not_measured"] = pd.DataFrame(gaps, columns=[keys.SAMPLE, "marker"])
    return tables


def notes_table(results: Sequence[SampleResult], remarks: Sequence[str]) -> pd.DataFrame:
    """Return every remark: on the study first, then on each sample by step."""
    import pandas as pd

    rows = [{keys.SAMPLE: "", "note": str(remark)} for remark in remarks]
    for result in results:
        for name, what in _NOTED.items():
            table = result.tables.get(name)
            if table is None or "note" not in table:
                continue
            if name == "cleaning":
                table = table[table["rule"].str.startswith(("fallback", "not judged"))]
                table = table.assign(
                    note=[
                        ": ".join(filter(None, pair))
                        for pair in zip(table["rule"], table["note"], strict=True)
                    ]
                )
            notes = dict.fromkeys(
                f"{row[what] if what else name.replace('_', ' ')}: {row['note']}"
                for _, row in table.iterrows()
                if isinstance(row["note"], str) and row["note"]
            )
            rows += [{keys.SAMPLE: result.sample_id, "note": note} for note in notes]
    return pd.DataFrame(rows, columns=[keys.SAMPLE, "note"])


def write_tables(tables: Mapping[str, pd.DataFrame], spillover: Spillover | None, folder: Path) -> None:
    """Write every table, and the spillover matrix as it was used."""
    folder.mkdir()
    for name, table in tables.items():
        csv_tables.write(folder, name, table)
    if spillover is not None:
        # In the form that another study can name as its matrix.
        write_text(folder / "spillover.csv", spillover.to_csv())


def write_cells(cells: AnnData, results: Sequence[SampleResult], path: Path) -> None:
    """Write `cells.h5ad`; it says which share of each compartment was kept, and the colours of labels."""
    shares = {result.sample_id: dict(result.shares) for result in results}
    cells.uns.setdefault(keys.UNS, {})["shares_kept"] = json.dumps(plain(shares))
    palette.store(cells, keys.COMPARTMENT, keys.SUBSET, *METHODS)
    with replacing(path) as temporary:
        cells.write_h5ad(temporary, compression="lzf")
