"""FCS files in, FCS files out, brought to the signal of their calibration beads."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cytocar._core import keys, provenance
from cytocar._core.errors import CytocarError, ParameterError, StateError
from cytocar.pp._beads.drift import Found
from cytocar.pp._beads.normalize import (
    STEP,
    SampleBeads,
    apply,
    bead_baseline,
    bead_table,
    check_baseline,
    check_input,
    find_in,
    values_of,
)

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from cytocar.panel import Panel

BASELINE_FILE: Final = "baseline.csv"
_REMOVED: Final = "pp.remove_beads"

StrPath = str | os.PathLike[str]


def read_baseline(path: StrPath) -> dict[str, float]:
    """Return a stored baseline: a CSV file with the columns ``channel`` and ``baseline`` (counts)."""
    import pandas as pd

    file = Path(path)
    if not file.is_file():
        raise ParameterError(
            f"there is no baseline file {file}", fix="it is what an earlier normalisation wrote"
        )
    try:
        table = pd.read_csv(file)
    except ValueError as error:
        raise ParameterError(f"this is not a CSV table: {error}", where=str(file)) from error
    missing = [name for name in ("channel", "baseline") if name not in table]
    if missing:
        raise ParameterError(
            f"{file} is missing columns: {', '.join(missing)}",
            fix="a baseline has 'channel' and 'baseline' (counts)",
        )
    numbers = pd.to_numeric(table["baseline"], errors="coerce")
    if numbers.isna().any():
        row = int(np.flatnonzero(numbers.isna())[0])
        raise ParameterError(
            f"{file}, row {row + 1}: the baseline is {table['baseline'].iloc[row]!r}",
            fix="it must be a number of counts",
        )
    names = table["channel"].astype(str)
    if names.duplicated().any():
        raise ParameterError(f"{file} names {names[names.duplicated()].iloc[0]} more than once")
    return dict(zip(names, numbers.astype(float), strict=True))


def _planned(files: Sequence[StrPath], out_dir: StrPath) -> list[tuple[Path, Path]]:
    """Return where each file goes, or raise with all that stands in the way."""
    if isinstance(files, (str, os.PathLike)):
        raise ParameterError(f"files is {os.fspath(files)!r}", fix="it must be a list of files")
    sources, out = [Path(file) for file in files], Path(out_dir)
    if not sources:
        raise ParameterError("there are no files to normalise")
    pairs = [(source, out / source.with_suffix(".fcs").name) for source in sources]
    complaints = [f"there is no file {source}" for source in sources if not source.is_file()]
    names = [target.name for _, target in pairs]
    complaints += [
        f"{names.count(name)} files would become {name}; rename them, or use two folders"
        for name in sorted({name for name in names if names.count(name) > 1})
    ]
    if any(source.resolve().parent == out.resolve() for source in sources):
        complaints.append(
            f"{out} is a folder of input files; name another folder, nothing is written beside them"
        )
    there = [path for path in [*(target for _, target in pairs), out / BASELINE_FILE] if path.exists()]
    complaints += [f"{path} is there already, and is not written over" for path in there]
    if complaints:
        raise ParameterError("\n".join(complaints))
    return pairs


def _read(
    source: Path, panel: Panel | StrPath | None, beads: str | Sequence[str]
) -> tuple[AnnData, SampleBeads]:
    from cytocar.io import read_fcs

    try:
        adata = read_fcs(source, panel=panel, sample_id=source.stem)
        provenance.require_state(adata, keys.STATE_COUNTS, STEP)
        found = find_in(adata, beads=beads, sample_key=keys.SAMPLE)
    except CytocarError as error:
        if source.name in error.where:
            raise
        raise error.within(source.name) from error
    if not found:
        nothing, why = np.zeros(0, dtype=bool), "the file has no events"
        empty = Found((), nothing, nothing, why)
        found = [SampleBeads(source.stem, np.zeros(0, np.intp), (), empty, None, why, "")]
    return adata, found[0]


def normalize_files(
    files: Sequence[StrPath],
    out_dir: StrPath,
    *,
    beads: str | Sequence[str] = "auto",
    baseline: Mapping[str, float] | StrPath | None = None,
    window: int = 200,
    keep_beads: bool = False,
    on_missing: str = "raise",
    panel: Panel | StrPath | None = None,
    deidentify: bool = False,
) -> pd.DataFrame:
    """Write FCS files normalised to their beads, as `normalize_beads` does, and without the beads.

    Every file is read twice, one at a time: first for its beads, from which the baseline of all files comes, then
    to be normalised and written. Nothing is there before all files are whole, and
    nothing at all if one of them cannot be read or normalised.

    Parameters
    ----------
    files
        FCS files of raw counts.
    out_dir
        Folder for the new files, which keep their names; made where it is missing. It must not hold an input,
        and what is there already is not written over.
    beads, window, on_missing
        As in `normalize_beads`; a file that is skipped is written with its counts as they are.
    baseline
        Counts above 0 by bead channel, or the ``baseline.csv`` of an earlier normalisation; `None`: the median of
        each channel over all beads of all files.
    keep_beads
        Keep beads and beads with a cell in the files.
    panel
        Panel that says what the channels are; `None`: their names in each file. With a panel, mass channels
        that it does not name are left out.
    deidentify
        Keep only keywords that describe the measurement, see `cytocar.io.write_fcs`.

    Returns
    -------
    Table of `bead_table` with ``file``, ``written`` (paths), ``events``, ``events_written``, ``beads_removed`` and
    ``cell_beads_removed``; one row a file. Writes the files and ``baseline.csv`` (``channel``, ``baseline``) into
    `out_dir`; no baseline where no file could be normalised.

    Raises
    ------
    ParameterError
        A file is missing or would be written over, or the baseline does not fit.
    StateError
        Files have too few beads or no usable Time, or were normalised before: all of them are named.
    FcsError
        A file cannot be read.

    Examples
    --------
    >>> import tempfile, pathlib, cytocar as cc
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> cc.datasets.write_legend2(folder / "study", cells=2000, timepoints=["5yr"])
    >>> table = normalize_files([folder / "study" / "fcs" / "P1_5yr.fcs"], folder / "normalized")
    >>> sorted(path.name for path in (folder / "normalized").iterdir())
    ['P1_5yr.fcs', 'baseline.csv']
    """
    import pandas as pd

    pairs = _planned(files, out_dir)
    given = read_baseline(baseline) if isinstance(baseline, (str, os.PathLike)) else baseline
    settings = {"beads": beads, "keep_beads": keep_beads}
    faults: dict[str, str] = {}
    tables: list[pd.DataFrame] = []
    for source, _ in pairs:
        adata, one = _read(source, panel, beads)
        why = check_input(adata, window, on_missing) or one.fault
        if why:
            faults[source.name] = why
        else:
            tables.append(values_of(adata, [one]))
            if given is not None:
                check_baseline(adata, given, [one])
    if faults and on_missing == "raise":
        lines = [f"  {name}: {why}" for name, why in faults.items()]
        way_out = "leave these files out, or write them as they are with on_missing='skip'"
        raise StateError("\n".join(["these files cannot be normalised to beads:", *lines, way_out]))
    level = dict(given) if given is not None else bead_baseline(tables) if tables else {}

    out = Path(out_dir)
    out.parent.mkdir(parents=True, exist_ok=True)
    # Everything is made in a hidden folder and moved when it is whole.
    with tempfile.TemporaryDirectory(prefix=f".{out.name[:40]}.", dir=out.parent) as building:
        rows = []
        for source, target in pairs:
            made = Path(building) / target.name
            row = _write(source, made, panel, beads, level, window, settings, keep_beads, deidentify)
            rows.append(row.assign(written=str(target)))
        if level:
            stored = pd.DataFrame({"channel": list(level), "baseline": list(level.values())})
            stored.to_csv(
                Path(building) / BASELINE_FILE, index=False, float_format="%.10g", lineterminator="\n"
            )
        out.mkdir(exist_ok=True)
        for path in sorted(Path(building).iterdir()):
            path.replace(out / path.name)
    return pd.concat(rows, ignore_index=True)


def _write(
    source: Path,
    target: Path,
    panel: Panel | StrPath | None,
    beads: str | Sequence[str],
    level: Mapping[str, float],
    window: int,
    settings: Mapping[str, Any],
    keep_beads: bool,
    deidentify: bool,
) -> pd.DataFrame:
    """Normalise and write one file; return its row of the table."""
    from cytocar.io import write_fcs

    adata, one = _read(source, panel, beads)
    already = check_input(adata, window, "skip")
    apply(
        adata,
        [one],
        baseline=level or None,
        window=window,
        on_missing="skip",
        already=already,
        settings=settings,
        copy=False,
    )
    table = bead_table(adata)
    n = adata.n_obs
    removed = np.zeros(n, dtype=bool)
    if not keep_beads:
        removed = one.found.bead | one.found.cell_bead
    numbers = [
        int(np.count_nonzero(removed & part)) if n else 0 for part in (one.found.bead, one.found.cell_bead)
    ]
    if removed.any():
        adata = adata[~removed].copy()
        provenance.record(adata, _REMOVED, {"beads": numbers[0], "cell_beads": numbers[1]})
    write_fcs(adata, target, deidentify=deidentify)
    table.insert(0, "file", str(source))
    return table.assign(
        written="",
        events=n,
        events_written=adata.n_obs,
        beads_removed=numbers[0],
        cell_beads_removed=numbers[1],
    )
