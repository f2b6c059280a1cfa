"""How many CAR-T cells there are, how sure that is, and whether they are there at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import ParameterError
from cytocar._core.vocabulary import CONTROL_ROLE, DETECTED, NOT_DETECTED, PATIENT_ROLE, QUANTIFIED
from cytocar.tl import _counts
from cytocar.tl._rare.limits import events_for_cv, limit_of_blank, limit_of_detection
from cytocar.tl._statistics.intervals import clopper_pearson, upper_limit

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


_WHAT = "the table of counts"


def detection(
    data: AnnData | pd.DataFrame,
    *,
    background_rate: float | None = None,
    transfer: float = 2.0,
    cv: float = 0.2,
    level: float = 0.95,
    car: str = "CAR-T",
    host: str = "Host T",
    denominator: str = "CD45+",
) -> pd.DataFrame:
    """Return the CAR-T frequency of every sample with its exact interval, its background, and a call.

    **Background.** Some host T cells lie above the CAR threshold. Their rate is measured where no CAR-T cell can be:
    in the T cells of negative-control tubes, pooled, if there are any; else in the cells of the same tube
    that are known to be negative (`n_negative_above` of `n_negative`). The rate is itself an estimate, so the limits
    are set for its one-sided upper 95 % Clopper-Pearson limit:
    ``background_events = upper rate x (n_host_t + n_car)``, because a blank is a tube in which every T cell is a
    host cell. ``background_expected`` is the point estimate of how many of the CAR-T events are false,
    ``rate / (1 - rate) x n_host_t``. Known-negative cells are not T cells, which may bind more of the
    antibody: to the upper rate from them, `transfer` - 1 times the rate is added.

    **Limits** in events, for a Poisson background (CLSI EP17; Armbruster & Pry 2008, PMID 18852857): limit of
    blank, limit of detection, and the limit of quantitation: the events at which the coefficient of variation
    is `cv`, or the limit of detection where that is larger.

    **Calls.** ``not_detected``: at or below the limit of blank. ``quantified``: at or above the limit of
    quantitation and above that of detection. ``detected``: between. Where no background could be measured, the limits
    are unknown (NaN), ``quantified`` is never said, and ``detected`` only from the limit of quantitation on.

    Parameters
    ----------
    data
        A table, one row per sample, with `sample_id`, `n_cd45`, `n_car`, `n_host_t` and, where known, `patient_id`,
        `timepoint`, `months`, `role` (``negative_control`` marks a tube without CAR-T cells), `n_negative`,
        `n_negative_above`, `wbc_per_ul`, `lymphocytes_per_ul`, `n_lymphocytes`; or an AnnData with gates applied.
    background_rate
        False events per host T cell, if it is known from elsewhere; it is then taken as exact.
    transfer
        How many times more often T cells may be falsely positive than known-negative cells, at least 1.
    cv
        Coefficient of variation that a quantified count must reach, as a share.
    level
        Confidence of the intervals.
    car, host, denominator
        Populations of the gates that are counted; not used for a table.

    Returns
    -------
    DataFrame
        One row per sample, in the order given: ``sample_id, patient_id, timepoint, months, n_cd45, n_car, n_host_t``;
        ``pct_of_cd45, pct_low, pct_high`` (%); ``background_events, lob_events, lod_events, loq_events`` (events);
        ``call``; ``role``; ``background_expected`` (events), ``background_rate``, ``background_source``
        (``negative_control``, ``known_negative``, ``given`` or ``unknown``); ``pct_net, pct_net_low, pct_net_high``
        (%, less the background, not below 0); ``cells_per_ul, cells_per_ul_low, cells_per_ul_high`` and
        ``cells_per_ul_basis`` (see Notes); ``note``.

    Raises
    ------
    ParameterError
        A column is missing, a count is not one, `n_car` is more than `n_cd45`, or a sample stands twice.
    StateError
        An AnnData without gates.

    Notes
    -----
    A share has a moving denominator: with blood counts given, cells per microlitre stand beside it. From
    `wbc_per_ul`: times n_car / n_cd45, which takes CD45+ events for the white cells, true of whole blood and not
    of separated mononuclear cells. From `lymphocytes_per_ul`: times n_car / n_lymphocytes where the
    table has that column, else times n_car / n_cd45, which is too low by the share of CD45+ cells that are
    not lymphocytes. Lymphocytes go first where both are given with `n_lymphocytes`. The interval is that of the share.

    Examples
    --------
    >>> import pandas
    >>> counts = pandas.DataFrame(
    ...     {"sample_id": ["5yr"], "n_cd45": [100_000], "n_car": [240], "n_host_t": [52_000],
    ...      "n_negative": [34_000], "n_negative_above": [3]}
    ... )
    >>> found = detection(counts).iloc[0]
    >>> found["call"], float(found["lob_events"]), round(float(found["pct_low"]), 3)
    ('quantified', 23.0, 0.211)
    """
    import pandas as pd

    if _counts.is_table(data):
        table = data.reset_index(drop=True)
    else:
        table = _counts.gated_counts(data, car=car, host=host, denominator=denominator)
    _counts.require_columns(table, (keys.SAMPLE, "n_cd45", "n_car", "n_host_t"), _WHAT)
    sample = _counts.text(table, keys.SAMPLE)
    twice = table.loc[pd.Series(sample).duplicated(), keys.SAMPLE]
    if len(twice):
        raise ParameterError(
            f"{_WHAT}: sample {str(twice.iloc[0])!r} has more than one row", fix="one row per sample"
        )
    n_cd45, n_car, n_host = (
        _counts.whole(table, column, _WHAT) for column in ("n_cd45", "n_car", "n_host_t")
    )
    over = np.flatnonzero(n_car > n_cd45)
    if over.size:
        at = over[0]
        raise ParameterError(
            f"{_WHAT}: sample {sample[at]!r} has n_car = {n_car[at]:.0f} of n_cd45 = {n_cd45[at]:.0f}",
            fix="CAR-T cells are a part of the CD45+ cells",
        )

    rate, upper, source = _rates(table, n_car, n_host, background_rate, transfer)
    events = upper * (n_host + n_car)
    expected = np.minimum(rate / np.maximum(1.0 - rate, 1e-12) * n_host, n_car)
    lob = np.asarray(limit_of_blank(events))
    lod = np.asarray(limit_of_detection(events))
    enough = float(events_for_cv(cv))
    loq = np.fmax(lod, enough)
    call = np.where(n_car > lob, DETECTED, NOT_DETECTED).astype(object)
    call[(n_car >= loq) & (n_car > lod)] = QUANTIFIED
    unknown = np.isnan(events)
    call[unknown & (n_car >= enough)] = DETECTED

    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(n_cd45 > 0, n_car / n_cd45, np.nan)
        net_expected = np.where(n_cd45 > 0, expected / n_cd45, np.nan)
        net_upper = np.where(n_cd45 > 0, np.minimum(upper * n_host, n_car) / n_cd45, np.nan)
    low, high = (np.where(n_cd45 > 0, limit, np.nan) for limit in clopper_pearson(n_car, n_cd45, level))
    per_ul, basis = _per_microlitre(table, n_car, n_cd45, share, low, high, level)
    result = {
        keys.SAMPLE: sample,
        keys.PATIENT: _counts.text(table, keys.PATIENT),
        keys.TIMEPOINT: _counts.text(table, keys.TIMEPOINT),
        keys.MONTHS: _counts.number(table, keys.MONTHS),
        "n_cd45": n_cd45.astype(np.int64),
        "n_car": n_car.astype(np.int64),
        "n_host_t": n_host.astype(np.int64),
        "pct_of_cd45": 100.0 * share,
        "pct_low": 100.0 * low,
        "pct_high": 100.0 * high,
        "background_events": events,
        "lob_events": lob,
        "lod_events": lod,
        "loq_events": loq,
        "call": call,
        keys.ROLE: _counts.text(table, keys.ROLE, PATIENT_ROLE),
        "background_expected": expected,
        "background_rate": rate,
        "background_source": source,
        "pct_net": 100.0 * np.maximum(share - net_expected, 0.0),
        "pct_net_low": 100.0 * np.maximum(low - net_upper, 0.0),
        "pct_net_high": 100.0 * np.where(unknown, np.nan, high),
        "cells_per_ul": per_ul[0],
        "cells_per_ul_low": per_ul[1],
        "cells_per_ul_high": per_ul[2],
        "cells_per_ul_basis": basis,
        "note": _notes(n_cd45, n_car, call, unknown, basis),
    }
    return pd.DataFrame(result)


def _rates(
    table: pd.DataFrame, n_car: np.ndarray, n_host: np.ndarray, given: float | None, transfer: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return per sample the false events per host T cell, its upper limit, and where it was measured."""
    n = len(table)
    if not transfer >= 1.0:
        raise ParameterError(
            f"transfer is {transfer!r}", fix="T cells are at least as often false, so at least 1"
        )
    if given is not None:
        if not 0.0 <= given < 1.0:
            raise ParameterError(f"background_rate is {given!r}", fix="it must be from 0 to below 1")
        return np.full(n, given), np.full(n, given), np.full(n, "given", dtype=object)
    is_control = _counts.text(table, keys.ROLE) == CONTROL_ROLE
    blank = float((n_car + n_host)[is_control].sum())
    if blank > 0:
        false = float(n_car[is_control].sum())
        upper = float(upper_limit(false, blank))
        return np.full(n, false / blank), np.full(n, upper), np.full(n, CONTROL_ROLE, dtype=object)
    rate, upper_rate = np.full(n, np.nan), np.full(n, np.nan)
    source = np.full(n, "unknown", dtype=object)
    if {"n_negative", "n_negative_above"} <= set(table.columns):
        negative = np.nan_to_num(_counts.number(table, "n_negative"))
        above = np.nan_to_num(_counts.number(table, "n_negative_above"))
        wrong = np.flatnonzero((above > negative) | (above < 0))
        if wrong.size:
            at = wrong[0]
            raise ParameterError(
                f"{_WHAT}: sample {str(table[keys.SAMPLE].iloc[at])!r} has n_negative_above = {above[at]:g} of "
                f"n_negative = {negative[at]:g}",
                fix="it must be from 0 to n_negative",
            )
        has_negative = negative > 0
        rate[has_negative] = above[has_negative] / negative[has_negative]
        limit = np.asarray(upper_limit(above[has_negative], negative[has_negative]))
        upper_rate[has_negative] = np.minimum(limit + (transfer - 1.0) * rate[has_negative], 1.0)
        source[has_negative] = "known_negative"
    return rate, upper_rate, source


