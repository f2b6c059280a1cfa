"""Writing FCS 3.1: float32, little-endian, every keyword kept, read back as it was."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from cytocar._core import keys, provenance
from cytocar._core.errors import FcsError, ParameterError, did_you_mean
from cytocar._core.files import replacing
from cytocar._core.version import __version__
from cytocar.io._fcs.deidentify import deidentified
from cytocar.io._fcs.layout import build_text, head_and_text, names_before
from cytocar.io._fcs.read import KEYWORDS, STATE_KEYWORD, STEPS_KEYWORD
from cytocar.panel.names import Isotope, channel_isotope, marker_name, parse_isotope
from cytocar.panel.roles import guess_role

if TYPE_CHECKING:
    from anndata import AnnData

# A block stays in the processor's cache while its columns are put together.
_BLOCK_BYTES: Final = 1 << 20
VERSION_KEYWORD: Final = "CYTOCAR_VERSION"
# $FIL of the file that the instrument wrote.
FIRST_NAME_KEYWORD: Final = "CYTOCAR_FIRST_FIL"
_FIRST_ROLES: Final = ("time", "event_length")

# First row, row after the last -> rows x channels.
Rows = Callable[[int, int], npt.NDArray[Any]]
Blocks = Callable[[], Iterable[npt.NDArray[Any]]]


def write_events(
    path: str | os.PathLike[str],
    events: npt.NDArray[Any],
    channels: Sequence[tuple[str, str]],
    keywords: Mapping[str, str] | None = None,
) -> None:
    """Write a matrix of events as FCS 3.1 (float32, little-endian), through a temporary file.

    Keywords that describe the layout are computed; all others are kept, and those of a channel (`$P3V`,
    `P3DISPLAY`) follow the channel of the same `$PnN` to its new column. `$PnR` stays where it holds all
    values, else it is the next whole number above the maximum; `$PnE` is `0,0`. DATA beyond byte
    99,999,999 has 0 in HEADER and its offsets in TEXT. Rows are converted in blocks of 1 MB: there is no
    full copy. Reference: Spidlen 2010, Cytometry A 77:97, doi:10.1002/cyto.a.20825.

    Parameters
    ----------
    path
        Where to; the folder must exist.
    events
        n_events x n_channels, numbers; stored as float32.
    channels
        (`$PnN`, `$PnS`) per column; `$PnN` not empty and each once, or as often as `keywords` name it, because
        files have channels of one name; `$PnS` may be empty.
    keywords
        Further keywords with their values, as `FcsHeader.keywords` has them.

    Raises
    ------
    ParameterError
        The matrix does not fit the channels, or a channel name is empty or repeated.
    FcsError
        The keywords cannot be written: they use every character that could separate them.

    Examples
    --------
    >>> import numpy as np, tempfile, pathlib
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "a.fcs"
    >>> write_events(file, np.ones((3, 1)), [("Yb171Di", "171Yb_CD3")], {"$CYT": "Helios"})
    >>> file.read_bytes()[:6]
    b'FCS3.1'
    """
    if events.ndim != 2 or events.shape[1] != len(channels):
        raise ParameterError(
            f"events have shape {events.shape}, but {len(channels)} channels are named",
            fix="expected one column per channel",
        )
    blocks = _in_blocks(lambda start, stop: events[start:stop], len(events), len(channels))
    stream(path, blocks, len(events), channels, keywords or {})


def write_fcs(
    adata: AnnData, path: str | os.PathLike[str], *, layer: str | None = None, deidentify: bool = False
) -> None:
    """Write an AnnData as FCS 3.1: its matrix, the channels in obs, and the keywords of the file it came from.

    Channels stand in the order of the original file where it is known, others after them. The history of the
    data goes into `CYTOCAR_STEPS`, and what the matrix holds (counts or arcsinh) into `CYTOCAR_STATE`;
    `read_fcs` takes both up again. `$FIL` is the name of the new file; that of the file that was read stays in
    `CYTOCAR_FIRST_FIL`. The file appears whole or not at all.

    Parameters
    ----------
    adata
        Events x channels, as `read_fcs` gives it.
    path
        Where to; the folder must exist.
    layer
        A layer to write in place of X, such as `"counts"`.
    deidentify
        Keep only keywords that describe the measurement: no `$SRC`, `$SMNO`, `$OP`, `$INST`, `$FIL`,
        `$CELLS`, no dates and times of day, no comments, and none of the fields that vendors and users add
        (patients, samples, folders), whatever they are called. Of the history the names of the steps stay.

    Raises
    ------
    ParameterError
        There is no such layer, or two channels have one name.

    Examples
    --------
    >>> import numpy as np, tempfile, pathlib
    >>> from cytocar.io import read_fcs
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> write_events(folder / "a.fcs", np.ones((3, 2)), [("Time", ""), ("Yb171Di", "171Yb_CD3")], {"$OP": "Me"})
    >>> write_fcs(read_fcs(folder / "a.fcs"), folder / "b.fcs", deidentify=True)
    >>> again = read_fcs(folder / "b.fcs")
    >>> list(again.var_names), list(again.obs), "$OP" in again.uns["cytocar"]["keywords"]
    (['CD3'], ['Time', 'event_index'], False)
    """
    if layer is not None and layer not in adata.layers:
        raise ParameterError(f"there is no layer {layer!r}", fix=did_you_mean(layer, map(str, adata.layers)))
    matrix = adata.X if layer is None else adata.layers[layer]
    own = adata.uns.get(keys.UNS, {})
    keywords: dict[str, str] = json.loads(own.get(KEYWORDS, "{}"))
    columns = _columns(adata, keywords)

    history = [*provenance.steps(adata), {"step": "io.write_fcs", "settings": {"layer": layer}}]
    if deidentify:
        keywords = deidentified(keywords)
        history = [{"step": str(step.get("step", ""))} for step in history]
    else:
        _name_file(keywords, Path(path).name)
    keywords[STEPS_KEYWORD] = json.dumps(history)
    keywords[VERSION_KEYWORD] = __version__
    keywords.pop(STATE_KEYWORD, None)
    state = keys.STATE_COUNTS if layer == keys.COUNTS else own.get(keys.STATE)
    if state is not None:
        keywords[STATE_KEYWORD] = str(state)

    in_matrix = [(column, source) for column, (_, _, source) in enumerate(columns) if isinstance(source, int)]
    in_obs = [
        (column, np.asarray(adata.obs[source], dtype=np.float32))
        for column, (_, _, source) in enumerate(columns)
        if isinstance(source, str)
    ]

    runs = _neighbours(in_matrix)

    def rows(start: int, stop: int) -> npt.NDArray[np.float32]:
        values = matrix[start:stop]
        dense = values.toarray() if hasattr(values, "toarray") else np.asarray(values)
        block = np.empty((len(dense), len(columns)), dtype=np.float32)
        for column, source, width in runs:
            block[:, column : column + width] = dense[:, source : source + width]
        for column, of_obs in in_obs:
            block[:, column] = of_obs[start:stop]
        return block

    blocks = _in_blocks(rows, adata.n_obs, len(columns))
    stream(path, blocks, adata.n_obs, [(pnn, pns) for pnn, pns, _ in columns], keywords)


def _name_file(keywords: dict[str, str], name: str) -> None:
    """Set `$FIL` (and FILENAME, where there is one) to the name of the file itself; the first name stays beside it."""
    before = keywords.get("$FIL", "").strip()
    if before and before != name:
        keywords.setdefault(FIRST_NAME_KEYWORD, before)
    keywords["$FIL"] = name
    if "FILENAME" in keywords:
        keywords["FILENAME"] = name


def _neighbours(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Return (column, source, width) of columns that are neighbours on both sides, to be copied together."""
    runs: list[tuple[int, int, int]] = []
    for column, source in pairs:
        if runs and (column, source) == (runs[-1][0] + runs[-1][2], runs[-1][1] + runs[-1][2]):
            runs[-1] = (runs[-1][0], runs[-1][1], runs[-1][2] + 1)
        else:
            runs.append((column, source, 1))
    return runs


