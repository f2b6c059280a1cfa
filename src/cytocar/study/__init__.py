"""Floor 7: a study from its folder to its results: scaffold it, check it, run it."""
