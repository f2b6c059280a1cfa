#!/usr/bin/env bash
# Guess: FlowKit reads a gate of a FlowJo workspace on the axis that the workspace draws it on: FlowJo stores the edges of
#   a gate on a linear axis in values of the file times the 'gain' of the axis (for Time: seconds).
# What happens: FlowKit 1.3.2 does not look at the gain. A gate on Time from 10 to 50 s, on an axis with
#   gain="0.001", is taken for 10 to 50 ticks where the file has no $TIMESTEP, and holds the first events only. No
#   error, no warning.
# Why it matters: Files of mass cytometers have no $TIMESTEP, so FlowJo works the gain out from the clock and states it in
#   the workspace. A gate that cuts off an unstable beginning keeps next to nothing, and every population below is empty.
# Read: source of flowkit 1.3.2 (_utils/wsp_utils.py); workspaces of FlowJo 10.5 to 10.10 with such gains
# Versions: flowkit==1.3.2, flowio==1.4.0, numpy==2.4.6, pandas==2.3.3
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check flowkit==1.3.2 flowio==1.4.0 numpy==2.4.6 pandas==2.3.3
cat >show.py <<'PY'
import sys
import warnings

import flowio
import flowkit
import numpy as np

EVENTS = 3000
values = np.column_stack([np.linspace(0, 100_000, EVENTS), np.arange(EVENTS) % 100]).astype(np.float32)
with open("a.fcs", "wb") as file:
    flowio.create_fcs(file, values.ravel().tolist(), ["Time", "Er170Di"])
SPACE = "http://www.isac-net.org/std/Gating-ML/v2.0"
with open("gates.wsp", "w", encoding="utf-8") as file:
    file.write(f"""<?xml version="1.0" encoding="UTF-8"?>
<Workspace version="20.0" flowJoVersion="10.8.1" xmlns:gating="{SPACE}/gating"
 xmlns:transforms="{SPACE}/transformations" xmlns:data-type="{SPACE}/datatypes">
<Matrices/><Groups><GroupNode name="All Samples" annotation="" owningGroup="All Samples"><Group name="All Samples">
<SampleRefs><SampleRef sampleID="1"/></SampleRefs></Group></GroupNode></Groups>
<SampleList><Sample><DataSet uri="a.fcs" sampleID="1"/>
<Transformations>
<transforms:linear transforms:minRange="0" transforms:maxRange="100" gain="0.001">
<data-type:parameter data-type:name="Time"/></transforms:linear>
<transforms:linear transforms:minRange="0" transforms:maxRange="100" gain="1">
<data-type:parameter data-type:name="Er170Di"/></transforms:linear></Transformations>
<Keywords><Keyword name="$FIL" value="a.fcs"/><Keyword name="$PAR" value="2"/><Keyword name="$P1N" value="Time"/>
<Keyword name="$P2N" value="Er170Di"/></Keywords>
<SampleNode name="a.fcs" annotation="" owningGroup="" sampleID="1"><Subpopulations>
<Population name="steady" annotation="" owningGroup=""><Gate gating:id="ID1"><gating:RectangleGate eventsInside="1" gating:id="ID1">
<gating:dimension gating:min="10" gating:max="50"><data-type:fcs-dimension data-type:name="Time"/></gating:dimension>
</gating:RectangleGate></Gate></Population></Subpopulations></SampleNode></Sample></SampleList></Workspace>""")
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    workspace = flowkit.Workspace("gates.wsp", fcs_samples="a.fcs")
    workspace.analyze_samples(sample_id="a.fcs", use_mp=False)
counted = int(workspace.get_gate_membership("a.fcs", "steady").sum())
seconds = values[:, 0] * 0.001
meant = int(((seconds >= 10) & (seconds < 50)).sum())
print("events in the gate, in seconds:", meant)
print("events by FlowKit:             ", counted, "warnings:", len(said))
as_seen = counted < 10 < 1000 < meant
sys.exit(0 if as_seen else "FlowKit treats the gain otherwise than stated above")
PY
env/bin/python show.py
