"""A strategy of thresholds: what it holds, and its YAML form."""
