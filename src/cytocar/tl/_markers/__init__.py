"""Markers of one patient: over time, and beside the host T cells of the same tube."""
