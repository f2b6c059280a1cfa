"""``python -m cytocar``: the same as the command ``cytocar``."""

from cytocar.cli import main

if __name__ == "__main__":
    main()
