"""The PhenoGraph package of its authors, run in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from cytocar._core.errors import ParameterError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# what its Leiden partition needs; the last two are under the GPL and are imported in the child process only
_NEEDED: Final = ("phenograph", "igraph", "leidenalg")
_MISSING: Final = 3
# The package writes into the folder it works in, prints, logs, and starts a process per CPU whatever n_jobs is: none
# of it is ours to undo. Its Leiden partition is used, because its Louvain is seeded by the clock and is a program
# for x86-64. It sets aside clusters of min_cluster_size cells and fewer, all under one label: with 0 there are none.
_PROGRAM: Final = f"""
import json, multiprocessing.pool, os, shutil, signal, sys, threading
folder = os.getcwd()
def end_with_the_caller():
    os.read(0, 1)
    shutil.rmtree(folder, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)
threading.Thread(target=end_with_the_caller, daemon=True).start()
settings = json.loads(sys.argv[1])
os.cpu_count = os.process_cpu_count = lambda: settings["n_jobs"]
import numpy
try:
    import phenograph
except ImportError as error:
    print(error, file=sys.stderr)
    sys.exit({_MISSING})
multiprocessing.Pool = multiprocessing.pool.ThreadPool
labels, _, quality = phenograph.cluster(
    numpy.load("values.npy"), clustering_algo="leiden", min_cluster_size=0, **settings
)
os.chdir(folder)
numpy.save("labels.npy", numpy.asarray(labels, numpy.int64))
numpy.save("quality.npy", numpy.float64(quality))
"""
_THREADS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def published_phenograph(
    x: NDArray[np.float32], *, k: int, resolution: float, seed: int, threads: int
) -> tuple[NDArray[np.int64], float]:
    """Return the community of each row of `x` and the modularity that the published package reports of them.

    That modularity counts edges without their weights, at resolution 1, though the communities maximise the weighted
    one.

    Nothing of the calling process changes: folder, logging, warnings, output and CPUs are those of a child process,
    which works in a temporary folder and ends with this process.

    Raises
    ------
    ParameterError
        The package is not installed, or it fails; the note holds what it said.
    """
    _require_installed()
    settings = json.dumps({"k": k, "resolution_parameter": resolution, "seed": seed, "n_jobs": threads})
    with tempfile.TemporaryDirectory(prefix="cytocar-phenograph-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        np.save(folder / "values.npy", x)
        code, said = _run([sys.executable, "-W", "ignore", "-c", _PROGRAM, settings], folder, threads)
        if code:
            raise _failure(code, said)
        return np.load(folder / "labels.npy"), float(np.load(folder / "quality.npy"))


def _require_installed() -> None:
    """Raise unless the package and what it imports can be found; nothing is imported."""
    for name in _NEEDED:
        try:
            found = importlib.util.find_spec(name) is not None
            said = f"no module named {name}"
        except ImportError as error:
            found, said = False, str(error)
        if not found:
            raise _failure(_MISSING, said)


def _run(command: list[str], folder: Path, threads: int) -> tuple[int, str]:
    """Run `command` in `folder`; return its exit code and what it wrote to stderr."""
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONINSPECT"},
        **dict.fromkeys(_THREADS, str(threads)),
        # what can be imported here can be imported there
        "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path)),
    }
    errors = folder / "errors.txt"
    with (
        errors.open("wb") as stream,
        # nothing is written to stdin: it closes when this process ends, however it does
        subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=stream,
            start_new_session=True,
        ) as child,
    ):
        try:
            child.wait()
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
    return child.returncode, errors.read_text(encoding="utf-8", errors="replace").strip()


def _failure(code: int, said: str) -> ParameterError:
    if code < 0:
        last = f"it was ended by {signal.Signals(-code).name}"
        last += ", as happens when memory runs out" if -code == signal.SIGKILL else ""
    else:
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
