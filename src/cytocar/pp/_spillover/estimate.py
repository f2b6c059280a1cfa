"""The spillover matrix from single-stained beads or cells."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cytocar._core import checks, keys, provenance
from cytocar._core.density import find_valley
from cytocar._core.errors import ParameterError
from cytocar._core.files import is_fcs_name
from cytocar.panel.antigens import marker_index
from cytocar.panel.names import Isotope, marker_key, parse_isotope
from cytocar.pp._channels import counts_in_x
from cytocar.pp._spillover.compensate import isotopes_of
from cytocar.pp._spillover.matrix import Spillover, interaction

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

STAIN: Final = "stain"
_COFACTOR: Final = 5.0
_TRIM: Final = 0.1
# A stain that is not this far above its background (arcsinh units, fivefold) cannot be distinguished from it.
_CLEAR: Final = 1.6
_SURE: Final = 0.3


def trimmed_mean(values: NDArray[np.floating], share: float = _TRIM) -> float:
    """Return the mean without the lowest and highest `share`; 0 where there are no values.

    Examples
    --------
    >>> trimmed_mean(np.array([0, 1, 1, 1, 1, 1, 1, 1, 1, 1000.0]))
    1.0
    """
    if not values.size:
        return 0.0
    cut = int(share * values.size)
    ordered = np.partition(values, [cut, values.size - cut - 1])
    return float(ordered[cut : values.size - cut].mean(dtype=np.float64))


def estimate(
    counts: NDArray[np.float32], stained: NDArray[np.intp], isotopes: Sequence[Isotope], min_events: int
) -> tuple[NDArray[np.float64], list[str]]:
    """Return the matrix, NaN in the rows that were not measured, and notes.

    Parameters
    ----------
    counts
        Events x channels.
    stained
        For each event the channel that was stained; -1 for events that are negative for all.
    isotopes
        Metal and mass of the channels.
    min_events
        Fewest single-positive events for a row.
    """
    n = len(isotopes)
    # Instruments store k ions as k - U(0, 1): half a count too few would be missing in every small signal.
    counts = np.ceil(counts)
    leaks = np.array([[bool(interaction(i, j)) for j in isotopes] for i in isotopes]).reshape(n, n)
    matrix = np.full((n, n), np.nan)
    notes = []
    stains = [int(stain) for stain in np.unique(stained) if stain >= 0]
    background = _background(counts, stained, leaks, stains)
    limit = np.full(n, np.inf)
    for stain in stains:
        limit[stain] = _limit(counts[stained == stain, stain], background[stain])
    for stain in stains:
        name = isotopes[stain].channel
        rows = np.flatnonzero(stained == stain)
        if not np.isfinite(limit[stain]):
            notes.append(
                f"{name}: its events are not clearly above the background in their own channel, not measured"
            )
            continue
        single = counts[rows, stain] >= limit[stain]
        for other in stains:
            if other != stain and not leaks[stain, other]:
                single &= counts[rows, other] < limit[other]
        chosen = rows[single]
        if chosen.size < min_events:
            notes.append(
                f"{name}: {chosen.size} of {rows.size} events are positive for it alone, fewer than {min_events}: not "
                "measured"
            )
            continue
        signal = counts[chosen, stain].astype(np.float64) - background[stain]
        matrix[stain] = 0.0
        matrix[stain, stain] = 1.0
        for receiver in np.flatnonzero(leaks[stain]):
            received = np.maximum(counts[chosen, receiver].astype(np.float64) - background[receiver], 0.0)
            matrix[stain, receiver] = min(float(np.median(received / signal)), 1.0)
    return matrix, notes


def _background(
    counts: NDArray[np.float32], stained: NDArray[np.intp], leaks: NDArray[np.bool_], stains: Sequence[int]
) -> NDArray[np.float64]:
    """Return the trimmed mean of the negatives of each channel; events of a stain that can leak into it are not."""
    background = np.zeros(counts.shape[1])
    for channel in range(background.size):
        unable = [stain for stain in stains if not leaks[stain, channel] and stain != channel]
        background[channel] = trimmed_mean(counts[np.isin(stained, [-1, *unable]), channel])
    return background


def _limit(own: NDArray[np.float32], background: float) -> float:
    """Return the count from which an event carries the stain of its file or barcode; infinite where none does."""
    y = np.arcsinh(own / np.float32(_COFACTOR))
    floor = float(np.arcsinh(background / _COFACTOR))
    if not y.size:
        return np.inf
    valley = find_valley(y, low=floor)
    if valley is not None and valley.confidence >= _SURE and valley.right_mode - floor >= _CLEAR:
        return float(_COFACTOR * np.sinh(valley.value))
    middle = float(np.median(y))
    if middle - floor < _CLEAR:
        return np.inf
    return float(_COFACTOR * np.sinh((floor + middle) / 2))


def estimate_spillover(
    data: AnnData | Sequence[AnnData] | str | os.PathLike[str],
    *,
    stain: str = STAIN,
    min_events: int = 50,
) -> Spillover:
    """Estimate the spillover matrix from single-stained beads or cells.

    For each pair of channels that can leak (neighbouring mass, oxide at +16, isotopic impurities of the metal)
    ``s_ij = median over events positive for i alone of max(0, x_j - bg_j) / (x_i - bg_i)``, with the 10 % trimmed
    mean of the negatives as background bg: events of the stains that cannot leak into the channel, and unstained
    ones (Chevrier et al. 2018, Cell Syst 6:612, doi 10.1016/j.cels.2018.02.010). All other pairs are 0. Rows of
    channels that were not stained, or had too few events, are not measured; `Spillover.notes` says why.

    Parameters
    ----------
    data
        One AnnData of pooled and debarcoded single stains (counts); or one for each single-stained tube; or a
        folder of such FCS files.
    stain
        Column of ``obs`` with the stained channel of each event (metal and mass in any spelling, or the marker; "",
        ``"0"`` or missing for unstained events). Without it each AnnData is one tube, whose stained channel is the
        one in its file name, else its brightest.
    min_events
        Fewest events positive for one channel alone from which its row is measured, at least 1.

    Returns
    -------
    `Spillover` of all mass channels, in the order of the first AnnData.

    Raises
    ------
    ParameterError
        There are no events, the channels of the tubes differ, a stain is not a channel of the data, or no row could
        be measured.
    StateError
        ``X`` holds arcsinh values.

    Notes
    -----
    Instruments store k ions as k - U(0, 1), so counts are rounded up to whole ions first; without that, a value would
    be about 0.5 / signal too low.

    Examples
    --------
    >>> import cytocar as cc
    >>> beads = cc.datasets.single_stains(events=200)
    >>> spill = cc.pp.estimate_spillover(beads)
    >>> round(float(spill.frame.loc["Dy162Di", "Dy163Di"]), 2)
    0.04
    """
    checks.whole_number(min_events, "min_events", 1)
    tubes = _tubes(data)
    measured = [isotope for isotope in isotopes_of(tubes[0]) if isotope is not None]
    counts, codes, notes = [], [], []
    for number, tube in enumerate(tubes):
        provenance.require_state(tube, keys.STATE_COUNTS, "pp.estimate_spillover")
        isotopes = isotopes_of(tube)
        values = _measured_counts(tube, isotopes, measured, f"tube {number} ({_name(tube)})")
        markers = {
            str(name): isotope
            for name, isotope in zip(tube.var_names, isotopes, strict=True)
            if isotope is not None
        }
        code, guesses = _stained(tube, values, measured, markers, stain)
        counts.append(values)
        codes.append(code)
        notes += guesses
    if not sum(map(len, counts)):
        raise ParameterError("there are no events, so that no spillover can be measured")
    matrix, unmeasured = estimate(np.concatenate(counts), np.concatenate(codes), measured, int(min_events))
    notes += unmeasured
    if np.isnan(matrix).all():
        raise ParameterError("no channel could be measured: " + ("; ".join(notes) or "no event is stained"))
    silent = _without_a_note(measured, matrix, notes)
    if silent:
        notes.append(f"not stained, so not measured: {', '.join(silent)}")
    return Spillover(tuple(isotope.channel for isotope in measured), matrix, tuple(notes))


def _measured_counts(
    tube: AnnData, isotopes: Sequence[Isotope | None], measured: Sequence[Isotope], where: str
) -> NDArray[np.float32]:
    """Return the counts of the channels in the order of the first tube."""
    differ = set(filter(None, isotopes)) ^ set(measured)
    if differ:
        raise ParameterError(
            f"{where} and the first differ in the channels {', '.join(sorted(map(str, differ)))}",
            fix="the single stains of one matrix are measured on the same channels",
        )
    values = counts_in_x(tube)[:, [isotopes.index(isotope) for isotope in measured]]
    if not np.isfinite(values).all():
        raise ParameterError(f"{where} holds counts that are not finite", fix="remove them")
    return values


def _without_a_note(
    measured: Sequence[Isotope], matrix: NDArray[np.float64], notes: Sequence[str]
) -> list[str]:
    never = [i.channel for i, row in zip(measured, matrix, strict=True) if np.isnan(row).all()]
    return [name for name in never if not any(note.startswith(f"{name}:") for note in notes)]


def _tubes(data: Any) -> list[AnnData]:
    if isinstance(data, (str, os.PathLike)):
        from cytocar.io import read_fcs

        folder = Path(data)
        files = sorted(path for path in folder.glob("*") if is_fcs_name(path.name))
        if not files:
            what = "holds no FCS files" if folder.is_dir() else "is not a folder"
            raise ParameterError(f"{folder} {what}", fix="give a folder of FCS files, one per single stain")
        return [read_fcs(file) for file in files]
    tubes = list(data) if isinstance(data, Iterable) and not hasattr(data, "obs") else [data]
    if not tubes:
        raise ParameterError(
            "there are no single stains", fix="give at least one AnnData, or a folder of FCS files"
        )
    return tubes


def _name(adata: AnnData) -> str:
    """Return the name of the file that an AnnData was read from; "" where it is not known."""
    names = [str(step.get("settings", {}).get("file", "")) for step in provenance.steps(adata)]
    return next((name for name in reversed(names) if name), "")


def _stained(
    adata: AnnData,
    counts: NDArray[np.float32],
    measured: Sequence[Isotope],
    markers: dict[str, Isotope],
    stain: str,
) -> tuple[NDArray[np.intp], list[str]]:
    """Return the stained channel of every event, and notes on what was guessed."""
    at = {isotope: column for column, isotope in enumerate(measured)}
    if stain in adata.obs:
        return _stained_by_column(adata, at, markers, stain), []
    if not len(counts):
        return np.empty(0, dtype=np.intp), []
    file = _name(adata)
    brightest = measured[int(np.argmax(np.percentile(counts, 75, axis=0)))]
    named = _in_name(file, measured, markers)
    notes = []
    if named is None:
        if _is_unstained(file):
            return np.full(len(counts), -1, dtype=np.intp), [f"{file}: taken as unstained by its name"]
        notes.append(f"{file or 'a tube'}: its brightest channel {brightest.channel} is taken as the stain")
    elif named != brightest:
        notes.append(f"{file}: named for {named.channel}, but {brightest.channel} is the brightest channel")
    return np.full(len(counts), at[named or brightest], dtype=np.intp), notes


def _stained_by_column(
    adata: AnnData, at: dict[Isotope, int], markers: dict[str, Isotope], stain: str
) -> NDArray[np.intp]:
    """Return the stained channel of every event as a column of ``obs`` names it."""
    values = adata.obs[stain]
    names = ["" if missing else str(name) for name, missing in zip(values, values.isna(), strict=True)]
    code_of: dict[str, int] = {}
    for name in dict.fromkeys(names):
        position = marker_index(markers).position(name)
        isotope = parse_isotope(name) or (None if position is None else list(markers.values())[position])
        if name in ("", "0"):
            code_of[name] = -1
        elif isotope in at and isotope is not None:
            code_of[name] = at[isotope]
        else:
            raise ParameterError(
                f"obs[{stain!r}] is {name!r}, which is not a channel of these data",
                fix=f"name the stained channel, such as {next(iter(at)).channel!r}, and unstained events ''",
            )
    return np.array([code_of[name] for name in names], dtype=np.intp)


def _is_unstained(file: str) -> bool:
    return re.search(r"unstained|blank|negative", file, re.IGNORECASE) is not None


def _in_name(file: str, measured: Sequence[Isotope], markers: dict[str, Isotope]) -> Isotope | None:
    """Return the channel that a file name names by metal and mass, else by its marker; None where not one."""
    words = [word for word in re.split(r"[\s_.,;()\[\]]+", re.sub(r"\.fcs$", "", file, flags=re.I)) if word]
    candidates = [*words, *(piece for word in words for piece in word.split("-"))]
    named = {isotope for word in candidates if (isotope := parse_isotope(word)) in measured}
    if not named:
        by_key = {marker_key(name): isotope for name, isotope in markers.items()}
        named = {by_key[marker_key(word)] for word in candidates if marker_key(word) in by_key}
    if not named:
        index, isotopes = marker_index(markers), list(markers.values())
        named = {isotopes[at] for word in candidates if (at := index.position(word)) is not None}
    return next(iter(named)) if len(named) == 1 else None
