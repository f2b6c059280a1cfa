"""Figures of gates: biaxials, thresholds, robustness."""
