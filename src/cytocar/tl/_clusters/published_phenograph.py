"""The PhenoGraph package of its authors, run in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from cytocar._core.errors import ParameterError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MISSING: Final = 3
# The package writes into the folder it works in, prints, logs, and starts processes: none of it is ours to undo. Its
# Leiden partition is used, because its Louvain is seeded by the clock.
_PROGRAM: Final = f"""
import json, sys
import numpy
try:
    import phenograph
except ImportError as error:
    print(error, file=sys.stderr)
    sys.exit({_MISSING})
labels, _, quality = phenograph.cluster(
    numpy.load("values.npy"), clustering_algo="leiden", min_cluster_size=1, **json.loads(sys.argv[1])
)
numpy.save("labels.npy", numpy.asarray(labels, numpy.int64))
numpy.save("quality.npy", numpy.float64(quality))
"""


def published_phenograph(
    x: NDArray[np.float32], *, k: int, resolution: float, seed: int, threads: int
) -> tuple[NDArray[np.int64], float]:
    """Return the community of each row of `x` and the modularity, as the published package finds them.

    Nothing of the calling process changes: folder, logging, warnings and output are those of a child process, which
    works in a temporary folder.

    Raises
    ------
    ParameterError
        The package is not installed, or it fails; the note holds what it said.
    """
    settings = json.dumps({"k": k, "resolution_parameter": resolution, "seed": seed, "n_jobs": threads})
    with tempfile.TemporaryDirectory(prefix="cytocar-phenograph-") as folder:
        np.save(Path(folder) / "values.npy", x)
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", _PROGRAM, settings],
            cwd=folder,
            # what can be imported here can be imported there
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        if done.returncode:
            raise _failure(done.returncode, done.stderr.decode(errors="replace").strip())
        labels = np.load(Path(folder) / "labels.npy")
        return labels, float(np.load(Path(folder) / "quality.npy"))


def _failure(code: int, said: str) -> ParameterError:
    last = said.splitlines()[-1] if said else f"it ended with the exit code {code}"
    if code == _MISSING:
        return ParameterError(
            f"engine is 'phenograph', and that package cannot be imported: {last}",
            fix="install it with pip install phenograph, or take engine='cytocar'",
        )
    error = ParameterError(
        f"tl.phenograph: the package of the authors failed: {last}", fix="take engine='cytocar'"
    )
    error.add_note(said)
    return error
