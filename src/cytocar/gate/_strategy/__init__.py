"""A strategy of thresholds: its parts, its YAML form, the order in which it is evaluated."""
