"""How well a run finds what is true of the simulated study, and what each gate loses and lets in."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from cytocar._core import keys, tables
from cytocar._core.errors import Problem, StateError, StudyError
from cytocar._core.vocabulary import (
    CELL,
    DEAD,
    DOUBLET,
    DOWN,
    INCONCLUSIVE,
    METHODS,
    NO_CLUSTER,
    UNCHANGED,
    UP,
)

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

_SUBSETS = ("CD4", "CD8", "DN")
# Equal groups may be too few to say so: "inconclusive" does not contradict them, a sign does.
_AGREEING = {UP: {UP}, DOWN: {DOWN}, "equal": {UNCHANGED, INCONCLUSIVE}}
_EVENTS = "events"


def score_legend2(study: str | os.PathLike[str], out: str | os.PathLike[str]) -> dict[str, pd.DataFrame]:
    """Compare a finished run of the simulated study with its truth.

    CAR-T cells are compared event by event: a found cell is right where the truth has one live CAR-T cell at that row
    of the file and nothing else; a doublet that holds a CAR-T cell is wrong.

    Parameters
    ----------
    study
        A study folder that `write_legend2` made; ``truth/`` is read.
    out
        The folder of a finished run of it; ``cells.h5ad`` and ``tables/`` are read.

    Returns
    -------
    Four tables.

    ``samples``: `sample_id`, `timepoint`, `n_car_true`, `n_car_found`, `pct_true`, `pct_found` (of CD45+),
    `relative_error` (found / true - 1), `sensitivity` (right / true), `precision` (right / found), `car_dn_true`,
    `car_dn_found`, `host_dn_true`, `host_dn_found` (fractions; not a number where there is nothing to divide by).

    ``subsets``: `sample_id`, `compartment` (car, host), `subset`, `n_true`, `n_found`, `fraction_true`,
    `fraction_found`.

    ``clusters``: `method`, `n_cells` (CAR-T cells that were rightly found), `n_clusters_true`, `n_clusters_found`,
    `ari` (adjusted Rand index of the labels against the true clusters; Hubert and Arabie 1985,
    doi:10.1007/BF01908075).

    ``signs``: `comparison`, `compartment`, `timepoint`, `subset`, `marker`, `expected` (up, down, equal), `call`,
    `effect`, `agrees` (for equal groups also where the call is inconclusive); `call` is empty where the run did
    not compare.

    Raises
    ------
    StudyError
        A file that is needed is not there.

    Examples
    --------
    >>> import tempfile, pathlib, cytocar as cc
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> cc.datasets.write_legend2(folder / "study", cells=500, timepoints=["5yr"])
    >>> try:
    ...     cc.datasets.score_legend2(folder / "study", folder / "out")
    ... except cc.StudyError as error:
    ...     print(len(error.problems), "files are missing")
    3 files are missing
    """
    study, out = Path(study), Path(out)
    _require(study, out)
    frequencies = _table(study / "truth", "frequencies")
    cells = _cells_with_truth(study, out, list(frequencies[keys.SAMPLE]))
    car_frequency = _table(out / "tables", "car_frequency").set_index(keys.SAMPLE)
    subsets = _subsets(frequencies, _table(out / "tables", "subsets"))
    return {
        "samples": _samples(frequencies, car_frequency, subsets, cells),
        "subsets": subsets,
        "clusters": _clusters(cells),
        "signs": _signs(_table(study / "truth", "signs"), tables.read(out / "tables", "comparisons")),
    }


def gate_losses(adata: AnnData) -> pd.DataFrame:
    """Tell how many true CAR-T cells each gate loses, and how many false events are still in it.

    Parameters
    ----------
    adata
        Events of `legend2` after `gate.apply`: the truth in ``obs``, membership in ``obsm["gates"]``.

    Returns
    -------
    One row per sample and population: `sample_id`, `order`, `population`, `parent`, `n_events`, `n_car` (true CAR-T
    cells in it), `n_car_lost` (in the parent, not here), `n_false` (events that are not one live CAR-T cell), and those
    by what they are: `n_false_cell`, `n_false_doublet`, `n_false_dead`, `n_false_other`.
    The parent of the first step is all events. A population without a recorded parent stands below the
    smallest earlier one that holds all of it.

    Raises
    ------
    StateError
        The truth or the gates are not there.

    Examples
    --------
    >>> import numpy as np, pandas as pd, cytocar as cc
    >>> adata = cc.datasets.legend2(cells=2000, timepoints=["2mo"])
    >>> cell = (adata.obs["truth_type"] == "cell").to_numpy()
    >>> vhh = adata.X[:, adata.var_names.get_loc("VHH")] > 15
    >>> adata.obsm["gates"] = pd.DataFrame({"cells": cell, "CAR-T": cell & vhh}, index=adata.obs_names)
    >>> cc.datasets.gate_losses(adata)[["population", "parent", "n_car", "n_car_lost"]]
      population  parent  n_car  n_car_lost
    0      cells  events     60           0
    1      CAR-T   cells     60           0
    """
    import pandas as pd

    if "truth_is_car" not in adata.obs or "truth_type" not in adata.obs:
        raise StateError(
            "obs has no truth_is_car and truth_type: only events of cytocar.datasets.legend2 have a truth"
        )
    if keys.GATES not in adata.obsm:
        raise StateError("obsm['gates'] is not there: run cytocar.gate.apply first")
    gates = adata.obsm[keys.GATES]
    member = {str(name): np.asarray(gates[name], dtype=bool) for name in gates.columns}
    parents = _parents(adata, member)
    is_car = np.asarray(adata.obs["truth_is_car"], dtype=bool)
    kind = adata.obs["truth_type"].to_numpy(dtype=object)
    rows: list[dict[str, Any]] = []
    for sample_id, inside in _samples_of(adata):
        for order, (name, its) in enumerate(member.items()):
            parent = parents[name]
            here = its & inside
            above = (member[parent] if parent in member else np.ones(len(its), dtype=bool)) & inside
            false = here & ~is_car
            by_kind = {each: int((false & (kind == each)).sum()) for each in (CELL, DOUBLET, DEAD)}
            rows.append(
                {
                    keys.SAMPLE: sample_id,
                    "order": order,
                    "population": name,
                    "parent": parent,
                    "n_events": int(here.sum()),
                    "n_car": int((here & is_car).sum()),
                    "n_car_lost": int((above & ~here & is_car).sum()),
                    "n_false": int(false.sum()),
                    **{f"n_false_{each}": n for each, n in by_kind.items()},
                    "n_false_other": int(false.sum()) - sum(by_kind.values()),
                }
            )
    return pd.DataFrame(rows)


def _samples_of(adata: AnnData) -> Iterator[tuple[str, np.ndarray]]:
    samples = adata.obs[keys.SAMPLE].astype(str).to_numpy(dtype=object)
    for sample_id in dict.fromkeys(samples):
        yield sample_id, samples == sample_id


def _parents(adata: AnnData, member: Mapping[str, np.ndarray]) -> dict[str, str]:
    recorded = dict(_named_parents(json.loads(adata.uns.get(keys.UNS, {}).get(keys.GATING, "{}"))))
    parents = {}
    earlier: list[str] = []
    for name, its in member.items():
        parent = recorded.get(name)
        if parent is None:
            # Where the record is silent, the smallest population so far that holds all of this one.
            holding = [other for other in earlier if not (its & ~member[other]).any()]
            parent = min(reversed(holding), key=lambda other: member[other].sum(), default=_EVENTS)
        parents[name] = parent if parent in member else _EVENTS
        earlier.append(name)
    return parents


def _named_parents(gating: Any) -> Iterator[tuple[str, str]]:
    """Yield population and parent wherever a record of the strategy has both; the strategy itself is YAML text."""
    if isinstance(gating, dict):
        name, parent = gating.get("name", gating.get("population")), gating.get("parent")
        if isinstance(name, str) and isinstance(parent, str):
            yield name, parent
        for item in gating.values():
            yield from _named_parents(item)
    elif isinstance(gating, str) and "populations" in gating and not gating.startswith("<?xml"):
        yield from _named_parents(yaml.safe_load(gating))
    elif isinstance(gating, list):
        for item in gating:
            yield from _named_parents(item)


def _require(study: Path, out: Path) -> None:
    needed = {
        study / "truth" / "frequencies.csv": "give a study folder that cytocar simulate made",
        study / "truth" / "signs.csv": "give a study folder that cytocar simulate made",
        out / "cells.h5ad": "run the study first: cytocar run",
        out / "tables" / "car_frequency.csv": "run the study with a strategy that finds CAR-T cells",
        out / "tables" / "subsets.csv": "run the study with a strategy that finds CAR-T cells",
    }
    missing = [Problem(str(path), "is not there", fix) for path, fix in needed.items() if not path.is_file()]
    if missing:
        raise StudyError(missing)


def _table(folder: Path, name: str) -> pd.DataFrame:
    table = tables.read(folder, name)
    if table is None:
        raise StudyError([Problem(str(folder / f"{name}.csv"), "is not there", "make the folder again")])
    return table


def _cells_with_truth(study: Path, out: Path, samples: list[str]) -> pd.DataFrame:
    """Return the found CAR-T cells with what they truly are."""
    import pandas as pd
    from anndata import read_h5ad

    # Backed, because the matrix is not needed.
    cells = read_h5ad(out / "cells.h5ad", backed="r")
    obs = cells.obs.copy()
    cells.file.close()
    found = obs[obs[keys.COMPARTMENT].astype(str) == keys.CAR]
    labels = [name for name in METHODS if name in found]
    parts = []
    for sample_id in samples:
        part = found[found[keys.SAMPLE].astype(str) == sample_id]
        path = study / "truth" / "events" / f"{sample_id}.csv"
        truth = pd.read_csv(
            path, usecols=["is_car", "cluster"], dtype={"cluster": str}, keep_default_na=False
        )
        rows = truth.iloc[part[keys.EVENT_INDEX].to_numpy(dtype=np.int64)].reset_index(drop=True)
        rows.insert(0, keys.SAMPLE, sample_id)
        for label in labels:
            rows[label] = part[label].astype(str).to_numpy(dtype=object)
        parts.append(rows)
    clusters: pd.DataFrame = pd.concat(parts, ignore_index=True)
    return clusters


def _part(part: float, whole: float) -> float:
    return float(part) / float(whole) if whole else float("nan")


def _subsets(frequencies: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    number = {
        (row[keys.SAMPLE], row[keys.COMPARTMENT], row[keys.SUBSET]): row for row in found.to_dict("records")
    }
    rows = []
    for truth in frequencies.to_dict("records"):
        for compartment, prefix, total in ((keys.CAR, "", "n_car"), (keys.HOST, "host_", "n_host_t")):
            for subset in _SUBSETS:
                row = number.get((truth[keys.SAMPLE], compartment, subset))
                n_true = int(truth[f"{prefix}n_{subset}"])
                rows.append(
                    {
                        keys.SAMPLE: truth[keys.SAMPLE],
                        keys.COMPARTMENT: compartment,
                        keys.SUBSET: subset,
                        "n_true": n_true,
                        "n_found": 0 if row is None else int(row["n"]),
                        "fraction_true": _part(n_true, truth[total]),
                        "fraction_found": float("nan") if row is None else float(row["fraction"]),
                    }
                )
    return pd.DataFrame(rows)


def _samples(
    frequencies: pd.DataFrame, car_frequency: pd.DataFrame, subsets: pd.DataFrame, cells: pd.DataFrame
) -> pd.DataFrame:
    import pandas as pd

    dn = subsets[subsets[keys.SUBSET] == "DN"].set_index([keys.SAMPLE, keys.COMPARTMENT])
    rows = []
    for truth in frequencies.to_dict("records"):
        sample_id = truth[keys.SAMPLE]
        its = cells[cells[keys.SAMPLE] == sample_id]
        right = int(its["is_car"].sum())
        ran = sample_id in car_frequency.index
        n_found = int(car_frequency.loc[sample_id, "n_car"]) if ran else 0
        pct_found = float(car_frequency.loc[sample_id, "pct_of_cd45"]) if ran else float("nan")
        rows.append(
            {
                keys.SAMPLE: sample_id,
                keys.TIMEPOINT: truth[keys.TIMEPOINT],
                "n_car_true": int(truth["n_car"]),
                "n_car_found": n_found,
                "pct_true": truth["pct_of_cd45"],
                "pct_found": pct_found,
                "relative_error": _part(pct_found, truth["pct_of_cd45"]) - 1,
                "sensitivity": _part(right, truth["n_car"]),
                "precision": _part(right, len(its)),
                **{
                    f"{compartment}_dn_{which}": dn.loc[(sample_id, compartment), f"fraction_{which}"]
                    for compartment in (keys.CAR, keys.HOST)
                    for which in ("true", "found")
                },
            }
        )
    return pd.DataFrame(rows)


def _clusters(cells: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd
    from sklearn.metrics import adjusted_rand_score

    right = cells[cells["is_car"]]
    rows = [
        {
            "method": method,
            "n_cells": len(right),
            "n_clusters_true": right["cluster"].nunique(),
            "n_clusters_found": right.loc[right[method] != NO_CLUSTER, method].nunique(),
            "ari": adjusted_rand_score(right["cluster"], right[method]) if len(right) else float("nan"),
        }
        for method in METHODS
        if method in right
    ]
    return pd.DataFrame(rows, columns=["method", "n_cells", "n_clusters_true", "n_clusters_found", "ari"])


def _signs(expected: pd.DataFrame, comparisons: pd.DataFrame | None) -> pd.DataFrame:
    called: dict[tuple[str, ...], tuple[str, float]] = {}
    if comparisons is not None:
        for row in comparisons.to_dict("records"):
            called[_comparison_key(row)] = (str(row["call"]), float(row["effect"]))
    signs = expected.copy()
    judged = [called.get(_comparison_key(row), ("", float("nan"))) for row in signs.to_dict("records")]
    signs["call"] = [call for call, _ in judged]
    signs["effect"] = [effect for _, effect in judged]
    signs["agrees"] = [
        call in _AGREEING[sign] for sign, call in zip(signs["expected"], signs["call"], strict=True)
    ]
    return signs


def _comparison_key(row: Mapping[Any, Any]) -> tuple[str, ...]:
    """Return what names a comparison: over time it has no timepoint, between compartments no compartment."""
    within = keys.TIMEPOINT if row["comparison"] == "car vs host" else keys.COMPARTMENT
    return (str(row["comparison"]), str(row[within]), str(row[keys.SUBSET]), str(row["marker"]))
