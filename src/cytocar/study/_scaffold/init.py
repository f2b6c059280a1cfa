"""A study folder from a folder of FCS files: panel, sample sheet and settings, guessed, for the user to check."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from cytocar._core import keys
from cytocar._core.errors import CytocarError, PanelError, Problem, StudyError
from cytocar._core.files import write_text
from cytocar._core.vocabulary import PATIENT_ROLE
from cytocar.gate._strategy.against_study import missing_markers
from cytocar.io._fcs.header import FcsHeader, read_header
from cytocar.panel import Panel
from cytocar.study._run.folder import building, require_free
from cytocar.study._scaffold.file_names import Guess, guess_samples
from cytocar.study._scaffold.guess_panel import guess_panel

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
# host_sample: 10000       # host T cells kept per sample for maps and comparisons
# seed: 0
"""


def init(
    fcs_dir: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    panel: str | os.PathLike[str] | None = None,
) -> list[str]:
    """Write a study folder for the FCS files of a folder: `panel.csv`, `samples.csv`, `study.yaml`.

    The panel is guessed from ``$PnN`` and ``$PnS`` of all files. Patients, timepoints and months are guessed
    where the file names say them (``P1``, ``2mo``, ``5yr``, ``D28``), and left empty otherwise. Where the
    panel lacks markers of the CAR-T gating strategy, gating is off. Headers only are read, and nothing is
    written beside the files.

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
    require_free(out)
    files = _files(fcs_dir, out)
    notes: list[str] = []
    headers = _headers(files, fcs_dir, notes)
    names = [(str(header.path.relative_to(fcs_dir)), header.names) for header in headers]
    if panel is None:
        guessed = guess_panel(names)
        chosen = _for_gated_cells(guessed.panel, notes)
        text = _panel_text(chosen, guessed.partial)
        notes += guessed.notes
    else:
        chosen = _given(panel)
        text = chosen.to_csv()
        unfit = [name for name, channels in names if chosen.match(channels, where=name).problems]
        if unfit:
            notes.append(
                f"{len(unfit)} of {len(names)} files lack channels of the panel; 'cytocar check' lists them"
            )
    guesses = guess_samples(_stems([header.path.relative_to(fcs_dir) for header in headers]))
    notes += _left_to_the_user(guesses)
    days = _days(headers)
    if days:
        notes.append("samples.csv: batch is the day of acquisition in the file ($DATE)")
    gating = _gating(chosen, notes)
    with building(out) as partial:
        write_text(partial / "panel.csv", text)
        write_text(partial / "samples.csv", _samples_text(headers, guesses, days, out))
        write_text(partial / "study.yaml", _settings(gating, guesses))
    return notes


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
        return path.suffix.casefold() == ".fcs" and path.is_file() and not hidden

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


def _for_gated_cells(panel: Panel, notes: list[str]) -> Panel:
    """Return the panel without the gate markers in clustering: they are the same in all CAR-T cells."""
    from cytocar import gate

    strategy = gate.car_t()
    if missing_markers(strategy, panel)[0]:
        return panel
    subsets = {term.threshold for terms in strategy.subsets.values() for term in terms}
    gated = {
        panel.find(marker)
        for name, threshold in strategy.thresholds.items()
        if name not in subsets
        for marker in threshold.markers
    }
    frame = panel.frame.copy()
    left_out = frame[keys.MARKER].isin([marker for marker in gated if marker])
    frame[keys.CLUSTERING] &= ~left_out
    names = ", ".join(frame.loc[left_out, keys.MARKER])
    notes.append(f"panel.csv: {names} gate the CAR-T cells and are not used for clustering")
    return replace(panel, frame=frame)


def _stems(paths: Sequence[Path]) -> list[str]:
    """Return the names of files without their ending; with their folders where a name occurs twice."""
    stems = [path.stem for path in paths]
    if len(set(stems)) == len(stems):
        return stems
    stems = ["_".join(path.with_suffix("").parts) for path in paths]
    # a/b_c and a_b/c
    return [
        f"{stem}_{stems[: position + 1].count(stem)}" if stems.count(stem) > 1 else stem
        for position, stem in enumerate(stems)
    ]


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


def _days(headers: Sequence[FcsHeader]) -> list[str]:
    """Return the day of acquisition of each file where the files say several; nothing where they do not."""
    # Written 05-Jul-2016, and by some instruments 05-JUL-2016.
    days = [header.keywords.get("$DATE", "").strip().title() for header in headers]
    return days if all(days) and len(set(days)) > 1 else []


def _samples_text(
    headers: Sequence[FcsHeader], guesses: Sequence[Guess], days: Sequence[str], out: Path
) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns: dict[str, list[str]] = {
        "file": [_address(header.path, out) for header in headers],
        keys.SAMPLE: [guess.sample_id for guess in guesses],
        keys.PATIENT: [guess.patient_id for guess in guesses],
        keys.TIMEPOINT: [guess.timepoint for guess in guesses],
        keys.MONTHS: ["" if guess.months is None else f"{guess.months:g}" for guess in guesses],
        keys.ROLE: [PATIENT_ROLE] * len(guesses),
    }
    if any(guess.group for guess in guesses):
        columns[keys.GROUP] = [guess.group for guess in guesses]
    if days:
        columns[keys.BATCH] = list(days)
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()


def _address(path: Path, out: Path) -> str:
    """Return the path of a file as seen from the study: relative where the two are near, so that both can be moved."""
    path, out = path.resolve(), out.resolve()
    shared = Path(os.path.commonpath([path, out]))
    far = shared == Path(shared.anchor) or len(out.relative_to(shared).parts) > 3
    return str(path) if far else os.path.relpath(path, out).replace(os.sep, "/")


def _left_to_the_user(guesses: Sequence[Guess]) -> list[str]:
    empty = [
        name
        for name, values in (
            (keys.PATIENT, [guess.patient_id for guess in guesses]),
            (keys.TIMEPOINT, [guess.timepoint for guess in guesses]),
            (keys.MONTHS, ["" if guess.months is None else "0" for guess in guesses]),
        )
        if not all(values)
    ]
    notes = (
        [f"samples.csv: {', '.join(empty)} could not be guessed for every file: fill them in"]
        if empty
        else []
    )
    if len(empty) < 3:
        notes.append("samples.csv: check what was guessed from the file names")
    return notes


def _gating(panel: Panel, notes: list[str]) -> str:
    """Return the line of study.yaml that says how cells are gated."""
    from cytocar import gate

    missing, _ = missing_markers(gate.car_t(), panel)
    if not missing:
        return "# gating: car_t            # a strategy that comes with cytocar, a YAML file, or off"
    lacks = ", ".join(missing)
    notes.append(f"gating is off: the CAR-T strategy needs {lacks}, which the panel lacks")
    return (
        "gating: off                # a strategy that comes with cytocar, a YAML file, or off\n"
        f"# The CAR-T strategy (gating: car_t) needs markers that the panel lacks: {lacks}."
    )


def _settings(gating: str, guesses: Sequence[Guess]) -> str:
    times = {guess.timepoint: guess.months for guess in guesses if guess.months is not None}
    labels = sorted(times, key=lambda label: times[label] or 0.0)
    first, last = (labels[0], labels[-1]) if len(labels) > 1 else ("2mo", "5yr")
    return _SETTINGS.format(gating=gating, first=first, last=last)
