"""The whole gating strategy of one sample on one page."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from cytocar._core.errors import ParameterError, did_you_mean
from cytocar.pl._gates import biaxial
from cytocar.pl._page import fitted_text, style
from cytocar.pl._page.sheet import Sheet, grid, rows_of

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PIXELS = 160
"""Pixels along each side of a density: as fine as a printed page of four panels per row can show."""


@style.styled
def strategy(
    adata: AnnData,
    *,
    sample: str | None = None,
    parents: list[str] | None = None,
    shade: str = "log",
    pixels: int = PIXELS,
) -> Figure:
    """Draw every step of the gates on one page: density, gates, and the share of the cells in each gate.

    Events are counted into pixels, all of them, so that a million events take no longer to draw than a thousand.
    A gate is drawn as what it asks of the two axes of a panel; a share is of the cells drawn, which the heading
    of the panel names and counts, and it is the share of the whole population, also where that asks for more.

    Parameters
    ----------
    adata
        Gated by `cytocar.gate.apply` with a strategy of thresholds or with gates of any shape, with the values it was
        gated on. Populations made of others, by ``or`` and ``not``, have no shape: they are only counted above.
    sample
        Which sample; it has to be named where there are several.
    parents
        Only the steps that start from these populations.
    shade
        ``"log"``: logarithm of the events in a pixel. ``"equal"``: their rank, by which faint populations stand out.
    pixels
        Most pixels along each side of a density, 8 to 1024; panels of few cells take fewer.

    Returns
    -------
    Figure; an Axes is labelled ``<number of the step> <population drawn>``.

    Raises
    ------
    GateError
        The data are not gated.
    ParameterError
        A sample or a population is unknown, or several samples are there and none is named.

    Examples
    --------
    >>> import cytocar as cc
    >>> adata = cc.datasets.legend2(cells=3000, timepoints=["2mo"])
    >>> cc.pp.clean(adata)
    >>> cc.pp.arcsinh(adata)
    >>> cc.gate.apply(adata, "car_t")
    >>> [axes.get_label() for axes in cc.pl.strategy(adata).axes][-2:]
    ['7 CAR-T', '8 Host T']
    """
    from cytocar.gate._results.ledger import gating

    if not 8 <= pixels <= 1024:
        raise ParameterError(f"pixels is {pixels}", fix="it must be 8 to 1024")
    known = list(gating(adata)["samples"])
    name = one_sample(sample, known)
    steps, rest = steps_of(adata, name, bins=pixels)
    if parents is not None:
        present = list(dict.fromkeys(step.parent for step in steps))
        for parent in parents:
            if parent not in present:
                raise ParameterError(f"no step starts from {parent!r}", fix=did_you_mean(parent, present))
        steps = [step for step in steps if step.parent in parents]
    if not steps:
        raise ParameterError(
            "the strategy has no step with two markers of these data, so there is nothing to draw"
        )
    words = (
        "colour: events per pixel, logarithmic" if shade == "log" else "colour: rank of the events per pixel"
    )
    return page_of(
        steps,
        name,
        f"{words}; number in a gate: % of the cells of the panel"
        + (f"; not drawn: {len(rest)}" if rest else ""),
        lambda axes, step: biaxial.draw(axes, step, shade=shade),
    )


def steps_of(
    adata: AnnData, sample: str, *, bins: int, of: str | None = None
) -> tuple[list[biaxial.Step], list[str]]:
    """Return the biaxials of a sample, however it was gated, and the populations that no biaxial can show."""
    from cytocar.gate import strategy_of
    from cytocar.pl._gates import document_steps, tree_steps

    strategy = strategy_of(adata)
    if strategy.as_document() is not None:
        return document_steps.steps(adata, strategy, sample, bins=bins, of=of)
    return tree_steps.steps(adata, strategy.as_thresholds(), sample, bins=bins, of=of), []


def one_sample(sample: str | None, known: list[str]) -> str:
    """Return the sample meant: the one asked for, or the only one there is."""
    if sample is None:
        if len(known) == 1:
            return known[0]
        raise ParameterError(
            f"there are {len(known)} samples and a page shows one", fix=f"name it, as in sample={known[0]!r}"
        )
    if sample not in known:
        raise ParameterError(f"there is no sample {sample!r}", fix=did_you_mean(sample, known))
    return sample


def page_of(
    steps: list[biaxial.Step],
    name: str,
    words: str,
    draw: Callable[[Axes, biaxial.Step], None],
    *,
    colour: str = style.SOFT,
) -> Figure:
    """Lay out the steps of one sample, as large as a page allows."""
    columns = min(4, len(steps)) if len(steps) != 6 else 3
    left, top, gap_x, head, foot = 12.0, 6.0, 11.0, 5.0, 8.0
    side = min((style.WIDTH_MM - left - 2 - gap_x * (columns - 1)) / columns, 50.0)
    rows = rows_of(len(steps), columns)
    sheet = Sheet(top + rows * (head + side + foot) + 0.5)
    room = style.WIDTH_MM - left - 4 - fitted_text.width_mm(words, style.SMALL)
    sheet.text(left, 1.0, fitted_text.fit(name, room, style.TITLE), size=style.TITLE)
    sheet.text(style.WIDTH_MM - 2, 1.2, words, ha="right", size=style.SMALL, color=colour)
    width = columns * side + (columns - 1) * gap_x
    boxes = grid(
        len(steps), columns=columns, left=left, top=top + head, width=width, height=side, gap_x=gap_x,
        gap_y=head + foot,
    )  # fmt: skip
    for number, (step, box) in enumerate(zip(steps, boxes, strict=True), start=1):
        axes = sheet.axes(box, label=f"{number} {step.parent}")
        draw(axes, step)
        counted = f"n = {fitted_text.count(step.n)}"
        room = side - fitted_text.width_mm(f"{number}    {counted}", style.SMALL) - 1
        axes.set_title(
            f"{number}  {fitted_text.fit(step.parent, room, style.FONT)}", size=style.FONT, pad=2.5
        )
        axes.set_title(counted, loc="right", size=style.SMALL, color=style.SOFT, pad=2.5)
    return sheet.figure
