"""Writing FCS 3.1: float32, little-endian, every keyword kept, read back as it was."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from io import FileIO
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from cytocar._core import keys, provenance
from cytocar._core.errors import FcsError, ParameterError, did_you_mean
from cytocar._core.files import replacing
from cytocar._core.version import __version__
from cytocar.io._fcs.deidentify import deidentified
from cytocar.io._fcs.layout import build_text, place
from cytocar.io._fcs.read import KEYWORDS, STATE_KEYWORD, STEPS_KEYWORD

if TYPE_CHECKING:
    from anndata import AnnData

# A block stays in the processor's cache while its columns are put together.
_BLOCK_BYTES: Final = 1 << 20
VERSION_KEYWORD: Final = "CYTOCAR_VERSION"

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
        (`$PnN`, `$PnS`) per column; `$PnN` not empty and each once, `$PnS` may be empty.
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
            fix="one column a channel is due",
        )
    blocks = _in_blocks(lambda start, stop: events[start:stop], len(events), len(channels))
    stream(path, blocks, len(events), channels, keywords or {})


def write_fcs(
    adata: AnnData, path: str | os.PathLike[str], *, layer: str | None = None, deidentify: bool = False
) -> None:
    """Write an AnnData as FCS 3.1: its matrix, the channels in obs, and the keywords of the file it came from.

    Channels stand in the order of the original file where it is known, others after them. The history of the
    data goes into `CYTOCAR_STEPS`, and what the matrix holds (counts or arcsinh) into `CYTOCAR_STATE`;
    `read_fcs` takes both up again. The file appears whole or not at all.

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
        raise ParameterError(f"there is no layer {layer!r}: {did_you_mean(layer, map(str, adata.layers))}")
    matrix = adata.X if layer is None else adata.layers[layer]
    own = adata.uns.get(keys.UNS, {})
    keywords: dict[str, str] = json.loads(own.get(KEYWORDS, "{}"))
    columns = _columns(adata, keywords)

    history = [*provenance.steps(adata), {"step": "io.write_fcs", "settings": {"layer": layer}}]
    if deidentify:
        keywords = deidentified(keywords)
        history = [{"step": str(step.get("step", ""))} for step in history]
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
        part = matrix[start:stop]
        dense = part.toarray() if hasattr(part, "toarray") else np.asarray(part)
        block = np.empty((len(dense), len(columns)), dtype=np.float32)
        for column, source, width in runs:
            block[:, column : column + width] = dense[:, source : source + width]
        for column, values in in_obs:
            block[:, column] = values[start:stop]
        return block

    blocks = _in_blocks(rows, adata.n_obs, len(columns))
    stream(path, blocks, adata.n_obs, [(pnn, pns) for pnn, pns, _ in columns], keywords)


def _neighbours(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Return (column, source, width) of columns that are neighbours on both sides, to be copied together."""
    runs: list[tuple[int, int, int]] = []
    for column, source in pairs:
        if runs and (column, source) == (runs[-1][0] + runs[-1][2], runs[-1][1] + runs[-1][2]):
            runs[-1] = (runs[-1][0], runs[-1][1], runs[-1][2] + 1)
        else:
            runs.append((column, source, 1))
    return runs


def _columns(adata: AnnData, keywords: Mapping[str, str]) -> list[tuple[str, str, int | str]]:
    """Return ($PnN, $PnS, column of the matrix or name in obs) per channel, in the order of the original file."""
    from cytocar.panel import Panel
    from cytocar.panel.names import channel_isotope, marker_name, parse_isotope
    from cytocar.panel.roles import guess_role

    originals: list[tuple[str, str]] = []
    while (name := keywords.get(f"$P{len(originals) + 1}N")) is not None:
        originals.append((name.strip(), keywords.get(f"$P{len(originals) + 1}S", "").strip()))
    by_name = {pnn: n for n, (pnn, _) in enumerate(originals)}
    by_isotope = {
        isotope: n for n, (pnn, pns) in enumerate(originals) if (isotope := channel_isotope(pnn, pns))
    }
    by_role = {
        role: n
        for n, (pnn, _) in enumerate(originals)
        if (role := guess_role(pnn, pnn, None)) in ("time", "event_length")
    }
    # A long name stays as it is where reading makes this marker of it, on its own or beside others of its name.
    guessed = list(Panel.from_channels(originals).frame[keys.MARKER]) if originals else []
    reads_as = [
        {guessed[n], marker_name(pnn, pns), f"{marker_name(pnn, pns)}_{pnn}"}
        for n, (pnn, pns) in enumerate(originals)
    ]
    found: list[tuple[int, tuple[str, str, int | str]]] = []

    for source, marker in enumerate(adata.var_names):
        channel = str(adata.var[keys.CHANNEL].iloc[source]) if keys.CHANNEL in adata.var else str(marker)
        isotope = parse_isotope(channel)
        original = by_name.get(channel, by_isotope.get(isotope) if isotope else None)
        pnn = channel if original is None else originals[original][0]
        if original is not None and marker in reads_as[original]:
            pns = originals[original][1]
        else:
            pns = f"{isotope.mass}{isotope.symbol}_{marker}" if isotope else str(marker)
        # What the file did not have stands after what it had, in the order of var.
        found.append((len(originals) if original is None else original, (pnn, pns, source)))

    in_obs = {pnn.replace("/", "_"): n for pnn, n in by_name.items()}
    for column in map(str, adata.obs.columns):
        if adata.obs[column].dtype.kind not in "fiu":
            continue
        role = guess_role(column, column, None)
        original = in_obs.get(column, by_role.get(role))
        if original is not None:
            found.append((original, (*originals[original], column)))
        elif role != "none":
            # Without an original the usual order: time and length of the event first, its shape last.
            position = -1 if role in ("time", "event_length") else len(originals) + 1
            found.append((position, (column, "", column)))
    return [entry for _, entry in sorted(found, key=lambda item: item[0])]


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
        raise ParameterError(f"channel names are {names}", fix="at least one, and none of them empty, is due")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ParameterError(f"channel names are there more than once: {', '.join(repeated)}")
    if largest is None:
        largest = np.zeros(len(names))
        for block in blocks():
            largest = np.maximum(largest, largest_of(block))
    text = build_text(names, channels, keywords, largest, n_events)
    head, text_bytes = place(text, n_bytes=4 * n_events * len(names))
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
