"""Gates used on cells: strategies loaded, pinned and applied."""
