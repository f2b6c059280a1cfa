"""Time of arcsinh in place over that of a memory copy, with and without AVX-512.

Each row is a process of its own: the processor features that numpy and the compiler may use are fixed when they
are loaded. Prints seconds, the median ratio to copying the same matrix into memory that is there already, and a digest
of the values, which has to be the same in all rows.

    python benchmarks/bench_arcsinh.py [--events 1000000] [--channels 40] [--repeats 7]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

WITHOUT_AVX512 = {
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+avx2,+fma",
}


def best(function: Callable[[], Any], repeats: int) -> float:
    """Return the shortest of several times: what else runs on the machine only adds."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return min(times)


def measure(events: int, channels: int, repeats: int) -> dict[str, Any]:
    import numpy as np

    from cytocar.pp._arcsinh import arcsinh as _arcsinh

    rng = np.random.default_rng(0)
    counts = rng.exponential(20, (events, channels)).astype(np.float32)
    counts[rng.random(counts.shape) < 0.4] = 0
    cofactor = np.full(channels, 5, dtype=np.float32)
    matrix = counts.copy()
    result: dict[str, Any] = {}
    for path, least in (("numpy", 1 << 60), ("compiled", 0)):
        _arcsinh._WORTH_COMPILED = _arcsinh._WORTH_COMPILING = least
        begin = time.perf_counter()
        _arcsinh.arcsinh_values(matrix[:1000], cofactor)
        result[f"{path}_first_s"] = time.perf_counter() - begin
        ratios, spent, copies = [], [], []
        for _ in range(repeats):
            # Copy and arcsinh in turn, so that what else runs on the machine hits both.
            copies.append(best(lambda: np.copyto(matrix, counts), 2))
            spent.append(best(lambda: _arcsinh.arcsinh_values(matrix, cofactor, out=matrix), 1))
            ratios.append(spent[-1] / copies[-1])
        result |= {
            f"{path}_s": min(spent),
            f"{path}_copy_s": min(copies),
            f"{path}_ratio": statistics.median(ratios),
        }
        result[f"{path}_digest"] = hashlib.sha256(matrix).hexdigest()[:12]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--channels", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        print(json.dumps(measure(asked.events, asked.channels, asked.repeats)))
        return
    shape = [
        "--events",
        str(asked.events),
        "--channels",
        str(asked.channels),
        "--repeats",
        str(asked.repeats),
    ]
    print(
        f"{'processor features':26}{'path':10}{'first s':>8}{'copy s':>9}{'arcsinh s':>11}{'ratio':>7}  digest"
    )
    for name, features in (("all", {}), ("without AVX-512", WITHOUT_AVX512)):
        with tempfile.TemporaryDirectory() as cache:
            # The second process finds the compiled loop on disk, as every process but the first does.
            environment = {**os.environ, **features, "NUMBA_CACHE_DIR": cache}
            for state in ("", " (cached)"):
                done = subprocess.run(
                    [sys.executable, __file__, "--child", *shape],
                    env=environment,
                    capture_output=True,
                    text=True,
                    check=True,
                )
                found = json.loads(done.stdout)
                for path in ("numpy", "compiled"):
                    if path == "numpy" and state:
                        continue
                    label = name + (state if path == "compiled" else "")
                    print(
                        f"{label:26}{path:10}{found[f'{path}_first_s']:8.2f}{found[f'{path}_copy_s']:9.4f}"
                        f"{found[f'{path}_s']:11.4f}{found[f'{path}_ratio']:7.2f}  {found[f'{path}_digest']}"
                    )


if __name__ == "__main__":
    main()
