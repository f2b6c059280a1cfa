"""Time gates of Gating-ML on simulated mass cytometry events, side by side with FlowKit on the same file of gates.

    python benchmarks/bench_gating.py --events 1000000

Three sets of 20 gates: rectangles on arcsinh axes as Cytobank exports them, the same with polygons and ellipses, and
logicle axes. After them the thresholds of the strategy `car_t` on as many events. FlowKit is left out where it is not
installed. Both get the same events as an array; reading files is
not timed. Before times are told, the memberships are compared event by event.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cytocar import gate
from cytocar.gate import Asinh, Dimension, Ellipsoid, GatingDocument, Logicle, Polygon, Rectangle

CHANNELS = [
    f"{symbol}Di" for symbol in ("Nd142", "Nd145", "Nd146", "Pm147", "Gd154", "Gd158", "Tb159", "Dy160")
]
CHANNELS += ["Ho165", "Yb170", "Ir191", "Ir193"]


def events_of(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    high = rng.random((count, len(CHANNELS))) < 0.4
    counts = np.where(high, rng.lognormal(4.5, 0.6, high.shape), rng.exponential(2.0, high.shape))
    return counts.astype(np.float32)


def document_of(kind: str, seed: int) -> GatingDocument:
    rng = np.random.default_rng(seed)
    scale = Logicle(t=10000, w=0.5, m=4.5, a=0) if kind == "logicle" else Asinh.of_cofactor(5.0)
    low, high = (0.35, 0.7) if kind == "logicle" else (2.0, 6.0)
    gates = []
    for number in range(20):
        first, second = rng.choice(len(CHANNELS), 2, replace=False)
        pair = tuple(Dimension(CHANNELS[n], transformation="scale") for n in (first, second))
        common = {"id": f"g{number}", "parent": f"g{number - 1}" if number % 4 else ""}
        shape = number % 3 if kind == "mixed" else 0
        width = high - low
        if shape == 0:
            gates.append(Rectangle(dimensions=pair, low=(low / 2, low), high=(high, high), **common))
        elif shape == 1:
            angles = np.sort(rng.uniform(0, 2 * np.pi, 8))
            outline = np.c_[np.cos(angles), np.sin(angles)] * width + (low + high) / 2
            gates.append(Polygon(dimensions=pair, vertices=tuple(map(tuple, outline.tolist())), **common))
        else:
            gates.append(
                Ellipsoid(
                    dimensions=pair,
                    mean=((low + high) / 2,) * 2,
                    covariance=((width, 0.3 * width), (0.3 * width, width)),
                    distance_square=2.0,
                    **common,
                )
            )
    return GatingDocument(gates, transformations={"scale": scale})


def best_of(repeats: int, run: Callable[[], object]) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    try:
        import flowkit
    except ImportError:
        flowkit = None
    events = events_of(given.events, given.seed)
    print(f"{given.events} events x {len(CHANNELS)} channels, 20 gates; best of {given.repeats}, seconds")
    print(f"{'gates':<12}{'cytocar':>10}{'flowkit':>10}{'times':>8}{'different':>12}")
    for kind in ("rectangles", "mixed", "logicle"):
        document = document_of(kind, given.seed)
        # Compiles what is not compiled yet.
        document.evaluate(events[:100], CHANNELS)
        own = best_of(given.repeats, lambda document=document: document.evaluate(events, CHANNELS))
        if flowkit is None:
            print(f"{kind:<12}{own:>10.3f}{'-':>10}{'-':>8}{'-':>12}")
            continue
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "gates.xml"
            gate.write_gatingml(document, path)
            strategy = flowkit.parse_gating_xml(str(path))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sample = flowkit.Sample(events.astype(np.float64), sample_id="bench", channel_labels=CHANNELS)
            other = best_of(
                given.repeats, lambda strategy=strategy, sample=sample: strategy.gate_sample(sample)
            )
            results = strategy.gate_sample(sample)
        masks = document.evaluate(events, CHANNELS)
        different = sum(
            int((results.get_gate_membership(name) != mask).sum()) for name, mask in masks.items()
        )
        print(f"{kind:<12}{own:>10.3f}{other:>10.3f}{other / own:>8.1f}{different:>12}")
    tree = gate.car_t()
    columns = dict.fromkeys(tree.required_markers(), np.linspace(0, 6, given.events, dtype=np.float32))
    numbers, root = dict.fromkeys(tree.thresholds, 3.0), np.ones(given.events, dtype=bool)
    own = best_of(given.repeats, lambda: gate.evaluate(tree, columns, numbers, root))
    print(f"{'thresholds':<12}{own:>10.3f}{'-':>10}{'-':>8}{'-':>12}")


if __name__ == "__main__":
    main()
