"""Floor 2: FCS files to AnnData and back, the sample sheet and the study folder."""

from cytocar.io._fcs.concat import concat_fcs
from cytocar.io._fcs.inspect import FileReport, inspect_file
from cytocar.io._fcs.read import read_fcs
from cytocar.io._fcs.write import write_fcs
from cytocar.io._study.config import StudyConfig

# load_config, load_study and load_samples: former public names, importable but no longer shown.
from cytocar.io._study.config import load_config as load_config
from cytocar.io._study.folder import StudyFolder, read_study
from cytocar.io._study.folder import load_study as load_study
from cytocar.io._study.samples import load_samples as load_samples

__all__ = [
    "FileReport",
    "StudyConfig",
    "StudyFolder",
    "concat_fcs",
    "inspect_file",
    "read_fcs",
    "read_study",
    "write_fcs",
]
