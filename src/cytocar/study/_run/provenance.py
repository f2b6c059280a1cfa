"""What a run records of itself: inputs, settings, versions, seeds, steps."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytocar._core import keys
from cytocar._core.files import sha256
from cytocar._core.provenance import plain
from cytocar._core.version import __version__
from cytocar._core.vocabulary import FMO_ROLE
from cytocar.gate._exchange.stored import text_of
from cytocar.io._fcs.header import read_header

if TYPE_CHECKING:
    import datetime
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from cytocar.gate import Strategy
    from cytocar.io import StudyFolder
    from cytocar.study._tasks import SampleResult

_VERSIONS_OF = (
    "anndata", "flowio", "matplotlib", "numba", "numpy", "openTSNE", "pandas", "scanpy", "scikit-learn",
    "scipy", "umap-learn",
)  # fmt: skip


def without_tubes(folder: StudyFolder) -> tuple[StudyFolder, list[dict[str, Any]]]:
    """Return the study without tubes that lack an antibody, and what the record keeps of these."""
    lacking = folder.samples[keys.ROLE] == FMO_ROLE
    if not lacking.any():
        return folder, []
    tubes = [
        {
            keys.SAMPLE: str(row[keys.SAMPLE]),
            "file": Path(row["path"]).name,
            "sha256": sha256(Path(row["path"])),
            "bytes": Path(row["path"]).stat().st_size,
            "events": read_header(row["path"]).n_events,
            keys.ROLE: FMO_ROLE,
        }
        for _, row in folder.samples[lacking].iterrows()
    ]
    return replace(folder, samples=folder.samples[~lacking].reset_index(drop=True)), tubes


def provenance_of(
    folder: StudyFolder,
    strategy: Strategy,
    results: Sequence[SampleResult],
    tables: Mapping[str, pd.DataFrame],
    *,
    workers: int,
    started: datetime.datetime,
) -> dict[str, Any]:
    """Return what `provenance.json` holds, in types that JSON has."""
    versions = {name: metadata.version(name) for name in _VERSIONS_OF}
    record: dict[str, Any] = plain(
        {
            "cytocar": __version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "versions": versions,
            "started": started.isoformat(timespec="seconds"),
            "workers": workers,
            "seed": folder.config.seed,
            "settings": folder.config.model_dump(),
            "strategy": text_of(strategy),
            "panel": folder.panel.frame.to_dict(orient="records"),
            "inputs": [dict(result.file) for result in results],
            "shares_kept": {result.sample_id: dict(result.shares) for result in results},
            "steps": {
                result.sample_id: json.loads(result.cells.uns[keys.UNS].get(keys.STEPS, "[]"))
                for result in results
            },
            "ledger": tables["ledger"].to_dict(orient="records"),
        }
    )
    if folder.left_out:
        record["left_out"] = [asdict(one) for one in folder.left_out]
    if folder.own_panels:
        named = {panel.name: panel for panel in folder.own_panels.values()}
        record["panels"] = plain(
            {name: panel.frame.to_dict(orient="records") for name, panel in named.items()}
        )
    return record
