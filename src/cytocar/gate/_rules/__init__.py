"""The rules by which a threshold gets its number, one file per rule; `registry.py` lists them."""
