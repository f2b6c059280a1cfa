"""Run simulated studies whose truth is known, and print what is found beside what is true.

    python benchmarks/validate.py [--cells 100000 104167] [--seeds 0] [--workers 2] [--studies no_spill equal]

The studies: as in the publication, with spillover; the same without spillover (signs); no CAR-T cells at five years;
equal truth with tubes that stain differently; host T cells with 4 % double negative cells. docs/validation.md holds
what it printed.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from cytocar import datasets, gate, pp
from cytocar._core import tables as tables_of
from cytocar.io import read_study
from cytocar.study import run

STUDIES = ("published", "no_spill", "gone", "equal", "host_dn")


def finished(folder: Path, name: str, workers: int, **options: object) -> tuple[Path, Path]:
    study, out = folder / f"{name}_study", folder / f"{name}_out"
    datasets.write_legend2(study, **options)
    run(study, out, workers=workers)
    return study, out


def show(title: str, table: pd.DataFrame) -> None:
    print(f"\n### {title}\n")
    print(table.to_markdown(index=False) if _has_tabulate() else table.to_string(index=False), flush=True)


def _has_tabulate() -> bool:
    try:
        import tabulate  # noqa: F401  # only asked whether it is there
    except ImportError:
        return False
    return True


def losses(study: Path) -> pd.DataFrame:
    """Count, step by step, the true CAR-T cells that are lost and the false events that are still in."""
    adata = read_study(study)
    pp.normalize_beads(adata)
    if (study / "spillover.csv").is_file():
        pp.compensate(adata, study / "spillover.csv")
    pp.clean(adata)
    pp.arcsinh(adata)
    gate.apply(adata, gate.car_t())
    truth = pd.concat(
        [
            pd.read_csv(path).assign(sample_id=path.stem).rename(columns=lambda name: f"truth_{name}")
            for path in sorted((study / "truth" / "events").glob("*.csv"))
        ]
    ).set_index(["truth_sample_id", "truth_event_index"])
    at = pd.MultiIndex.from_arrays([adata.obs["sample_id"].astype(str), adata.obs["event_index"]])
    for column in truth.columns:
        adata.obs[column] = truth[column].reindex(at).to_numpy()
    table = datasets.gate_losses(adata)
    steps = [name for name in dict.fromkeys(table["population"]) if " " not in name or name == "T cells"]
    kept = table[table["population"].isin(steps)]
    wide = kept.pivot(index="population", columns="sample_id", values=["n_car_lost", "n_false"])
    return wide.reindex(steps)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", type=int, nargs="+", default=[100_000, 104_167])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--studies", nargs="+", default=list(STUDIES), choices=STUDIES)
    options = parser.parse_args()
    for cells in options.cells:
        for seed in options.seeds:
            with tempfile.TemporaryDirectory() as name:
                validate(Path(name), cells, seed, options.workers, options.studies)


def validate(folder: Path, cells: int, seed: int, workers: int, studies: Sequence[str]) -> None:
    size = f"{cells:,} CD45+ cells a file, seed {seed}"
    common = {"cells": cells, "seed": seed}

    if "published" in studies:
        study, out = finished(folder, "published", workers, **common)
        score = datasets.score_legend2(study, out)
        samples = score["samples"].copy()
        numbers = samples.select_dtypes("float").columns
        samples[numbers] = samples[numbers].round(4)
        show(f"CAR-T cells, event by event ({size})", samples)
        show(f"Clusters ({size})", score["clusters"].round(3))
        print(f"\nWhat each gate loses and lets in ({size})\n")
        print(losses(study).to_string())

    if "no_spill" in studies:
        study, out = finished(folder, "no_spill", workers, spill=False, **common)
        signs = datasets.score_legend2(study, out)["signs"]
        show(f"Signs without spillover ({size})", signs.assign(effect=signs["effect"].round(2)))

    if "gone" in studies:
        _, out = finished(folder, "gone", workers, car_fraction={"5yr": 0.0}, **common)
        frequency = tables_of.read(out / "tables", "car_frequency")
        show(
            f"No CAR-T cells at 5 years ({size})",
            frequency[["sample_id", "n_car", "background_events", "lob_events", "call"]].round(2),
        )

    if "equal" in studies:
        _, out = finished(folder, "equal", workers, equal_truth=True, staining_shift=0.1, **common)
        compared = tables_of.read(out / "tables", "comparisons")
        over_time = compared[compared["comparison"] != "car vs host"]
        calls = over_time.groupby(["compartment", "call"]).size().unstack(fill_value=0).reset_index()
        show(f"Equal truth, staining shift of SD 0.1: calls over time ({size})", calls)

    if "host_dn" in studies:
        study, out = finished(folder, "host_dn", workers, host_dn=0.04, **common)
        found = datasets.score_legend2(study, out)["samples"][["sample_id", "host_dn_true", "host_dn_found"]]
        show(
            f"Host T cells with 4 % double negative ({size})",
            found.assign(**found.select_dtypes(np.number).round(4)),
        )


if __name__ == "__main__":
    main()
