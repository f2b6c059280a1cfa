"""The study folder as a whole: settings, panel, samples; and all its files as one AnnData."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytocar._core import keys
from cytocar._core.errors import Problem, StudyError, did_you_mean
from cytocar._core.measured import fill_markers, record_not_measured
from cytocar._core.ordering import timepoint_order
from cytocar._core.vocabulary import PATIENT_ROLE
from cytocar._core.workbooks import split_sheet
from cytocar.io._study.samples import load_samples

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from cytocar.io._study.config import Gating, StudyConfig
    from cytocar.panel import Panel

CONFIG_NAME = "study.yaml"


@dataclass(frozen=True)
class LeftOut:
    """A file of a study that is not run, with what it lacks."""

    sample_id: str
    file: str
    role: str
    lacks: str


@dataclass(frozen=True, eq=False)
class StudyFolder:
    """A study that was read without problems.

    Parameters
    ----------
    path
        The folder.
    config
        The settings.
    panel
        What each channel measures.
    samples
        One row per file, as `load_samples` gives it.
    own_panels
        Sample to its own panel, where the sheet names one: with the names, classes and cofactors of the study's.
        `panel` has the markers of all then.
    left_out
        Files that are not run, for a channel that they lack.
    """

    path: Path
    config: StudyConfig
    panel: Panel
    samples: pd.DataFrame
    own_panels: Mapping[str, Panel] = field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()

    def panel_of(self, sample: str) -> Panel:
        """The panel that the file of a sample is read by."""
        return self.own_panels.get(sample, self.panel)

    @property
    def timepoints(self) -> list[str]:
        """The timepoints of patient samples, in the order of their months."""
        patients = self.samples[self.samples[keys.ROLE] == PATIENT_ROLE]
        return timepoint_order(patients)

    @property
    def gating(self) -> str | Path:
        """The gating strategy: a file of the folder if there is one of this name, else the name."""
        return gating_source(self.path, self.config.gating)


@dataclass
class StudyParts:
    """What could be read of a study: each part is None where it has problems."""

    folder: Path
    config: StudyConfig | None = None
    panel: Panel | None = None
    samples: pd.DataFrame | None = None
    own_panels: Mapping[str, Panel] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def panel_of(self, sample: str) -> Panel | None:
        """The panel that the file of a sample is read by."""
        return self.own_panels.get(sample, self.panel)


def gating_source(folder: Path, gating: str | Gating) -> str | Path:
    """Return the file that `gating` names, relative to the folder, or the name of a built-in strategy."""
    name = gating if isinstance(gating, str) else gating.file
    path = folder / Path(name).expanduser()
    return path if path.is_file() or path.suffix else name


def gating_roles(gating: str | Gating) -> dict[str, Any]:
    """Return what `gating` says of populations, as `cytocar.gate.load` takes it."""
    return {} if isinstance(gating, str) else gating.model_dump(exclude={"file"})


def load_parts(path: str | os.PathLike[str]) -> tuple[StudyParts, list[Problem]]:
    """Read the settings, the panel and the sample sheet of a study; collect what is wrong with any of them."""
    from cytocar.io._study.config import load_config

    path = Path(path).expanduser()
    file = path / CONFIG_NAME if path.is_dir() else path
    parts = StudyParts(file.parent)
    if not file.exists():
        where = f"there is no {CONFIG_NAME} in it" if path.is_dir() else "there is no such file or folder"
        return parts, [Problem(str(path), where, "name the study folder; 'cytocar init' makes one")]
    parts.config, problems = load_config(file)
    if parts.config is None:
        return parts, problems
    parts.panel, more = _panel(file, parts.config)
    problems += more
    if parts.panel is not None:
        parts.config = _with_channels(parts.config, parts.panel)
    parts.samples, more = load_samples(
        parts.folder / Path(parts.config.samples).expanduser(), also=parts.config.cohort.columns
    )
    problems += more
    if parts.panel is not None and parts.samples is not None and keys.PANEL in parts.samples:
        problems += _own_panels(file, parts, parts.panel, parts.samples)
    return parts, problems


def _own_panels(file: Path, parts: StudyParts, first: Panel, samples: pd.DataFrame) -> list[Problem]:
    """Read the panels that the sheet names for single files, and bring them to the words of the study's."""
    from cytocar.panel._join import join_panels

    problems: list[Problem] = []
    panels: dict[str, Panel] = {}
    named = samples[keys.PANEL].astype(str)
    for name in dict.fromkeys(named[named != ""]):
        if parts.config is None or name == parts.config.panel:
            continue
        where = f"{file.parent / Path(parts.config.samples).expanduser()} (panel)"
        panel, more = _panel(file, parts.config.model_copy(update={"panel": name}), where=where)
        problems += more
        if panel is not None:
            panels[name] = replace(panel, name=name)
    joined = join_panels(first, list(panels.values()))
    own = dict(zip(panels, joined.own, strict=True))
    study = {} if not panels else dict.fromkeys(samples[keys.SAMPLE].astype(str), first)
    parts.own_panels = study | {
        str(sample): own[name]
        for sample, name in zip(samples[keys.SAMPLE], named, strict=True)
        if name in own
    }
    parts.panel = joined.panel
    parts.notes += joined.notes
    return problems


