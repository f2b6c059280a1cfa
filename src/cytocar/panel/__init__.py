"""Floor 1: what each channel measures."""
