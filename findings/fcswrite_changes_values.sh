#!/usr/bin/env bash
# Guess: write_fcs writes the numbers that it is given.
# What happens: By default a channel with values between 0 and 1 is multiplied by 100, one whose mean is
#   negative by -1, and rows with NaN are left out (only this with a warning). $PnS is not written, so markers
#   are lost.
# Why it matters: A column of probabilities, of map coordinates or of compensated values that go below 0 comes
#   back with another scale or sign, and the numbers of events of file and table differ.
# Read: documentation of the arguments compat_chn_names, compat_copy, compat_negative, compat_percent,
#   compat_max_int16 of fcswrite 0.6.4
# Versions: fcswrite==0.6.4, flowio==1.4.0, numpy==2.4.6
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check fcswrite==0.6.4 flowio==1.4.0 numpy==2.4.6
cat >show.py <<'PY'
import sys
import warnings

import fcswrite
import flowio
import numpy as np

values = np.array([[0.25, -3.0, 7.0], [0.5, -5.0, 9.0], [0.75, 1.0, np.nan]])
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    fcswrite.write_fcs("a.fcs", ["probability", "tSNE1", "Yb171Di"], values)
file = flowio.FlowData("a.fcs")
read = file.as_array(preprocess=False)
print("given:  ", values.tolist())
print("written:", read.tolist())
print("warned: ", [str(one.message).split("!")[0].rsplit(" ", 1)[0] for one in caught])
print("$PnS:   ", file.pns_labels)
as_seen = np.allclose(read, [[25, 3, 7], [50, 5, 9]]) and len(caught) == 1 and not any(file.pns_labels)
sys.exit(0 if as_seen else "fcswrite changes values otherwise than stated above")
PY
env/bin/python show.py
