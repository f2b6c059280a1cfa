"""The tables of exact counts: CAR-T frequency, subsets, kinetics, and how many cells are expected to be false."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys
from cytocar._core.vocabulary import NOT_DETECTED

if TYPE_CHECKING:
    import pandas as pd

    from cytocar.gate import Strategy
    from cytocar.study._tasks import SampleResult


def count_tables(
    results: Sequence[SampleResult], samples: pd.DataFrame, strategy: Strategy, *, seed: int
) -> dict[str, pd.DataFrame]:
    """Return frequency, subsets and kinetics of the CAR-T cells; nothing for a study without them."""
    import pandas as pd

    from cytocar import tl

    if keys.CAR not in strategy.compartments:
        return {}
    frequency = tl.detection(detection_counts(results, samples, strategy))
    counts = pd.concat([result.tables["subsets"] for result in results], ignore_index=True)
    tables = {"car_frequency": frequency}
    if len(counts):
        tables["subsets"] = tl.subsets(counts, background=frequency)
        _add_net_shares(tables)
    _add_plan(frequency)
    tables["kinetics"] = tl.kinetics(frequency, seed=seed)
    return tables


def detection_counts(
    results: Sequence[SampleResult], samples: pd.DataFrame, strategy: Strategy
) -> pd.DataFrame:
    """Return one row per sample: the sheet's columns, and the exact counts that detection is judged by."""
    import pandas as pd

    rows = []
    for result, (_, sheet) in zip(results, samples.iterrows(), strict=True):
        events = result.tables["ledger"].set_index("population")["events"]
        reference = result.tables["reference"]
        row: dict[str, Any] = {
            column: sheet[column]
            for column in (
                keys.SAMPLE, keys.PATIENT, keys.TIMEPOINT, keys.MONTHS, keys.ROLE, keys.LYMPHOCYTES, keys.LEUKOCYTES,
            )
            if column in sheet
        }  # fmt: skip
        row["n_cd45"] = int(events[strategy.denominator])
        row["n_car"] = int(events[strategy.compartments[keys.CAR]])
        row["n_host_t"] = int(events[strategy.compartments[keys.HOST]])
        row["n_negative"] = int(reference["n_negative"].sum())
        row["n_negative_above"] = int(reference["n_negative_above"].sum())
        rows.append(row)
    return pd.DataFrame(rows)


def _add_plan(frequency: pd.DataFrame) -> None:
    """Add how many CD45+ cells would quantify the share; NaN where there are none.

    A count that is not quantified is too small for a CV of 20 %, or too near to its background.
    """
    from cytocar import tl

    needed = []
    for _, row in frequency.iterrows():
        n = int(row["n_cd45"])
        expected = float(row["background_expected"])
        false = expected / n if n and np.isfinite(expected) else 0.0
        share = row["n_car"] / n - false if n else 0.0
        present = row["call"] != NOT_DETECTED and share > 0
        plan = tl.plan_acquisition(share, background_rate=false) if present else None
        needed.append(np.nan if plan is None else float(plan["cells_needed"].iloc[0]))
    frequency["cells_to_quantify"] = needed


def _add_net_shares(tables: dict[str, pd.DataFrame]) -> None:
    """Add how many cells of each CAR-T subset are expected to be false, and its share without them.

    False CAR-T cells have the host's subsets, so where CAR-T cells are few they push the double negative share down.
    """
    subsets = tables["subsets"]
    expected = false_cells(tables)
    sheet = tables["car_frequency"].set_index(keys.SAMPLE)
    false = []
    for _, row in subsets.iterrows():
        sample = sheet.loc[row[keys.SAMPLE]]
        where = (str(sample[keys.PATIENT]), str(sample[keys.TIMEPOINT]), str(row[keys.SUBSET]))
        is_car = row[keys.COMPARTMENT] == keys.CAR
        false.append(expected.get(where, (np.nan, np.nan))[0] if is_car else np.nan)
    subsets["expected_false"] = false
    net = (subsets["n"] - subsets["expected_false"]).clip(lower=0)
    total = net.groupby([subsets[keys.SAMPLE], subsets[keys.COMPARTMENT]]).transform("sum")
    subsets["fraction_net"] = (net / total).where(total > 0)


def false_cells(tables: dict[str, pd.DataFrame]) -> dict[tuple[str, str, str], tuple[float, float]]:
    """Return how many CAR-T cells of each patient, timepoint and subset are expected to be host T cells, and at most.

    The most is the upper limit of the background that the limit of blank is set for: a rate that a few known-negative
    cells above the threshold give is uncertain, T cells bind more of the antibody than those, and doublets add to it.
    """
    if "car_frequency" not in tables:
        return {}
    subsets = tables.get("subsets")
    host = {}
    if subsets is not None:
        of_host = subsets[subsets[keys.COMPARTMENT] == keys.HOST]
        host = of_host.set_index([keys.SAMPLE, keys.SUBSET])["fraction"].to_dict()
    names = [] if subsets is None else list(dict.fromkeys(subsets[keys.SUBSET].astype(str)))
    false = {}
    for _, row in tables["car_frequency"].iterrows():
        expected = float(row["background_expected"])
        if not np.isfinite(expected):
            continue
        most = max(expected, min(float(row["background_events"]), float(row["n_car"])))
        where = (str(row[keys.PATIENT]), str(row[keys.TIMEPOINT]))
        false[(*where, keys.ALL)] = (expected, most)
        for subset in names:
            share = float(host.get((row[keys.SAMPLE], subset), 0.0))
            share = share if np.isfinite(share) else 0.0
            false[(*where, subset)] = (expected * share, most * share)
    return false
