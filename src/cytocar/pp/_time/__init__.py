"""Signal over time: where an acquisition was unstable, and its course for the report."""
