"""Carry out a gating strategy on data: find its thresholds in every sample, assign every event, keep what was found."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import GateError, ParameterError, did_you_mean
from cytocar._core.provenance import record, require_state
from cytocar._core.samples import own
from cytocar.gate._apply.load import as_strategy
from cytocar.gate._apply.store import store
from cytocar.gate._populations.gated_input import GatedInput
from cytocar.gate._strategy.against_study import unknown_pins
from cytocar.gate._strategy.fitted import FittedTree
from cytocar.gate._strategy.strategy import GatingOptions, Pins
from cytocar.gate._thresholds.schedule import joined

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from cytocar.gate._documents.document import GatingDocument
    from cytocar.gate._strategy.strategy import Strategy


def apply(  # noqa: PLR0913  # the documented settings of the method
    adata: AnnData,
    strategy: Strategy | GatingDocument | str,
    *,
    controls: Mapping[str, NDArray[Any] | Mapping[str, NDArray[Any]]] | None = None,
    thresholds: Pins | None = None,
    others: Mapping[str, Sequence[float]] | None = None,
    study_samples: Collection[str] | None = None,
    sample_key: str = keys.SAMPLE,
    seed: int = 0,
    copy: bool = False,
) -> AnnData | None:
    """Find the thresholds of a strategy in every sample and assign every event to its populations.

    Gates of other programs are applied in the same way: a `GatingDocument`, or a file of Gating-ML or FlowJo. Their
    shapes are evaluated on the counts, or on X where their axes are arcsinh(x / cofactor) with the cofactor of the
    channel; gates for single files are chosen by the name of the file or of the sample.

    A cell is positive where its arcsinh value is at or above the threshold, negative below it; every population
    is within its parent. Gating starts from the events that ``obs["event_class"]`` calls ``"cell"``, or from all
    events where the clean-up has not run.

    Parameters
    ----------
    adata
        Events x channels with arcsinh values in X. One or more samples.
    strategy
        A `GateTree`, a `GatingDocument`, a `ShapeStrategy` (a document that says which populations are CAR-T and host
        cells), or what `cytocar.gate.load` takes.
    controls
        Name of a threshold to arcsinh values of negative-control cells, as `control_values` returns them: one array,
        or ``{tube: array}``, in which case the threshold has to hold in every tube. None takes the samples with
        ``obs["role"] == "negative_control"`` in `adata`, and the tubes that rules name; ``{}`` takes none.
    thresholds
        Pinned numbers, in arcsinh units: ``{name: number}``, or ``{name: {sample: number}}``.
    others
        Name of a threshold to its numbers in other samples, for strategies that fall back on them when `adata`
        is not the whole study; a threshold that is not in it has none.
    study_samples
        All samples of the study, where `adata` holds some of them; None means that it holds all. A sample for which
        the strategy or `thresholds` pin a number must be among them. (A control tube that a rule names and that is
        not there is no such error: the rule then finds nothing.)
    sample_key
        Column of obs that names the sample; without this column all events are one sample.
    seed
        Of the resamples that tell how far each threshold may move; an integer of at least 0.
    copy
        Return a changed copy and leave `adata` as it is.

    Returns
    -------
    None, or the copy. Sets the following fields:

    ``obsm["gates"]``
        DataFrame of bool, one column per population; one of a document is called by its name, or by as much of the
        end of its path as tells it from others (``B cells > CD27+``).
    ``obs["compartment"]``, ``obs["subset"]``
        Categorical, ``""`` for events in none; when the strategy has compartments.
    ``uns["cytocar"]["gating"]``
        JSON: the strategy, and for each sample every number with its rule, confidence and density, and all counts.

    Raises
    ------
    StateError
        X does not hold arcsinh values.
    GateError
        Markers are missing, compartments overlap, or the strategy pins a number for a sample that nobody has.
    ParameterError
        `thresholds` pins a number for a sample that nobody has.
    ThresholdNotFound
        A threshold has no clear place in a sample. The message shows the density.

    Examples
    --------
    >>> import anndata, numpy as np, pandas as pd
    >>> adata = anndata.AnnData(np.array([[0.2], [4.1]], dtype=np.float32), var=pd.DataFrame(index=["CD3"]))
    >>> adata.uns["cytocar"] = {"state": "arcsinh"}
    >>> from cytocar.gate import GateTree
    >>> tree = GateTree.from_yaml('''
    ... cytocar_gating: 1
    ... name: small
    ... thresholds: {CD3: {marker: CD3, value: 2.5}}
    ... populations: [{name: T cells, parent: cells, gate: [CD3+]}]
    ... ''')
    >>> apply(adata, tree)
    >>> adata.obsm["gates"]["T cells"].tolist()
    [False, True]
    """
    chosen = as_strategy(strategy)
    require_state(adata, keys.STATE_ARCSINH, "gating")
    adata = adata.copy() if copy else own(adata)
    data = GatedInput.of(adata, sample_key)
    options = GatingOptions(controls, thresholds or {}, others, seed)
    _require_samples(chosen, options, data.samples if study_samples is None else study_samples)
    gated = chosen.gate(data, options)
    store(data, gated)
    settings = {"strategy": gated.strategy.name, "sample_key": sample_key, **gated.settings}
    record(adata, "gate.apply", settings)
    return adata if copy else None


def _require_samples(strategy: Strategy, options: GatingOptions, samples: Collection[str]) -> None:
    """Raise where a number is pinned for a sample that nobody has: it would silently not be used."""
    if isinstance(samples, str):
        raise ParameterError(f"study_samples is {samples!r}", fix="it must be a list of names")
    if not isinstance(options.pins, Mapping):
        raise ParameterError(
            f"thresholds is {options.pins!r}", fix="it must be {name: number} or {name: {sample: number}}"
        )
    known = [str(sample) for sample in samples]
    elsewhere = "where the data are some samples of a study, name all of its samples in study_samples"
    for name, pinned in options.pins.items():
        for sample in pinned if isinstance(pinned, Mapping) else ():
            if str(sample) not in known:
                raise ParameterError(
                    f"thresholds pins {name} for sample {str(sample)!r}, and there is no such sample",
                    fix=f"{did_you_mean(str(sample), known)}; {elsewhere}",
                )
    for problem in unknown_pins(strategy, known):
        raise GateError(problem.what, fix=f"{problem.fix}; {elsewhere}")


def control_values(
    adata: AnnData,
    strategy: Strategy | str,
    *,
    thresholds: Pins | None = None,
    others: Mapping[str, Sequence[float]] | None = None,
    names: Sequence[str] | None = None,
    sample_key: str = keys.SAMPLE,
) -> dict[str, NDArray[np.float32]]:
    """Return the values of a control tube that decide thresholds in other tubes.

    Parameters
    ----------
    adata
        A tube without CAR-T cells, or without one antibody (FMO); arcsinh values in X.
    strategy, thresholds, others, sample_key
        As in `apply`.
    names
        The thresholds that the tube is asked about. None: all that ask for control tubes.

    Returns
    -------
    Name of each threshold that asks for control tubes to float32 array (cells,): the marker in the population
    that the threshold divides, such as VHH in T cells.

    Raises
    ------
    StateError, GateError, ThresholdNotFound
        As in `apply`, for the thresholds above that population.

    Examples
    --------
    >>> import cytocar as cc
    >>> adata = cc.datasets.legend2(cells=3000, timepoints=["2mo"])
    >>> cc.pp.clean(adata)
    >>> cc.pp.arcsinh(adata)
    >>> values = cc.gate.control_values(adata, "car_t")["VHH"]
    >>> values.dtype.name
    'float32'
    """
    fitted = _fitted(adata, strategy, thresholds, sample_key)
    tree = fitted.tree
    names = tree.controlled() if names is None else tuple(tree.threshold_name(name) for name in names)
    of_samples = [fitted.control_values(turn, names) for turn in fitted.turns(others=others)]
    return {
        name: np.concatenate([values[name] for values in of_samples]) if of_samples else np.empty(0, "f4")
        for name in names
    }


def numbers_above(
    adata: AnnData, strategy: Strategy | str, *, thresholds: Pins | None = None, sample_key: str = keys.SAMPLE
) -> dict[str, list[float]]:
    """Return name to numbers of the thresholds that control tubes need before they can tell anything.

    A control tube whose own CD3 has no clear place takes the other samples' numbers, and these are wanted before
    the other samples can be gated, since they wait for the control tube. Samples that find none are left out.
    """
    fitted = _fitted(adata, strategy, thresholds, sample_key)
    return joined([fitted.numbers_above(turn) for turn in fitted.turns()])


def _fitted(adata: AnnData, strategy: Strategy | str, thresholds: Pins | None, sample_key: str) -> FittedTree:
    require_state(adata, keys.STATE_ARCSINH, "gating")
    tree = as_strategy(strategy).as_thresholds().with_pins(thresholds or {})
    return FittedTree.of(tree, GatedInput.of(adata, sample_key))
