"""The plan of the simulated study: which populations are in which file, and how many cells of each."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cytocar._core import checks, keys
from cytocar._core.errors import ParameterError, did_you_mean
from cytocar._core.vocabulary import BEAD, CELL, CELL_BEAD, CONTROL_ROLE, DEAD, DEBRIS, DOUBLET, PATIENT_ROLE

if TYPE_CHECKING:
    import pandas as pd

MONTHS: Final = {"2mo": 2.0, "1yr": 12.0, "3yr": 36.0, "5yr": 60.0}
FILE_GAIN: Final = {"2mo": 1.0, "1yr": 0.85, "3yr": 1.1, "5yr": 0.95}
CONTROL: Final = "control"
PATIENT: Final = "P1"
DONOR: Final = "HD1"

# Host cells in percent of CD45+; B cells return over the years, four fifths of them naive.
HOST_PERCENT: Final = {
    "H_CD4_naive": 6.0,
    "H_CD4_mem": 16.0,
    "H_Treg": 1.5,
    "H_CD8_naive": 5.0,
    "H_CD8_em": 14.0,
    "H_CD8_temra": 10.0,
    "NK_dim": 12.0,
    "NK_bright": 1.0,
    "Mono_c": 18.0,
    "Mono_nc": 2.5,
    "cDC": 0.8,
    "pDC": 0.3,
    "Neut": 1.0,
}
B_PERCENT: Final = {"2mo": 0.2, "1yr": 6.0, "3yr": 9.0, "5yr": 10.0, CONTROL: 10.0}
B_NAIVE_SHARE: Final = 0.8
HOST_DN: Final = "H_DN_gd"
HOST_SUBSET: Final = {
    "H_CD4_naive": "CD4",
    "H_CD4_mem": "CD4",
    "H_Treg": "CD4",
    "H_CD8_naive": "CD8",
    "H_CD8_em": "CD8",
    "H_CD8_temra": "CD8",
    HOST_DN: "DN",
}

# Events in percent of all events; CD45+ live single cells are the first of them.
EVENT_PERCENT: Final = {
    CELL: 72.0,
    DEBRIS: 14.0,
    DEAD: 6.0,
    DOUBLET: 4.0,
    BEAD: 3.5,
    CELL_BEAD: 0.3,
}


@dataclass(frozen=True)
class Populations:
    """What each population expresses: one row per population, one column per marker.

    Parameters
    ----------
    names
        Names of the populations; those of CAR-T cells begin with ``CAR_``.
    lineage, subset, cluster
        For each population: T, NK, B, Mono, DC or Neut; CD4, CD8, DN or "" ; C1 to C9 or "".
    markers
        Names of the markers.
    probability, mean, sd
        (populations, markers): probability of being positive, mean and SD of the positives in arcsinh(x/5).
    """

    names: tuple[str, ...]
    lineage: tuple[str, ...]
    subset: tuple[str, ...]
    cluster: tuple[str, ...]
    markers: tuple[str, ...]
    probability: np.ndarray
    mean: np.ndarray
    sd: np.ndarray

    def index(self, name: str) -> int:
        """Return the row of a population."""
        return self.names.index(name)

    @property
    def is_car(self) -> np.ndarray:
        """Return for each population whether it is one of CAR-T cells."""
        return np.array([name.startswith("CAR_") for name in self.names])

    @property
    def is_host_t(self) -> np.ndarray:
        """Return for each population whether it is one of host T cells."""
        return np.array([name in HOST_SUBSET for name in self.names])


@dataclass(frozen=True)
class Options:
    """The options of the simulated study as they were handed in."""

    cells: int
    seed: int
    spill: bool
    drift: bool
    host_dn: float
    false_positive_rate: float
    car_fraction: Mapping[str, float] | None
    staining_shift: float
    equal_truth: bool
    timepoints: Sequence[str] | None
    negative_control: bool


@dataclass(frozen=True)
class Settings:
    """The options of the simulated study, checked."""

    cells: int = 100_000
    seed: int = 0
    spill: bool = True
    drift: bool = True
    host_dn: float = 0.0
    false_positive_rate: float = 5e-5
    car_fraction: Mapping[str, float] = field(default_factory=dict)
    staining_shift: float = 0.0
    equal_truth: bool = False
    timepoints: tuple[str, ...] = tuple(MONTHS)
    negative_control: bool = False


@dataclass(frozen=True)
class Tube:
    """One file to be made: who, when, and how many CD45+ live single cells of each population."""

    sample_id: str
    patient_id: str
    timepoint: str
    months: float | None
    role: str
    gain: float
    counts: Mapping[str, int]

    @property
    def file(self) -> str:
        """Return the name of the FCS file."""
        return f"{self.sample_id}.fcs"

    @property
    def n_car(self) -> int:
        """Return the number of CAR-T cells."""
        return sum(n for name, n in self.counts.items() if name.startswith("CAR_"))


def read_csv(name: str) -> pd.DataFrame:
    """Read one of the tables that come with the simulated study."""
    import pandas as pd

    source = resources.files("cytocar.datasets").joinpath("data", name)
    with source.open("r", encoding="utf-8") as stream:
        return pd.read_csv(stream)


@cache
def populations() -> Populations:
    """Return the populations with their markers."""
    table = read_csv("sim_params_resolved.csv")
    names = tuple(str(name) for name in table["population"])
    parents = [str(parent) for parent in table["parent"]]
    markers = tuple(column.removesuffix("_ppos") for column in table.columns if column.endswith("_ppos"))
    labels = [_labels(name, parent) for name, parent in zip(names, parents, strict=True)]
    lineage, subset, cluster = zip(*labels, strict=True)
    return Populations(
        names=names,
        lineage=lineage,
        subset=subset,
        cluster=cluster,
        markers=markers,
        probability=table[[f"{marker}_ppos" for marker in markers]].to_numpy(dtype=np.float64),
        mean=table[[f"{marker}_mu" for marker in markers]].to_numpy(dtype=np.float64),
        sd=table[[f"{marker}_sd" for marker in markers]].to_numpy(dtype=np.float64),
    )


def _labels(name: str, parent: str) -> tuple[str, str, str]:
    """Return the lineage of a population, its subset ("" unless T cells) and its cluster ("" unless CAR-T cells)."""
    if name.startswith("CAR_"):
        return "T", parent, name.removeprefix("CAR_")
    return "T" if parent == "hostT" else parent, HOST_SUBSET.get(name, ""), ""


def apportion(total: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Divide `total` into whole numbers by `shares`: rounded down, the rest to the largest remainders.

    Examples
    --------
    >>> apportion(10, {"a": 2, "b": 1})
    {'a': 7, 'b': 3}
    """
    whole = sum(shares.values())
    if whole <= 0:
        return dict.fromkeys(shares, 0)
    exact = {name: total * share / whole for name, share in shares.items()}
    whole_of = {name: math.floor(value) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: whole_of[name] - exact[name])
    for name in by_remainder[: total - sum(whole_of.values())]:
        whole_of[name] += 1
    return whole_of


