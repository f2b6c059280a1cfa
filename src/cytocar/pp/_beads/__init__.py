"""Bead normalisation: beads found, their drift over time, files on one baseline."""