@dataclass(frozen=True)
class _Originals:
    """The channels of the file that an AnnData was read from, and how they are found again.

    Parameters
    ----------
    names
        (`$PnN`, `$PnS`) in the order of the file.
    by_name
        Numbers of the channels of each `$PnN`.
    by_isotope, by_role
        Number of a channel by its isotope, and of Time and Event_length by their role.
    reads_as
        Markers that reading makes of each long name.
    """

    names: list[tuple[str, str]]
    by_name: dict[str, list[int]]
    by_isotope: dict[Isotope, int]
    by_role: dict[str, int]
    reads_as: list[set[str]]

    @classmethod
    def of(cls, keywords: Mapping[str, str]) -> _Originals:
        """Return the channels that keywords name."""
        from cytocar.panel import Panel

        names: list[tuple[str, str]] = []
        while (name := keywords.get(f"$P{len(names) + 1}N")) is not None:
            names.append((name.strip(), keywords.get(f"$P{len(names) + 1}S", "").strip()))
        by_name: dict[str, list[int]] = {}
        for n, (pnn, _) in enumerate(names):
            by_name.setdefault(pnn, []).append(n)
        isotopes = [channel_isotope(pnn, pns) for pnn, pns in names]
        roles = [guess_role(pnn, pnn, None) for pnn, _ in names]
        guessed = list(Panel.from_channels(names).frame[keys.MARKER]) if names else []
        return cls(
            names=names,
            by_name=by_name,
            by_isotope={isotope: n for n, isotope in enumerate(isotopes) if isotope},
            by_role={role: n for n, role in enumerate(roles) if role in _FIRST_ROLES},
            reads_as=[
                {guessed[n], marker_name(pnn, pns), f"{marker_name(pnn, pns)}_{pnn}"}
                for n, (pnn, pns) in enumerate(names)
            ],
        )

    def find(self, channel: str, marker: str, taken: Collection[int]) -> int | None:
        """Return the number of a channel; of several of one name, the one that reads as this marker, or the next."""
        free = [n for n in self.by_name.get(channel, ()) if n not in taken]
        same = [n for n in free if marker in self.reads_as[n]]
        return next(iter(same or free), None)


