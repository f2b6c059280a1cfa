"""Gates of other programs: Gating-ML 2.0, Cytobank's flavour of it, and FlowJo workspaces."""
