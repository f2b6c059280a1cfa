"""The settings of a study: `study.yaml`."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from cytocar._core import decisions
from cytocar._core.errors import Problem, did_you_mean
from cytocar._core.yaml import Key, as_written, load_yaml

FORMAT = 1
"""The version of the format that this cytocar reads."""


def _as_text(value: Any) -> Any:
    """Return a number as text: a timepoint or a sample may be called 5."""
    return f"{value:g}" if isinstance(value, (int, float)) and not isinstance(value, bool) else value


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


PositiveNumber = Annotated[float, Field(gt=0, allow_inf_nan=False)]
FiniteNumber = Annotated[float, Field(allow_inf_nan=False)]


class Clustering(_Strict):
    """How cells are grouped.

    Parameters
    ----------
    method
        ``phenograph``, ``flowsom``, ``both`` of these, ``leiden`` or ``off``.
    k
        Neighbours of PhenoGraph and Leiden, 2 or more, or ``auto``.
    metaclusters
        Groups of FlowSOM, 2 or more, or ``auto``.
    markers
        ``clustering`` for those of the panel with `used_for_clustering`, or a list of markers.
    stability
        Whether clusters are found again with other seeds and on parts of the cells, to say how stable they are.
    names
        An edited ``cluster_names.csv``: clusters get these names, and clusters of one name are merged. Empty for none.
    reference
        The folder of an earlier run, or a stored reference: cells get its clusters and places on its maps, and nothing
        is clustered. Empty for none.
    """

    method: Literal["both", "phenograph", "flowsom", "leiden", "off"] = "both"
    k: Annotated[int, Field(ge=2)] | Literal["auto"] = "auto"
    metaclusters: Annotated[int, Field(ge=2)] | Literal["auto"] = "auto"
    markers: Literal["clustering"] | Annotated[list[str], Field(min_length=2)] = "clustering"
    stability: bool = True
    names: str = ""
    reference: str = ""


class Compare(_Strict):
    """What is compared.

    Parameters
    ----------
    reference, against
        Labels of timepoints; the effect is `against` minus `reference`. None for the first and the last.
    margin
        Smallest change that counts, in arcsinh units, at least 0.
    p_values
        Whether cell-level p values, descriptive only, are wanted.
    """

    reference: str | None = None
    against: str | None = None
    margin: Annotated[float, Field(ge=0, allow_inf_nan=False)] = decisions.MARGIN
    p_values: bool = False

    @field_validator("reference", "against", mode="before")
    @classmethod
    def _label(cls, value: Any) -> Any:
        return _as_text(value)


class Cohort(_Strict):
    """How patients are compared with patients.

    Parameters
    ----------
    formula
        The model of the samples, such as ``~ group + batch + age``; its names are columns of the sample sheet.
        ``auto`` for what the sheet allows: group, batch where it can be distinguished, time within patients.
    contrast
        What is asked of it, such as ``R vs NR``, or a list of such texts; ``auto`` for every pair of groups, or for
        what comes first in a stated formula.
    """

    formula: Annotated[str, Field(min_length=1)] = "auto"
    contrast: Annotated[str, Field(min_length=1)] | Annotated[list[str], Field(min_length=1)] = "auto"

    @property
    def columns(self) -> list[str]:
        """Names in the formula, which may be columns of the sample sheet."""
        return re.findall(r"[^\W\d]\w*(?:\.\w+)*", self.formula if self.formula != "auto" else "")


class Gating(_Strict):
    """Gates of another program, with what their populations are.

    Parameters
    ----------
    file
        Gating-ML 2.0 (.xml, also of Cytobank or of a run) or a FlowJo workspace (.wsp), relative to `study.yaml`.
    car, host, cd45
        Populations, by their path or the end of it; empty for what the file says, or usual names: ``CAR-T``,
        ``Host T``, ``CD45+``.
    subsets
        CD4, CD8, DN and DP to the names of populations below CAR-T and below host cells; empty for usual names.
    group
        The group of a FlowJo workspace; empty for all samples.
    """

    file: Annotated[str, Field(min_length=1)]
    car: str = ""
    host: str = ""
    cd45: str = ""
    subsets: dict[Literal["CD4", "CD8", "DN", "DP"], str] = Field(default_factory=dict)
    group: str = ""


class StudyConfig(_Strict):
    """The settings of a study.

    Parameters
    ----------
    cytocar
        Version of the format, 1.
    panel, samples
        Files, relative to `study.yaml`; `panel` may name a panel that comes with cytocar.
    beads
        ``auto``, ``off``, or the names of the bead channels: files are normalised to their beads, and beads
        removed.
    baseline
        A file with the bead signal that files are normalised to, as an earlier normalisation left it; empty for the
        median over all beads of the study.
    compensation
        A spillover matrix (CSV), or ``off``.
    cofactor
        Of the arcsinh, above 0, for channels to which the panel gives none.
    gating
        A strategy that comes with cytocar, a YAML file, gates of another program (Gating-ML, FlowJo), or ``off``; a
        mapping says which populations of such gates are which: see `Gating`.
    thresholds
        Thresholds of the strategy that are pinned instead of found in the data: a number for all samples, or a
        number by sample.
    clustering, compare, cohort
        See `Clustering`, `Compare` and `Cohort`.
    embedding
        ``tsne``, ``umap``, ``both`` or ``off``.
    on_missing
        What becomes of files that lack a channel which the gates, the clean-up or the beads need: ``refuse`` names them
        as problems, ``leave_out`` runs the study without them.
    host_sample
        Host T cells kept per sample for maps and comparisons, at least 0; counts come from all.
    clean
        ``auto`` or ``off``: whether debris, doublets and dead cells are removed.
    time_quality
        Whether unstable stretches of the acquisition are marked, removed, or not looked for.
    seed
        Of everything random, at least 0.
    title
        Heading of the report.

    Examples
    --------
    >>> StudyConfig(cytocar=1, panel="legend2", samples="samples.csv").clustering.method
    'both'
    """

    cytocar: Literal[1]
    panel: Annotated[str, Field(min_length=1)]
    samples: Annotated[str, Field(min_length=1)]
    beads: Literal["auto", "off"] | Annotated[list[str], Field(min_length=1)] = "auto"
    baseline: str = ""
    compensation: Annotated[str, Field(min_length=1)] = "off"
    cofactor: PositiveNumber = 5.0
    gating: Annotated[str, Field(min_length=1)] | Gating = "car_t"
    thresholds: dict[str, FiniteNumber | dict[str, FiniteNumber]] = Field(default_factory=dict)
    clustering: Clustering = Clustering()
    embedding: Literal["tsne", "umap", "both", "off"] = "tsne"
    compare: Compare = Compare()
    cohort: Cohort = Cohort()
    host_sample: Annotated[int, Field(ge=0)] = 10_000
    on_missing: Literal["refuse", "leave_out"] = "refuse"
    clean: Literal["auto", "off"] = "auto"
    time_quality: Literal["mark", "remove", "off"] = "mark"
    seed: Annotated[int, Field(ge=0)] = 0
    title: str = ""

    @field_validator("title", mode="before")
    @classmethod
    def _title(cls, value: Any) -> Any:
        return _as_text(value)


def load_config(path: str | os.PathLike[str]) -> tuple[StudyConfig | None, list[Problem]]:
    r"""Read `study.yaml` and collect everything that is wrong with it.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    The settings and no problems, or None and all problems, each with its line.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "study.yaml"
    >>> _ = file.write_text("cytocar: 1\npanel: legend2\nsamples: samples.csv\ncofacter: 5\n")
    >>> problem = load_config(file)[1][0]
    >>> problem.what, problem.fix
    ("setting 'cofacter' is not known", "did you mean 'cofactor'?")
    """
    path = Path(path)
    content, lines, problems = load_yaml(path)
    if content is None:
        return None, problems
    version = content.get("cytocar")
    if version is not None and (
        not isinstance(version, int) or isinstance(version, bool) or version != FORMAT
    ):
        where = _where(path, ("cytocar",), lines)
        fix = f"write 'cytocar: {FORMAT}'"
        if isinstance(version, int) and version > FORMAT:
            fix = f"this cytocar reads format {FORMAT}: take a newer cytocar, or {fix}"
        problems.append(Problem(where, f"the format is {version!r}", fix))
        content = {**content, "cytocar": FORMAT}
    # A key without a value means its default, as if the line were not there.
    content = {
        key: value
        for key, value in content.items()
        if value is not None or key not in StudyConfig.model_fields
    }
    try:
        config = StudyConfig.model_validate(content)
    except ValidationError as error:
        return None, problems + _translate(path, error, lines)
    return (None, problems) if problems else (config, [])


def _where(path: Path, at: Key, lines: dict[Key, int]) -> str:
    """Return the file and the line of the nearest key that is there."""
    name = ".".join(str(part) for part in at)
    near = at
    while near and near not in lines:
        near = near[:-1]
    line = f", line {lines[near]}" if near else ""
    return f"{path}{line}" + (f" ({name})" if len(at) > 1 else "")


def _translate(path: Path, error: ValidationError, lines: dict[Key, int]) -> list[Problem]:
    """Return one problem per setting; a value that may be of several kinds is reported once, as deep as it goes."""
    problems: dict[Key, Problem] = {}
    items = [(_path_in_file(item["loc"], lines), item) for item in error.errors(include_url=False)]
    for at, item in sorted(items, key=lambda pair: lines.get(pair[0], 0)):
        if at in problems or any(other[: len(at)] == at != other for other, _ in items):
            continue
        where = _where(path, at, lines)
        name = str(at[-1])
        if item["type"] == "missing":
            fix = f"write 'cytocar: {FORMAT}'" if name == "cytocar" else f"write '{name}: {name}.csv'"
            problems[at] = Problem(where, f"setting {name!r} is missing", fix)
        elif item["type"] == "extra_forbidden":
            problems[at] = Problem(
                where, f"setting {name!r} is not known", did_you_mean(name, _known(at[:-1]))
            )
        else:
            value = item["input"]
            text = repr(value) if isinstance(value, str) else as_written(value) or "empty"
            problems[at] = Problem(where, f"{'.'.join(map(str, at))} is {text}", _domain(at, item))
    return list(problems.values())


def _path_in_file(loc: tuple[int | str, ...], lines: dict[Key, int]) -> Key:
    """Return the part of pydantic's address that is in the file; the rest names the kinds it tried."""
    at: Key = ()
    for step in loc:
        if (*at, step) in lines:
            at = (*at, step)
    return at or tuple(loc[:1])


