"""Which events are single live cells, and which are beads, debris, doublets or dead cells."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cytocar._core import keys, provenance
from cytocar._core.samples import own, sample_positions
from cytocar._core.vocabulary import EVENT_CLASSES
from cytocar.panel.antigens import marker_index
from cytocar.pp._channels import (
    bead_sets,
    counts_of,
    gaussian,
    require_finite_channels,
    strongest,
    technical,
    with_role,
)
from cytocar.pp._cleaning.classify import LIMITS_OF, classify, score
from cytocar.pp._cleaning.limit import COFACTOR, Limit
from cytocar.pp._cleaning.tables import CLEAN, GAUSSIAN_ZERO

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

SCORES: Final = {criterion: f"score_{criterion}" for criterion in LIMITS_OF}
# The marker whose signal doubles when two blood cells are one event.
_ON_ALL_CELLS: Final = "CD45"


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
    numbers = np.bincount(code, minlength=len(EVENT_CLASSES)).tolist()
    return dict(zip(EVENT_CLASSES, numbers, strict=True))


def clean(
    adata: AnnData,
    *,
    beads: str | Sequence[str] = "auto",
    scores: bool = False,
    sample_key: str = keys.SAMPLE,
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
        Whether to keep in ``obs`` how far each event is beyond the limits of each criterion (16 bytes per event).
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
    sets, no_beads = bead_sets(adata, beads)
    samples = sample_positions(adata, sample_key)
    channels = _channels_of(adata, sets)
    values = _values_of(adata, counts, channels)
    shapes = gaussian(adata)
    no_fit = (adata.obs[shapes].to_numpy() == 0).all(axis=1) if shapes else None

    code = np.zeros(adata.n_obs, dtype=np.int8)
    beyond = {name: np.full(adata.n_obs, np.nan, dtype=np.float32) for name in SCORES.values() if scores}
    kept: dict[str, Any] = {}
    for sample, rows in samples:
        signals = {name: np.arcsinh(value[rows] * np.float32(1 / COFACTOR)) for name, value in values.items()}
        classes, limits = classify(
            signals,
            beads=channels.beads,
            no_beads=no_beads,
            dna=strongest(signals, channels.dna),
            viability=strongest(signals, channels.viability),
            length=channels.length,
            stain=channels.stain,
        )
        if signals:
            code[rows] = classes
        for criterion, name in SCORES.items():
            if signals and scores:
                beyond[name][rows] = score(limits, criterion, signals, rows.size)
        kept[sample] = {
            "events": int(rows.size),
            "classes": _numbers(code[rows]),
            GAUSSIAN_ZERO: None if no_fit is None else _numbers(code[rows][no_fit[rows]]),
            "limits": [_as_dict(limit) for limit in limits],
        }

    adata = adata.copy() if copy else own(adata)
    _store_columns(adata, code, beyond, no_fit)
    adata.uns.setdefault(keys.UNS, {})[CLEAN] = json.dumps(kept)
    provenance.record(adata, "pp.clean", {"beads": beads, "scores": scores, "sample_key": sample_key})
    return adata if copy else None


def _store_columns(
    adata: AnnData,
    code: NDArray[np.int8],
    beyond: Mapping[str, NDArray[np.float32]],
    no_fit: NDArray[np.bool_] | None,
) -> None:
    import pandas as pd

    classes = pd.CategoricalDtype(list(EVENT_CLASSES))
    adata.obs[keys.EVENT_CLASS] = pd.Categorical.from_codes(code, dtype=classes)
    for name in (GAUSSIAN_ZERO, *SCORES.values()):
        if name in adata.obs:
            # left by an earlier run, and not of these limits
            del adata.obs[name]
    if no_fit is not None:
        adata.obs[GAUSSIAN_ZERO] = no_fit
    for name, values in beyond.items():
        adata.obs[name] = values


@dataclass(frozen=True)
class _Channels:
    """The channels that events are judged by, as names."""

    beads: list[tuple[str, ...]]
    dna: list[str]
    viability: list[str]
    stain: str | None
    length: str | None

    @property
    def measured(self) -> set[str]:
        """Those in X; the length of an event is in obs."""
        of_beads = {name for chosen in self.beads for name in chosen}
        return of_beads | {*self.dna, *self.viability} | ({self.stain} if self.stain else set())


def _channels_of(adata: AnnData, sets: Sequence[Sequence[int]]) -> _Channels:
    names = [str(name) for name in adata.var_names]
    stain = marker_index(names).position(_ON_ALL_CELLS)
    return _Channels(
        beads=[tuple(names[column] for column in chosen) for chosen in sets],
        dna=[names[column] for column in with_role(adata, "dna")],
        viability=[names[column] for column in with_role(adata, "viability")],
        stain=None if stain is None else names[stain],
        length=technical(adata, "event_length"),
    )


def _values_of(
    adata: AnnData, counts: NDArray[np.float32], channels: _Channels
) -> dict[str, NDArray[np.float32]]:
    """Return the values of every channel, or raise where one is not finite."""
    names = [str(name) for name in adata.var_names]
    values = {name: counts[:, column] for column, name in enumerate(names) if name in channels.measured}
    if channels.length is not None:
        values[channels.length] = adata.obs[channels.length].to_numpy(dtype=np.float32)
    require_finite_channels(values)
    return values
