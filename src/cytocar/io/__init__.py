"""Floor 2: FCS files to AnnData and back, the sample sheet and the study folder."""

from cytocar.io._read import read_fcs
from cytocar.io._write import write_fcs

__all__ = ["read_fcs", "write_fcs"]
