"""Time of writing and reading a 200 MB FCS file, over that of FlowIO in the same run.

Each row is a fresh process that does one thing several times: its first time is cold (memory not yet touched),
the best of the others warm. FlowIO reads a file and makes a matrix of it, and writes from a matrix, which is what
a user has; what it takes from an `array.array("f")`, which it can write as it is, is shown beside it. The file is
in the page cache. Prints wall and CPU seconds, the ratio FlowIO / cytocar, and the peak of memory over the size of
the events as float32, less what an empty process needs.

    python benchmarks/bench_fcs.py [--events 1000000] [--repeats 4]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

METALS = ("Nd142", "Nd143", "Nd144", "Nd145", "Nd146", "Sm147", "Nd148", "Sm149", "Nd150", "Eu151", "Sm152", "Eu153",
          "Sm154", "Gd155", "Gd156", "Gd157", "Gd158", "Tb159", "Gd160", "Dy161", "Dy162", "Dy163", "Dy164", "Ho165",
          "Er166", "Er167", "Er168", "Tm169", "Er170", "Yb171", "Yb172", "Yb173", "Yb174", "Lu175", "Yb176", "Ir191",
          "Ir193", "Pt194", "Pt195", "Bi209", "Y89", "Rh103", "Ce140", "Pr141")  # fmt: skip
CHANNELS = [
    ("Time", ""),
    ("Event_length", ""),
    *((f"{metal}Di", f"M{n}") for n, metal in enumerate(METALS)),
    *((name, "") for name in ("Center", "Offset", "Width", "Residual")),
]


def matrix(events: int) -> Any:
    x = np.random.default_rng(0).exponential(20, (events, len(CHANNELS))).astype(np.float32)
    x[:, 0] = np.arange(events) * 4
    return x


def jobs(file: Path, out: Path, events: int, name: str) -> Callable[[], Any]:
    """Return what is timed; imports and what is written are made before."""
    if name.startswith("flowio"):
        import flowio

        if name == "flowio read":
            return lambda: flowio.FlowData(str(file)).as_array(preprocess=False)
        values: Any = matrix(events).reshape(-1)
        if name == "flowio write array":
            from array import array

            values = array("f", values.tobytes())

        def create() -> None:
            with open(out, "wb") as stream:
                flowio.create_fcs(stream, values, [pnn for pnn, _ in CHANNELS])

        return create
    from cytocar import io
    from cytocar.io._fcs.data import read_events
    from cytocar.io._fcs.header import read_header
    from cytocar.io._fcs.write import write_events

    if name == "read_events":
        return lambda: read_events(read_header(file))
    if name == "read_fcs":
        import anndata  # noqa: F401  # loading it is no part of reading

        return lambda: io.read_fcs(file)
    if name == "write_fcs":
        adata = io.read_fcs(file)
        return lambda: io.write_fcs(adata, out)
    x = matrix(events)
    return lambda: write_events(out, x, CHANNELS)


def peak_bytes() -> int:
    """Return the peak of memory of this process; getrusage would tell that of its parent if larger."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


def child(file: Path, out: Path, events: int, name: str, repeats: int) -> None:
    job = jobs(file, out, events, name)
    # What making the input took at its peak does not count, what is left of it does.
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_bytes()
    rows = []
    for _ in range(repeats):
        out.unlink(missing_ok=True)
        wall, cpu = time.perf_counter(), time.process_time()
        result = job()
        rows.append((time.perf_counter() - wall, time.process_time() - cpu))
        del result
    print(json.dumps({"rows": rows, "before": before, "peak": peak_bytes()}))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        file, out, name = asked.child
        child(Path(file), Path(out), asked.events, name, asked.repeats)
        return
    from cytocar.io._fcs.write import write_events

    size = asked.events * len(CHANNELS) * 4
    with tempfile.TemporaryDirectory() as folder:
        file, out = Path(folder) / "in.fcs", Path(folder) / "out.fcs"
        write_events(file, matrix(asked.events), CHANNELS, {"$CYT": "Helios"})
        print(f"{asked.events} events x {len(CHANNELS)} channels, {size / 1e6:.0f} MB")
        print(
            f"{'':20}{'cold wall':>10}{'cpu':>7}{'warm wall':>11}{'cpu':>7}{'memory':>8}   FlowIO / cytocar, wall (cpu)"
        )
        for baseline, names in (
            ("flowio read", ("read_events", "read_fcs")),
            ("flowio write", ("flowio write array", "write_events", "write_fcs")),
        ):
            reference: list[list[float]] = []
            for name in (baseline, *names):
                done = subprocess.run(
                    [
                        *(sys.executable, __file__, "--events", str(asked.events)),
                        *("--repeats", str(asked.repeats), "--child", str(file), str(out), name),
                    ],
                    capture_output=True,
                    text=True,
                    check=True,
                )
                found = json.loads(done.stdout)
                cold, warm = (
                    found["rows"][0],
                    [min(column) for column in zip(*found["rows"][1:], strict=True)],
                )
                # What is written lies in memory before and counts; of a reading process only the reading counts.
                memory = found["peak"] - (found["before"] if "read" in name else 0)
                line = f"{name:20}{cold[0]:10.3f}{cold[1]:7.3f}{warm[0]:11.3f}{warm[1]:7.3f}{memory / size:7.1f}x"
                if name == baseline:
                    reference = [cold, warm]
                else:
                    ratios = [
                        f"{other[0] / own[0]:.1f}x ({other[1] / own[1]:.1f}x)"
                        for other, own in zip(reference, (cold, warm), strict=True)
                    ]
                    line += f"   cold {ratios[0]}, warm {ratios[1]}"
                print(line)


if __name__ == "__main__":
    main()