def _with_channels(config: StudyConfig, panel: Panel) -> StudyConfig:
    """Return the settings with bead channels spelled as the panel spells them; unknown ones stay as they are."""
    if isinstance(config.beads, str):
        return config
    beads = list(dict.fromkeys(panel.find_channel(name) or name for name in config.beads))
    return config.model_copy(update={"beads": beads})


def _panel(file: Path, config: StudyConfig, *, where: str = "") -> tuple[Panel | None, list[Problem]]:
    from cytocar.panel import builtin_names
    from cytocar.panel._panel import load_panel

    path = file.parent / Path(config.panel).expanduser()
    if split_sheet(path)[0].is_file():
        return load_panel(path, cofactor=config.cofactor)
    if config.panel in builtin_names():
        return load_panel(config.panel, cofactor=config.cofactor)
    names = [
        *sorted(entry.name for ending in ("csv", "xlsx") for entry in file.parent.glob(f"*.{ending}")),
        *builtin_names(),
    ]
    what = f"panel {config.panel!r} is neither a file of the folder nor a panel that comes with cytocar"
    return None, [Problem(where or str(file), what, did_you_mean(config.panel, names))]


def load_study(path: str | os.PathLike[str]) -> tuple[StudyFolder | None, list[Problem]]:
    """Read settings, panel and sample sheet of a study, and collect everything that is wrong with them.

    Parameters
    ----------
    path
        The study folder, or the `study.yaml` in it.

    Returns
    -------
    The study and no problems, or None and all problems. The FCS files are not opened.

    Examples
    --------
    >>> study, problems = load_study("missing")
    >>> study is None, problems[0].what
    (True, 'there is no such file or folder')
    """
    parts, problems = load_parts(path)
    if problems or parts.config is None or parts.panel is None or parts.samples is None:
        return None, problems
    return StudyFolder(parts.folder, parts.config, parts.panel, parts.samples, parts.own_panels), []


def read_study(path: str | os.PathLike[str]) -> AnnData:
    """Read all files of a study into one matrix of raw counts.

    The files may differ in the order and spelling of their channels, byte order, version, and in channels
    that the panel does not name. All events are kept; the matrix takes 4 bytes per event and channel.

    Parameters
    ----------
    path
        The study folder, or the `study.yaml` in it.

    Returns
    -------
    AnnData with the following fields:

    `X`
        float32, events x mass channels of the panel, counts; NaN where a file does not measure an antibody.
    `var`
        The mass channels of the panel, index the marker.
    `obs`
        `sample_id`, `patient_id` (categorical), `timepoint` (categorical, ordered by months; missing where the
        sheet has none), `months` (float, NaN where the sheet has none), `event_index` (int64, 0-based row in the
        file), the other columns of the sample sheet, and the channels without mass (NaN in files that do not
        have one); index ``"<sample_id>:<event_index>"``.
    `uns["cytocar"]`
        State ``"counts"``, the history as JSON, and in ``not_measured`` the markers that samples lack.

    Raises
    ------
    StudyError
        With every problem of the settings, the panel, the sheet and the files.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> import cytocar as cc
    >>> folder = pathlib.Path(tempfile.mkdtemp()) / "study"
    >>> cc.datasets.write_legend2(folder, cells=500)  # doctest: +SKIP
    >>> adata = cc.io.read_study(folder)  # doctest: +SKIP
    """
    study, problems = load_study(path)
    if study is None:
        raise StudyError(problems)
    return _join(study, _read_all(study))


