#!/usr/bin/env bash
# Guess: A reader that knows the versions 2.0 to 3.1 says so when it is given a file of 3.2, or reads its columns
#   by the number type that each of them declares.
# What happens: FlowIO reads the file without an error or a warning and takes every column by $DATATYPE. The
#   integer column of a file of floats comes back as floats of the same bits: 1065353216 as 1.0, 7 as 1e-44.
# Why it matters: Time as 32-bit integers beside float channels is what $PnDATATYPE was made for. Time becomes a
#   number near 0 in all events, and nothing says so; gates and quality checks over time then see one instant.
# Read: source of flowio 1.4.0 (flowdata.py); FCS 3.2 (Spidlen et al. 2021, doi 10.1002/cyto.a.24225), $PnDATATYPE
# Versions: flowio==1.4.0, numpy==2.4.6
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check flowio==1.4.0 numpy==2.4.6
cat >show.py <<'PY'
import struct
import sys
import warnings

import flowio

events = [(2.5, 1065353216), (3.5, 7)]
data = b"".join(struct.pack("<fI", *event) for event in events)


def text(begin, end):
    pairs = {
        "$BEGINDATA": begin, "$ENDDATA": end, "$BEGINANALYSIS": 0, "$ENDANALYSIS": 0, "$BEGINSTEXT": 0,
        "$ENDSTEXT": 0, "$BYTEORD": "1,2,3,4", "$DATATYPE": "F", "$MODE": "L", "$NEXTDATA": 0, "$PAR": 2,
        "$TOT": len(events), "$CYT": "made by hand", "$P1N": "Yb171Di", "$P1B": 32, "$P1R": 1000, "$P1E": "0,0",
        "$P2N": "Time", "$P2B": 32, "$P2R": 4294967296, "$P2E": "0,0", "$P2DATATYPE": "I",
    }
    return ("|" + "|".join(f"{key}|{value}" for key, value in pairs.items()) + "|").encode()


body = text(1000, 1000 + len(data) - 1)
header = f"FCS3.2    {58:>8}{58 + len(body) - 1:>8}{1000:>8}{1000 + len(data) - 1:>8}{0:>8}{0:>8}".encode()
raw = (header + body).ljust(1000, b" ") + data
with open("a.fcs", "wb") as file:
    file.write(raw)
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    read = flowio.FlowData("a.fcs")
values = read.as_array(preprocess=False)
print("in the file:", events)
print("read:       ", values.tolist(), "version", read.version, "warnings", len(said))
as_seen = values[0, 1] == 1.0 and 0 < values[1, 1] < 1e-40 and not said
sys.exit(0 if as_seen else "FlowIO treats $PnDATATYPE otherwise than stated above")
PY
env/bin/python show.py
