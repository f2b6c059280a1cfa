"""Several patients: abundance and state by designs, and what a design cannot tell."""
