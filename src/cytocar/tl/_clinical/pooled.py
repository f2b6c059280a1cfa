"""Shares of several studies or cohorts, pooled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import checks
from cytocar._core.errors import ParameterError
from cytocar.tl import _counts
from cytocar.tl._statistics import smallest_p
from cytocar.tl._statistics.intervals import clopper_pearson

if TYPE_CHECKING:
    import pandas as pd

STUDY, SUBGROUP, OVERALL = "study", "subgroup", "overall"
_WHAT = "the table of studies"


def pooled_proportions(
    table: pd.DataFrame,
    *,
    events: str = "events",
    n: str = "n",
    study: str = "study",
    subgroup: str | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """Return the share of every study with its exact interval, and pooled shares of subgroups and of all.

    Random effects on the logit scale: ``y = log(x / (n - x))``, ``v = 1 / x + 1 / (n - x)``, with 1/2 added to both
    counts of a study where one is 0; the variance between studies as DerSimonian & Laird (1986,
    doi:10.1016/0197-2456(86)90046-2): ``tau2 = max(0, (Q - df) / (sum w - sum w^2 / sum w))``; weights
    ``1 / (v + tau2)``; ``I2 = max(0, (Q - df) / Q)`` (Higgins & Thompson 2002, doi:10.1002/sim.1186).
    Subgroups have a tau2 of their own, and are compared by the chi-square of their pooled logits.

    Parameters
    ----------
    table
        One row per study.
    events, n
        Columns of patients with the event, and of all patients.
    study
        Column of names, each once.
    subgroup
        Column by which studies are pooled apart; `None` for none.
    level
        Confidence of the intervals.

    Returns
    -------
    DataFrame
        ``kind`` (``study``, ``subgroup``, ``overall``), ``study``, ``subgroup``, ``n_studies, events, n, proportion,
        low, high`` (studies: Clopper-Pearson), ``weight_pct`` (within the overall pool), ``tau2, i2_pct, q, df,
        p_value`` (heterogeneity among the studies pooled), ``p_minimum`` (its smallest were all the events in as few
        studies as possible), ``p_subgroups`` (row ``overall``), ``p_subgroups_minimum`` (permutation of subgroups),
        ``unit``, ``note``. Studies come in the order given, each subgroup followed by its pool.

    Raises
    ------
    ParameterError
        A column is missing, a count is not one, a study is empty or stands twice.

    Examples
    --------
    >>> import pandas
    >>> trials = pandas.DataFrame({"study": ["A", "B", "C"], "events": [65, 20, 41], "n": [74, 24, 60]})
    >>> found = pooled_proportions(trials).iloc[-1]
    >>> f"{found.proportion:.3f} ({found.low:.3f} to {found.high:.3f}), I2 {found.i2_pct:.0f} %"
    '0.804 (0.640 to 0.905), I2 74 %'
    """
    import pandas as pd

    _counts.require_columns(table, [c for c in (events, n, study, subgroup) if c is not None], _WHAT)
    checks.proportion(level, "level")
    if not len(table):
        raise ParameterError(f"{_WHAT} has no rows")
    name = _counts.text(table, study)
    x, whole = _counts.whole(table, events, _WHAT), _counts.whole(table, n, _WHAT)
    for row, text in enumerate(name):
        if (name == text).sum() > 1:
            raise ParameterError(f"{_WHAT}: study {text!r} has more than one row", fix="sum it up first")
        if whole[row] == 0 or x[row] > whole[row]:
            raise ParameterError(
                f"{_WHAT}: study {text!r} has {x[row]:g} events among {whole[row]:g} patients",
                fix="events are part of at least one patient",
            )
    group_of = np.full(len(name), "", dtype=object) if subgroup is None else _counts.text(table, subgroup)
    low, high = (np.atleast_1d(limit) for limit in clopper_pearson(x, whole, level))
    pool = _pool(x, whole, level)
    weight = 100 * pool["weights"] / pool["weights"].sum()
    rows: list[dict[str, object]] = []
    logits = []
    groups = list(dict.fromkeys(group_of))
    for group in groups:
        mine = np.flatnonzero(group_of == group)
        rows += [
            {
                "kind": STUDY, "study": name[i], "subgroup": group, "n_studies": 1, "events": int(x[i]),
                "n": int(whole[i]), "proportion": x[i] / whole[i], "low": low[i], "high": high[i],
                "weight_pct": weight[i], "note": "",
            }
            for i in mine
        ]  # fmt: skip
        if subgroup is not None:
            own = _pool(x[mine], whole[mine], level)
            logits.append((own["logit"], own["variance"]))
            rows.append(
                _pooled_row(SUBGROUP, str(group), own, x[mine], whole[mine], float(weight[mine].sum()))
            )
    last = _pooled_row(OVERALL, "", pool, x, whole, 100.0)
    last["p_subgroups"] = last["p_subgroups_minimum"] = np.nan
    if len(groups) > 1:
        from scipy.stats import chi2

        y, v = np.array(logits).T
        q = _q(y, 1 / v)[0]
        p = float(chi2.sf(q, len(groups) - 1))
        floor = min(1.0, smallest_p.of_labels([int((group_of == g).sum()) for g in groups]))
        last |= {"p_subgroups": p, "p_subgroups_minimum": floor}
        last["note"] = smallest_p.p_note(p, floor, "study", str(last["note"]))
    frame = pd.DataFrame([*rows, last])
    columns = [
        "kind", "study", "subgroup", "n_studies", "events", "n", "proportion", "low", "high", "weight_pct", "tau2",
        "i2_pct", "q", "df", "p_value", "p_minimum", "p_subgroups", "p_subgroups_minimum",
    ]  # fmt: skip
    frame["unit"] = np.where(frame["kind"] == STUDY, "patient", "study")
    return frame.reindex(columns=[*columns, "unit", "note"])


def _pool(x: np.ndarray, n: np.ndarray, level: float) -> dict[str, np.ndarray]:
    """Return the pooled logit of DerSimonian and Laird and what led to it."""
    from scipy.special import expit, ndtri

    y, v = _logits(x, n)
    tau2, q = 0.0, 0.0
    if len(x) > 1:
        from statsmodels.stats.meta_analysis import combine_effects

        # statsmodels goes on with a tau2 below 0 where studies differ less than by chance; it is 0 then.
        with np.errstate(invalid="ignore"):
            found = combine_effects(y, v, method_re="dl")
        tau2, q = max(0.0, float(found.tau2)), float(found.q)
    weights = 1 / (v + tau2)
    logit = (weights * y).sum() / weights.sum()
    half = ndtri((1 + level) / 2) / np.sqrt(weights.sum())
    return {
        "weights": weights, "logit": logit, "variance": 1 / weights.sum(), "q": np.asarray(q), "tau2": np.asarray(tau2),
        "ends": expit([logit, logit - half, logit + half]),
    }  # fmt: skip


def _logits(x: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rest = n - x
    extra = np.where((x == 0) | (rest == 0), 0.5, 0.0)
    return np.log((x + extra) / (rest + extra)), 1 / (x + extra) + 1 / (rest + extra)


def _q(y: np.ndarray, w: np.ndarray) -> tuple[float, float]:
    mean = float((w * y).sum() / w.sum())
    return float((w * (y - mean) ** 2).sum()), mean


def _pooled_row(
    kind: str, group: str, pool: dict[str, np.ndarray], x: np.ndarray, n: np.ndarray, weight: float
) -> dict[str, object]:
    from scipy.stats import chi2

    df, q = len(x) - 1, float(pool["q"])
    p = float(chi2.sf(q, df)) if df else np.nan
    floor = float(chi2.sf(max(q, _largest_q(x, n)), df)) if df else np.nan
    return {
        "kind": kind, "study": group or "all", "subgroup": group, "n_studies": len(x), "events": int(x.sum()),
        "n": int(n.sum()), "proportion": pool["ends"][0], "low": pool["ends"][1], "high": pool["ends"][2],
        "weight_pct": weight, "tau2": float(pool["tau2"]) if df else np.nan,
        "i2_pct": (100 * max(0.0, (q - df) / q) if q > 0 else 0.0) if df else np.nan, "q": q if df else np.nan,
        "df": float(df), "p_value": p, "p_minimum": floor,
        "note": "" if df else "one study: heterogeneity is not known",
    }  # fmt: skip


def _largest_q(x: np.ndarray, n: np.ndarray) -> float:
    """Return Q were all the events in as few studies as possible, the largest or the smallest studies first."""
    largest = []
    for order in (np.argsort(n), np.argsort(-n)):
        before = np.concatenate([[0], np.cumsum(n[order])[:-1]])
        packed = np.clip(x.sum() - before, 0, n[order])
        y, v = _logits(packed, n[order])
        largest.append(_q(y, 1 / v)[0])
    return max(largest)
