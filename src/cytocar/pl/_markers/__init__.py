"""Figures of markers: violins and comparisons."""
