"""Floor 2: numbers out of an `AnnData` by marker name, however the name is spelled."""

from cytocar.get._matrix import columns, counts, markers, matrix

__all__ = ["columns", "counts", "markers", "matrix"]
