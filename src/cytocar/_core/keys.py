"""Every name of an obs, var, obsm, layer or uns field, written once."""

from __future__ import annotations

from typing import Final

# obs, and the sample sheet
SAMPLE: Final = "sample_id"
PATIENT: Final = "patient_id"
TIMEPOINT: Final = "timepoint"
MONTHS: Final = "months"
GROUP: Final = "group"
BATCH: Final = "batch"
PANEL: Final = "panel"
LYMPHOCYTES: Final = "lymphocytes_per_ul"
LEUKOCYTES: Final = "wbc_per_ul"
EVENT_INDEX: Final = "event_index"
EVENT_CLASS: Final = "event_class"
COMPARTMENT: Final = "compartment"
SUBSET: Final = "subset"
PHENOGRAPH: Final = "phenograph"
FLOWSOM: Final = "flowsom"
LEIDEN: Final = "leiden"

# var
CHANNEL: Final = "channel"
MARKER: Final = "marker"
MARKER_CLASS: Final = "marker_class"
ROLE: Final = "role"  # of a channel; of a sample in obs and in the sheet
METAL: Final = "metal"
MASS: Final = "mass"
CLUSTERING: Final = "used_for_clustering"
COFACTOR: Final = "cofactor"

# layers
COUNTS: Final = "counts"

# obsm
TSNE: Final = "X_tsne"
UMAP: Final = "X_umap"
GATES: Final = "gates"

# uns: one nested mapping; its texts are JSON, because uns keeps no tuples, paths, None or lists of mappings
UNS: Final = "cytocar"
STATE: Final = "state"
STEPS: Final = "steps"
GATING: Final = "gating"

# values of uns[UNS][STATE]: what X holds
STATE_COUNTS: Final = "counts"
STATE_ARCSINH: Final = "arcsinh"

# values of obs[COMPARTMENT]
CAR: Final = "car"
HOST: Final = "host"
CELLS: Final = "cells"

# values of obs[SUBSET], in the order in which they are shown
SUBSETS: Final = ("CD4", "CD8", "DN", "DP")
ALL: Final = "all"
