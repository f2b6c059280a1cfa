"""How often `tl.compare` and `tl.detection` call what is there, and what is not, on the simulated study.

Run ``python benchmarks/calibrate_calls.py``: about four minutes; ``--seeds 6`` adds whole simulated studies, ten
seconds each. The rules in ``cytocar/tl/_markers/calls.py`` were chosen by these tables; run it again when they change.
docs/calibration.md holds what it printed.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter

import anndata
import numpy as np
import pandas as pd

from cytocar import datasets, tl
from cytocar._core import keys

FIRST, LAST = "2mo", "5yr"
HOST_KEPT = 10_000
PLANTED = {
    ("DN", "up"): ("HLADR", "CCR7", "CD27", "CD28", "CD107a"),
    ("DN", "down"): ("GZMB", "PD1", "TIM3"),
    ("DN", "equal"): ("Ki67", "CD38"),
    ("CD8", "down"): ("GZMB", "PD1"),
    ("CD8", "equal"): ("Ki67", "HLADR"),
}
AGAINST_HOST = ("PD1", "CD57", "GZMB", "CD107a")
STAINING = (0.0, 0.05, 0.1, 0.2)
# CD4, CD8 and double negative CAR-T cells of two tubes; one mix, so that all cells together are equal too.
LAYOUTS = (
    ((200, 1000, 1200), (20, 100, 120)),
    ((200, 1000, 1200), (10, 50, 60)),
    ((20, 90, 150), (20, 90, 150)),
)
POOL_HOSTS = 5_000
PLANTED_CHANGE = 0.5


def true_cells(seed: int, **options: object) -> anndata.AnnData:
    """Return the T cells of a simulated study by their truth: all CAR-T cells, 10,000 host cells a tube."""
    adata = datasets.legend2(seed=seed, spill=False, timepoints=[FIRST, LAST], **options)
    obs = adata.obs
    is_car = obs["truth_is_car"].to_numpy(bool)
    is_host = ((obs["truth_type"] == "cell") & (obs["truth_lineage"] == "T")).to_numpy() & ~is_car
    rng = np.random.default_rng(seed)
    keep = is_car.copy()
    for timepoint in (FIRST, LAST):
        hosts = np.flatnonzero(is_host & (obs[keys.TIMEPOINT] == timepoint).to_numpy())
        keep[rng.choice(hosts, min(HOST_KEPT, hosts.size), replace=False)] = True
    cells = adata[keep].copy()
    cells.X = np.arcsinh(cells.X / np.float32(5))
    cells.uns[keys.UNS] = {keys.STATE: keys.STATE_ARCSINH}
    cells.obs[keys.COMPARTMENT] = np.where(is_car[keep], keys.CAR, keys.HOST)
    cells.obs[keys.SUBSET] = cells.obs["truth_subset"].astype(str)
    return cells


def planted(seeds: int, cells: int) -> pd.DataFrame:
    """Return the share of seeds in which each planted difference over time, and against host, is called."""
    right: Counter[tuple[str, str, str]] = Counter()
    seconds = 0.0
    for seed in range(seeds):
        study = true_cells(seed, cells=cells)
        began = time.perf_counter()
        table = tl.compare(study)
        seconds += time.perf_counter() - began
        over_time = table[(table["comparison"] == f"{LAST} vs {FIRST}") & (table["compartment"] == keys.CAR)]
        calls = over_time.set_index(["subset", "marker"])["call"]
        for (subset, sign), markers in PLANTED.items():
            for marker in markers:
                call = calls[subset, marker]
                right[subset, marker, sign] += call == sign or (
                    sign == "equal" and call in ("unchanged", "inconclusive")
                )
        host = table[(table["comparison"] == "car vs host") & (table["timepoint"] == LAST)]
        calls = host[host["subset"] == keys.ALL].set_index("marker")["call"]
        for marker in AGAINST_HOST:
            right["all, against host", marker, "down"] += calls[marker] == "down"
    rows = [(*key, count / seeds) for key, count in right.items()]
    print(f"\nplanted, {cells:,} CD45+ cells a tube, {seeds} seeds, {seconds / seeds:.1f} s a comparison")
    return pd.DataFrame(rows, columns=["subset", "marker", "planted", "share right"])


def pool(cells: int) -> anndata.AnnData:
    """Return the T cells of one large simulated tube, by their truth: what both tubes of a repeat are drawn from."""
    adata = datasets.legend2(cells=cells, seed=0, spill=False, timepoints=[FIRST])
    obs = adata.obs
    is_t = ((obs["truth_type"] == "cell") & (obs["truth_lineage"] == "T")).to_numpy()
    kept = adata[is_t | obs["truth_is_car"].to_numpy(bool)].copy()
    is_car = kept.obs["truth_is_car"].to_numpy(bool)
    kept.obs[keys.COMPARTMENT] = np.where(is_car, keys.CAR, keys.HOST)
    kept.obs[keys.SUBSET] = kept.obs["truth_subset"].astype(str)
    return kept


class Draws:
    """Pairs of tubes drawn without replacement from one pool, each stained in its own way."""

    def __init__(self, tube: anndata.AnnData) -> None:
        self.counts = np.asarray(tube.X, dtype=np.float64)
        self.var = tube.var
        label = tube.obs[keys.COMPARTMENT].astype(str) + " " + tube.obs[keys.SUBSET].astype(str)
        self.rows = {name: np.flatnonzero(label == name) for name in set(label)}
        bright = np.median(np.arcsinh(self.counts[self.rows["car DN"]] / 5), axis=0)
        is_marker = (tube.var["role"] == "marker").to_numpy()
        names = np.array(tube.var_names)
        # Every second of the markers that CAR-T cells carry well above the cofactor changes in the planted draws.
        self.changed = [str(name) for name in names[is_marker & (bright > 1.2)][::2]]
        self.columns = [int(np.flatnonzero(names == name)[0]) for name in self.changed]

    def pair(
        self, sizes: tuple[tuple[int, ...], ...], sd: float, change: float, rng: np.random.Generator
    ) -> anndata.AnnData:
        """Return two tubes with these CAR-T cells; in the second, half of `changed` go up, half down, by `change`."""
        taken, tube, compartment, subset = [], [], [], []
        shares = {"host CD4": 0.6, "host CD8": 0.4}
        wanted = [dict(zip(("car CD4", "car CD8", "car DN"), size, strict=True)) for size in sizes]
        orders = {name: rng.permutation(rows) for name, rows in self.rows.items()}
        for number, of_tube in enumerate(wanted):
            of_tube |= {name: round(share * POOL_HOSTS) for name, share in shares.items()}
            for name, n in of_tube.items():
                rows, orders[name] = orders[name][:n], orders[name][n:]
                taken.append(rows)
                tube += [number] * len(rows)
                compartment += [name.split()[0]] * len(rows)
                subset += [name.split()[1]] * len(rows)
        which = np.array(tube)
        gain = np.exp(sd * rng.standard_normal((2, self.counts.shape[1])))
        counts = self.counts[np.concatenate(taken)] * gain[which]
        moved = (which == 1) & (np.array(compartment) == keys.CAR)
        signs = np.where(np.arange(len(self.columns)) % 2, -1.0, 1.0)
        counts[np.ix_(moved, self.columns)] *= np.exp(change * signs)
        obs = pd.DataFrame(
            {
                keys.TIMEPOINT: np.array([FIRST, LAST])[which],
                keys.MONTHS: np.array([2.0, 60.0])[which],
                keys.PATIENT: "P1",
                keys.COMPARTMENT: compartment,
                keys.SUBSET: subset,
            },
            index=[str(i) for i in range(len(which))],
        )
        made = anndata.AnnData(np.arcsinh(counts / 5).astype(np.float32), obs=obs, var=self.var)
        made.uns[keys.UNS] = {keys.STATE: keys.STATE_ARCSINH}
        return made


def one_patient(repeats: int, draws: Draws) -> pd.DataFrame:
    """Return what is called where nothing changes but staining, and of planted changes, by staining and group size."""
    rows = []
    for sd in STAINING:
        for layout in LAYOUTS:
            kept, planted_calls = [], []
            for repeat in range(repeats):
                rng = np.random.default_rng([repeat, round(1000 * sd), *layout[0], *layout[1]])
                for change, into in ((0.0, kept), (PLANTED_CHANGE, planted_calls)):
                    made = draws.pair(layout, sd, change, rng)
                    table = tl.compare(made, n_boot=1000, seed=repeat, p_values=change == 0.0)
                    car = (table["compartment"] == keys.CAR) & (table["comparison"] != "car vs host")
                    into.append(table[car].assign(repeat=repeat))
            null, found = pd.concat(kept), pd.concat(planted_calls)
            found = found[found["marker"].isin(draws.changed)]
            sign = found["marker"].map(
                {name: "down" if i % 2 else "up" for i, name in enumerate(draws.changed)}
            )
            found = found.assign(right=found["call"] == sign)
            for subset in ("CD4", "CD8", "DN", keys.ALL):
                part = null[null["subset"] == subset]
                false = part["call"].isin(["up", "down"])
                by_repeat = false.groupby(part["repeat"]).mean()
                rows.append(
                    {
                        "staining SD": sd,
                        "cells": f"{part['n_cells_a'].iloc[0]} and {part['n_cells_b'].iloc[0]}",
                        "rows": len(part),
                        "up or down %": 100 * false.mean(),
                        "+-": 100 * by_repeat.std(ddof=1) / np.sqrt(repeats),
                        "unchanged %": 100 * (part["call"] == "unchanged").mean(),
                        "cell-level p < 0.05 %": 100 * (part["p_value"] < 0.05).mean(),
                        "median's interval holds 0 %": 100
                        * ((part["adjusted_low"] <= 0) & (part["adjusted_high"] >= 0)).mean(),
                        "mean's %": 100
                        * ((part["adjusted_mean_low"] <= 0) & (part["adjusted_mean_high"] >= 0)).mean(),
                        "planted found %": 100 * found.loc[found["subset"] == subset, "right"].mean(),
                    }
                )
    return pd.DataFrame(rows)


def within_tube(repeats: int, draws: Draws) -> pd.DataFrame:
    """Return what is called between host T cells and others of them that are given out as CAR-T cells."""
    rows = []
    for sizes in ((12, 8), (60, 40), (300, 200)):
        shares = []
        n = 0
        for repeat in range(repeats):
            rng = np.random.default_rng([repeat, *sizes])
            made = draws.pair(((0, 0, 0), (0, 0, 0)), 0.0, 0.0, rng)
            made = made[made.obs[keys.TIMEPOINT].to_numpy() == LAST].copy()
            for subset, size in zip(("CD4", "CD8"), sizes, strict=True):
                there = np.flatnonzero(made.obs[keys.SUBSET].to_numpy() == subset)
                given = made.obs[keys.COMPARTMENT].to_numpy().copy()
                given[rng.choice(there, size, replace=False)] = keys.CAR
                made.obs[keys.COMPARTMENT] = given
            table = tl.compare(made, n_boot=1000, seed=repeat)
            table = table[(table["comparison"] == "car vs host") & table["effect"].notna()]
            shares.append(table["call"].isin(["up", "down"]).mean())
            n += len(table)
        error = 100 * np.std(shares, ddof=1) / np.sqrt(repeats)
        rows.append((f"{sizes[0]} CD4, {sizes[1]} CD8", n, 100 * np.mean(shares), error))
    return pd.DataFrame(rows, columns=["CAR-T cells", "rows", "up or down %", "+-"])


def blank(draws: int) -> pd.DataFrame:
    """Return how often a tube without CAR-T cells is called detected.

    Known-negative cells pass the threshold at 1e-4, host T cells at 1e-4 and 5e-5 more, which the former do not show.
    """
    rng = np.random.default_rng(0)
    rows = []
    for cells in (20_000, 60_000, 104_167, 500_000, 2_000_000):
        negative, hosts = round(0.34 * cells), round(0.525 * cells)
        counts = pd.DataFrame(
            {
                "sample_id": [str(i) for i in range(draws)],
                "n_cd45": cells,
                "n_car": rng.poisson(1.5e-4 * hosts, draws),
                "n_host_t": hosts,
                "n_negative": negative,
                "n_negative_above": rng.poisson(1e-4 * negative, draws),
            }
        )
        found = tl.detection(counts)
        rows.append((cells, found["lob_events"].mean(), (found["call"] != "not_detected").mean()))
    return pd.DataFrame(rows, columns=["CD45+ cells", "mean LoB", "falsely detected"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=20, help="pairs of tubes for each staining and layout")
    parser.add_argument("--seeds", type=int, default=0, help="whole simulated studies with the planted signs")
    parser.add_argument("--cells", type=int, default=104_167)
    options = parser.parse_args()
    print("tubes without CAR-T cells\n", blank(5000).round(4).to_string(index=False), sep="")
    began = time.perf_counter()
    draws = Draws(pool(300_000))
    names = ", ".join(draws.changed)
    print(f"\none patient, {options.repeats} pairs of tubes; planted: {PLANTED_CHANGE} up or down in {names}")
    print(one_patient(options.repeats, draws).round(2).to_string(index=False), flush=True)
    print(f"\nhost T cells against host T cells of their tube, {options.repeats} tubes")
    print(within_tube(options.repeats, draws).round(2).to_string(index=False))
    print(f"{time.perf_counter() - began:.0f} s")
    if options.seeds:
        print(planted(options.seeds, options.cells).round(2).to_string(index=False))


if __name__ == "__main__":
    main()
