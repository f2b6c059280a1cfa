#!/usr/bin/env bash
# Guess: FlowIO reads the channel names of a file that it wrote itself.
# What happens: A name that ends in the delimiter '/' is read together with the next keyword, and the names of
#   the channels behind it are gone; a name with the delimiter inside is read well. No error.
# Why it matters: Names such as 'CD3/TCR/' or paths in $FIL end so. FCS escapes a delimiter by doubling it,
#   and the escape and the delimiter that ends the value then stand side by side (three in a row), which has
#   one reading only.
# Read: source of flowio 1.4.0 (create_fcs, text segment); FCS 3.1, section on the TEXT segment
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


def names_of(first):
    with open("a.fcs", "wb") as file:
        flowio.create_fcs(file, [1.0, 2.0, 3.0, 4.0], [first, "Yb171Di"])
    return flowio.FlowData("a.fcs").pnn_labels


inside, at_the_end = names_of("Ir191/Di"), names_of("Ir191Di/")
print("Ir191/Di, Yb171Di are read as", inside)
print("Ir191Di/, Yb171Di are read as", at_the_end)
as_seen = inside == ["Ir191/Di", "Yb171Di"] and at_the_end != ["Ir191Di/", "Yb171Di"]
sys.exit(0 if as_seen else "FlowIO reads these names otherwise than stated above")
PY
env/bin/python show.py
