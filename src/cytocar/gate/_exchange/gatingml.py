"""Gates to a Gating-ML 2.0 file: those that were applied to data, or a document, also as Cytobank writes it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from cytocar._core import checks
from cytocar._core.errors import ParameterError
from cytocar._core.files import write_text
from cytocar.gate._documents.document import GatingDocument
from cytocar.gate._exchange.cytobank import cytobank_text
from cytocar.gate._exchange.gatingml_applied import applied_text
from cytocar.gate._exchange.gatingml_document import gatingml_text

if TYPE_CHECKING:
    from anndata import AnnData

FLAVOURS: Final[Mapping[str, Callable[[GatingDocument], str]]] = {
    "gatingml": gatingml_text,
    "cytobank": cytobank_text,
}


def write_gatingml(
    adata: AnnData | Sequence[AnnData] | GatingDocument,
    path: str | os.PathLike[str],
    *,
    flavour: str = "gatingml",
) -> None:
    """Write the gates as applied, with the numbers of every sample, as Gating-ML 2.0; or a `GatingDocument`.

    Every sample has a set of gates of its own, since its thresholds are its own; ids begin with the sample. A gate is a
    rectangle, open on one side, in ``fasinh`` dimensions that equal arcsinh(x / cofactor): T = cofactor sinh(1), M =
    1 / ln 10, A = 0 (Spidlen et al. 2015, doi 10.1002/cyto.a.22690). The gates are for the raw counts of the file, by
    ``$PnN``, and start from the events that the clean-up calls cells.

    Parameters
    ----------
    adata
        Gated by `cytocar.gate.apply`, or several such; subsets of the cells will do. Or a `GatingDocument`.
    path
        The file, replaced when it is whole.
    flavour
        How a `GatingDocument` is written: ``"gatingml"``, or ``"cytobank"`` with its conventions: arcsinh(x / cofactor)
        scales, and for every population a gate set of all its gates from the top down.

    Raises
    ------
    GateError
        The data are not gated, a sample comes twice, or a gate has no form in Gating-ML or in Cytobank.
    ParameterError
        The flavour is not known, or not for data.

    Examples
    --------
    >>> import cytocar as cc
    >>> adata = cc.datasets.legend2(cells=3000, timepoints=["2mo"])
    >>> cc.pp.clean(adata)
    >>> cc.pp.arcsinh(adata)
    >>> cc.gate.apply(adata, "car_t")
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "gates.xml"
    >>> cc.gate.write_gatingml(adata, path)
    >>> path.read_text(encoding="utf-8").count("<gating:RectangleGate")
    18
    """
    if isinstance(adata, GatingDocument):
        checks.one_of(flavour, "flavour", FLAVOURS)
        write_text(path, FLAVOURS[flavour](adata))
        return
    if flavour != "gatingml":
        raise ParameterError(f"flavour is {flavour!r}", fix="gates as applied are written as 'gatingml' only")
    several = list(adata) if isinstance(adata, Sequence) else [adata]
    write_text(path, applied_text(several))
