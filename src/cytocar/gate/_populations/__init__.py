"""Populations: their parts, the order in which they are worked out, and which event is in which."""
