"""Figures of the steps before gating: beads, barcodes, spillover, clean-up, time."""
