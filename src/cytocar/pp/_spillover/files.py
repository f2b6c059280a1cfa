"""Compensation of FCS files: FCS in, FCS out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from cytocar._core.errors import ParameterError, StateError
from cytocar._core.files import require_folder, unpacked_name
from cytocar.pp._spillover.compensate import compensate
from cytocar.pp._spillover.matrix import Spillover
from cytocar.pp._spillover.read import read_spillover


def compensate_files(
    files: Sequence[str | os.PathLike[str]] | str | os.PathLike[str],
    spillover: Spillover | str | os.PathLike[str],
    out_dir: str | os.PathLike[str],
    *,
    method: str = "nnls",
    n_jobs: int | None = None,
) -> list[Path]:
    """Write FCS files with compensated counts, under the same names in another folder.

    Every channel and keyword stays; what was done goes into the keyword ``CYTOCAR_STEPS``, so that a second
    compensation is refused. One file is in memory at a time. See `compensate` for the method.

    Parameters
    ----------
    files
        FCS files of counts, or one of them.
    spillover
        A `Spillover`, the CSV file of one, or a folder of single-stained FCS files (see `estimate_spillover`).
    out_dir
        Folder for the new files; made where it is not there. It must not be that of an input file.
    method
        ``"nnls"`` or ``"flow"``.
    n_jobs
        Threads, or -1 for all processors; `None`: ``scanpy.settings.n_jobs`` where scanpy is in use, else 1.

    Returns
    -------
    The files written, in the order of `files`.

    Raises
    ------
    ParameterError
        Two files have one name, or a new file would replace one that is there; nothing is written then.
    StateError
        A file holds arcsinh values or is compensated already.
    FcsError
        A file cannot be read.
    StudyError
        The matrix has problems.

    Examples
    --------
    >>> import numpy as np, tempfile, pathlib
    >>> from cytocar.io import read_fcs
    >>> from cytocar.io._fcs.write import write_events
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> counts = np.array([[100, 4], [100, 4]], dtype="float32")
    >>> write_events(folder / "a.fcs", counts, [("Yb171Di", "171Yb_CD3"), ("Yb172Di", "172Yb_CD4")])
    >>> spill = Spillover(("Yb171Di", "Yb172Di"), [[1, 0.04], [0, 1]])
    >>> written = compensate_files([folder / "a.fcs"], spill, folder / "out")
    >>> read_fcs(written[0]).X.round(3).tolist()
    [[100.0, 0.0], [100.0, 0.0]]
    """
    from cytocar.io import read_fcs, write_fcs

    paths = [Path(files)] if isinstance(files, (str, os.PathLike)) else [Path(file) for file in files]
    out = Path(out_dir)
    if not paths:
        raise ParameterError("there are no files", fix="give at least one FCS file")
    require_folder(out)
    targets = [out / unpacked_name(path) for path in paths]
    twice = sorted({path.name for path in targets if targets.count(path) > 1})
    if twice:
        raise ParameterError(
            f"files of one name would replace each other: {', '.join(twice)}",
            fix="write them to folders of their own",
        )
    there = [str(path) for path in targets if path.exists()]
    if there:
        raise ParameterError(
            f"{', '.join(there[:5])} exists already", fix="give another folder, or remove it"
        )
    if not isinstance(spillover, Spillover):
        if Path(spillover).is_dir():
            from cytocar.pp._spillover.estimate import estimate_spillover

            spillover = estimate_spillover(spillover)
        else:
            spillover = read_spillover(spillover)
    out.mkdir(parents=True, exist_ok=True)
    for path, target in zip(paths, targets, strict=True):
        try:
            adata = read_fcs(path)
            compensate(adata, spillover, method=method, n_jobs=n_jobs)
            write_fcs(adata, target)
        except (ParameterError, StateError) as error:
            error.add_note(f"while compensating {path}")
            raise
    return targets
