"""What is true of the simulated study: per event, per file, and the signs of the differences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from cytocar._core import keys
from cytocar._core.vocabulary import CELL, DOWN, UP
from cytocar.datasets._design import Settings, Tube, populations
from cytocar.datasets._simulate import TYPES, SimulatedFile

if TYPE_CHECKING:
    import pandas as pd

EVENT_COLUMNS: Final = ("type", "lineage", "population", "is_car", keys.SUBSET, "cluster", "false_positive")
# Over time within the CAR-T cells, and at the last timepoint between CAR-T and host T cells.
OVER_TIME: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "DN": {
        UP: ("HLADR", "CCR7", "CD27", "CD28", "CD107a"),
        "equal": ("Ki67", "CD38"),
        DOWN: ("GZMB", "PD1", "TIM3"),
    },
    "CD8": {"equal": ("Ki67", "HLADR"), DOWN: ("GZMB", "PD1")},
}
CAR_VS_HOST: Final = {UP: ("Ki67",), DOWN: ("PD1", "CD57", "GZMB", "CD107a")}


def events(simulated: SimulatedFile) -> pd.DataFrame:
    """Return what each event is, one row an event in the order of the file.

    Lineage and population of a doublet name both cells (``T+Mono``); beads have none. ``is_car`` is a live
    single CAR-T cell; ``subset`` and ``cluster`` are of live single cells only.
    """
    import pandas as pd

    people = populations()
    names = np.array([*people.names, ""], dtype=object)
    lineages = np.array([*people.lineage, ""], dtype=object)
    live = simulated.kind == TYPES.index(CELL)
    alone = np.where(live, simulated.first, -1)
    return pd.DataFrame(
        {
            "type": pd.Categorical(np.array(TYPES, dtype=object)[simulated.kind], list(TYPES)),
            "lineage": _joined(lineages, simulated),
            "population": _joined(names, simulated),
            "is_car": simulated.is_car,
            keys.SUBSET: pd.Categorical(np.array([*people.subset, ""], dtype=object)[alone]),
            "cluster": pd.Categorical(np.array([*people.cluster, ""], dtype=object)[alone]),
            "false_positive": simulated.false_positive,
        }
    )


def _joined(names: np.ndarray, simulated: SimulatedFile) -> pd.Categorical:
    import pandas as pd

    pairs = simulated.first.astype(np.int64) * 1000 + simulated.second
    _, rows, codes = np.unique(pairs, return_index=True, return_inverse=True)
    text = np.array(
        [
            f"{names[simulated.first[row]]}+{names[simulated.second[row]]}"
            if simulated.second[row] >= 0
            else names[simulated.first[row]]
            for row in rows
        ],
        dtype=object,
    )
    return pd.Categorical(text[codes])


def frequencies(tubes: Sequence[Tube]) -> pd.DataFrame:
    """Return the true numbers of each file: CAR-T cells, their subsets, and those of the host T cells."""
    import pandas as pd

    people = populations()
    rows = []
    for tube in tubes:
        n_cd45 = sum(tube.counts.values())
        row: dict[str, object] = {
            keys.SAMPLE: tube.sample_id,
            keys.PATIENT: tube.patient_id,
            keys.TIMEPOINT: tube.timepoint,
            keys.MONTHS: tube.months,
            "n_cd45": n_cd45,
        }
        for compartment, members in ((keys.CAR, people.is_car), ("host_t", people.is_host_t)):
            subset_of = {name: people.subset[people.index(name)] for name in np.array(people.names)[members]}
            number = {
                subset: sum(tube.counts.get(name, 0) for name, its in subset_of.items() if its == subset)
                for subset in ("CD4", "CD8", "DN")
            }
            total = sum(number.values())
            prefix = "" if compartment == keys.CAR else "host_"
            row[f"n_{compartment}"] = total
            if compartment == keys.CAR:
                row["pct_of_cd45"] = 100 * total / n_cd45
            row |= {f"{prefix}n_{subset}": n for subset, n in number.items()}
            row |= {f"{prefix}share_{subset}": n / total if total else np.nan for subset, n in number.items()}
        rows.append(row)
    return pd.DataFrame(rows)


def clusters(tubes: Sequence[Tube]) -> pd.DataFrame:
    """Return the true number of cells of each cluster of CAR-T cells in each file."""
    import pandas as pd

    people = populations()
    rows = []
    for tube in tubes:
        total = tube.n_car
        for name in sorted(np.array(people.names)[people.is_car]):
            at = people.index(name)
            n = tube.counts.get(name, 0)
            rows.append(
                {
                    keys.SAMPLE: tube.sample_id,
                    "cluster": people.cluster[at],
                    keys.SUBSET: people.subset[at],
                    "n": n,
                    "fraction": n / total if total else np.nan,
                }
            )
    return pd.DataFrame(rows)


def signs(options: Settings, tubes: Sequence[Tube]) -> pd.DataFrame:
    """Return which differences there are: up, down or equal, with the first-named group against the other.

    Only differences whose both groups are in the study are listed. With equal truth all differences over
    time are ``equal``.
    """
    import pandas as pd

    columns = ["comparison", keys.COMPARTMENT, keys.TIMEPOINT, keys.SUBSET, "marker", "expected"]
    has_car = {tube.timepoint for tube in tubes if tube.n_car}
    first, last = "2mo", "5yr"
    rows: list[tuple[str, ...]] = []
    if {first, last} <= has_car:
        for subset, expected in OVER_TIME.items():
            for sign, markers in expected.items():
                sign = "equal" if options.equal_truth else sign
                rows += [(f"{last} vs {first}", keys.CAR, "", subset, marker, sign) for marker in markers]
    if last in has_car and not options.equal_truth:
        for sign, markers in CAR_VS_HOST.items():
            rows += [("car vs host", "", last, keys.ALL, marker, sign) for marker in markers]
    return pd.DataFrame(rows, columns=columns)
