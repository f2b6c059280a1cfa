"""What FlowIO would read as something else is a refusal with its reason, not a problem of the file."""

from pathlib import Path

import numpy as np
import pytest

from cytocar._core.errors import FcsError
from cytocar.io._fcs.header import read_header
from cytocar.io._fcs.second_opinion import flowio_blocks, second_opinion

CASES = [
    ({"$BYTEORD": "3,4,1,2", "$DATATYPE": "I"}, (0, 0), "$BYTEORD 3,4,1,2"),
    ({"$P2DATATYPE": "I"}, (0, 0), "$PnDATATYPE"),
    ({}, (58, 99999999), "ANALYSIS is said to be at bytes 58 to 99999999"),
    ({"$BEGINANALYSIS": "1", "$ENDANALYSIS": str(10**18)}, (0, 0), "ANALYSIS is said to be at bytes 1 to 10"),
]


def written(folder: Path, changed: dict[str, str], analysis: tuple[int, int]) -> Path:
    data, begin = np.arange(6, dtype="<f4").tobytes(), 1000
    text = {"$BEGINDATA": begin, "$ENDDATA": begin + len(data) - 1, "$NEXTDATA": 0, "$MODE": "L"}
    text |= {"$DATATYPE": "F", "$BYTEORD": "1,2,3,4", "$PAR": 2, "$TOT": 3}
    for n, name in ((1, "Time"), (2, "Yb171Di")):
        text |= {f"$P{n}N": name, f"$P{n}B": 32, f"$P{n}E": "0,0", f"$P{n}R": 2**32}
    pairs = "/" + "".join(f"{key}/{value}/" for key, value in (text | changed).items())
    offsets = (58, 57 + len(pairs), begin, begin + len(data) - 1, *analysis)
    head = "FCS3.2    " + "".join(f"{offset:8d}" for offset in offsets)
    path = folder / "a.fcs"
    path.write_bytes((head + pairs).encode().ljust(begin) + data)
    return path


@pytest.mark.parametrize(("changed", "analysis", "reason"), CASES)
def test_flowio_is_not_asked_and_the_reason_is_said(tmp_path: Path, changed, analysis, reason) -> None:
    header = read_header(written(tmp_path, changed, analysis))
    opinion = second_opinion(header)
    assert (opinion.verdict, opinion.problems) == ("refused", ())
    assert reason in opinion.reason
    with pytest.raises(FcsError, match="does not read this file"):
        next(flowio_blocks(header))


def test_the_same_file_without_these_features_is_compared(tmp_path: Path) -> None:
    assert second_opinion(read_header(written(tmp_path, {}, (0, 0)))).verdict == "agrees"
