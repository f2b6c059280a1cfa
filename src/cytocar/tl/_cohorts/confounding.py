"""Can the sheet tell time and group from the batch? Found before anything is compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import ParameterError, did_you_mean
from cytocar._core.vocabulary import CONTROL_ROLE

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

COLUMNS = ("factor", keys.BATCH, "verdict", "n_samples", "cramers_v", "not_separable", "message")
_WORST = ("aliased", "partly aliased", "unknown", "unbalanced", "balanced", "no comparison")


def confounding(
    samples: pd.DataFrame,
    *,
    factors: Sequence[str] = (keys.TIMEPOINT, keys.GROUP),
    batches: Sequence[str] = (keys.BATCH,),
    strong: float = 0.5,
) -> pd.DataFrame:
    """Return, for each factor and batch, whether their effects can be told apart, worst first.

    Two levels of a factor can be told apart from the batch only if a chain of batches links them: a batch that holds
    both, or one that holds one of them and shares a third with another batch. That is the same as asking whether their
    difference is estimable in ``~ factor + batch``. Where no batch is shared, a difference between the levels may be
    the batch's, and a correction for the batch would remove the biology with it.

    Parameters
    ----------
    samples
        The sample sheet, one row per sample, as `samples.csv` has them. Negative controls are left out.
    factors
        Columns that hold what is compared; those that the sheet does not have are passed over.
    batches
        Columns that hold what went together through the instrument.
    strong
        Cramér's V (0 independent, 1 the same) from which on levels that can be told apart are called unbalanced.

    Returns
    -------
    DataFrame
        ``factor, batch, verdict, n_samples, cramers_v, not_separable, message``. `verdict` is ``aliased`` (no two
        levels share a batch), ``partly aliased`` (some do not: `not_separable` names the sets, such as
        ``"2mo | 6mo, 12mo"``), ``unbalanced``, ``balanced``, ``unknown`` (the sheet has no batch, or not for all),
        or ``no comparison`` (the factor has one level). `message` is a sentence for the reader.

    Raises
    ------
    ParameterError
        `samples` has no row, `strong` is not a share, or none of `factors` is a column.

    Examples
    --------
    >>> import pandas
    >>> sheet = pandas.DataFrame({"sample_id": ["a", "b"], "timepoint": ["2mo", "5yr"], "batch": ["1", "2"]})
    >>> found = confounding(sheet).iloc[0]
    >>> str(found["verdict"]), str(found["not_separable"])
    ('aliased', '2mo | 5yr')
    """
    import pandas as pd

    if not 0.0 < strong <= 1.0:
        raise ParameterError(f"strong is {strong!r}", fix="it must be above 0 and at most 1")
    if keys.ROLE in samples.columns:
        samples = samples[samples[keys.ROLE].astype(str) != CONTROL_ROLE]
    if not len(samples):
        raise ParameterError("samples has no row of a patient: there is nothing to look at")
    present = [name for name in factors if name in samples.columns]
    present = [name for name in present if (_text(samples[name]) != "").any()]
    if not present:
        looked = ", ".join(factors)
        raise ParameterError(
            f"samples has none of the columns {looked} filled in",
            fix=did_you_mean(looked, map(str, samples.columns)),
        )
    rows = [
        _judged(samples, factor, batch, strong) for factor in present for batch in batches if batch != factor
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    order = table["verdict"].map({verdict: rank for rank, verdict in enumerate(_WORST)})
    return table.iloc[np.argsort(order.to_numpy(), kind="stable")].reset_index(drop=True)


def _text(column: pd.Series) -> NDArray[np.str_]:
    text = np.where(column.notna(), column.astype(str).to_numpy(object), "").astype(str)
    return np.asarray(np.where(np.isin(text, ["nan", "None", "<NA>"]), "", text))


def _judged(samples: pd.DataFrame, factor: str, batch: str, strong: float) -> tuple[object, ...]:
    level = _text(samples[factor])
    named = level != ""
    levels = list(dict.fromkeys(level[named].tolist()))
    n = int(named.sum())
    if len(levels) < 2:
        text = f"All {n} samples have {factor} = {levels[0]}: nothing is compared over {factor}."
        return factor, batch, "no comparison", n, float("nan"), "", text
    if batch not in samples.columns or not (_text(samples[batch]) != "").any():
        text = (
            f"The sheet has no {batch}: whether a difference over {factor} is one between batches cannot be seen. "
            f"Fill in the column {batch!r}."
        )
        return factor, batch, "unknown", n, float("nan"), "", text
    run = _text(samples[batch])
    if (run[named] == "").any():
        missing = (
            ", ".join(samples.loc[named & (run == ""), keys.SAMPLE].astype(str))
            if keys.SAMPLE in samples
            else "some"
        )
        text = f"The {batch} of {missing} is not known, so {factor} cannot be judged against it."
        return factor, batch, "unknown", n, float("nan"), "", text
    level, run = level[named], run[named]
    runs = list(dict.fromkeys(run.tolist()))
    counts = np.array([[int(((level == a) & (run == b)).sum()) for b in runs] for a in levels])
    v = _cramers_v(counts)
    if len(runs) == 1:
        return factor, batch, "balanced", n, v, "", f"All {n} samples are of one {batch} ({runs[0]})."
    sets = _linked(counts)
    shown = " | ".join(", ".join(levels[i] for i in members) for members in sets)
    if len(sets) > 1:
        verdict = "aliased" if len(sets) == len(levels) else "partly aliased"
        text = (
            f"{batch.capitalize()} and {factor} cannot be told apart between {shown}: no {batch} links them. "
            f"A difference between them may be one of {batch}, and correcting for {batch} would remove it "
            "whatever its cause."
        )
        return factor, batch, verdict, n, v, shown, text
    if v >= strong:
        text = (
            f"{batch.capitalize()} and {factor} go together (Cramér's V {v:.2f}) but can be told apart: "
            f"put {batch} into the formula; intervals will be wider."
        )
        return factor, batch, "unbalanced", n, v, "", text
    return (
        factor,
        batch,
        "balanced",
        n,
        v,
        "",
        f"{batch.capitalize()} and {factor} can be told apart (Cramér's V {v:.2f}).",
    )


def _cramers_v(counts: NDArray[np.int_]) -> float:
    """Return sqrt(chi2 / (n (min(rows, columns) - 1))); 0 where one of them has one level."""
    smaller = min(counts.shape) - 1
    if smaller < 1:
        return 0.0
    n = counts.sum()
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / n
    return float(np.sqrt(((counts - expected) ** 2 / expected).sum() / (n * smaller)))


def _linked(counts: NDArray[np.int_]) -> list[list[int]]:
    """Return the sets of levels (rows) that batches (columns) link, in the order of their first level."""
    from scipy.sparse import block_array
    from scipy.sparse.csgraph import connected_components

    shared = (counts > 0).astype(np.int8)
    graph = block_array([[None, shared], [shared.T, None]])
    number = connected_components(graph, directed=False)[1][: len(counts)]
    return [np.flatnonzero(number == one).tolist() for one in dict.fromkeys(number.tolist())]
