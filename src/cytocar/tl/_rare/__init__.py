"""Few cells, counted: detection, subsets, kinetics, and how many cells must be acquired."""
