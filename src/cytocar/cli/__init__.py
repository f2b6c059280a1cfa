"""Floor 8: the command line. Arguments, progress and exit codes; no science.

Each file holds the commands of one group: `_study` (whole studies), `_files` (single steps on FCS files), `_planning`.
Exit codes: 0 done; 2 the user can fix it (one clear message, no traceback); 1 a bug of ours.
"""

from cytocar.cli._main import main

__all__ = ["main"]
