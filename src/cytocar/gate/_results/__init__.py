"""What gating found, as tables: the ledger, thresholds, biaxials, populations."""
