"""FCS file to AnnData: mass channels in X, everything else in obs, the file's keywords in uns."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from cytocar._core import checks, keys, provenance
from cytocar._core.errors import FcsError, PanelError
from cytocar.io._fcs.data import blocks, event_type
from cytocar.io._fcs.header import FcsHeader, read_header
from cytocar.io._fcs.judge import value_doubts
from cytocar.io._fcs.second_opinion import flowio_blocks

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from cytocar.panel import Panel

# uns["cytocar"]["keywords"]: TEXT of the file as JSON, so that writing keeps it.
KEYWORDS: Final = "keywords"
# Keywords of files that cytocar wrote.
STEPS_KEYWORD: Final = "CYTOCAR_STEPS"
STATE_KEYWORD: Final = "CYTOCAR_STATE"

_ENGINES: Final = ("cytocar", "flowio")

# Dual counts of a panel reach hundreds; arcsinh(x/5) of the largest that an instrument gives is 10 to 13.
_LARGEST_TRANSFORMED: Final = 15.0
TRANSFORMED: Final = "look transformed"
"""Words of the note on values that are no counts any more."""
_SHARE_TRANSFORMED: Final = 0.8
_EVENTS_TO_JUDGE: Final = 200
_CHANNELS_TO_JUDGE: Final = 5

_NOT_MEASURED: Final = ("time", "event_length", "gaussian")
_SCATTER: Final = re.compile(r"(FSC?|SSC?)\b", re.IGNORECASE)
# The usual cofactor of the arcsinh of fluorescence, ten and more times that of mass cytometry.
_FLUORESCENCE_COFACTOR: Final = 150.0


def read_fcs(
    path: str | os.PathLike[str],
    *,
    panel: Panel | str | os.PathLike[str] | None = None,
    sample_id: str | None = None,
    data_set: int = 0,
    engine: str = "cytocar",
    optional: Collection[str] = (),
) -> AnnData:
    """Read an FCS file into an AnnData of raw counts, events x mass channels.

    Values are as stored: nothing is truncated, linearised or scaled. Channels without a mass (Time,
    Event_length, Gaussian parameters, columns that software appended) become columns of `obs`. A file
    without any mass channel (fluorescence) keeps all channels but time in X, with mass 0 and a cofactor of
    150. Where offsets, or values that no instrument gives, tell that the file may be misread, a tolerance in
    `steps` says so; `cytocar.io._fcs.judge.value_doubts` states the limits. Cost: one copy of the events, and a
    block of 1 MB.

    Parameters
    ----------
    path
        An FCS file, version 2.0 to 3.2.
    panel
        A `Panel`, a CSV file, or the name of a panel that comes with cytocar. Channels match by metal and
        mass; X has the mass channels of the panel in its order, and mass channels of the file in no row of the
        panel are left out and recorded. Without a panel it is guessed from `$PnN` and `$PnS`.
    sample_id
        Written into `obs["sample_id"]` and into the names of the events.
    data_set
        Which data set of a file with several, from 0.
    engine
        Who reads the events: ``"cytocar"``, or ``"flowio"`` for those who trust FlowIO more. It refuses what departs
        from the standard, takes more time and three times the memory; names and keywords are read by cytocar.
    optional
        Markers of the panel that the file need not have: `var` has no row for those that it does not measure.
        Background and barcode channels never have to be there.

    Returns
    -------
    AnnData with `X` (float32 counts), `obs` (`event_index`, int64, the 0-based row in the file; the channels
    without mass; `sample_id` if given), `var` (`channel`, `marker`, `marker_class`, `role`, `metal`, `mass`,
    `used_for_clustering`, `cofactor`) and `uns["cytocar"]`: `state`, `steps` (with the tolerances taken and the
    channels left out) and `keywords` (TEXT of the file), as JSON text.

    Raises
    ------
    FcsError
        The file is not FCS, damaged, or contradicts itself; FlowIO refuses it.
    PanelError
        The panel is malformed, or the file is missing channels of it.
    ParameterError
        The engine is unknown.

    Examples
    --------
    >>> import numpy as np, tempfile, pathlib
    >>> from cytocar.io import read_fcs
    >>> from cytocar.io._fcs.write import write_events
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "a.fcs"
    >>> write_events(file, np.ones((3, 2), np.float32), [("Time", ""), ("Yb171Di", "171Yb_CD3")])
    >>> adata = read_fcs(file, sample_id="s1")
    >>> list(adata.var_names), list(adata.obs), adata.obs_names[2]
    (['CD3'], ['Time', 'sample_id', 'event_index'], 's1:2')
    """
    checks.one_of(engine, "engine", _ENGINES)
    header = read_header(path, data_set=data_set)
    notes = [*header.tolerances, *value_doubts(header)]
    if header.n_data_sets > 1:
        notes.append(
            f"the file has {header.n_data_sets} data sets; read is number {data_set}, counted from 0"
        )
    settings: dict[str, Any] = {"file": header.path.name, "version": header.version, "data_set": data_set}
    if engine != "cytocar":
        settings["engine"] = engine
    if panel is None:
        var, columns, others = _guessed(header, notes)
    else:
        var, columns, others, extra, name = _matched(header, panel, notes, optional)
        settings |= {"panel": name, "extra_channels": extra}
    events = blocks(header) if engine == "cytocar" else flowio_blocks(header)
    x, obs_columns = _load(header, events, columns, [column for column, _ in others], notes)
    by_mass = (var[keys.COFACTOR] != _FLUORESCENCE_COFACTOR).any()
    if by_mass and x.size and (said := looks_transformed(np.fmax.reduce(x, axis=0), n_events=len(x))):
        notes.append(said)
    adata = _assemble(x, obs_columns, [name for _, name in others], var, sample_id, notes)
    _restore(adata, header)
    settings |= {keys.SAMPLE: sample_id, "events": header.n_events, "tolerances": notes}
    provenance.record(adata, "io.read_fcs", settings)
    adata.uns[keys.UNS][KEYWORDS] = json.dumps(header.keywords)
    return adata


def looks_transformed(highest: npt.NDArray[np.floating[Any]], *, n_events: int) -> str:
    """Say where the values of mass channels are those of a logarithm or arcsinh, not counts; `""` where they are not.

    Counts of DNA, CD45 and other antibodies reach hundreds: in real files, even of 35 events, at most 3 channels of 10
    stay below 15, which no arcsinh of counts with a cofactor of 1 to 5 goes above. Where 8 of 10 stay below it, the
    values are transformed, and the others (Time among them, or left as they were) are not.

    Parameters
    ----------
    highest
        Largest value of each mass channel.
    n_events
        How many values each is the largest of; too few say nothing.

    Examples
    --------
    >>> looks_transformed(np.array([5.1, 6.2, 7.3, 4.4, 3.1]), n_events=500)
    'no mass channel goes above 7.30: the values look transformed already'
    """
    if n_events < _EVENTS_TO_JUDGE or len(highest) < _CHANNELS_TO_JUDGE:
        return ""
    largest, low = float(np.fmax.reduce(highest)), int(np.count_nonzero(highest < _LARGEST_TRANSFORMED))
    if largest <= 0 or low < _SHARE_TRANSFORMED * len(highest):
        return ""
    if low == len(highest):
        return f"no mass channel goes above {largest:.2f}: the values {TRANSFORMED} already"
    return (
        f"{low} of {len(highest)} mass channels do not go above {_LARGEST_TRANSFORMED:g}: their values {TRANSFORMED} "
        "already"
    )


def _guessed(header: FcsHeader, notes: list[str]) -> tuple[pd.DataFrame, list[int], list[tuple[int, str]]]:
    """Return var, the columns of X, and the other columns with their names, by the names in the file."""
    from cytocar.panel import Panel
    from cytocar.panel.names import marker_name

    panel = Panel.from_channels(header.names, instrument=header.keywords.get("$CYT", ""))
    frame = panel.frame.copy()
    in_x = [bool(mass) for mass in panel.has_mass]
    # What the file itself calls each channel, before names that are there twice are made distinct.
    called = [marker_name(pnn, pns) or pnn for pnn, pns in header.names]
    if not any(in_x):
        in_x = [role not in _NOT_MEASURED for role in frame[keys.ROLE]]
        frame[keys.MARKER] = _fluorescence_markers(header, called, in_x)
        frame[keys.ROLE] = _fluorescence_roles(header, list(frame[keys.ROLE]), in_x)
        frame[keys.COFACTOR] = _FLUORESCENCE_COFACTOR
        notes.append("no channel has a mass: all channels but time are in X, as fluorescence")
    markers = list(frame[keys.MARKER])
    columns = [n for n, measured in enumerate(in_x) if measured]
    renamed = [
        f"{called[n]!r} is {markers[n]!r} in channel {header.channels[n].pnn}"
        for n in columns
        if markers[n] != called[n]
    ]
    if renamed:
        notes.append(f"markers of one name were made distinct: {'; '.join(renamed)}")
    others = [(n, header.channels[n].pnn) for n, measured in enumerate(in_x) if not measured]
    return frame.iloc[columns], columns, others


def _fluorescence_roles(header: FcsHeader, roles: Sequence[str], in_x: Sequence[bool]) -> list[str]:
    """Return the roles of a file without masses: what is measured is a marker, or scattered light without a role."""
    return [
        role if not measured else "none" if _SCATTER.match(channel.pnn) else "marker"
        for channel, role, measured in zip(header.channels, roles, in_x, strict=True)
    ]


def _fluorescence_markers(header: FcsHeader, called: Sequence[str], in_x: Sequence[bool]) -> list[str]:
    """Name the channels of a file without masses by `$PnS`, and by `$PnN` too where that is not enough."""
    counts = Counter(name for name, measured in zip(called, in_x, strict=True) if measured)
    markers: list[str] = []
    for name, channel in zip(called, header.channels, strict=True):
        plain = counts[name] <= 1 or name == channel.pnn
        stem = marker = name if plain else f"{name}_{channel.pnn}"
        number = 2
        while marker in markers:
            marker, number = f"{stem}_{number}", number + 1
        markers.append(marker)
    return markers


def _matched(
    header: FcsHeader, panel: Panel | str | os.PathLike[str], notes: list[str], optional: Collection[str]
) -> tuple[pd.DataFrame, list[int], list[tuple[int, str]], list[str], str]:
    """Return var, the columns of X, the other columns, the mass channels left out, and the name of the panel."""
    from cytocar.panel import Panel
    from cytocar.panel.names import channel_isotope

    if not isinstance(panel, Panel):
        panel = Panel.read(panel)
    match = panel.match(header.names, where=header.path.name, optional=optional)
    if match.problems:
        raise PanelError(problems=match.problems)
    notes += match.notes
    has_mass = panel.has_mass
    # A channel without mass is called as the panel calls it, so that the files of a study agree.
    spelling = {
        int(column): channel
        for column, channel, mass in zip(match.columns, panel.frame[keys.CHANNEL], has_mass, strict=True)
        if column >= 0 and not mass
    }
    in_x = has_mass & (match.columns >= 0)
    columns = [int(column) for column in match.columns[in_x]]
    others, extra = [], []
    for column, channel in enumerate(header.channels):
        if column in spelling:
            others.append((column, spelling[column]))
        elif column in columns:
            continue
        elif channel_isotope(channel.pnn, channel.pns) is None:
            others.append((column, channel.pnn))
        else:
            extra.append(channel.pnn)
    return panel.frame.loc[in_x].copy(), columns, others, extra, panel.name


def _load(
    header: FcsHeader,
    events: Iterable[tuple[int, npt.NDArray[Any]]],
    columns: Sequence[int],
    others: Sequence[int],
    notes: list[str],
) -> tuple[npt.NDArray[np.float32], list[npt.NDArray[Any]]]:
    """Read the events once and split them into X and one array per other column."""
    x = np.empty((header.n_events, len(columns)), dtype=np.float32)
    rest = [np.empty(header.n_events, dtype=event_type(header)) for _ in others]
    runs = column_runs(columns)
    not_finite = 0
    for start, block in events:
        stop = start + len(block)
        # Neighbouring columns are copied together, which is many times as fast as one by one.
        for first, last, source in runs:
            x[start:stop, first:last] = block[:, source : source + last - first]
        for array, column in zip(rest, others, strict=True):
            array[start:stop] = block[:, column]
        # A sum is finite only if every value is, and quicker than asking each.
        with np.errstate(over="ignore", invalid="ignore"):
            suspicious = not np.isfinite(block.sum())
        if suspicious:
            not_finite += int(np.count_nonzero(~np.isfinite(block)))
    if not_finite:
        notes.append(f"{not_finite} values are NaN or infinite")
    return x, rest


def column_runs(columns: Sequence[int]) -> list[tuple[int, int, int]]:
    """Return (first, behind the last, column in the file) of columns that are neighbours in the file too."""
    runs: list[tuple[int, int, int]] = []
    for n, column in enumerate(columns):
        if runs and runs[-1][2] + n - runs[-1][0] == column:
            runs[-1] = (runs[-1][0], n + 1, runs[-1][2])
        else:
            runs.append((n, n + 1, column))
    return runs


def event_names(n: int, prefix: str = "") -> npt.NDArray[np.object_]:
    """Return the texts of 0 to n - 1 with `prefix` before each, as objects.

    Appending three digits to a thousand at a time is three times as fast as writing every number.

    Examples
    --------
    >>> event_names(3, "s1:").tolist()
    ['s1:0', 's1:1', 's1:2']
    """
    names: npt.NDArray[np.object_] = np.empty(n, dtype=object)
    head = min(n, 1000)
    names[:head] = [f"{prefix}{number}" for number in range(head)]
    endings = [f"{number:03d}" for number in range(1000)]
    for start in range(1000, n, 1000):
        rows = min(1000, n - start)
        names[start : start + rows] = list(map(f"{prefix}{start // 1000}".__add__, endings[:rows]))
    return names


def _assemble(
    x: npt.NDArray[np.float32],
    obs_columns: Sequence[npt.NDArray[Any]],
    obs_names: Sequence[str],
    var: pd.DataFrame,
    sample_id: str | None,
    notes: list[str],
) -> AnnData:
    import pandas as pd
    from anndata import AnnData

    fields: dict[str, Any] = {}
    for name, values in zip(obs_names, obs_columns, strict=True):
        fields[_obs_name(name, fields, notes)] = values
    kind = pd.RangeIndex(1).astype(str).dtype
    rows = pd.Index(event_names(len(x), "" if sample_id is None else f"{sample_id}:"), dtype=kind)
    if sample_id is not None:
        fields[keys.SAMPLE] = pd.Categorical([sample_id]).repeat(len(x))
    fields[keys.EVENT_INDEX] = np.arange(len(x), dtype=np.int64)
    var = var.set_axis(pd.Index(list(var[keys.MARKER]), dtype=rows.dtype), axis=0)
    var[keys.MASS] = var[keys.MASS].fillna(0).astype("int64")
    return AnnData(X=x, obs=pd.DataFrame(fields, index=rows), var=var)


def _obs_name(name: str, taken: dict[str, Any], notes: list[str]) -> str:
    """Return a name for a column of obs: not one of cytocar's own, no slash (h5ad has none), not there twice."""
    reserved = {
        keys.SAMPLE,
        keys.PATIENT,
        keys.TIMEPOINT,
        keys.MONTHS,
        keys.EVENT_INDEX,
        keys.EVENT_CLASS,
        keys.COMPARTMENT,
        keys.SUBSET,
    }
    stem = name.replace("/", "_")
    stem = f"{stem}_channel" if stem in reserved else stem
    column, number = stem, 2
    while column in taken:
        column, number = f"{stem}_{number}", number + 1
    if column != name:
        notes.append(f"channel {name!r} is the column {column!r} of obs")
    return column


def _restore(adata: AnnData, header: FcsHeader) -> None:
    """Take over the history and the state of a file that cytocar wrote."""
    state = header.keywords.get(STATE_KEYWORD, keys.STATE_COUNTS)
    if state not in (keys.STATE_COUNTS, keys.STATE_ARCSINH):
        raise FcsError(
            f"{STATE_KEYWORD} is {state!r}",
            where=str(header.path),
            fix=f"it should be {keys.STATE_COUNTS!r} or {keys.STATE_ARCSINH!r}",
        )
    provenance.set_state(adata, state)
    try:
        history = json.loads(header.keywords.get(STEPS_KEYWORD, "[]"))
    except ValueError:
        return
    if isinstance(history, list) and all(isinstance(step, dict) for step in history):
        adata.uns[keys.UNS][keys.STEPS] = json.dumps(history)
