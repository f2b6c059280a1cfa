"""Statistics that several parts use: intervals, smallest p values, tests."""
