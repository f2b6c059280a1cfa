"""Figures of several patients: abundance, state, clinical tables."""
