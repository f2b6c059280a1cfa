"""Thresholds of a sample: the number that the rules give in its cells, and how far it can be trusted."""
