#!/usr/bin/env bash
# Guess: rename_channels changes names and leaves the events as they are.
# What happens: In a big-endian file (as Helios and fcswrite write them) $BYTEORD is set to 1,2,3,4 while the
#   numbers stay big-endian: all values are garbage afterwards, for fcsy and for every other reader.
# Why it matters: The function changes the file in place, so the original is lost; it is the obvious tool to
#   clean up the names of a panel.
# Read: source of fcsy 0.10.0 (fcs.py, rename_channels)
# Versions: fcsy==0.10.0, numpy==2.4.6, pandas==2.3.3
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check fcsy==0.10.0 numpy==2.4.6 pandas==2.3.3
cat >show.py <<'PY'
import sys

import fcsy
import numpy as np

counts = np.array([[1, 20], [300, 4], [5, 6]], dtype=">f4")
begin = 512
keywords = {
    "$BEGINANALYSIS": "0", "$ENDANALYSIS": "0", "$BEGINSTEXT": "0", "$ENDSTEXT": "0", "$BEGINDATA": str(begin),
    "$ENDDATA": str(begin + counts.nbytes - 1), "$BYTEORD": "4,3,2,1", "$DATATYPE": "F", "$MODE": "L",
    "$NEXTDATA": "0", "$PAR": "2", "$TOT": "3", "$P1N": "Yb171Di", "$P1S": "CD3", "$P1B": "32", "$P1E": "0,0",
    "$P1R": "4096", "$P2N": "Ir191Di", "$P2S": "DNA1", "$P2B": "32", "$P2E": "0,0", "$P2R": "4096",
}
text = "/" + "/".join(f"{key}/{value}" for key, value in keywords.items()) + "/"
offsets = (128, 128 + len(text) - 1, begin, begin + counts.nbytes - 1, 0, 0)
head = "FCS3.1    " + "".join(f"{offset:>8}" for offset in offsets)
with open("a.fcs", "wb") as file:
    file.write((head.ljust(128) + text).ljust(begin).encode() + counts.tobytes() + b"00000000")
before = fcsy.read_fcs("a.fcs").to_numpy()
fcsy.rename_channels("a.fcs", {"Yb171Di": "Yb171"}, "short", allow_rewrite=True)
after = fcsy.read_fcs("a.fcs").to_numpy()
written = open("a.fcs", "rb").read()
order = written[written.index(b"$BYTEORD") :].split(b"/")[1].decode()
print("before:", before.tolist())
print("after: ", after.tolist(), "$BYTEORD", order)
as_seen = np.array_equal(before, counts) and order == "1,2,3,4" and np.abs(after).max() < 1e-30
sys.exit(0 if as_seen else "fcsy renames otherwise than stated above")
PY
env/bin/python show.py
