"""FlowIO beside cytocar on all FCS files of a folder, a Markdown table: `python benchmarks/second_opinion.py FOLDER`"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from cytocar._core.errors import CytocarError
from cytocar.io._fcs.data import read_events
from cytocar.io._fcs.header import read_header
from cytocar.io._fcs.second_opinion import second_opinion


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    print("| file | events x channels | FlowIO | why, or what it tolerates | time, of cytocar's |")
    print("|---|---|---|---|---|")
    for path in sorted(folder.rglob("*")):
        if path.suffix.casefold() not in (".fcs", ".lmd"):
            continue
        name = str(path.relative_to(folder))
        try:
            header = read_header(path)
        except CytocarError as error:
            print(f"| {name} | - | not asked | cytocar refuses it: {error.what} |  |")
            continue
        began = time.perf_counter()
        read_events(header)
        ours = time.perf_counter() - began
        began = time.perf_counter()
        opinion = second_opinion(header)
        ratio = (time.perf_counter() - began) / ours
        reason = "; ".join(filter(None, [opinion.reason, *(problem.what for problem in opinion.problems)]))
        size = f"{opinion.events} x {opinion.channels}"
        print(f"| {name} | {size} | {opinion.verdict} | {reason} | {ratio:.0f} x |")


if __name__ == "__main__":
    main()
