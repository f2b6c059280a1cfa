"""Which events are calibration beads, and what keeps them from being used."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from cytocar._core import keys, provenance
from cytocar._core.samples import sample_positions
from cytocar.pp._channels import (
    bead_sets,
    counts_in_x,
    require_finite_channels,
    strongest,
    technical,
    with_role,
)
from cytocar.pp._cleaning.beads import separate_beads
from cytocar.pp._cleaning.limit import COFACTOR

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

# The noise of a median of so few beads (8 % each) would be as large as the drift it should show.
FEWEST_BEADS: Final = 50
# A step back in Time by more than this share of its range is not jitter of the clock.
_BACK: Final = 0.01
# A joined file runs backwards a few times, one whose events were shuffled does so at every other event.
_JOINTS: Final = 20
_JOINTS_SHARE: Final = 0.01


@dataclass(frozen=True)
class SampleBeads:
    """The beads of one sample of an AnnData, and what keeps them from being used.

    Parameters
    ----------
    sample
        Its name.
    rows
        Its events.
    columns
        The bead channels, columns of X; empty where the panel has none.
    alone, with_cell
        Which of its events are a bead alone, and which a bead with a cell: boolean, shape (events,).
    time
        Time of its events in ms, or `None`.
    fault
        Why it cannot be normalised; empty where it can.
    note
        What is unusual but does not matter.
    """

    sample: str
    rows: NDArray[np.intp]
    columns: tuple[int, ...]
    alone: NDArray[np.bool_]
    with_cell: NDArray[np.bool_]
    time: NDArray[np.floating] | None
    fault: str
    note: str

    def refused(self, why: str) -> SampleBeads:
        """Return the same beads with another reason not to use them; where `why` is empty, as they are."""
        return replace(self, fault=why or self.fault)

    @classmethod
    def without_events(cls, sample: str) -> SampleBeads:
        """Return the beads of a sample that has no events."""
        none = np.zeros(0, dtype=bool)
        return cls(sample, np.zeros(0, np.intp), (), none, none, None, "the file has no events", "")

    @property
    def n_alone(self) -> int:
        """Return the number of beads without a cell."""
        return int(np.count_nonzero(self.alone))

    @property
    def n_with_cell(self) -> int:
        """Return the number of beads that carry a cell."""
        return int(np.count_nonzero(self.with_cell))


def label_of(adata: AnnData, column: int) -> str:
    """Return what a bead channel is called, the same for every spelling of it: ``Ce140Di``."""
    row = adata.var.iloc[column]
    if keys.METAL in adata.var and keys.MASS in adata.var and row[keys.METAL] and row[keys.MASS] > 0:
        return f"{row[keys.METAL]}{int(row[keys.MASS])}Di"
    return str(row[keys.CHANNEL]) if keys.CHANNEL in adata.var else str(adata.var_names[column])


def find_beads(adata: AnnData, *, beads: str | Sequence[str], sample_key: str) -> list[SampleBeads]:
    """Return the beads of every sample, in the order of the samples, by the limits that `clean` finds too."""
    counts = counts_in_x(adata)
    sets, no_sets = bead_sets(adata, beads)
    names = [str(name) for name in adata.var_names]
    dna = with_role(adata, "dna") if sets and keys.ROLE in adata.var else []
    columns = sorted(set(itertools.chain(*sets, dna)))
    values = {names[column]: counts[:, column] for column in columns}
    require_finite_channels(values)
    time = _time_of(adata)
    in_sets = [tuple(names[column] for column in chosen) for chosen in sets]
    result = []
    for sample, rows in sample_positions(adata, sample_key):
        signals = {name: np.arcsinh(value[rows] * np.float32(1 / COFACTOR)) for name, value in values.items()}
        alone, with_cell, channels, why = _beads_among(
            signals,
            rows.size,
            sets=in_sets,
            no_sets=no_sets,
            dna=strongest(signals, [names[column] for column in dna]),
        )
        sample_time = None if time is None else time[rows]
        fault, note = time_fault(sample_time, rows.size)
        fault = why or _too_few(alone) or fault
        where = tuple(names.index(name) for name in channels)
        result.append(SampleBeads(sample, rows, where, alone, with_cell, sample_time, fault, note))
    return result


def _time_of(adata: AnnData) -> NDArray[np.float64] | None:
    name = technical(adata, "time")
    return None if name is None else adata.obs[name].to_numpy(dtype=np.float64)


def _too_few(alone: NDArray[np.bool_]) -> str:
    n = int(np.count_nonzero(alone))
    return f"{n} beads are fewer than {FEWEST_BEADS}" if n < FEWEST_BEADS else ""


def _beads_among(
    signals: dict[str, NDArray[np.floating]],
    n: int,
    *,
    sets: Sequence[tuple[str, ...]],
    no_sets: str,
    dna: str | None,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], tuple[str, ...], str]:
    """Return which events are beads alone and with a cell, the bead channels, and why there are no beads."""
    none = np.zeros(n, dtype=bool)
    if not sets:
        return none, none, (), no_sets
    if not n:
        return none, none, sets[0], "there are no events"
    events = separate_beads(signals, sets=sets, no_sets=no_sets, dna=dna)
    why = "" if events.limit.judged else events.limit.why_not
    return events.is_bead & ~events.with_cell, events.with_cell, events.channels, why


def time_fault(time_ms: NDArray[np.floating] | None, n: int) -> tuple[str, str]:
    """Return why beads cannot be put in the order of Time ("" where they can), and what is unusual about it.

    Parameters
    ----------
    time_ms
        Time of each event, in the order of the file, or `None`.
    n
        Number of events.
    """
    if time_ms is None:
        return "there is no Time", ""
    bad = int(np.count_nonzero(~np.isfinite(time_ms)))
    if bad:
        return f"Time is not finite in {bad} of {n} events", ""
    if n < 2 or float(np.ptp(time_ms)) == 0.0:
        return "Time does not move", ""
    step = np.diff(np.asarray(time_ms, dtype=np.float64))
    back = int(np.count_nonzero(step < -_BACK * float(np.ptp(time_ms))))
    if back > max(_JOINTS, _JOINTS_SHARE * n):
        return (
            "",
            f"Time runs backwards {back} times: events are not in the order of Time, and beads were sorted",
        )
    if back:
        times = "once" if back == 1 else f"{back} times"
        first = int(np.argmin(step)) + 1
        return (
            f"Time runs backwards {times} (most at event {first}, from {time_ms[first - 1]:.0f} to "
            f"{time_ms[first]:.0f}), so that parts of several acquisitions lie over each other"
        ), ""
    return "", ""


def bead_values(
    adata: AnnData, *, beads: str | Sequence[str] = "auto", sample_key: str = keys.SAMPLE
) -> pd.DataFrame:
    """Return the counts of all beads, from which the baseline of several files is taken; change nothing.

    A bead is high in every bead channel and has no DNA of a cell, by the limits of `clean`.

    Parameters
    ----------
    adata
        Raw events x mass channels, counts in ``X``, with ``var["role"]`` and ``var["mass"]``.
    beads
        ``"auto"`` looks for EQ4 and EQ6 beads by mass, ``"off"`` for none; or the names of the bead channels.
    sample_key
        Column of ``obs`` that tells samples apart; one sample where there is no ``sample_id``.

    Returns
    -------
    Table with one row per bead: ``sample_id`` and a column of counts for each bead channel, called by its metal and
    mass (``Ce140Di``) however the file spells it; NaN in the channels of another kind of bead.

    Raises
    ------
    StateError
        ``X`` does not hold counts.
    ParameterError
        A bead channel is unknown, a column that is needed is missing, or a value is not finite.

    Examples
    --------
    >>> import cytocar as cc
    >>> events = cc.datasets.legend2(cells=2000, timepoints=["2mo"])
    >>> values = bead_values(events)
    >>> list(values), len(values) > 50
    (['sample_id', 'Ce140Di', 'Eu151Di', 'Eu153Di', 'Ho165Di', 'Lu175Di'], True)
    """
    provenance.require_state(adata, keys.STATE_COUNTS, "pp.bead_values")
    return table_of(adata, find_beads(adata, beads=beads, sample_key=sample_key))


def bead_counts(counts: NDArray[np.float32], beads: SampleBeads) -> NDArray[np.float32]:
    """Return the counts of the beads of a sample, shape (beads, bead channels)."""
    return counts[beads.rows[beads.alone]][:, list(beads.columns)]


def table_of(adata: AnnData, samples: Sequence[SampleBeads]) -> pd.DataFrame:
    """Return the table of `bead_values` for beads that were found before."""
    import pandas as pd

    counts = counts_in_x(adata)
    tables = []
    for beads in samples:
        table = pd.DataFrame(
            bead_counts(counts, beads), columns=[label_of(adata, column) for column in beads.columns]
        )
        table.insert(0, keys.SAMPLE, beads.sample)
        tables.append(table)
    filled = [table for table in tables if len(table)]
    if not filled:
        return tables[0] if tables else pd.DataFrame({keys.SAMPLE: []})
    return pd.concat(filled, ignore_index=True)
