"""Figures of rare cells: kinetics, detection, subsets."""
