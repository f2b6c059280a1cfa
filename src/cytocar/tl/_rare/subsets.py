"""Which subsets the T cells of each compartment are, how sure that is, and how it moves over time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import ParameterError
from cytocar.tl import _counts
from cytocar.tl._rare.limits import limit_of_blank
from cytocar.tl._statistics.intervals import clopper_pearson

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

_WHAT = "the table of subset counts"


def subsets(
    data: AnnData | pd.DataFrame,
    *,
    background: Mapping[str, float] | pd.DataFrame | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """Return the share of every subset in its compartment with its exact interval.

    For CAR-T cells it says how much of a subset false positives can explain: they are host T cells, so they have
    the host's subsets, ``background_n = background events x host share of the subset``. At 0.24 % CAR-T
    cells, one false host T cell in 5,000 makes a twentieth of them, all CD4 or CD8.

    Parameters
    ----------
    data
        A table with `sample_id`, `compartment`, `subset`, `n` (cells), or an AnnData whose `obs` has the first three
        columns; then its cells are counted, so it must hold all cells and no sample of them.
    background
        Background events of each sample: a mapping from `sample_id`, or the table of `cytocar.tl.detection`.
        `None` leaves the background unknown, unless `data` is an AnnData with gates, from which it is found.
    level
        Confidence of the intervals.

    Returns
    -------
    DataFrame
        One row per sample, compartment and subset, subsets that are absent with n = 0:
        ``sample_id, compartment, subset, n, fraction, low, high``; ``n_total``; ``background_n`` (events) and
        ``background_share`` (of this subset, up to 1) for the compartment ``car``, else NaN; ``smallest_detectable``:
        the smallest share that this many cells show with probability 95 % in more cells than the background
        gives (no background: at least one cell, about 3 / n).

    Raises
    ------
    ParameterError
        A column is missing, a count is not one, or a combination stands twice.

    Examples
    --------
    >>> import pandas
    >>> counts = pandas.DataFrame(
    ...     {"sample_id": "5yr", "compartment": "car", "subset": ["CD4", "CD8", "DN"], "n": [1, 20, 229]}
    ... )
    >>> found = subsets(counts).set_index("subset")
    >>> f"{found.low['DN']:.3f} to {found.high['DN']:.3f}"
    '0.874 to 0.947'
    """
    import pandas as pd

    table, background = _table_and_background(data, background)
    counts = _by_combination(table)
    names = _in_order(subset for _, _, subset in counts)
    groups = list(dict.fromkeys((sample, compartment) for sample, compartment, _ in counts))
    keys_of_rows = [(*group, name) for group in groups for name in names]
    count = np.array([counts.get(key, 0.0) for key in keys_of_rows])
    totals = {group: sum(counts.get((*group, name), 0.0) for name in names) for group in groups}
    total = np.array([totals[key[:2]] for key in keys_of_rows])
    events = _background_events(background)
    false = np.array([_false_cells(key, counts, totals, events) for key in keys_of_rows])
    measured = total > 0
    low, high = (np.where(measured, limit, np.nan) for limit in clopper_pearson(count, total, level))
    with np.errstate(invalid="ignore", divide="ignore"):
        fraction = np.where(measured, count / total, np.nan)
        share = np.where(count > 0, np.minimum(false / count, 1.0), np.nan)
    return pd.DataFrame(
        {
            keys.SAMPLE: [key[0] for key in keys_of_rows],
            keys.COMPARTMENT: [key[1] for key in keys_of_rows],
            keys.SUBSET: [key[2] for key in keys_of_rows],
            "n": count.astype(np.int64),
            "fraction": fraction,
            "low": low,
            "high": high,
            "n_total": total.astype(np.int64),
            "background_n": false,
            "background_share": share,
            "smallest_detectable": _smallest_detectable(total, false),
        }
    )


def _table_and_background(
    data: AnnData | pd.DataFrame, background: Mapping[str, float] | pd.DataFrame | None
) -> tuple[pd.DataFrame, Mapping[str, float] | pd.DataFrame | None]:
    """Return the counts, and the background as stated or, of an AnnData with gates, as `detection` finds it."""
    if _counts.is_table(data):
        return data, background
    if background is None and keys.GATES in data.obsm:
        from cytocar.tl._rare.detection import detection

        background = detection(data)
    return _counted(data), background


def _in_order(subsets_there: Iterable[str]) -> list[str]:
    """Return each subset once: those of T cells in their order, then others as they come."""
    present = dict.fromkeys(subsets_there)
    names: list[str] = [name for name in keys.SUBSETS if name in present]
    return names + [name for name in present if name not in names]


def _by_combination(table: pd.DataFrame) -> dict[tuple[str, str, str], float]:
    """Return the cells of each sample, compartment and subset, or raise where one stands twice."""
    _counts.require_columns(table, (keys.SAMPLE, keys.COMPARTMENT, keys.SUBSET, "n"), _WHAT)
    columns = (_counts.text(table, column) for column in (keys.SAMPLE, keys.COMPARTMENT, keys.SUBSET))
    counts: dict[tuple[str, str, str], float] = {}
    for key, value in zip(zip(*columns, strict=True), _counts.whole(table, "n", _WHAT), strict=True):
        if key in counts:
            raise ParameterError(
                f"{_WHAT}: {' / '.join(key)} has more than one row", fix="one row per combination"
            )
        counts[key] = value
    return counts


def _false_cells(
    key: tuple[str, str, str],
    counts: dict[tuple[str, str, str], float],
    totals: dict[tuple[str, str], float],
    events: dict[str, float],
) -> float:
    """Return how many background events a subset of CAR-T cells is expected to hold; NaN of other compartments."""
    sample, compartment, subset = key
    hosts = totals.get((sample, keys.HOST), 0.0)
    if compartment != keys.CAR or hosts <= 0:
        return np.nan
    return events.get(sample, np.nan) * counts.get((sample, keys.HOST, subset), 0.0) / hosts


def subset_trend(
    table: pd.DataFrame, samples: pd.DataFrame, *, compartment: str = keys.CAR, p_values: bool = False
) -> pd.DataFrame:
    """Return whether the share of each subset rises or falls with time, per patient (Mann-Kendall).

    S is the number of pairs of samples in which the later share is larger, less the number in which it is smaller
    (Mann 1945, doi:10.2307/1907187; Kendall 1975). It uses the order only. With few samples no p can be
    small: ``p_minimum = 2 / n!`` is 0.083 for four samples and 0.017 for five.

    Parameters
    ----------
    table
        What `subsets` returned.
    samples
        `sample_id`, `patient_id`, `months`, such as the table of `cytocar.tl.detection`; samples without months are
        left out.
    compartment
        Whose subsets.
    p_values
        Give the exact two-sided p, which treats the samples of a patient as exchangeable under no trend.

    Returns
    -------
    DataFrame
        One row per patient and subset: ``patient_id, subset, n_samples, first, last`` (shares), ``s, s_max, tau``
        (S by the number of pairs), ``slope_per_year`` (Theil-Sen, share per 12 months), ``trend``
        (``rises`` or ``falls`` where every pair agrees, else ``mixed``, ``flat``), ``p_value, p_minimum``, and the
        ``unit`` that is counted, a sample of this patient.

    Raises
    ------
    ParameterError
        A column is missing.

    Examples
    --------
    >>> import pandas
    >>> times = pandas.DataFrame({"sample_id": list("abcd"), "patient_id": "P1", "months": [2, 12, 36, 60]})
    >>> rows = [(s, "car", name, n) for s, dn in zip("abcd", (25, 55, 80, 92))
    ...         for name, n in (("DN", dn), ("CD8", 100 - dn))]
    >>> shares = subsets(pandas.DataFrame(rows, columns=["sample_id", "compartment", "subset", "n"]))
    >>> found = subset_trend(shares, times).set_index("subset")
    >>> str(found.trend["DN"]), int(found.s["DN"]), round(float(found.p_minimum["DN"]), 3)
    ('rises', 6, 0.083)
    """
    import pandas as pd

    _counts.require_columns(
        table, (keys.SAMPLE, keys.COMPARTMENT, keys.SUBSET, "fraction"), "the table of subsets"
    )
    _counts.require_columns(samples, (keys.SAMPLE, keys.PATIENT, keys.MONTHS), "the table of samples")
    when = dict(zip(_counts.text(samples, keys.SAMPLE), _counts.number(samples, keys.MONTHS), strict=True))
    who = dict(zip(_counts.text(samples, keys.SAMPLE), _counts.text(samples, keys.PATIENT), strict=True))
    rows_of = table[table[keys.COMPARTMENT].astype(str) == compartment]
    sample = _counts.text(rows_of, keys.SAMPLE)
    subset = _counts.text(rows_of, keys.SUBSET)
    months = np.array([when.get(name, np.nan) for name in sample])
    patient = np.array([who.get(name, "") for name in sample], dtype=object)
    share = _counts.number(rows_of, "fraction")
    rows = []
    for person in dict.fromkeys(patient):
        for name in dict.fromkeys(subset):
            chosen = np.flatnonzero(
                (patient == person) & (subset == name) & np.isfinite(months) & np.isfinite(share)
            )
            if chosen.size:
                chosen = chosen[np.argsort(months[chosen], kind="stable")]
                rows.append(
                    {
                        keys.PATIENT: person,
                        keys.SUBSET: name,
                        **_trend(months[chosen], share[chosen], p_values),
                    }
                )
    columns = (keys.PATIENT, keys.SUBSET, *_trend(np.zeros(1), np.zeros(1), False))
    return pd.DataFrame(rows, columns=list(columns))


def _trend(months: np.ndarray, values: np.ndarray, p_values: bool) -> dict[str, float | int | str]:
    import math

    n = len(values)
    i, j = np.triu_indices(n, 1)
    apart = months[j] > months[i]
    i, j = i[apart], j[apart]
    signs = np.sign(values[j] - values[i])
    s, pairs = int(signs.sum()), len(signs)
    slope = float(np.median((values[j] - values[i]) / (months[j] - months[i]))) * 12.0 if pairs else math.nan
    if pairs == 0 or not signs.any():
        trend = "flat" if pairs else "one sample"
    else:
        trend = "rises" if s == pairs else "falls" if s == -pairs else "mixed"
    return {
        "n_samples": n,
        "first": float(values[0]),
        "last": float(values[-1]),
        "s": s,
        "s_max": pairs,
        "tau": s / pairs if pairs else math.nan,
        "slope_per_year": slope,
        "trend": trend,
        "p_value": _exact_p(months, values) if p_values and pairs else math.nan,
        "p_minimum": min(1.0, 2 / math.factorial(n)) if n > 1 else math.nan,
        "unit": "sample",
    }


def _exact_p(months: np.ndarray, values: np.ndarray) -> float:
    """Return the share of all orders of the values whose |S| is at least as large, NaN where there are ties."""
    from scipy.stats import kendalltau

    n = len(values)
    if len(np.unique(values)) < n or len(np.unique(months)) < n:
        return float("nan")
    return float(kendalltau(months, values, method="exact").pvalue)


def _smallest_detectable(total: np.ndarray, false: np.ndarray) -> np.ndarray:
    """Return the share p with P(Binomial(total, p) <= LoB) = 0.05, NaN where all cells may be background."""
    from scipy.special import betaincinv

    blank = np.asarray(limit_of_blank(np.nan_to_num(false)))
    possible = total > blank
    rest = np.where(possible, total - blank, 1.0)
    return np.where(possible, betaincinv(blank + 1.0, rest, 0.95), np.nan)


def _background_events(background: Mapping[str, float] | pd.DataFrame | None) -> dict[str, float]:
    if background is None:
        return {}
    if not isinstance(background, Mapping):
        _counts.require_columns(background, (keys.SAMPLE, "background_events"), "the table of frequencies")
        values = _counts.number(background, "background_events")
        return dict(zip(_counts.text(background, keys.SAMPLE), map(float, values), strict=True))
    return {str(name): float(value) for name, value in background.items()}


def _counted(adata: AnnData) -> pd.DataFrame:
    """Count the cells of an AnnData per sample, compartment and subset; cells of no compartment do not count."""
    import pandas as pd

    missing = [c for c in (keys.SAMPLE, keys.COMPARTMENT, keys.SUBSET) if c not in adata.obs]
    if missing:
        raise ParameterError(
            f"obs has no column {', '.join(map(repr, missing))}",
            fix=(
                "run cytocar.gate.apply with a strategy that has "
                "compartments and subsets, or hand in a table of counts"
            ),
        )
    frame = pd.DataFrame(
        {c: _counts.text(adata.obs, c) for c in (keys.SAMPLE, keys.COMPARTMENT, keys.SUBSET)}
    )
    frame = frame[(frame[keys.COMPARTMENT] != "") & (frame[keys.SUBSET] != "")]
    return frame.groupby(list(frame.columns), sort=False).size().reset_index(name="n")
