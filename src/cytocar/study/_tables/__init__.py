"""The tables of a run, made from what was found in the files."""
