"""One FCS file of a barcoded pool to one FCS file a sample."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import ParameterError, Problem
from cytocar._core.files import fcs_stem
from cytocar.pp._barcodes.debarcode import (
    BARCODE,
    DEFAULT_SEPARATION,
    DISTANCE,
    SEPARATION,
    UNASSIGNED,
    barcode_table,
    debarcode,
    kept,
)
from cytocar.pp._barcodes.key import as_key

if TYPE_CHECKING:
    import pandas as pd

UNASSIGNED_FILE: Final = "unassigned"
BARCODE_KEYWORD: Final = "CYTOCAR_BARCODE"
_UNFIT: Final = re.compile(r"[^\w.+-]+")


def debarcode_file(
    file: str | os.PathLike[str],
    key: pd.DataFrame | str | os.PathLike[str],
    out_dir: str | os.PathLike[str],
    *,
    separation: float | str | Mapping[str, float] = DEFAULT_SEPARATION,
    mahalanobis: float = 30.0,
    deidentify: bool = False,
) -> pd.DataFrame:
    """Split an FCS file of a barcoded pool into one FCS file per sample, and one for the events in no sample.

    The files are called ``<file>_<sample>.fcs`` and ``<file>_unassigned.fcs``; together they hold every event of the
    pool once, with all its channels and keywords, in the order of the pool. The sample stands in the keyword
    ``CYTOCAR_BARCODE``. A sample without events has a file without events. All files appear at the end, or none.
    Cost: the events are in memory once, and those of one sample again.

    Parameters
    ----------
    file
        The FCS file of the pool, counts.
    key
        The key of the pool; see `cytocar.pp.read_barcode_key`.
    out_dir
        The folder for the files; made where it is not there. Not the folder of `file`.
    separation, mahalanobis
        The cut-offs; see `cytocar.pp.debarcode`.
    deidentify
        Keep only keywords that describe the measurement; see `cytocar.io.write_fcs`. The names of the samples stay
        in the names of the files.

    Returns
    -------
    The table of `cytocar.pp.barcode_table` with the columns ``file`` (absolute path) and ``written`` (events in the
    file), and a last row for the events in no sample: barcode ``""``, in ``events`` those without a code of the key.

    Raises
    ------
    FcsError
        The file is not FCS or damaged.
    PanelError
        The key is malformed, or one of its channels is not in the file.
    ParameterError
        `out_dir` is the folder of `file`, a file to be written is there already, two names of samples give one name
        of a file, or a cut-off is out of range.
    StateError
        The file holds arcsinh values.

    Examples
    --------
    >>> import numpy, pandas, pathlib, tempfile
    >>> from cytocar.io._fcs.write import write_events
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> counts = numpy.array([[300, 2], [250, 9], [0, 280]], dtype="float32")
    >>> write_events(folder / "pool.fcs", counts, [("Pd102Di", "BC1"), ("Pd104Di", "BC2")])
    >>> key = pandas.DataFrame([[1, 0], [0, 1]], index=["A", "B"], columns=[102, 104])
    >>> done = debarcode_file(folder / "pool.fcs", key, folder / "out")
    >>> sorted(path.name for path in (folder / "out").iterdir()), done["written"].tolist()
    (['pool_A.fcs', 'pool_B.fcs', 'pool_unassigned.fcs'], [2, 1, 0])
    """
    import pandas as pd

    from cytocar.io import read_fcs, write_fcs
    from cytocar.io._fcs.read import KEYWORDS

    file, out = Path(file), Path(out_dir)
    checked = as_key(key)
    targets = _targets(file, out, checked.names)
    pool = read_fcs(file)
    debarcode(pool, key, separation=separation, mahalanobis=mahalanobis)
    of_events = pool.obs[BARCODE].astype(str).to_numpy()
    pool.obs = pool.obs.drop(columns=[BARCODE, SEPARATION, DISTANCE])

    out.mkdir(parents=True, exist_ok=True)
    written = {}
    with tempfile.TemporaryDirectory(prefix=".debarcode.", dir=out) as hidden:
        for name, target in targets.items():
            rows = np.flatnonzero(of_events == name)
            events = pool[rows].copy()
            texts = json.loads(events.uns[keys.UNS][KEYWORDS])
            # TEXT of FCS has no empty values
            texts[BARCODE_KEYWORD] = name or UNASSIGNED_FILE
            events.uns[keys.UNS][KEYWORDS] = json.dumps(texts)
            write_fcs(events, Path(hidden) / target.name, deidentify=deidentify)
            written[name] = rows.size
        for target in targets.values():
            (Path(hidden) / target.name).replace(target)

    rest = {
        BARCODE: UNASSIGNED,
        "positives": "",
        "events": kept(pool)["without_code"],
        "assigned": 0,
        "note": "events without a code of the key, in `events`; in no sample, in `written`",
    }
    table = barcode_table(pool)
    last = pd.DataFrame([rest]).reindex(columns=table.columns)
    last[["below_cutoff", "beyond_distance"]] = 0
    last["rule"] = ""
    last = last.astype(table.dtypes.to_dict())
    table = pd.concat([table, last], ignore_index=True)
    table["file"] = [str(targets[name]) for name in table[BARCODE]]
    table["written"] = [written[name] for name in table[BARCODE]]
    return table


def _targets(file: Path, out: Path, names: tuple[str, ...]) -> dict[str, Path]:
    """Return the file of each sample, and of the events in none; refuse what would overwrite a file."""
    if out.exists() and not out.is_dir():
        raise ParameterError(f"out_dir {out} is a file", fix="name a folder")
    if out.resolve() in (file.resolve().parent, file.parent.resolve()):
        raise ParameterError(
            f"out_dir {out} is the folder of {file.name}",
            fix="nothing is written beside the input, so name another folder",
        )
    targets: dict[str, Path] = {}
    taken: dict[str, str] = {}
    problems = []
    for name in [*names, UNASSIGNED]:
        ending = _UNFIT.sub("_", name) if name else UNASSIGNED_FILE
        target = out.resolve() / f"{fcs_stem(file)}_{ending}.fcs"
        # Some file systems do not tell A from a.
        folded = target.name.casefold()
        if folded in taken:
            where = f"sample {(name or taken[folded])!r}"
            what = (
                f"its file {target.name} would be that of another sample"
                if name
                else (f"its file {target.name} would be that of the events in no sample")
            )
            problems.append(Problem(where, what, "rename the sample in the key"))
        elif target.exists():
            problems.append(Problem(str(target), "is there already", "name another folder, or move it away"))
        taken[folded] = name
        targets[name] = target
    if problems:
        raise ParameterError(problems=problems)
    return targets
