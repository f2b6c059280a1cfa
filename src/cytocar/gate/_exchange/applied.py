"""The gates that were applied to data, as a document."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cytocar.gate._documents.apply import file_of
from cytocar.gate._documents.document import GatingDocument
from cytocar.gate._exchange.gatingml_applied import applied_text
from cytocar.gate._exchange.gatingml_read import document_from
from cytocar.gate._exchange.xml import parse_xml
from cytocar.gate._results.ledger import gating

if TYPE_CHECKING:
    from anndata import AnnData


def applied_document(several: Sequence[AnnData]) -> GatingDocument:
    """Return the gates of data that `cytocar.gate.apply` gated; those of a sample are its versions.

    Parameters
    ----------
    several
        Gated data, every sample once.
    """
    raw = applied_text(several).encode("utf-8")
    return document_from(parse_xml(raw, where="gates as applied", what="Gating-ML 2.0"))


def file_names(several: Sequence[AnnData]) -> dict[str, str]:
    """Return sample to the name of the FCS file that it was read from, or a likely one where that is not known."""
    files: dict[str, str] = {}
    for adata in several:
        samples = list(gating(adata)["samples"])
        for sample in samples:
            file = file_of(adata, sample if len(samples) > 1 else None)
            files[sample] = file or f"{Path(sample).name}.fcs"
    return files
