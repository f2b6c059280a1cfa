#!/usr/bin/env bash
# Guess: The value of a keyword comes back as it stands in the file.
# What happens: FlowIO takes every dollar sign away, also from values: a comment '5$ a test' becomes '5 a
#   test'. Writing what was read changes the file.
# Why it matters: Keywords carry sample names, file names, panel texts and spillover matrices. Samples whose
#   names differ by a dollar sign become one, and keywords compared between readers differ.
# Read: source of flowio 1.4.0 (flowdata.py); FCS 3.1, section on keywords: the sign marks keywords of the
#   standard, values may hold it
# Versions: flowio==1.4.0, numpy==2.4.6
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check flowio==1.4.0 numpy==2.4.6
cat >show.py <<'PY'
import sys

import flowio

with open("a.fcs", "wb") as file:
    flowio.create_fcs(
        file, [1.0, 2.0], ["Yb171Di", "Ir191Di"], metadata_dict={"com": "run $A of 2, 5$ a test"}
    )
written = open("a.fcs", "rb").read()
read = flowio.FlowData("a.fcs").text["com"]
print("in the file:", b"run $A of 2, 5$ a test" in written)
print("read:       ", read)
as_seen = b"run $A of 2, 5$ a test" in written and read == "run A of 2, 5 a test"
sys.exit(0 if as_seen else "FlowIO treats the dollar sign otherwise than stated above")
PY
env/bin/python show.py