def _columns(adata: AnnData, keywords: Mapping[str, str]) -> list[tuple[str, str, int | str]]:
    """Return ($PnN, $PnS, column of the matrix or name in obs) per channel, in the order of the original file."""
    originals = _Originals.of(keywords)
    placed = [*_columns_of_x(adata, originals), *_columns_of_obs(adata, originals)]
    return [entry for _, entry in sorted(placed, key=lambda item: item[0])]


def _columns_of_x(adata: AnnData, originals: _Originals) -> list[tuple[int, tuple[str, str, int | str]]]:
    """Return each column of the matrix with its position in the file."""
    placed: list[tuple[int, tuple[str, str, int | str]]] = []
    taken: set[int] = set()
    for source, marker in enumerate(adata.var_names):
        channel = str(adata.var[keys.CHANNEL].iloc[source]) if keys.CHANNEL in adata.var else str(marker)
        isotope = parse_isotope(channel)
        original = originals.find(channel, str(marker), taken)
        if original is None and channel not in originals.by_name and isotope:
            original = originals.by_isotope.get(isotope)
        if original is not None:
            taken.add(original)
        pnn = channel if original is None else originals.names[original][0]
        # A long name stays as it is where reading makes this marker of it, on its own or beside others of its name.
        if original is not None and marker in originals.reads_as[original]:
            pns = originals.names[original][1]
        else:
            pns = f"{isotope.mass}{isotope.symbol}_{marker}" if isotope else str(marker)
        # What the file did not have stands after what it had, in the order of var.
        placed.append((len(originals.names) if original is None else original, (pnn, pns, source)))
    return placed