def _section(at: Key) -> type[BaseModel] | None:
    if not at:
        return StudyConfig
    sections: dict[str, type[BaseModel]] = {
        "clustering": Clustering,
        "compare": Compare,
        "cohort": Cohort,
        "gating": Gating,
    }
    return sections.get(str(at[0])) if len(at) == 1 else None


def _known(at: Key) -> list[str]:
    section = _section(at)
    return list(section.model_fields) if section else []


_DOMAINS = {
    "cytocar": "write 1",
    "panel": "give a file, or the name of a panel that comes with cytocar",
    "samples": "give a file, such as samples.csv",
    "beads": "write auto, off, or a list of bead channels such as [Ce140Di, Eu151Di]",
    "baseline": "give a file, such as baseline.csv",
    "compensation": "give a spillover matrix, such as spill.csv, or off",
    "cofactor": "give a number above 0, such as 5",
    "gating": "write car_t, off, or the name of a file (YAML, Gating-ML .xml, FlowJo .wsp); which populations are "
    "which: {file: gates.xml, car: CAR-T, host: Host T, cd45: CD45+}",
    "gating.subsets": "give the names of populations: {CD4: CD4+, CD8: CD8+, DN: CD4-CD8-, DP: CD4+CD8+}",
    "thresholds": "give a number by name (arcsinh units), or a number by sample: {CD3: 2.1, CAR: {s1: 3.2}}",
    "on_missing": "write refuse, or leave_out to run the study without files that lack what it needs",
    "host_sample": "give a whole number of at least 0, such as 10000",
    "seed": "give a whole number of at least 0",
    "title": "give a text",
    "clustering": "give {method: both, k: auto, metaclusters: auto, markers: clustering}, or {method: off}",
    "clustering.k": "give a whole number of at least 2, or auto",
    "clustering.metaclusters": "give a whole number of at least 2, or auto",
    "clustering.markers": "write clustering, or a list of at least two markers",
    "clustering.stability": "write true or false",
    "clustering.names": "give a file, such as cluster_names.csv",
    "clustering.reference": "give the folder of an earlier run, such as ../old_results",
    "compare": "give {reference: 2mo, against: 5yr}",
    "compare.reference": "give the label of a timepoint",
    "compare.against": "give the label of a timepoint",
    "compare.margin": "give a number of at least 0 (arcsinh units), such as 0.2",
    "compare.p_values": "write true or false",
    "cohort": "give {formula: ~ group + batch, contrast: R vs NR}",
    "cohort.formula": "give auto, or a formula of columns of the sample sheet, such as '~ group + batch'",
    "cohort.contrast": "give auto, a text such as R vs NR, or a list of them",
}


def _domain(at: Key, item: Any) -> str:
    """Return what would be right for a setting."""
    for end in range(len(at), 0, -1):
        name = ".".join(str(part) for part in at[:end])
        if name in _DOMAINS:
            return _DOMAINS[name]
        section = _section(at[: end - 1])
        field = section.model_fields.get(str(at[end - 1])) if section else None
        choices = [str(choice) for choice in get_args(field.annotation)] if field else []
        if choices:
            return did_you_mean(str(item["input"]), choices)
    return str(item["msg"])