def checked(options: Options) -> Settings:
    """Check every option and return them, or raise `ParameterError`."""
    checks.whole_number(options.cells, "cells", 1)
    checks.whole_number(options.seed, "seed", 0)
    for name in ("spill", "drift", "equal_truth", "negative_control"):
        flag = getattr(options, name)
        if not isinstance(flag, (bool, np.bool_)):
            raise ParameterError(f"{name} is {flag!r}", fix="it must be True or False")
    of_host = "a fraction of the host T cells, such as"
    _number("host_dn", options.host_dn, 1, f"{of_host} 0.02 for 2 %")
    _number("false_positive_rate", options.false_positive_rate, 1, f"{of_host} 5e-5")
    shift = options.staining_shift
    _number("staining_shift", shift, math.inf, "a standard deviation in arcsinh units, such as 0.1")
    chosen = _timepoints(options.timepoints)
    equal_truth = bool(options.equal_truth)
    return Settings(
        cells=int(options.cells),
        seed=int(options.seed),
        spill=bool(options.spill),
        drift=bool(options.drift),
        host_dn=float(options.host_dn),
        false_positive_rate=float(options.false_positive_rate),
        car_fraction=_car_fraction(options.car_fraction, chosen, equal_truth=equal_truth),
        staining_shift=float(shift),
        equal_truth=equal_truth,
        timepoints=chosen,
        negative_control=bool(options.negative_control),
    )


def _number(name: str, value: float, most: float, meaning: str) -> None:
    if not (checks.is_number(value) and math.isfinite(value) and 0 <= float(value) <= most):
        limits = f"from 0 to {most}" if math.isfinite(most) else "of at least 0"
        raise ParameterError(f"{name} is {value!r}", fix=f"it must be a number {limits}: {meaning}")