def _columns_of_obs(adata: AnnData, originals: _Originals) -> list[tuple[int, tuple[str, str, int | str]]]:
    """Return each column of obs that is a channel, with its position in the file."""
    placed: list[tuple[int, tuple[str, str, int | str]]] = []
    in_obs: dict[str, int] = {}
    for pnn, numbers in originals.by_name.items():
        # Reading numbers the columns of one name: Time, Time_2.
        for count, n in enumerate(numbers, 1):
            in_obs.setdefault(pnn.replace("/", "_") + (f"_{count}" if count > 1 else ""), n)
    for column in map(str, adata.obs.columns):
        if adata.obs[column].dtype.kind not in "fiu":
            continue
        role = guess_role(column, column, None)
        original = in_obs.get(column, originals.by_role.get(role))
        if original is not None:
            placed.append((original, (*originals.names[original], column)))
        elif role != "none":
            # Without an original the usual order: time and length of the event first, its shape last.
            position = -1 if role in _FIRST_ROLES else len(originals.names) + 1
            placed.append((position, (column, "", column)))
    return placed


def stream(
    path: str | os.PathLike[str],
    blocks: Blocks,
    n_events: int,
    channels: Sequence[tuple[str, str]],
    keywords: Mapping[str, str],
    *,
    largest: npt.NDArray[np.float64] | None = None,
) -> None:
    """Write blocks of rows as FCS 3.1, each as it comes, through a temporary file.

    Parameters
    ----------
    path
        Where to; the folder must exist.
    blocks
        Gives the blocks, each rows x channels, from the first to the last; it is called once more before, for
        the maxima, where `largest` is None.
    n_events
        Rows of all blocks together.
    channels, keywords
        As for `write_events`.
    largest
        The largest finite value of each column, 0 where there is none above it.
    """
    names = [name.strip() for name, _ in channels]
    if not names or not all(names):
        raise ParameterError(
            f"channel names are {names}", fix="expected at least one, and none of them empty"
        )
    allowed = names_before(keywords)
    repeated = sorted({name for name in names if names.count(name) > max(1, allowed.get(name, 0))})
    if repeated:
        raise ParameterError(f"channel names are there more than once: {', '.join(repeated)}")
    if largest is None:
        largest = np.zeros(len(names))
        for block in blocks():
            largest = np.maximum(largest, largest_of(block))
    text = build_text(names, channels, keywords, largest, n_events)
    head, text_bytes = head_and_text(text, n_bytes=4 * n_events * len(names))
    written = 0
    with replacing(path) as temporary, open(temporary, "wb", buffering=0) as file:
        _write_all(file, head + text_bytes)
        for block in blocks():
            rows = np.ascontiguousarray(block, dtype="<f4")
            _write_all(file, rows.view(np.uint8).data)
            written += len(rows)
        if written != n_events:
            raise FcsError(
                f"{n_events} events were announced, but {written} came",
                where=str(path),
                fix="a file changed meanwhile",
            )
        # FCS 3.1 ends with eight characters of CRC; zeros say that none was computed.
        _write_all(file, b"00000000")


def _write_all(file: FileIO, data: bytes | memoryview) -> None:
    """Write every byte: one call to the system writes 2 GB at most, and may write less."""
    view = memoryview(data).cast("B") if len(data) else memoryview(b"")
    while len(view):
        view = view[file.write(view) :]


def largest_of(block: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return the largest finite value of each column, 0 where there is none above it."""
    # fmax passes over NaN by itself; infinities are rare enough to be handled when they occur.
    top = np.fmax.reduce(block, axis=0, initial=0)
    if not np.isfinite(top).all():
        top = np.where(np.isfinite(block), block, 0).max(axis=0, initial=0)
    return np.asarray(top, dtype=np.float64)


def _in_blocks(rows: Rows, n_events: int, n_channels: int) -> Blocks:
    """Return what gives the rows from the first to the last, some MB at a time."""
    step = max(1, _BLOCK_BYTES // (4 * max(n_channels, 1)))
    return lambda: (rows(start, min(start + step, n_events)) for start in range(0, n_events, step))
