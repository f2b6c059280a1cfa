"""Draw every figure of a finished run and write its report."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytocar._core.files import write_text
from cytocar.report._answer import Answer, answer
from cytocar.report._figures import FIGURES, FigureOfRun
from cytocar.report._load import FinishedRun, load

if TYPE_CHECKING:
    import pandas as pd

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class _Drawn:
    stem: str
    title: str
    caption: str
    image: str


def build(out: str | Path, *, progress: Progress | None = None) -> Path:
    """Draw figures and report of a finished run; nothing is computed again.

    Parameters
    ----------
    out
        The folder of a finished run.
    progress
        Called as ``progress(stage, done, total)``.

    Returns
    -------
    The path of `report.html`: one file that needs no other and no network.

    Raises
    ------
    StudyError
        `out` is not the folder of a finished run.

    Examples
    --------
    >>> from cytocar import report
    >>> report.build("no_such_folder")
    Traceback (most recent call last):
    cytocar._core.errors.StudyError: 1 problem found:
      no_such_folder: this is not the folder of a finished run: it lacks provenance.json, cells.h5ad, tables
        name the folder that was given to `cytocar run ... -o`
    """
    folder = Path(out)
    run = load(folder)
    figures = folder / "figures"
    figures.mkdir(exist_ok=True)
    wanted = [figure for figure in FIGURES if figure.possible(run)]
    drawn = []
    for position, figure in enumerate(wanted):
        if progress is not None:
            progress("figures", position, len(wanted))
        drawn.append(_draw(run, figure, figures))
    if progress is not None:
        progress("figures", len(wanted), len(wanted))
    report = folder / "report.html"
    write_text(report, _page(run, answer(run), drawn))
    return report


def _draw(run: FinishedRun, figure: FigureOfRun, folder: Path) -> _Drawn:
    from cytocar import pl

    try:
        pl.save(figure.draw(run), folder / figure.stem)
    except Exception as error:
        error.add_note(f"while drawing the figure {figure.stem!r}")
        raise
    image = base64.b64encode((folder / f"{figure.stem}.png").read_bytes()).decode("ascii")
    return _Drawn(figure.stem, figure.title, figure.caption, f"data:image/png;base64,{image}")


def _page(run: FinishedRun, found: Answer, figures: list[_Drawn]) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("cytocar.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shown"] = _shown
    title = run.provenance.get("settings", {}).get("title") or "Mass cytometry of CAR-T cells"
    return environment.get_template("report.html.j2").render(
        title=title if run.has_car else run.provenance.get("settings", {}).get("title") or "Mass cytometry",
        answer=found,
        figures={figure.stem: figure for figure in figures},
        order=[figure.stem for figure in figures],
        tables=run.tables,
        ledger=_ledger(run.tables["ledger"]),
        thresholds=_rows(run.tables.get("thresholds")),
        notes=_rows(run.tables.get("notes")),
        audit=[row for row in _rows(run.tables.get("car_audit")) if row["source"] == "all"],
        losses=_rows(run.tables.get("cleaning_losses")),
        agreement=_rows(run.tables.get("agreement")),
        provenance=run.provenance,
    )


def _rows(table: pd.DataFrame | None) -> list[dict[str, Any]]:
    if table is None:
        return []
    return [{str(name): value for name, value in row.items()} for row in table.to_dict(orient="records")]


def _ledger(table: pd.DataFrame) -> dict[str, Any]:
    """Turn the ledger sideways for reading: a row a population, a column a sample."""
    samples = list(dict.fromkeys(table["sample_id"]))
    populations = table.sort_values("order", kind="stable")[["population", "parent"]].drop_duplicates(
        "population"
    )
    by_key = table.set_index(["sample_id", "population"])
    rows = []
    for name, parent in populations.itertuples(index=False):
        cells: list[tuple[int, float] | None] = []
        for sample in samples:
            if (sample, name) in by_key.index:
                row = by_key.loc[(sample, name)]
                cells.append((int(row["events"]), float(row["fraction_of_parent"])))
            else:
                cells.append(None)
        rows.append({"population": name, "parent": parent if isinstance(parent, str) else "", "cells": cells})
    return {"samples": samples, "rows": rows}


def _shown(value: Any) -> str:
    """Format a value of a table for people: four significant digits, nothing for what is not known."""
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)
