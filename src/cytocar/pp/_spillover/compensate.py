"""Taking back what leaked from channel to channel, without leaving signals below zero."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cytocar._core import checks, keys, provenance
from cytocar._core.checks import n_threads
from cytocar._core.errors import ParameterError, StateError
from cytocar._core.samples import own, sample_positions
from cytocar.panel.names import Isotope, parse_isotope
from cytocar.pp._channels import counts_in_x
from cytocar.pp._spillover.matrix import Spillover
from cytocar.pp._spillover.read import read_spillover

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

COMPENSATE: Final = "compensate"
STEP: Final = "pp.compensate"
METHODS: Final = ("nnls", "flow")
# The float64 working copy of a block stays in the processor's cache.
_BLOCK: Final = 8192
# With the few percent of mass cytometry eight sweeps do; matrices for which that is slow go to the active set.
_MOST_SWEEPS: Final = 40


def solve(
    counts: NDArray[np.float32], matrix: NDArray[np.float64], *, method: str = "nnls", threads: int = 1
) -> NDArray[np.float32]:
    """Return the signals x of all events with x S nearest to the counts y.

    Parameters
    ----------
    counts
        float32, events x channels.
    matrix
        S, channels x channels, rows emit.
    method
        ``"nnls"`` for x >= 0, ``"flow"`` for y S^-1, which may be below 0.
    threads
        At least 1; the result does not depend on it.
    """
    result = np.empty_like(counts)
    inverse = np.linalg.inv(matrix)

    if method == "flow":

        def work(rows: slice) -> None:
            result[rows] = counts[rows].astype(np.float64) @ inverse

    else:
        from cytocar.pp._spillover.compensate_kernels import solve_block

        above = matrix != 0
        starts = np.concatenate([[0], np.cumsum(above.sum(axis=1))]).astype(np.int64)
        columns = np.nonzero(above)[1].astype(np.int64)
        values = np.ascontiguousarray(matrix[above], dtype=np.float64)
        squares = (matrix**2).sum(axis=1)
        dense = np.ascontiguousarray(matrix, dtype=np.float64).copy()
        gram = np.ascontiguousarray(dense @ dense.T)

        def work(rows: slice) -> None:
            block = np.array(counts[rows], dtype=np.float32, order="C")
            solve_block(block, starts, columns, values, squares, dense, gram, _MOST_SWEEPS)
            result[rows] = block

    blocks = [slice(start, start + _BLOCK) for start in range(0, len(counts), _BLOCK)]
    if threads == 1 or len(blocks) < 2:
        for block in blocks:
            work(block)
    else:
        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(work, blocks):
                pass
    return result


def isotopes_of(adata: AnnData) -> list[Isotope | None]:
    """Return metal and mass of each column of X; None where a column has none."""
    n = adata.n_vars
    channels = adata.var[keys.CHANNEL].astype(str).tolist() if keys.CHANNEL in adata.var else [""] * n
    if keys.METAL not in adata.var or keys.MASS not in adata.var:
        if keys.CHANNEL not in adata.var:
            raise ParameterError(
                "var has neither 'metal' and 'mass' nor 'channel', so that no column can be found in a spillover "
                "matrix",
                fix="read the file with cytocar.io",
            )
        return [parse_isotope(channel) for channel in channels]
    metals, masses = adata.var[keys.METAL].astype(str), adata.var[keys.MASS]
    return [
        parse_isotope(channel) or (Isotope(metal, int(mass)) if metal and mass else None)
        for channel, metal, mass in zip(channels, metals, masses, strict=True)
    ]


def _require_uncompensated(adata: AnnData) -> None:
    provenance.require_state(adata, keys.STATE_COUNTS, STEP)
    done = COMPENSATE in adata.uns.get(keys.UNS, {})
    if done or any(step.get("step") == STEP for step in provenance.steps(adata)):
        raise StateError(
            "these counts are compensated already",
            fix=(
                "a second compensation would take away true signal. For another "
                "matrix, start from the counts before the first"
            ),
        )


def compensate(
    adata: AnnData,
    spillover: Spillover | str | os.PathLike[str],
    *,
    method: str = "nnls",
    n_jobs: int | None = None,
    sample_key: str = keys.SAMPLE,
    copy: bool = False,
) -> AnnData | None:
    """Replace the counts by the signals that explain them through the spillover matrix.

    With the true signals x an event is seen as y = x S (rows of S emit). ``"nnls"`` finds for each event the x >= 0
    with the least ``||S' x - y||``, exactly: signals that the inverse would make negative are 0, and their
    neighbours are not raised to make up for it (Chevrier et al. 2018, Cell Syst 6:612, doi
    10.1016/j.cels.2018.02.010). Channels that are not in the matrix stay as they are. Computed in float64.

    Parameters
    ----------
    adata
        Events x mass channels, counts in ``X``; ``var`` with ``channel``, or ``metal`` and ``mass``.
    spillover
        A `Spillover`, or the CSV file of one. Channels match by metal and mass; see `Spillover.adapt`.
    method
        ``"nnls"``, or ``"flow"``: y S^-1 as in fluorescence, which may be below 0.
    n_jobs
        Threads, or -1 for all processors; the result does not depend on it.
        `None`: ``scanpy.settings.n_jobs`` where scanpy is in use, else 1.
    sample_key
        Column of ``obs`` that tells samples apart, for the table; one sample where there is no ``sample_id``.
    copy
        Return a changed copy and leave `adata` as it is.

    Returns
    -------
    `None`, or the changed copy. Sets the following fields:

    ``X``
        float32 counts after compensation.
    ``uns["cytocar"]["compensate"]``
        JSON: per sample the mean signal of each channel before and after, and the interactions that are possible
        but were not measured; see `spillover_table`.

    Raises
    ------
    StateError
        ``X`` holds arcsinh values, or is compensated already.
    ParameterError
        No channel is in the matrix, two columns are the same channel, a count is not finite, or `method` or
        `n_jobs` is out of range.
    StudyError
        The file of the matrix has problems.

    Notes
    -----
    A million events x 41 channels take about 2 s a thread, and one more copy of ``X``.

    Examples
    --------
    >>> import anndata, numpy, pandas
    >>> panel = pandas.DataFrame({"channel": ["Nd146Di", "Dy162Di"]}, index=["CD8a", "Ki67"])
    >>> cells = anndata.AnnData(numpy.array([[1000.0, 17.0], [0.0, 50.0]], dtype="float32"), var=panel)
    >>> cells.uns["cytocar"] = {"state": "counts"}
    >>> compensate(cells, Spillover(("146Nd", "162Dy"), [[1, 0.017], [0, 1]]))
    >>> cells.X.round(3).tolist()
    [[1000.0, 0.0], [0.0, 50.0]]
    """
    _require_uncompensated(adata)
    checks.one_of(method, "method", METHODS)
    threads = n_threads(n_jobs)
    if not isinstance(spillover, Spillover):
        spillover = read_spillover(spillover)
    covered = _covered_by(spillover, adata)
    counts = counts_in_x(adata)
    _require_finite(adata, counts, covered.columns)
    after = counts.copy(order="K")
    kept: dict[str, Any] = {}
    for sample, rows in sample_positions(adata, sample_key):
        sum_before, sum_after = _solve_rows(counts, after, rows, covered, method, threads)
        kept[sample] = {
            "events": int(rows.size),
            "method": method,
            "channels": covered.channels,
            "markers": [str(name) for name in adata.var_names[covered.columns]],
            "before": (sum_before / max(rows.size, 1)).tolist(),
            "after": (sum_after / max(rows.size, 1)).tolist(),
            "pairs": [[emitter, receiver, float(value)] for emitter, receiver, value in covered.pairs()],
            "notes": covered.notes,
        }

    adata = adata.copy() if copy else own(adata)
    adata.X = after
    adata.uns.setdefault(keys.UNS, {})[COMPENSATE] = json.dumps(kept)
    used = set(covered.columns.tolist())
    settings = {
        "method": method,
        "channels": covered.channels,
        "left_as_they_are": [str(name) for n, name in enumerate(adata.var_names) if n not in used],
        "spillover": {f"{emitter} into {receiver}": value for emitter, receiver, value in covered.pairs()},
    }
    provenance.record(adata, STEP, settings)
    return adata if copy else None


@dataclass(frozen=True)
class _Covered:
    """The part of the data that a spillover matrix is about.

    Parameters
    ----------
    columns
        Columns of X.
    channels
        Their names, as the matrix has them.
    matrix
        Channels x channels, rows emit.
    notes
        Interactions that are possible but were not measured.
    """

    columns: NDArray[np.intp]
    channels: list[str]
    matrix: NDArray[np.float64]
    notes: list[str]

    def pairs(self) -> Iterator[tuple[str, str, np.float64]]:
        """Give emitter, receiver and value of everything off the diagonal that is not 0."""
        for i, j in np.argwhere(self.matrix - np.eye(len(self.channels))):
            yield self.channels[i], self.channels[j], self.matrix[i, j]


def _covered_by(spillover: Spillover, adata: AnnData) -> _Covered:
    isotopes = isotopes_of(adata)
    measured = [isotope.channel for isotope in isotopes if isotope is not None]
    in_matrix = set(spillover.isotopes)
    columns = [n for n, isotope in enumerate(isotopes) if isotope in in_matrix]
    if not columns:
        raise ParameterError(
            f"none of the channels ({', '.join(measured[:5]) or 'none with a mass'}, ...) is in the spillover "
            f"matrix ({', '.join(spillover.channels[:5])}, ...)",
            fix="channels match by metal and mass",
        )
    fitted, notes = spillover.adapt(measured)
    channels = [isotope.channel for isotope in isotopes if isotope is not None and isotope in in_matrix]
    positions = [fitted.channels.index(name) for name in channels]
    return _Covered(
        np.array(columns, dtype=np.intp), channels, fitted.matrix[np.ix_(positions, positions)], notes
    )


def _require_finite(adata: AnnData, counts: NDArray[np.float32], columns: NDArray[np.intp]) -> None:
    for column in columns:
        bad = ~np.isfinite(counts[:, column])
        if bad.any():
            event = int(np.flatnonzero(bad)[0])
            raise ParameterError(
                f"{adata.var_names[column]} is {counts[event, column]} in event {event}",
                fix="counts must be finite: remove these events or read the file again",
            )


def _solve_rows(
    counts: NDArray[np.float32],
    after: NDArray[np.float32],
    rows: NDArray[np.intp],
    covered: _Covered,
    method: str,
    threads: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Write the signals of some events into `after`, and return the sums of counts and of signals."""
    sum_before, sum_after = np.zeros(covered.columns.size), np.zeros(covered.columns.size)
    step = _BLOCK * 8
    for start in range(0, rows.size, step):
        where = np.ix_(rows[start : start + step], covered.columns)
        seen = np.ascontiguousarray(counts[where])
        true = solve(seen, covered.matrix, method=method, threads=threads)
        after[where] = true
        sum_before += seen.sum(axis=0, dtype=np.float64)
        sum_after += true.sum(axis=0, dtype=np.float64)
    return sum_before, sum_after