def _per_microlitre(
    table: pd.DataFrame,
    n_car: np.ndarray,
    n_cd45: np.ndarray,
    share: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    level: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return cells per microlitre with their interval (3 x samples), and the words for what they rest on."""
    lymphocytes, white = _counts.number(table, keys.LYMPHOCYTES), _counts.number(table, keys.LEUKOCYTES)
    counted = _counts.number(table, "n_lymphocytes")
    values = np.full((3, len(table)), np.nan)
    basis = np.full(len(table), "", dtype=object)
    of_cd45 = np.stack([share, low, high])
    exact = np.isfinite(lymphocytes) & (counted >= n_car) & (counted > 0)
    if exact.any():
        limits = clopper_pearson(n_car[exact], counted[exact], level)
        values[:, exact] = lymphocytes[exact] * np.stack(
            [n_car[exact] / counted[exact], *map(np.asarray, limits)]
        )
        basis[exact] = "lymphocytes"
    by_white = ~exact & np.isfinite(white)
    values[:, by_white] = white[by_white] * of_cd45[:, by_white]
    basis[by_white] = "white cells (CD45+)"
    rest = ~exact & ~by_white & np.isfinite(lymphocytes)
    values[:, rest] = lymphocytes[rest] * of_cd45[:, rest]
    basis[rest] = "lymphocytes, share of CD45+: a lower bound"
    basis[n_cd45 == 0] = ""
    return values, basis


def _notes(
    n_cd45: np.ndarray, n_car: np.ndarray, call: np.ndarray, unknown: np.ndarray, basis: np.ndarray
) -> list[str]:
    notes = []
    for i in range(len(n_cd45)):
        remarks = []
        if n_cd45[i] == 0:
            remarks.append("no cells in the denominator: no frequency")
        if unknown[i]:
            remarks.append(
                "no background could be measured (neither a negative control nor known-negative cells): "
                "the limits are unknown, and the call rests on the count alone"
            )
        elif call[i] == NOT_DETECTED and n_car[i] > 0:
            remarks.append("no more events in the CAR gate than background alone may give")
        if basis[i].endswith("lower bound"):
            remarks.append(
                "cells per microlitre too low: CD45+ cells that are not lymphocytes are in the denominator"
            )
        notes.append("; ".join(remarks))
    return notes
