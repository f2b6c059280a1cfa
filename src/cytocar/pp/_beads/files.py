"""FCS files in, FCS files out, brought to the signal of their calibration beads."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cytocar._core import keys, provenance
from cytocar._core.errors import CytocarError, ParameterError, Problem, StateError
from cytocar._core.files import fcs_stem, require_folder
from cytocar.pp._beads.baseline import BASELINE_FILE, bead_baseline, check_baseline, read_baseline
from cytocar.pp._beads.find import SampleBeads, find_beads, table_of
from cytocar.pp._beads.normalize import STEP, BeadSettings, apply, check_input
from cytocar.pp._beads.tables import bead_table

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from cytocar.panel import Panel

_REMOVED: Final = "pp.remove_beads"

StrPath = str | os.PathLike[str]


def _planned(files: Sequence[StrPath], out_dir: StrPath) -> list[tuple[Path, Path]]:
    """Return where each file goes, or raise with all that stands in the way."""
    if isinstance(files, (str, os.PathLike)):
        raise ParameterError(f"files is {os.fspath(files)!r}", fix="it must be a list of files")
    sources, out = [Path(file) for file in files], Path(out_dir)
    if not sources:
        raise ParameterError("there are no files to normalise")
    targets = [out / f"{fcs_stem(source)}.fcs" for source in sources]
    problems = [Problem(str(source), "there is no such file") for source in sources if not source.is_file()]
    problems += _of_one_name(targets)
    if out.resolve() in {source.resolve().parent for source in sources}:
        problems.append(
            Problem(
                str(out),
                "this is a folder of input files",
                "name another folder, nothing is written beside them",
            )
        )
    there = [path for path in [*targets, out / BASELINE_FILE] if path.exists()]
    problems += [Problem(str(path), "is there already, and is not written over") for path in there]
    if problems:
        raise ParameterError(problems=problems)
    return list(zip(sources, targets, strict=True))


def _of_one_name(targets: Sequence[Path]) -> list[Problem]:
    counts = Counter(target.name for target in targets)
    return [
        Problem("", f"{n} files would become {name}", "rename them, or use two folders")
        for name, n in sorted(counts.items())
        if n > 1
    ]


def normalize_files(  # noqa: PLR0913  # the documented settings of the method
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
    to be normalised and written. Nothing is there before all files are whole, and nothing at all if one of them cannot
    be read or normalised.

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
    ``cell_beads_removed``; one row per file. Writes the files and ``baseline.csv`` (``channel``, ``baseline``) into
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

    require_folder(out_dir)
    pairs = _planned(files, out_dir)
    given = read_baseline(baseline) if isinstance(baseline, (str, os.PathLike)) else baseline
    reading = _Reading(panel, beads)
    level = _common_baseline(
        [source for source, _ in pairs], reading, BeadSettings(given, window, on_missing)
    )
    settings = BeadSettings(level or None, window, "skip", {"beads": beads, "keep_beads": keep_beads})

    out = Path(out_dir)
    out.parent.mkdir(parents=True, exist_ok=True)
    # Everything is made in a hidden folder and moved when it is whole.
    with tempfile.TemporaryDirectory(prefix=f".{out.name[:40]}.", dir=out.parent) as building:
        rows = []
        for source, target in pairs:
            made = Path(building) / target.name
            row = _write(source, made, reading, settings, keep_beads=keep_beads, deidentify=deidentify)
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


@dataclass(frozen=True)
class _Reading:
    """How files are read: the panel, and which channels are those of the beads."""

    panel: Panel | StrPath | None
    beads: str | Sequence[str]

    def read(self, source: Path) -> tuple[AnnData, SampleBeads]:
        from cytocar.io import read_fcs

        try:
            adata = read_fcs(source, panel=self.panel, sample_id=fcs_stem(source))
            provenance.require_state(adata, keys.STATE_COUNTS, STEP)
            samples = find_beads(adata, beads=self.beads, sample_key=keys.SAMPLE)
        except CytocarError as error:
            if source.name in error.where:
                raise
            raise error.within(source.name) from error
        return adata, samples[0] if samples else SampleBeads.without_events(fcs_stem(source))


def _common_baseline(sources: Sequence[Path], reading: _Reading, settings: BeadSettings) -> dict[str, float]:
    """Return the stated baseline, or that of the beads of all files; raise with all that is wrong with them."""
    faults: dict[str, str] = {}
    tables: list[pd.DataFrame] = []
    for source in sources:
        adata, beads = reading.read(source)
        beads = beads.refused(check_input(adata, settings.window, settings.on_missing))
        if beads.fault:
            faults[source.name] = beads.fault
            continue
        tables.append(table_of(adata, [beads]))
        if settings.baseline is not None:
            check_baseline(adata, settings.baseline, [beads])
    if faults and settings.on_missing == "raise":
        lines = [f"  {name}: {why}" for name, why in faults.items()]
        way_out = "leave them out, or write them as they are: on_missing='skip', on the command line --on-missing skip"
        raise StateError("\n".join(["these files cannot be normalised to beads:", *lines, way_out]))
    if settings.baseline is not None:
        return dict(settings.baseline)
    return bead_baseline(tables) if tables else {}


def _write(
    source: Path,
    target: Path,
    reading: _Reading,
    settings: BeadSettings,
    *,
    keep_beads: bool,
    deidentify: bool,
) -> pd.DataFrame:
    """Normalise and write one file; return its row of the table."""
    from cytocar.io import write_fcs

    adata, beads = reading.read(source)
    already = check_input(adata, settings.window, settings.on_missing)
    apply(adata, [beads.refused(already)], settings)
    table = bead_table(adata)
    n = adata.n_obs
    n_alone, n_with_cell = (0, 0) if keep_beads else (beads.n_alone, beads.n_with_cell)
    if n_alone or n_with_cell:
        adata = adata[~(beads.alone | beads.with_cell)].copy()
        provenance.record(adata, _REMOVED, {"beads": n_alone, "cell_beads": n_with_cell})
    write_fcs(adata, target, deidentify=deidentify)
    table.insert(0, "file", str(source))
    return table.assign(
        written="",
        events=n,
        events_written=adata.n_obs,
        beads_removed=n_alone,
        cell_beads_removed=n_with_cell,
    )
