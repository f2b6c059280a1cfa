"""The demo's last word: what the run found beside what the simulation knows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cytocar._core import keys

if TYPE_CHECKING:
    import pandas as pd


def found_against_true(study: Path, results: Path) -> list[tuple[str, pd.DataFrame]]:
    """Return titled tables for people: CAR-T cells, subsets, clusters and signs, found against true."""
    import pandas as pd

    from cytocar import datasets

    score = datasets.score_legend2(study, results)
    samples = score["samples"]
    counts = pd.DataFrame(
        {
            "sample": samples[keys.SAMPLE],
            "CAR-T true": samples["n_car_true"],
            "found": samples["n_car_found"],
            "% of CD45+ true": [f"{value:.3f}" for value in samples["pct_true"]],
            "found ": [f"{value:.3f}" for value in samples["pct_found"]],
            "off by": [f"{100 * value:+.1f} %" for value in samples["relative_error"]],
            "sensitivity": [f"{value:.3f}" for value in samples["sensitivity"]],
            "precision": [f"{value:.3f}" for value in samples["precision"]],
        }
    )
    net = _net_dn(results)
    shares = pd.DataFrame(
        {
            "sample": samples[keys.SAMPLE],
            "DN of CAR-T true": [f"{100 * value:.1f} %" for value in samples["car_dn_true"]],
            "found": [f"{100 * value:.1f} %" for value in samples["car_dn_found"]],
            "without expected false": [
                f"{100 * net.get(name, float('nan')):.1f} %" for name in samples[keys.SAMPLE]
            ],
            "DN of host T true": [f"{100 * value:.2f} %" for value in samples["host_dn_true"]],
            "found ": [f"{100 * value:.2f} %" for value in samples["host_dn_found"]],
        }
    )
    clusters = score["clusters"].rename(
        columns={
            "n_cells": "CAR-T cells",
            "n_clusters_true": "clusters true",
            "n_clusters_found": "found",
            "ari": "adjusted Rand index",
        }
    )
    signs = score["signs"]
    calls = (
        signs.assign(
            called=signs["call"].replace("", "not compared"),
            agrees=signs["agrees"].map({True: "yes", False: "no"}),
        )
        .groupby(["comparison", keys.SUBSET, "expected", "called", "agrees"], sort=False)["marker"]
        .agg(", ".join)
        .reset_index()
    )
    return [
        ("CAR-T cells, event by event", counts),
        ("Double-negative shares", shares),
        ("Clusters", clusters),
        ("Signs planted in the simulation", calls),
    ]


def _net_dn(results: Path) -> dict[str, float]:
    from cytocar._core import keys, tables

    table = tables.read(results / "tables", "subsets")
    if table is None:
        return {}
    rows = table[(table[keys.COMPARTMENT] == keys.CAR) & (table[keys.SUBSET] == "DN")]
    return dict(zip(rows[keys.SAMPLE], rows["fraction_net"], strict=True))