def _timepoints(chosen: Sequence[str] | None) -> tuple[str, ...]:
    if chosen is None:
        return tuple(MONTHS)
    if isinstance(chosen, str):
        raise ParameterError(f"timepoints is {chosen!r}", fix=f"give a list, such as [{chosen!r}]")
    for name in chosen:
        if name not in MONTHS:
            raise ParameterError(f"timepoints holds {name!r}", fix=did_you_mean(str(name), MONTHS))
    if not chosen or len(set(chosen)) != len(chosen):
        raise ParameterError(
            f"timepoints is {list(chosen)!r}", fix="give at least one, and each of them once"
        )
    return tuple(name for name in MONTHS if name in chosen)


def _car_fraction(
    given: Mapping[str, float] | None, timepoints: Sequence[str], *, equal_truth: bool
) -> dict[str, float]:
    given = {} if given is None else given
    if not isinstance(given, Mapping):
        raise ParameterError(
            f"car_fraction is {given!r}",
            fix="give percentages of the CD45+ cells by timepoint, such as {'5yr': 0.0}",
        )
    for name, percent in given.items():
        if name not in timepoints:
            raise ParameterError(f"car_fraction names {name!r}", fix=did_you_mean(str(name), timepoints))
        _number(f"car_fraction[{name!r}]", percent, 100, "a percentage of the CD45+ cells, such as 0.24")
        if equal_truth and name != timepoints[0]:
            raise ParameterError(
                f"car_fraction names {name!r} while equal_truth is True: then every timepoint takes the share of "
                f"{timepoints[0]!r}",
                fix="give that one, or leave equal_truth out",
            )
    return {str(name): float(percent) for name, percent in given.items()}


def tubes(options: Settings) -> list[Tube]:
    """Return the files of the study with the number of cells of each population, in the order of time."""
    table = read_csv("sim_composition.csv").set_index(keys.TIMEPOINT)
    composition = {str(name): row for name, row in table.to_dict(orient="index").items()}
    planned = []
    for timepoint in options.timepoints:
        like = options.timepoints[0] if options.equal_truth else timepoint
        row = composition[like]
        percent = options.car_fraction.get(like, float(row["car_pct_of_cd45"]))
        # The half goes up, whatever the parity: a share of 0.5 cells is one cell.
        n_car = min(options.cells, math.floor(options.cells * percent / 100 + 0.5 + 1e-9))
        planned.append(
            Tube(
                sample_id=f"{PATIENT}_{timepoint}",
                patient_id=PATIENT,
                timepoint=timepoint,
                months=MONTHS[timepoint],
                role=PATIENT_ROLE,
                gain=FILE_GAIN[timepoint] if options.drift else 1.0,
                counts=_car(row, n_car) | _host(options, like, options.cells - n_car),
            )
        )
    if options.negative_control:
        planned.append(
            Tube(
                sample_id=f"{DONOR}_{CONTROL}",
                patient_id=DONOR,
                timepoint=CONTROL,
                months=None,
                role=CONTROL_ROLE,
                gain=1.0,
                counts=_host(options, CONTROL, options.cells),
            )
        )
    return planned


def _car(row: Mapping[Hashable, Any], total: int) -> dict[str, int]:
    """Divide CAR-T cells into subsets, and each subset into its clusters, so that both shares are kept."""
    people = populations()
    members = {
        subset: [
            name
            for name, its in zip(people.names, people.subset, strict=True)
            if its == subset and name[:4] == "CAR_"
        ]
        for subset in ("CD4", "CD8", "DN")
    }
    counts: dict[str, int] = {}
    for subset, n in apportion(total, {subset: float(row[subset]) for subset in members}).items():
        counts |= apportion(n, {name: float(row[f"{name}_pct_of_car"]) for name in members[subset]})
    return {name: counts[name] for name in people.names if name in counts}


def _host(options: Settings, like: str, total: int) -> dict[str, int]:
    percent = dict(HOST_PERCENT)
    percent["B_naive"] = B_PERCENT[like] * B_NAIVE_SHARE
    percent["B_mem"] = B_PERCENT[like] * (1 - B_NAIVE_SHARE)
    t_cells = [name for name in percent if name in HOST_SUBSET]
    percent[HOST_DN] = options.host_dn * sum(percent[name] for name in t_cells)
    for name in t_cells:
        percent[name] *= 1 - options.host_dn
    return apportion(total, percent)


def event_numbers(cells: int) -> dict[str, int]:
    """Return how many events of each type stand beside `cells` CD45+ live single cells."""
    one_percent = cells / EVENT_PERCENT[CELL]
    return {
        name: cells if name == CELL else round(percent * one_percent)
        for name, percent in EVENT_PERCENT.items()
    }