def _read_all(study: StudyFolder) -> list[AnnData]:
    from cytocar._core import provenance
    from cytocar._core.errors import FcsError, PanelError
    from cytocar.io._fcs.read import read_fcs

    tubes: list[AnnData] = []
    problems: list[Problem] = []
    for file, sample in zip(study.samples["path"], study.samples[keys.SAMPLE], strict=True):
        where = f"sample {sample} ({file})"
        try:
            panel = study.panel_of(str(sample))
            antibodies = panel.frame.loc[panel.frame[keys.ROLE] == "marker", keys.MARKER]
            tube = read_fcs(file, panel=panel, sample_id=str(sample), optional=tuple(antibodies))
        except (FcsError, PanelError, OSError) as error:
            problems += Problem.all_of(error, where=where)
            continue
        if provenance.state(tube) != keys.STATE_COUNTS:
            fix = "take the file from before the transformation"
            problems.append(Problem(where, "holds arcsinh values; a study is read as counts", fix))
        tubes.append(tube)
    if problems:
        raise StudyError(problems)
    return tubes


def _join(study: StudyFolder, tubes: list[AnnData]) -> AnnData:
    """Put the files below each other; each is released once it is copied."""
    import anndata
    import numpy as np

    from cytocar._core import provenance

    rows = [tube.n_obs for tube in tubes]
    names = list(dict.fromkeys(name for tube in tubes for name in tube.obs))
    names = [name for name in names if name not in (keys.SAMPLE, keys.EVENT_INDEX)]
    others = {name: np.full(sum(rows), np.nan, dtype=np.float32) for name in names}
    order = [str(name) for name in study.panel.var.index]
    missing = {
        str(sample): [name for name in order if name not in tube.var_names]
        for sample, tube in zip(study.samples[keys.SAMPLE], tubes, strict=True)
    }
    matrix = np.empty((sum(rows), len(order)), dtype=np.float32)
    steps = []
    begin = 0
    for count in rows:
        tube = tubes.pop(0)
        here = slice(begin, begin + count)
        own = [str(name) for name in tube.var_names]
        fill_markers(matrix[here], np.asarray(tube.X), own, order)
        for name in names:
            if name in tube.obs:
                values = tube.obs[name].to_numpy()
                # Time in milliseconds of a double file has more digits than a single one.
                others[name] = others[name].astype(np.result_type(others[name], values), copy=False)
                others[name][here] = values
        steps += provenance.steps(tube)[-1:]
        begin += count
    adata = anndata.AnnData(matrix, obs=_describe(study.samples, rows, others), var=study.panel.var)
    provenance.set_state(adata, keys.STATE_COUNTS)
    files = [step["settings"] for step in steps]
    record_not_measured(adata, missing)
    provenance.record(adata, "io.read_study", {"panel": study.panel.name, "files": files})
    return adata


def _describe(samples: pd.DataFrame, rows: list[int], others: dict[str, Any]) -> pd.DataFrame:
    """Return obs: what the sheet says of each event's file, its row there, and its channels without mass."""
    import numpy as np
    import pandas as pd

    number = np.repeat(np.arange(len(rows)), rows)
    columns: dict[str, Any] = {}
    for name in samples.columns.drop(["file", "path"]):
        values = samples[name]
        if values.dtype == "float64":
            columns[name] = values.to_numpy()[number]
            continue
        texts = [str(value) for value in values]
        order = (
            timepoint_order(samples) if name == keys.TIMEPOINT else list(dict.fromkeys(filter(None, texts)))
        )
        codes = np.array([order.index(text) if text else -1 for text in texts], dtype=np.int64)[number]
        dtype = pd.CategoricalDtype(order, ordered=name == keys.TIMEPOINT)
        columns[name] = pd.Categorical.from_codes(codes, dtype=dtype)
    event = np.concatenate([np.arange(count, dtype=np.int64) for count in rows])
    columns[keys.EVENT_INDEX] = event
    columns |= {name: values for name, values in others.items() if name not in columns}
    labels = samples[keys.SAMPLE].astype(str).to_numpy()[number]
    index = [f"{sample}:{row}" for sample, row in zip(labels.tolist(), event.tolist(), strict=True)]
    return pd.DataFrame(columns, index=pd.Index(index, dtype=object))
