#!/usr/bin/env bash
# Guess: write_fcs(endianness="little") writes little-endian numbers and says so in $BYTEORD.
# What happens: $BYTEORD says 1,2,3,4 and the numbers stand big-endian: every reader that believes the file
#   gets values near 1e-41. No error and no warning on either side.
# Why it matters: The file is valid in form, so nothing refuses it; all events fall on zero of an arcsinh axis
#   and a gate counts none. A reader can only notice that all values are denormal.
# Read: source of fcswrite 0.6.4 (fcswrite.py); FCS 3.1, $BYTEORD
# Versions: fcswrite==0.6.4, flowio==1.4.0, numpy==2.4.6
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check fcswrite==0.6.4 flowio==1.4.0 numpy==2.4.6
cat >show.py <<'PY'
import sys

import fcswrite
import flowio
import numpy as np

counts = np.array([[1.0, 20.0], [300.0, 4.0]])
channels = ["Yb171Di", "Ir191Di"]
fcswrite.write_fcs("big.fcs", channels, counts, endianness="big")
fcswrite.write_fcs("little.fcs", channels, counts, endianness="little")
big, little = flowio.FlowData("big.fcs"), flowio.FlowData("little.fcs")
read = little.as_array(preprocess=False)
print("big:   ", big.text["byteord"], big.as_array(preprocess=False).tolist())
print("little:", little.text["byteord"], read.tolist())
swapped = read.astype("<f4").view(">f4").astype(float)
print("little, read as big-endian:", swapped.tolist())
as_seen = np.array_equal(big.as_array(preprocess=False), counts)
as_seen &= little.text["byteord"] == "1,2,3,4" and np.abs(read).max() < 1e-30 and np.array_equal(swapped, counts)
sys.exit(0 if as_seen else "the byte order of fcswrite behaves otherwise than stated above")
PY
env/bin/python show.py
