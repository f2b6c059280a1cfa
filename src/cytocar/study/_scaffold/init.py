"""A study folder from a folder of FCS files: panel, sample sheet and settings, guessed, for the user to check."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from cytocar._core import keys
from cytocar._core.errors import CytocarError, PanelError, Problem, StudyError
from cytocar._core.files import is_fcs_name, write_text
from cytocar.io._fcs.header import FcsHeader, read_header
from cytocar.io._fcs.packed import holds_fcs
from cytocar.panel import Panel
from cytocar.study._run.folder import building, require_free
from cytocar.study._scaffold.car_strategy import PanelStrategy, car_strategy
from cytocar.study._scaffold.file_names import Guess
from cytocar.study._scaffold.guess_panel import guess_panel
from cytocar.study._scaffold.sheet import guess_sheet

GATING_NAME: Final = "gating.yaml"
_SETTINGS: Final = """\
# A study of cytocar. Lines that begin with '#' show the defaults; take the '#' away to change one.
cytocar: 1                 # version of this format
panel: panel.csv           # a file, or the name of a panel that comes with cytocar
samples: samples.csv
#                          # samples.csv: role is patient, negative_control, or fmo for a tube that lacks an antibody
{gating}
#                          # gates of other programs: gating: {{file: gates.wsp, car: CAR-T}}, or the gates.xml of a run
# title: ""                # heading of the report
# beads: auto              # auto | off | names of the bead channels, such as [Ce140Di, Eu151Di]
# baseline: ""             # a stored bead signal to normalise to, such as baseline.csv
# compensation: off        # off | a spillover matrix, such as spill.csv
# clean: auto              # auto | off: whether debris, doublets and dead cells are removed
# time_quality: mark       # mark | remove | off: unstable stretches of the acquisition
# cofactor: 5              # of the arcsinh, for channels to which the panel gives none
# thresholds: {{}}           # thresholds that you state: {{CD3: 2.1, VHH: {{sample_1: 3.2}}}}
# clustering: {{method: both, k: auto, metaclusters: auto, markers: clustering}}
#                          # method: phenograph | flowsom | both | leiden | off; markers: or a list of them
#                          # stability: false; names: an edited cluster_names.csv; reference: results of an earlier run
# embedding: tsne          # tsne | umap | both | off
# compare: {{margin: 0.2, p_values: false}}
#                          # first and last timepoint, or reference: {first}, against: {last}
# cohort: {{formula: auto, contrast: auto}}
#                          # several patients; or formula: ~ group + batch, contrast: R vs NR
# on_missing: refuse       # refuse | leave_out: files that lack a marker of the gates
# host_sample: 10000       # host T cells kept per sample for maps and comparisons
# seed: 0
"""


def init(
    fcs_dir: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    panel: str | os.PathLike[str] | None = None,
) -> list[str]:
    """Write a study folder for the FCS files of a folder: `panel.csv`, `samples.csv`, `study.yaml`, `gating.yaml`.

    The panel is guessed from ``$PnN`` and ``$PnS`` of all files. Patients, timepoints, months, groups, batches and
    roles are guessed where names of files and folders or their dates say them (``P1``, ``2mo``, ``5yr``, ``D28``,
    ``mock``), and left empty otherwise; the notes say what was guessed from what. Where a marker shows a CAR,
    `gating.yaml` is the CAR-T gating strategy without the steps whose markers the panel lacks; otherwise gating is
    off. Headers only are read, and nothing is written beside the files.

    Parameters
    ----------
    fcs_dir
        A folder with FCS files; its subfolders are searched where it has none itself.
    out
        The folder to create: new or empty, and not inside `fcs_dir`.
    panel
        A panel that comes with cytocar, or a CSV file, instead of a guess.

    Returns
    -------
    Notes on what was guessed, left out or contradicts itself.

    Raises
    ------
    StudyError
        There are no readable files, the panel has problems, or `out` may not be used.

    Examples
    --------
    >>> from cytocar.study import init
    >>> init("runs", "my_study")  # doctest: +SKIP
    """
    fcs_dir, out = Path(fcs_dir).expanduser(), Path(out).expanduser()
    _require_new(out)
    files = _files(fcs_dir, out)
    notes: list[str] = []
    headers = _headers(files, fcs_dir, notes)
    paths = [header.path.relative_to(fcs_dir) for header in headers]
    names = [(str(path), header.names) for path, header in zip(paths, headers, strict=True)]
    guessed = guess_panel(names) if panel is None else None
    chosen = (
        _given(panel)
        if panel is not None
        else guessed.panel
        if guessed is not None
        else Panel.from_channels([])
    )
    sheet = guess_sheet(paths, headers, chosen)
    strategy = car_strategy(chosen, sheet.tubes)
    if guessed is not None:
        chosen = _for_gated_cells(chosen, strategy, notes)
        text = _panel_text(chosen, guessed.partial)
        notes += guessed.notes
    else:
        text = chosen.to_csv()
        unfit = [name for name, channels in names if chosen.match(channels, where=name).problems]
        if unfit:
            notes.append(
                f"{len(unfit)} of {len(names)} files lack channels of the panel; 'cytocar check' lists them"
            )
    notes += sheet.notes
    gating = _gating(strategy, notes)
    with building(out) as partial:
        write_text(partial / "panel.csv", text)
        write_text(partial / "samples.csv", sheet.text([_address(header.path, out) for header in headers]))
        write_text(partial / "study.yaml", _settings(gating, sheet.guesses))
        if strategy is not None:
            write_text(partial / GATING_NAME, strategy.text)
    return notes


def _require_new(out: Path) -> None:
    """Raise `StudyError` where `out` holds something; of a study that was made before, say how to go on with it."""
    made = [
        name for name in ("study.yaml", "samples.csv", "panel.csv", GATING_NAME) if (out / name).is_file()
    ]
    if {"study.yaml", "samples.csv"} <= set(made):
        raise StudyError(
            [
                Problem(
                    str(out),
                    f"this is a study already (it holds {', '.join(made)}), and what was filled in would be lost",
                    f"go on with it (edit samples.csv, then: cytocar check {out}), or name a new folder to begin anew",
                )
            ]
        )
    require_free(out)


def _files(fcs_dir: Path, out: Path) -> list[Path]:
    if not fcs_dir.is_dir():
        what = "this is a file, not a folder" if fcs_dir.exists() else "there is no such folder"
        raise StudyError([Problem(str(fcs_dir), what, "name the folder with the FCS files")])
    if out.resolve().is_relative_to(fcs_dir.resolve()):
        raise StudyError(
            [Problem(str(out), f"is inside {fcs_dir}, beside the FCS files", "name a folder outside of it")]
        )

    def is_fcs(path: Path) -> bool:
        hidden = any(part.startswith(".") for part in path.relative_to(fcs_dir).parts)
        return (is_fcs_name(path.name) or holds_fcs(path)) and path.is_file() and not hidden

    files = sorted(path for path in fcs_dir.iterdir() if is_fcs(path))
    files = files or sorted(path for path in fcs_dir.rglob("*") if is_fcs(path))
    if not files:
        raise StudyError(
            [Problem(str(fcs_dir), "there are no FCS files in it", "name the folder with the FCS files")]
        )
    return files


def _headers(files: Sequence[Path], fcs_dir: Path, notes: list[str]) -> list[FcsHeader]:
    """Read the headers; files that a study cannot use are left out with a note."""
    headers = []
    problems: list[Problem] = []
    for path in files:
        try:
            header = read_header(path)
        except (CytocarError, OSError) as error:
            problems += Problem.all_of(error, where=str(path), fix="export the file again")
            continue
        if header.n_events == 0:
            problems.append(Problem(str(path), "the file has no events"))
        elif not Panel.from_channels(header.names, instrument=header.keywords.get("$CYT", "")).has_mass.any():
            problems.append(Problem(str(path), "no channel has a mass: this is not mass cytometry"))
        else:
            headers.append(header)
            continue
    if not headers:
        raise StudyError(problems)
    notes += [
        f"{Path(problem.where).relative_to(fcs_dir)} is left out: {problem.what}" for problem in problems
    ]
    return headers


def _for_gated_cells(panel: Panel, strategy: PanelStrategy | None, notes: list[str]) -> Panel:
    """Return the panel without the gate markers in clustering: they are the same in all CAR-T cells."""
    if strategy is None or not strategy.certain:
        return panel
    tree = strategy.tree
    subsets = {term.threshold for terms in tree.subsets.values() for term in terms}
    gated = {
        panel.find(marker)
        for name, threshold in tree.thresholds.items()
        if name not in subsets
        for marker in threshold.markers
    }
    frame = panel.frame.copy()
    left_out = frame[keys.MARKER].isin([marker for marker in gated if marker])
    frame[keys.CLUSTERING] &= ~left_out
    names = ", ".join(frame.loc[left_out, keys.MARKER])
    notes.append(f"panel.csv: {names} gate the CAR-T cells and are not used for clustering")
    return replace(panel, frame=frame)


def _given(source: str | os.PathLike[str]) -> Panel:
    try:
        return Panel.read(source)
    except PanelError as error:
        raise StudyError(error.problems) from None


def _panel_text(panel: Panel, partial: Sequence[tuple[Panel, str]]) -> str:
    text = panel.to_csv()
    if partial:
        text += "# Only some files have these channels; a panel holds what every file has.\n"
        for other, why in partial:
            text += f"# {other.to_csv().splitlines()[1]}  {why}\n"
    return text


def _address(path: Path, out: Path) -> str:
    """Return the path of a file as seen from the study: relative where the two are near, so that both can be moved."""
    path, out = path.resolve(), out.resolve()
    shared = Path(os.path.commonpath([path, out]))
    far = shared == Path(shared.anchor) or len(out.relative_to(shared).parts) > 3
    return str(path) if far else os.path.relpath(path, out).replace(os.sep, "/")


def _gating(strategy: PanelStrategy | None, notes: list[str]) -> str:
    """Return the line of study.yaml that says how cells are gated."""
    if strategy is not None and strategy.certain:
        notes += strategy.notes
        return f"gating: {GATING_NAME}       # made for this panel; or car_t, another YAML file, or off"
    off = "gating: off                # a strategy that comes with cytocar, a YAML file, or off\n"
    if strategy is not None:
        marker = strategy.reagent.marker
        notes.append(
            f"gating is off: {marker} may show a CAR ({strategy.reagent.note}), or be there for another reason; if it "
            f"shows the CAR, write 'gating: {GATING_NAME}' in study.yaml"
        )
        return off + f"# If {marker} shows the CAR: gating: {GATING_NAME}, which is made for it."
    notes.append(
        "gating is off: no marker of the panel shows a CAR (such as VHH, CAR, FMC63, EGFRt, Protein L), and all cells "
        "are analysed; if one does, name it so in a copy of panel.csv and run 'cytocar init' with --panel"
    )
    return (
        off
        + "# No marker of the panel shows a CAR; for populations of host cells write a strategy of your own, or take\n"
        "# gates of another program."
    )


def _settings(gating: str, guesses: Sequence[Guess]) -> str:
    times = {guess.timepoint: guess.months for guess in guesses if guess.months is not None}
    labels = sorted(times, key=lambda label: times[label] or 0.0)
    first, last = (labels[0], labels[-1]) if len(labels) > 1 else ("2mo", "5yr")
    return _SETTINGS.format(gating=gating, first=first, last=last)
