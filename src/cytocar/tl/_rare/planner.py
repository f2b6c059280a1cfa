"""How many cells must be acquired to see a population, before the tube is run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cytocar._core.errors import ParameterError
from cytocar.tl._rare.limits import (
    cells_needed,
    events_for_cv,
    limit_of_blank,
    limit_of_detection,
    possible_cells,
)
from cytocar.tl._statistics.intervals import clopper_pearson

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike


def plan_acquisition(
    fraction: ArrayLike,
    *,
    cv: float = 0.2,
    background_rate: float = 0.0,
    usable: float = 1.0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Return how many cells must be acquired to measure populations of given shares with a given precision.

    Enough cells N for both of: the coefficient of variation of the count less its background,
    ``sqrt((f + b) N) / (f N) <= cv``, so ``N >= (f + b) / (f cv)^2``; and an expected count of at least the limit of
    detection above that background (`cytocar.tl.detection` has the same limits). Counting is the only error
    held here: staining, gating and the day come on top.

    Parameters
    ----------
    fraction
        Share or shares of the population among the cells of the denominator, such as 0.0005 for 0.05 % of CD45+
        cells; above 0 and at most 1.
    cv
        Wanted coefficient of variation as a share.
    background_rate
        False events per cell of the denominator, from 0 to below 1.
    usable
        Share of acquired events that end as cells of the denominator, after beads, debris, doublets, dead cells and
        gating; above 0 and at most 1.
    level
        Confidence of the interval that would be seen.

    Returns
    -------
    DataFrame
        One row per share: ``fraction, cv, background_rate, cells_needed, events_to_acquire`` (cells by `usable`),
        ``events_expected`` (of the population), ``background_events``; ``lob_events, lod_events, loq_events``;
        ``probability_detected`` (count above the limit of blank), ``pct_low, pct_high`` (exact interval of the share in
        %, were the expected events seen), ``limited_by`` (``precision`` or ``detection``).

    Raises
    ------
    ParameterError
        A number is outside its domain.

    Examples
    --------
    >>> plan = plan_acquisition(0.0005, cv=0.2, usable=0.6).iloc[0]
    >>> int(plan.cells_needed), int(plan.events_to_acquire), int(plan.events_expected)
    (50000, 83334, 25)
    """
    import pandas as pd
    from scipy.special import pdtrc

    shares = np.atleast_1d(np.asarray(fraction, dtype=np.float64))
    if not 0.0 < usable <= 1.0:
        raise ParameterError(f"usable is {usable!r}", fix="it must be above 0 and at most 1")
    if not 0.0 <= background_rate < 1.0:
        raise ParameterError(f"background_rate is {background_rate!r}", fix="it must be from 0 to below 1")
    rows = []
    for share in shares.ravel().tolist():
        least = cells_needed(share, cv=cv, background_rate=background_rate)
        precise = int(np.ceil(round(possible_cells((share + background_rate) / share / cv / share / cv), 6)))
        cells = max(least, precise)
        false = background_rate * cells
        lob, lod = float(limit_of_blank(false)), float(limit_of_detection(false))
        expected = share * cells
        # A whole number of cells is seen; the interval is that of the nearest count.
        low, high = clopper_pearson(min(round(expected), cells), cells, level)
        rows.append(
            {
                "fraction": share,
                "cv": cv,
                "background_rate": background_rate,
                "cells_needed": cells,
                "events_to_acquire": int(np.ceil(round(possible_cells(cells / usable), 6))),
                "events_expected": expected,
                "background_events": false,
                "lob_events": lob,
                "lod_events": lod,
                "loq_events": max(float(events_for_cv(cv)), lod),
                "probability_detected": float(pdtrc(lob, expected + false)),
                "pct_low": 100 * float(low),
                "pct_high": 100 * float(high),
                "limited_by": "precision" if precise >= least else "detection",
            }
        )
    return pd.DataFrame(rows)
