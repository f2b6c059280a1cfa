"""Documents of gates from other programs as strategies: their tree, their roles, and the events in them."""
