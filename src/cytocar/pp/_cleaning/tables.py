"""What the clean-up found, as tables: events of each class, which events of interest it took, and the limits."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import ParameterError, StateError
from cytocar._core.samples import sample_positions
from cytocar._core.vocabulary import EVENT_CLASSES

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import ArrayLike

# uns["cytocar"]["clean"]
CLEAN: Final = "clean"
GAUSSIAN_ZERO: Final = "gaussian_zero"


def kept_limits(adata: AnnData) -> dict[str, Any]:
    """Return what `clean` kept of each sample."""
    text = adata.uns.get(keys.UNS, {}).get(CLEAN)
    if text is None:
        raise StateError("these events have not been sorted into classes", fix="run cytocar.pp.clean first")
    kept: dict[str, Any] = json.loads(text)
    return kept


def clean_table(adata: AnnData) -> pd.DataFrame:
    """Return how many events of each sample are of each class.

    Parameters
    ----------
    adata
        Events after `clean`.

    Returns
    -------
    Table with the columns ``sample_id``, ``class``, ``events``, ``share`` (of all events of the sample, 0 to 1; NaN
    for a sample without events) and ``gaussian_zero`` (how many of them have Gaussian parameters that are all zero,
    for which nothing is removed; NaN where there are no such parameters), one row per class, all six classes for each
    sample.

    Raises
    ------
    StateError
        `clean` has not been run.

    Examples
    --------
    >>> import anndata, numpy, pandas
    >>> from cytocar.pp import clean
    >>> panel = pandas.DataFrame({"role": ["marker"], "mass": [170]}, index=["CD3"])
    >>> events = anndata.AnnData(numpy.ones((3, 1), dtype="float32"), var=panel)
    >>> events.uns["cytocar"] = {"state": "counts"}
    >>> clean(events)
    >>> clean_table(events)["events"].tolist()
    [3, 0, 0, 0, 0, 0]
    """
    import pandas as pd

    rows = [
        (
            sample,
            name,
            events,
            events / entry["events"] if entry["events"] else float("nan"),
            float((entry.get(GAUSSIAN_ZERO) or {}).get(name, float("nan"))),
        )
        for sample, entry in kept_limits(adata).items()
        for name, events in entry["classes"].items()
    ]
    return pd.DataFrame(rows, columns=[keys.SAMPLE, "class", "events", "share", GAUSSIAN_ZERO])


def clean_losses(adata: AnnData, of_interest: ArrayLike, *, sample_key: str = keys.SAMPLE) -> pd.DataFrame:
    """Return which classes events of interest were sorted into, such as events with VHH and CD3 before clean-up.

    Parameters
    ----------
    adata
        Events after `clean`.
    of_interest
        Which events: bool of shape (events,).
    sample_key
        Column of ``obs`` that tells samples apart; one sample where there is no ``sample_id``.

    Returns
    -------
    Table with the columns ``sample_id``, ``class``, ``events`` and ``share`` (of the events of interest in the sample,
    0 to 1; NaN where there are none), one row per class, all six classes for each sample.

    Raises
    ------
    StateError
        `clean` has not been run.
    ParameterError
        `of_interest` is not bool, or not one value per event.

    Examples
    --------
    >>> import cytocar as cc
    >>> adata = cc.datasets.legend2(cells=5000, timepoints=["2mo"])
    >>> cc.pp.clean(adata)
    >>> bright = (adata[:, ["VHH", "CD3"]].X > 40).all(axis=1)
    >>> table = clean_losses(adata, bright)
    >>> int(table["events"].sum()) == int(bright.sum())
    True
    """
    import pandas as pd

    if keys.EVENT_CLASS not in adata.obs:
        raise StateError("these events have not been sorted into classes", fix="run cytocar.pp.clean first")
    chosen = np.asarray(of_interest)
    if chosen.dtype != np.bool_ or chosen.shape != (adata.n_obs,):
        raise ParameterError(
            f"of_interest is {chosen.dtype} of shape {chosen.shape}",
            fix=f"it must be bool of shape ({adata.n_obs},), one value per event",
        )
    classes = adata.obs[keys.EVENT_CLASS].astype(str).to_numpy()
    table = []
    for sample, rows in sample_positions(adata, sample_key):
        of_sample = classes[rows[chosen[rows]]]
        for name in EVENT_CLASSES:
            events = int(np.count_nonzero(of_sample == name))
            share = events / of_sample.size if of_sample.size else float("nan")
            table.append((sample, name, events, share))
    return pd.DataFrame(table, columns=[keys.SAMPLE, "class", "events", "share"])


def clean_limits(adata: AnnData) -> pd.DataFrame:
    """Return the limits that sorted the events, with how each was found.

    Parameters
    ----------
    adata
        Events after `clean`.

    Returns
    -------
    Table with the columns ``sample_id``, ``criterion`` (bead, bead_dna, debris, debris_dna, dead, doublet, doublet_dna,
    doublet_length), ``value`` (NaN where not judged), ``unit``, ``rule`` and ``note``, and how the value is compared:
    ``channels`` as a formula on counts, ``side`` (above or below).

    Raises
    ------
    StateError
        `clean` has not been run.

    Examples
    --------
    >>> import anndata, numpy, pandas
    >>> from cytocar.pp import clean
    >>> panel = pandas.DataFrame({"role": ["marker"], "mass": [170]}, index=["CD3"])
    >>> events = anndata.AnnData(numpy.ones((3, 1), dtype="float32"), var=panel)
    >>> events.uns["cytocar"] = {"state": "counts"}
    >>> clean(events)
    >>> clean_limits(events)["rule"].tolist()[1]
    'not judged: there is no DNA channel'
    """
    import pandas as pd

    rows = []
    for sample, entry in kept_limits(adata).items():
        for limit in entry["limits"]:
            terms = [
                channel if weight == 1.0 else f"{weight:.3f} {channel}"
                for channel, weight in zip(limit["channels"], limit["weights"], strict=True)
            ]
            formula = f"min({', '.join(terms)})" if limit["combine"] == "min" else " + ".join(terms)
            value = float("nan") if limit["value"] is None else float(limit["value"])
            rows.append(
                (
                    sample,
                    limit["criterion"],
                    value,
                    limit["unit"],
                    limit["rule"],
                    limit["note"],
                    formula,
                    limit["side"],
                )
            )
    columns = [keys.SAMPLE, "criterion", "value", "unit", "rule", "note", "channels", "side"]
    return pd.DataFrame(rows, columns=columns)
