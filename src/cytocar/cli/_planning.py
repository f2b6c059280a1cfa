"""Commands that plan an acquisition: plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cytocar._core.errors import ParameterError
from cytocar.cli._app import app
from cytocar.cli._print import number, print_table, say

if TYPE_CHECKING:
    import pandas as pd


@app.command(short_help="Calculate how many cells rare populations take.")
def plan(
    percents: Annotated[
        list[float],
        typer.Argument(help="Percent of the cells of the denominator, such as CD45+.", metavar="PERCENT..."),
    ],
    cv: Annotated[float, typer.Option("--cv", help="Coefficient of variation to reach, percent.")] = 20.0,
    background: Annotated[
        float, typer.Option("--background", help="False events, percent of the same cells.")
    ] = 0.0,
    usable: Annotated[
        float, typer.Option("--usable", help="Percent of acquired events that end as such cells.")
    ] = 100.0,
) -> None:
    """Calculate how many cells to acquire to measure rare populations: `cytocar plan 0.05 --cv 20`."""
    from cytocar import tl

    for name, value, low, high in (
        *(("percent", value, 0.0, 100.0) for value in percents),
        ("--cv", cv, 0.0, float("inf")),
        ("--usable", usable, 0.0, 100.0),
    ):
        if not low < value <= high:
            upper = "" if high == float("inf") else f" and at most {high:g} %"
            raise ParameterError(f"{name} is {value:g} %; it must be above {low:g} %{upper}")
    if not 0.0 <= background < 100.0:
        raise ParameterError(f"--background is {background:g} %; it must be from 0 to below 100 %")
    table = tl.plan_acquisition(
        [percent / 100 for percent in percents],
        cv=cv / 100,
        background_rate=background / 100,
        usable=usable / 100,
    )
    rows = table.to_dict("records")
    print_table("cells to acquire", _plan_for_people(rows))
    for row in rows:
        more = f" ({row['events_to_acquire']:,} events)" if usable < 100 else ""
        say(
            f"{100 * row['fraction']:g} % with a CV of {cv:g} %: {row['cells_needed']:,} cells{more}; expected "
            f"{row['events_expected']:.0f}, 95 % interval {row['pct_low']:.3g} to {row['pct_high']:.3g} %."
        )


def _plan_for_people(rows: Sequence[Mapping[Any, Any]]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        {
            "%": f"{100 * row['fraction']:g}",
            "cells needed": f"{row['cells_needed']:,}",
            "events to acquire": f"{row['events_to_acquire']:,}",
            "expected": f"{row['events_expected']:.1f}",
            "background": number(row["background_events"], ".1f"),
            "LoB / LoD / LoQ": " / ".join(
                (
                    number(row["lob_events"], "g"),
                    number(row["lod_events"], ".1f"),
                    number(row["loq_events"], ".1f"),
                )
            ),
            "probability of being detected": f"{row['probability_detected']:.3f}",
            "limited by": row["limited_by"],
        }
        for row in rows
    )