def spillover_table(adata: AnnData) -> pd.DataFrame:
    """Return what compensation took from each channel of each sample, and where most of it came from.

    Parameters
    ----------
    adata
        Events after `compensate`.

    Returns
    -------
    Table with the columns ``sample_id``, ``channel``, ``marker``, ``events``, ``mean_before`` and ``mean_after``
    (counts per event, all events), ``removed`` (part of the signal before, NaN where there was none),
    ``main_source`` (the channel that leaked most into it, "" where none) and ``main_source_counts`` (how much,
    counts per event).

    Raises
    ------
    StateError
        `compensate` has not been run.

    Examples
    --------
    >>> import anndata, numpy, pandas
    >>> panel = pandas.DataFrame({"channel": ["Nd146Di", "Dy162Di"]}, index=["CD8a", "Ki67"])
    >>> cells = anndata.AnnData(numpy.array([[1000.0, 20.0]], dtype="float32"), var=panel)
    >>> cells.uns["cytocar"] = {"state": "counts"}
    >>> compensate(cells, Spillover(("146Nd", "162Dy"), [[1, 0.02], [0, 1]]))
    >>> spillover_table(cells)[["marker", "mean_before", "main_source"]].values.tolist()
    [['CD8a', 1000.0, ''], ['Ki67', 20.0, 'Nd146Di']]
    """
    import pandas as pd

    text = adata.uns.get(keys.UNS, {}).get(COMPENSATE)
    if text is None:
        raise StateError("these events are not compensated", fix="run cytocar.pp.compensate first")
    rows: list[tuple[Any, ...]] = []
    for sample, entry in json.loads(text).items():
        signal = dict(zip(entry["channels"], entry["after"], strict=True))
        for channel, marker, before, after in zip(
            entry["channels"], entry["markers"], entry["before"], entry["after"], strict=True
        ):
            sources = {
                emitter: signal[emitter] * value
                for emitter, receiver, value in entry["pairs"]
                if receiver == channel
            }
            main = max(sources, key=lambda name: sources[name], default="")
            rows.append(
                (
                    sample,
                    channel,
                    marker,
                    entry["events"],
                    before,
                    after,
                    (before - after) / before if before > 0 else float("nan"),
                    main,
                    sources.get(main, 0.0),
                )
            )
    columns = [
        keys.SAMPLE, keys.CHANNEL, keys.MARKER, "events", "mean_before", "mean_after", "removed", "main_source",
        "main_source_counts",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)
