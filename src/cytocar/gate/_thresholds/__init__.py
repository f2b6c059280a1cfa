"""Thresholds: the rules, how each is found in the data, and how far it can be trusted."""
