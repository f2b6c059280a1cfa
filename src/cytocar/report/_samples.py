"""The samples of a study without CAR-T cells: by group and batch, and one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cytocar._core import keys
from cytocar.report._format import Row, SmallTable

if TYPE_CHECKING:
    from cytocar.report._load import FinishedRun


def sample_tables(run: FinishedRun) -> tuple[SmallTable, ...]:
    """Return the samples by group and batch, and one by one, for a study without CAR-T cells."""
    table = run.tables.get("samples")
    ledger = run.tables["ledger"]
    if table is None or table.empty:
        return ()
    cells = ledger[ledger["population"] == "cells"].set_index(keys.SAMPLE)["events"]
    table = table.assign(cells=table[keys.SAMPLE].map(cells).fillna(0).astype(int))
    by = [
        name
        for name in (keys.GROUP, keys.TIMEPOINT, keys.BATCH)
        if name in table and table[name].nunique() > 1
    ]
    made = []
    if by:
        rows = [
            Row(
                (
                    *(str(value) for value in (key if isinstance(key, tuple) else (key,))),
                    f"{of_key[keys.PATIENT].nunique()}",
                    f"{len(of_key)}",
                    f"{int(of_key['cells'].sum()):,}",
                    f"{int(of_key['cells'].min()):,} to {int(of_key['cells'].max()):,}",
                )
            )
            for key, of_key in table.groupby(by, sort=True)
        ]
        head = (*by, "patients", "samples", "cells", "cells per sample")
        made.append(SmallTable(head, tuple(rows), "samples.csv", numeric_from=len(by)))
    names = [keys.SAMPLE, *by]
    each = [Row((*(str(row[name]) for name in names), f"{row['cells']:,}")) for _, row in table.iterrows()]
    made.append(SmallTable((*names, "cells"), tuple(each), "samples.csv", numeric_from=len(names)))
    return tuple(made)
