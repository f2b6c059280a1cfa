"""Run a published package on a matrix in an environment of its own, and tell time, memory and what it returned.

    from benchmarks import peers        # or `import peers` from a script in this folder
    done = peers.run("phenograph", ["phenograph==1.5.7"], SCRIPT, x, k=30)
    done["seconds"], done["peak_mb"], done["result"]

`SCRIPT` is Python text that defines ``run(x, **params)`` and returns an array (labels) or a dict of arrays. Its imports
stand at the top, so that they are timed apart. The first call makes the environment, with `venv` and `pip`, below
``$CYTOCAR_BENCH_ENVS`` or ``~/.cache/cytocar-benchmarks``; nothing is installed in the environment that calls.
``requirements=None`` runs the text in the calling interpreter: our own package, measured in the same way.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

# VmHWM and not ru_maxrss: the latter starts at the size of the process that called
WORKER = """
import json, os, re, resource, sys, time
import numpy as np

folder, warm_rows = sys.argv[1], int(sys.argv[2])
x = np.load(folder + "/matrix.npy")
params = json.load(open(folder + "/params.json"))
os.chdir(folder)
start = time.perf_counter()
space = {"__name__": "peer"}
exec(compile(open(folder + "/script.py").read(), "script.py", "exec"), space)
imported = time.perf_counter()
if warm_rows:
    step = max(1, len(x) // warm_rows)
    space["run"](np.ascontiguousarray(x[::step]), **params)
warm = time.perf_counter()
def cpu_seconds():
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime
cpu = cpu_seconds()
result = space["run"](x, **params)
done = time.perf_counter()
used = cpu_seconds() - cpu
found = result if isinstance(result, dict) else {"labels": result}
np.savez(folder + "/result.npz", **{name: np.asarray(value) for name, value in found.items()})
peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read()).group(1)) / 1024
json.dump({"seconds": done - warm, "cpu_seconds": used, "import_seconds": imported - start,
           "warm_up_seconds": warm - imported, "peak_mb": peak,
           "process_cpu_seconds": cpu_seconds()}, open(folder + "/facts.json", "w"))
"""


class PeerError(RuntimeError):
    """A peer could not be installed or failed; the message ends with what it printed."""


def cache_folder() -> Path:
    return Path(os.environ.get("CYTOCAR_BENCH_ENVS") or Path.home() / ".cache" / "cytocar-benchmarks")


def _called(command: list[str], what: str, **options: Any) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode:
        raise PeerError(f"{what} failed (exit code {done.returncode}):\n{done.stdout[-3000:]}")


def environment(name: str, requirements: Sequence[str]) -> Path:
    """Return the interpreter of the environment of a peer, made on the first call for these requirements."""
    text = "\n".join([f"{sys.version_info.major}.{sys.version_info.minor}", *requirements])
    folder = cache_folder() / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    python = folder / "bin" / "python"
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / ".ready").exists():
            _called([sys.executable, "-m", "venv", "--clear", str(folder)], f"making {folder}")
            _called([str(python), "-m", "pip", "install", "-q", *requirements], f"installing {name}")
            (folder / ".ready").write_text(text)
    return python


def versions(name: str, requirements: Sequence[str]) -> dict[str, str]:
    """Return the packages that the environment of a peer holds, with their versions."""
    command = [str(environment(name, requirements)), "-m", "pip", "list", "--format", "json"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {entry["name"]: entry["version"] for entry in json.loads(listed)}


def run(
    name: str,
    requirements: Sequence[str] | None,
    script: str | Path,
    matrix: np.ndarray,
    *,
    warm_rows: int = 2000,
    threads: int = 2,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
    **params: Any,
) -> dict[str, Any]:
    """Run ``run(x, **params)`` of `script` on `matrix` in the environment of a peer.

    Parameters
    ----------
    name, requirements
        Name of the environment, and what pip installs into it; `None`: the calling interpreter.
    script
        Text or path of Python code with a function ``run``.
    matrix
        Handed over as an ``.npy`` file of the same dtype.
    warm_rows
        Rows for a first run that is not timed (compilers, thread pools); 0 leaves it out, and ``process_seconds``
        is then what a fresh process takes.
    threads
        Sets the number of threads of OpenMP, BLAS and numba.
    env
        Further environment variables.
    timeout
        Seconds after which the peer is given up (`subprocess.TimeoutExpired`).
    params
        Handed to ``run``; what JSON can hold.

    Returns
    -------
    ``seconds`` and ``cpu_seconds`` (all threads and children) of the timed call, ``import_seconds``,
    ``warm_up_seconds``, ``process_seconds`` and ``process_cpu_seconds`` (all of it, with starting Python and reading
    the matrix), ``peak_mb`` (resident memory of the process without its children, imports included), ``result`` (the
    dict of arrays; an array is called ``labels``).
    """
    python = Path(sys.executable) if requirements is None else environment(name, requirements)
    variables = dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), str(threads)
    )
    with tempfile.TemporaryDirectory(prefix=f"cytocar-{name}-") as folder:
        where = Path(folder)
        np.save(where / "matrix.npy", matrix)
        (where / "params.json").write_text(json.dumps(params))
        text = script.read_text() if isinstance(script, Path) else script
        (where / "script.py").write_text(text)
        (where / "worker.py").write_text(WORKER)
        start = time.perf_counter()
        _called(
            [str(python), str(where / "worker.py"), folder, str(warm_rows)],
            f"{name} on {matrix.shape[0]} x {matrix.shape[1]}",
            env={**os.environ, **variables, **(env or {})},
            timeout=timeout,
        )
        seconds = time.perf_counter() - start
        facts = json.loads((where / "facts.json").read_text())
        with np.load(where / "result.npz", allow_pickle=False) as kept:
            facts["result"] = {key: kept[key] for key in kept.files}
    facts["process_seconds"] = seconds
    return facts
