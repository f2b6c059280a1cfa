"""Gates of other programs: Gating-ML 2.0 and Cytobank's flavour of it."""
