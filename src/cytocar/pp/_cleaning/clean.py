"""Which events are single live cells, and which are beads, debris, doublets or dead cells."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cytocar._core import keys, provenance
from cytocar._core.errors import ParameterError, StateError
from cytocar._core.samples import own, sample_positions
from cytocar.panel.names import marker_key
from cytocar.pp._channels import _bead_sets, counts_of, gaussian, strongest, technical, with_role
from cytocar.pp._cleaning.classify import CLASSES, PARTS, classify, score
from cytocar.pp._cleaning.limit import COFACTOR, Limit

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import ArrayLike, NDArray

CLEAN: Final = "clean"
GAUSSIAN_ZERO: Final = "gaussian_zero"
SCORES: Final = {criterion: f"score_{criterion}" for criterion in PARTS}


# The marker whose signal doubles when two blood cells are one event.
_ON_ALL_CELLS: Final = "cd45"


def _as_dict(limit: Limit) -> dict[str, Any]:
    return {
        "criterion": limit.criterion,
        "value": limit.value if limit.judged else None,
        "unit": limit.unit,
        "side": limit.side,
        "combine": limit.combine,
        "channels": list(limit.channels),
        "weights": list(limit.weights),
        "rule": limit.rule,
        "note": limit.note,
    }


def _numbers(code: NDArray[np.int8]) -> dict[str, int]:
    numbers = np.bincount(code, minlength=len(CLASSES)).tolist()
    return dict(zip(CLASSES, numbers, strict=True))


def clean(
    adata: AnnData,
    *,
    beads: str | Sequence[str] = "auto",
    scores: bool = False,
    sample_key: str = "sample_id",
    copy: bool = False,
) -> AnnData | None:
    """Sort events into cells, beads, debris, doublets and dead cells by limits found in each sample; remove nothing.

    All limits are on arcsinh(counts / 5), of the DNA and viability channels that are seen best:

    - *bead*: high in all bead channels at once (valley of the density of the lowest of them); *cell_bead* where
      it has the DNA of a cell;
    - *debris*: below the valley between debris and cells of DNA, Event_length and CD45, added with the weights of
      Fisher's discriminant, and with less than two thirds of the DNA of a cell, so that whole cells without CD45
      stay; by DNA alone, or DNA and Event_length, where the others are missing or do not tell more;
    - *dead*: above the valley of the viability stain;
    - *doublet*: DNA, Event_length and CD45, added with the weights that tell two cells from one best, above the
      99.5 % quantile of single cells (99 % where there is no CD45), with DNA nearer to that of two cells, and with
      length and CD45 nearer to those of two cells (longer than a typical cell where there is no CD45); so
      most cells in division, which have twice the DNA at the usual length, stay. The mode and the lower half of the
      cells tell where that quantile is.

    An event gets the first class that fits, in this order. At a valley, the limit is where cells lose half the
    share that slips through of the others. Where the data do not show a limit, the rule in `clean_limits` begins
    with ``fallback:``, and where a channel is missing with ``not judged:``; a criterion that is not judged takes
    no event. All limits are half-spaces in arcsinh(counts / 5). Gaussian parameters are not used: those of some good
    cells could not be fitted and are all zero, and their residual tells doublets no better than Event_length does.
    Events with all of them zero are marked.

    The criteria follow Bagwell et al. 2020, Cytometry A 97:184, doi 10.1002/cyto.a.23926; the limits are our own.

    Parameters
    ----------
    adata
        Raw events x mass channels, counts in ``X`` or in ``layers["counts"]``, with ``var["role"]`` and
        ``var["mass"]``; Event_length in ``obs``.
    beads
        ``"auto"`` looks for EQ4 and EQ6 beads by mass, ``"off"`` for none; or the names of the bead channels.
    scores
        Whether to keep in ``obs`` how far each event is beyond the limits of each criterion (16 bytes an event).
    sample_key
        Column of ``obs`` that tells samples apart; one sample where there is no ``sample_id``.
    copy
        Return a changed copy and leave `adata` as it is.

    Returns
    -------
    `None`, or the changed copy. Sets the following fields:

    ``obs["event_class"]``
        Categorical: cell, bead, cell_bead, debris, doublet or dead.
    ``obs["gaussian_zero"]``
        bool: Center, Offset, Width, Residual are all exactly 0. Only where ``obs`` has Gaussian parameters.
    ``obs["score_bead"]``, ``obs["score_debris"]``, ``obs["score_dead"]``, ``obs["score_doublet"]``
        float32, only with `scores`: distance to the limit of the criterion, to the one that is met least where there
        are several, in the unit of that limit; 0 and more meets the criterion (an earlier class may have taken the
        event before); NaN where not judged.
    ``uns["cytocar"]["clean"]``
        JSON: per sample the limits, and the number of events of each class.

    Raises
    ------
    StateError
        There are no counts.
    ParameterError
        A bead channel is unknown, a column that is needed is missing, or a value is not finite.

    Examples
    --------
    >>> import anndata, numpy, pandas
    >>> rng = numpy.random.default_rng(0)
    >>> dna = numpy.concatenate([rng.lognormal(6, 0.2, 900), rng.lognormal(2, 0.3, 100)])
    >>> panel = pandas.DataFrame({"role": ["dna"], "mass": [191]}, index=["DNA1"])
    >>> events = anndata.AnnData(dna[:, None].astype("float32"), var=panel)
    >>> events.uns["cytocar"] = {"state": "counts"}
    >>> clean(events)
    >>> events.obs["event_class"].value_counts()[["debris", "dead"]].tolist()
    [100, 0]
    """
    counts = counts_of(adata, "pp.clean")
    sets, no_beads = _bead_sets(adata, beads)
    samples = sample_positions(adata, sample_key)
    names = [str(name) for name in adata.var_names]
    length = technical(adata, "event_length")
    dna, viability = with_role(adata, "dna"), with_role(adata, "viability")

    stain = [column for column, name in enumerate(names) if marker_key(name) == _ON_ALL_CELLS]
    columns = {column for chosen in [*sets, dna, viability, stain] for column in chosen}
    values = {names[column]: counts[:, column] for column in sorted(columns)}
    if length is not None:
        values[length] = adata.obs[length].to_numpy(dtype=np.float32)
    for name, value in values.items():
        if not np.isfinite(value).all():
            event = int(np.flatnonzero(~np.isfinite(value))[0])
            raise ParameterError(f"{name} is {value[event]} in event {event}", fix="values must be finite")

    code = np.zeros(adata.n_obs, dtype=np.int8)
    shapes = gaussian(adata)
    no_fit = (adata.obs[shapes].to_numpy() == 0).all(axis=1) if shapes else None
    beyond = {name: np.full(adata.n_obs, np.nan, dtype=np.float32) for name in SCORES.values() if scores}
    kept: dict[str, Any] = {}
    for sample, rows in samples:
        signals = {name: np.arcsinh(value[rows] * np.float32(1 / COFACTOR)) for name, value in values.items()}
        found, limits = classify(
            signals,
            beads=[tuple(names[column] for column in chosen) for chosen in sets],
            no_beads=no_beads,
            dna=strongest(signals, [names[column] for column in dna]),
            viability=strongest(signals, [names[column] for column in viability]),
            length=length,
            stain=names[stain[0]] if stain else None,
        )
        if signals:
            code[rows] = found
            for criterion, name in SCORES.items():
                if scores:
                    beyond[name][rows] = score(limits, criterion, signals, rows.size)
        kept[sample] = {
            "events": int(rows.size),
            "classes": _numbers(code[rows]),
            GAUSSIAN_ZERO: None if no_fit is None else _numbers(code[rows][no_fit[rows]]),
            "limits": [_as_dict(limit) for limit in limits],
        }

    import pandas as pd

    adata = adata.copy() if copy else own(adata)
    adata.obs[keys.EVENT_CLASS] = pd.Categorical.from_codes(code, dtype=pd.CategoricalDtype(list(CLASSES)))
    for name in (GAUSSIAN_ZERO, *SCORES.values()):
        if name in adata.obs:
            # left by an earlier run, and not of these limits
            del adata.obs[name]
    if no_fit is not None:
        adata.obs[GAUSSIAN_ZERO] = no_fit
    for name, values_of in beyond.items():
        adata.obs[name] = values_of
    adata.uns.setdefault(keys.UNS, {})[CLEAN] = json.dumps(kept)
    provenance.record(adata, "pp.clean", {"beads": beads, "scores": scores, "sample_key": sample_key})
    return adata if copy else None


def _kept(adata: AnnData) -> dict[str, Any]:
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
    for which nothing is removed; NaN where there are no such parameters), one row a class, all six classes for each
    sample.

    Raises
    ------
    StateError
        `clean` has not been run.

    Examples
    --------
    >>> import anndata, numpy, pandas
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
        for sample, entry in _kept(adata).items()
        for name, events in entry["classes"].items()
    ]
    return pd.DataFrame(rows, columns=[keys.SAMPLE, "class", "events", "share", GAUSSIAN_ZERO])


def clean_losses(adata: AnnData, of_interest: ArrayLike, *, sample_key: str = "sample_id") -> pd.DataFrame:
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
    0 to 1; NaN where there are none), one row a class, all six classes for each sample.

    Raises
    ------
    StateError
        `clean` has not been run.
    ParameterError
        `of_interest` is not bool, or not one value an event.

    Examples
    --------
    >>> import cytocar as cc
    >>> adata = cc.datasets.legend2(cells=5000, timepoints=["2mo"])
    >>> clean(adata)
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
            fix=f"it must be bool of shape ({adata.n_obs},), one value an event",
        )
    classes = adata.obs[keys.EVENT_CLASS].astype(str).to_numpy()
    table = []
    for sample, rows in sample_positions(adata, sample_key):
        found = classes[rows[chosen[rows]]]
        for name in CLASSES:
            events = int(np.count_nonzero(found == name))
            table.append((sample, name, events, events / found.size if found.size else float("nan")))
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
    >>> panel = pandas.DataFrame({"role": ["marker"], "mass": [170]}, index=["CD3"])
    >>> events = anndata.AnnData(numpy.ones((3, 1), dtype="float32"), var=panel)
    >>> events.uns["cytocar"] = {"state": "counts"}
    >>> clean(events)
    >>> clean_limits(events)["rule"].tolist()[1]
    'not judged: there is no DNA channel'
    """
    import pandas as pd

    rows = []
    for sample, entry in _kept(adata).items():
        for limit in entry["limits"]:
            parts = [
                channel if weight == 1.0 else f"{weight:.3f} {channel}"
                for channel, weight in zip(limit["channels"], limit["weights"], strict=True)
            ]
            formula = f"min({', '.join(parts)})" if limit["combine"] == "min" else " + ".join(parts)
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
