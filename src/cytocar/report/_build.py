"""Draw every figure of a finished run and write its report."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cytocar._core.files import write_text
from cytocar._core.population_words import speaking_of, words
from cytocar._core.progress import Progress, silent
from cytocar.report import _changes, _clusters, _cohort, _frequency, _gates, _kinetics, _quality
from cytocar.report._answer import Answer, answer
from cytocar.report._figure import FigureOfRun
from cytocar.report._format import remarks
from cytocar.report._load import FinishedRun, load, short_names
from cytocar.report._templates import templates

CHAPTERS: Mapping[str, tuple[FigureOfRun, ...]] = {
    "frequency": (*_kinetics.FIGURES, *_frequency.FIGURES),
    "clusters": _clusters.FIGURES,
    "changes": _changes.FIGURES,
    "cohort": _cohort.FIGURES,
    "gates": _gates.FIGURES,
    "quality": _quality.FIGURES,
}
"""Chapter to its figures. One that the template of the chapter does not place stands at the end of the chapter."""

FIGURES: tuple[FigureOfRun, ...] = tuple(figure for figures in CHAPTERS.values() for figure in figures)
"""Every figure that a run may have, in the order in which they are drawn."""


@dataclass(frozen=True)
class _Drawn:
    stem: str
    title: str
    caption: str
    image: str
    more: tuple[tuple[str, str], ...] = ()
    """Stem and image of further pages that are in the report."""
    files: tuple[str, ...] = ()
    """Stems of further pages that are beside the report only."""
    names_samples: bool = False


PAGES_SHOWN = 4
"""Pages of a figure that are in the report; a file for each sample would make it too large to send."""


def build(out: str | Path, *, progress: Progress | None = None) -> Path:
    """Draw figures and report of a finished run; nothing is computed again.

    Parameters
    ----------
    out
        The folder of a finished run.
    progress
        Called as ``progress(stage, done, total)``.

    Returns
    -------
    The path of `report.html`: one file that needs no other and no network.

    Raises
    ------
    StudyError
        `out` is not the folder of a finished run.

    Examples
    --------
    >>> from cytocar import report
    >>> report.build("no_such_folder")
    Traceback (most recent call last):
    cytocar._core.errors.StudyError: 1 problem found:
      no_such_folder: this is not the folder of a finished run: it lacks provenance.json, cells.h5ad, tables
        name the folder that was given to `cytocar run ... -o`
    """
    folder = Path(out)
    run = load(folder)
    with speaking_of(run.words):
        return _build(run, progress)


def _build(run: FinishedRun, progress: Progress | None) -> Path:
    folder = run.folder
    say = progress or silent
    figures = folder / "figures"
    figures.mkdir(exist_ok=True)
    wanted = [figure for figure in FIGURES if figure.possible(run)]
    drawn = []
    brief, prefix = short_names(run)
    for position, figure in enumerate(wanted):
        say("figures", position, len(wanted))
        drawn.append(_draw(brief, figure, figures))
    say("figures", len(wanted), len(wanted))
    report = folder / "report.html"
    write_text(report, _page(run, answer(run), drawn, prefix))
    return report


def _draw(run: FinishedRun, figure: FigureOfRun, folder: Path) -> _Drawn:
    from cytocar import pl

    stems = []
    try:
        for number, page in enumerate(figure.drawn(run), start=1):
            stems.append(figure.stem if number == 1 else f"{figure.stem}_{number}")
            pl.save(page, folder / stems[-1])
    except Exception as error:
        error.add_note(f"while drawing the figure {figure.stem!r}")
        raise
    _forget_pages(folder, figure.stem, after=len(stems))
    images = [(stem, _image(folder / f"{stem}.png")) for stem in stems[:PAGES_SHOWN]]
    return _Drawn(
        figure.stem,
        figure.title_for(run),
        figure.caption_for(run),
        images[0][1],
        tuple(images[1:]),
        tuple(stems[PAGES_SHOWN:]),
        figure.names_samples,
    )


def _forget_pages(folder: Path, stem: str, *, after: int) -> None:
    """Remove the pages of an earlier report that had more of them."""
    for path in folder.glob(f"{stem}_*.*"):
        number = path.stem.removeprefix(f"{stem}_")
        if number.isdigit() and int(number) > after:
            path.unlink()


def _image(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def _page(run: FinishedRun, first: Answer, figures: list[_Drawn], prefix: str) -> str:
    title = run.provenance.get("settings", {}).get("title") or f"Mass cytometry of {words().car_cells}"
    return (
        templates()
        .get_template("page.html.j2")
        .render(
            title=title
            if run.has_car
            else run.provenance.get("settings", {}).get("title") or "Mass cytometry",
            words=words(),
            answer=first,
            frequency=_frequency.chapter(run),
            changes=_changes.chapter(run),
            clusters=_clusters.chapter(run),
            cohort=_cohort.chapter(run),
            gates=_gates.chapter(run),
            quality=_quality.chapter(run),
            figures={figure.stem: figure for figure in figures},
            chapters={name: [figure.stem for figure in of_chapter] for name, of_chapter in CHAPTERS.items()},
            placed=set(),  # stems, noted by the macro that places a figure
            prefix=prefix,
            tables=run.tables,
            notes=remarks(run.tables.get("notes")),
            provenance=run.provenance,
        )
    )
