"""Debarcoding: the key of a pool, the sample of each event, one file per sample."""
