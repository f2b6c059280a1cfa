"""Floor 0: errors, names of keys, seeds, files and provenance. Imports nothing of cytocar above it."""
