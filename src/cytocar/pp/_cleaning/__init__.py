"""Clean-up: limits between cells, beads, debris, doublets and dead cells."""
