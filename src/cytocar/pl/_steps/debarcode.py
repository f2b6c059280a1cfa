"""Barcoded pools: yields, separations and the barcode signals of the events of each sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from cytocar._core.errors import ParameterError, did_you_mean
from cytocar.pl._page import fitted_text, inputs, style
from cytocar.pl._page.sheet import Box, Sheet, dress, few_ticks, grid, rows_of

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CURVE: Final = style.BLUE
_CUTOFF: Final = style.VERMILION
_COLUMNS: Final = 5
_BINS: Final = 100
_EVENTS: Final = 400


def _panels(names: Sequence[str], *, height: float = 20.0, bottom: float = 12.0) -> tuple[Sheet, list[Axes]]:
    rows = rows_of(len(names), _COLUMNS)
    sheet = Sheet(14 + rows * (height + 8) - 8 + bottom)
    boxes = grid(
        len(names),
        columns=_COLUMNS,
        left=12,
        top=12,
        width=style.WIDTH_MM - 16,
        height=height,
        gap_x=4,
        gap_y=8,
    )
    panels = []
    for place, (name, box) in enumerate(zip(names, boxes, strict=True)):
        axes = sheet.axes(box, label=name)
        axes.set_title(fitted_text.label(name or "in no sample", 18, spoken=False))
        if place % _COLUMNS:
            axes.set_yticklabels([])
        panels.append(axes)
    return sheet, panels


@style.styled
def barcode_yields(yields: pd.DataFrame, table: pd.DataFrame | None = None) -> Figure:
    """Draw for each sample of a pool the share of its events that every cut-off of the separation keeps.

    A good pool falls a little at once (doublets), stays on a plateau, and falls to 0 at the end; the cut-off
    belongs on the plateau.

    Parameters
    ----------
    yields
        The table of `cytocar.pp.barcode_yields`.
    table
        The table of `cytocar.pp.barcode_table`: the cut-offs that were used are drawn, with the numbers of
        events they leave.

    Returns
    -------
    Figure; an Axes a sample, labelled with its name.

    Raises
    ------
    ParameterError
        A column is missing, or there are no rows.

    Examples
    --------
    >>> import pandas
    >>> curve = pandas.DataFrame({
    ...     "barcode": "A", "cutoff": [0.0, 0.5, 1.0], "events": [100, 80, 0], "yield": [1.0, 0.8, 0.0]})
    >>> [axes.get_label() for axes in barcode_yields(curve).axes]
    ['A']
    """
    inputs.require(yields, ("barcode", "cutoff", "events", "yield"), "the table of yields")
    used = {}
    if table is not None:
        inputs.require(table, ("barcode", "cutoff", "events", "assigned"), "the table of barcodes")
        used = {str(row["barcode"]): row for _, row in table.iterrows()}
    parts = {str(name): part for name, part in yields.groupby("barcode", sort=False, observed=True)}
    sheet, panels = _panels(list(parts))
    for axes, (name, part) in zip(panels, parts.items(), strict=True):
        share = 100 * part["yield"].to_numpy(dtype=float)
        axes.plot(part["cutoff"].to_numpy(dtype=float), share, color=_CURVE, linewidth=1.0, label="yield")
        if name in used:
            cutoff, row = float(used[name]["cutoff"]), used[name]
            if np.isfinite(cutoff):
                axes.axvline(cutoff, color=_CUTOFF, linewidth=0.8, label="cut-off")
            told = (
                f"{cutoff:.2f}: {fitted_text.count(row['assigned'])}\nof {fitted_text.count(row['events'])}"
            )
        else:
            told = f"{fitted_text.count(float(part['events'].max()))} events"
        axes.text(
            0.97, 0.97, told, transform=axes.transAxes, ha="right", va="top", size=style.SMALL, linespacing=1.1,
            bbox={"facecolor": style.WHITE, "alpha": 0.7, "edgecolor": "none", "pad": 0.5},
        )  # fmt: skip
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 105)
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    sheet.text(12, 3, "Events kept, % of those with the code, by cut-off of the separation", size=style.TITLE)
    sheet.text(12, sheet.height - 5, "cut-off of the barcode separation", size=style.FONT)
    return sheet.figure


@style.styled
def barcode_separation(adata: AnnData, *, ax: Axes | None = None) -> Figure | Axes:
    """Draw how the separations of all events of a pool are distributed, of those in a sample and of the others.

    Parameters
    ----------
    adata
        Events after `cytocar.pp.debarcode`.
    ax
        Draw into this Axes and return it, instead of a new Figure.

    Returns
    -------
    The Figure, or `ax` where it was given. Events without a code of the key have no separation; their number
    stands in the title.

    Raises
    ------
    StateError
        `cytocar.pp.debarcode` has not been run.

    Examples
    --------
    >>> import anndata, numpy, pandas
    >>> import cytocar as cc
    >>> key = pandas.DataFrame([[1, 0], [0, 1]], index=["A", "B"], columns=[102, 104])
    >>> panel = pandas.DataFrame({"mass": [102, 104]}, index=["BC1", "BC2"])
    >>> counts = numpy.array([[300, 2], [250, 9], [0, 280]], dtype="float32")
    >>> pool = anndata.AnnData(counts, var=panel, uns={"cytocar": {"state": "counts"}})
    >>> cc.pp.debarcode(pool, key)
    >>> barcode_separation(pool).axes[0].get_xlabel()
    'barcode separation'
    """
    from cytocar.pp._barcodes.debarcode import BARCODE, SEPARATION, UNASSIGNED, kept

    found = kept(adata)
    separation = adata.obs[SEPARATION].to_numpy(dtype=float)
    assigned = inputs.column(adata, BARCODE) != UNASSIGNED
    known = np.isfinite(separation)
    figure = None
    if ax is None:
        sheet = Sheet(62, width=110)
        ax = sheet.axes(Box(16, 10, 88, 38), label="separation")
        figure = sheet.figure
    dress(ax)
    top = max(1.0, float(separation[known].max(initial=0.0)))
    edges = np.linspace(0.0, top, _BINS + 1)
    base = np.zeros(_BINS)
    for rows, name, colour in (
        (known & assigned, "in a sample", _CURVE),
        (known & ~assigned, "in no sample", style.NO_CLUSTER_COLOUR),
    ):
        counts = np.histogram(separation[rows], bins=edges)[0].astype(float)
        ax.stairs(
            base + counts, edges, baseline=base, fill=True, color=colour, linewidth=0,
            label=f"{name}: {fitted_text.count(int(rows.sum()))}",
        )  # fmt: skip
        base = base + counts
    cuts = sorted({float(entry["cutoff"]) for entry in found["populations"].values()})
    for cut in cuts:
        if cut <= top:
            ax.axvline(cut, color=_CUTOFF, linewidth=0.6, label="cut-off" if cut == cuts[0] else None)
    ax.set_xlim(0, top)
    ax.set_ylim(0, max(float(base.max()), 1.0) * 1.05)
    few_ticks(ax, 4)
    ax.set_xlabel("barcode separation")
    ax.set_ylabel("events")
    ax.set_title(
        f"{fitted_text.count(int((~known).sum()))} of {fitted_text.count(adata.n_obs)} events have no code of the key"
    )
    ax.legend(loc="upper right")
    return ax if figure is None else figure


@style.styled
def barcode_events(
    adata: AnnData, *, barcodes: Sequence[str] | None = None, max_events: int = _EVENTS
) -> Figure:
    """Draw the barcode signals of the events of each sample, from the smallest separation to the largest.

    One column of points an event: arcsinh(counts / 10) of every barcode channel, 1 being the 95th percentile of the
    positive channels of the sample. In a clean sample the positive channels lie together, far above the others.

    Parameters
    ----------
    adata
        Events after `cytocar.pp.debarcode`.
    barcodes
        Samples to draw; ``""`` for the events in none. `None` draws all that have events, and the latter last.
    max_events
        Most events a sample to draw, at least 2; evenly spaced by rank where there are more.

    Returns
    -------
    Figure; an Axes a sample, labelled with its name.

    Raises
    ------
    StateError
        `cytocar.pp.debarcode` has not been run.
    ParameterError
        A sample is unknown, there are no events, or `max_events` is below 2.

    Examples
    --------
    >>> import anndata, numpy, pandas
    >>> import cytocar as cc
    >>> key = pandas.DataFrame([[1, 0], [0, 1]], index=["A", "B"], columns=[102, 104])
    >>> panel = pandas.DataFrame({"mass": [102, 104]}, index=["BC1", "BC2"])
    >>> counts = numpy.array([[300, 2], [250, 9], [0, 280]], dtype="float32")
    >>> pool = anndata.AnnData(counts, var=panel, uns={"cytocar": {"state": "counts"}})
    >>> cc.pp.debarcode(pool, key)
    >>> [axes.get_label() for axes in barcode_events(pool).axes]
    ['A', 'B']
    """
    from cytocar.pp._barcodes.assign import COFACTOR
    from cytocar.pp._barcodes.debarcode import BARCODE, SEPARATION, UNASSIGNED, kept
    from cytocar.pp._channels import counts_of

    found = kept(adata)
    if max_events < 2:
        raise ParameterError(f"max_events is {max_events}", fix="it must be at least 2")
    known = [*found["populations"], UNASSIGNED]
    of_events = inputs.column(adata, BARCODE)
    present = set(of_events)
    names = [name for name in known if name in present] if barcodes is None else [str(b) for b in barcodes]
    for name in names:
        if name not in known:
            raise ParameterError(f"{name!r} is no sample of the key", fix=did_you_mean(name, known[:-1]))
    if not names:
        raise ParameterError("there are no events to draw")
    markers = found["markers"]
    places = [list(map(str, adata.var_names)).index(marker) for marker in markers]
    counts = counts_of(adata, "pl.barcode_events")
    separation = adata.obs[SEPARATION].to_numpy(dtype=float)
    scales = {name: float(entry["scale"]) for name, entry in found["populations"].items()}
    usual = float(np.median([scale for scale in scales.values() if scale > 0] or [1.0]))
    colours = dict(
        zip(markers, style.cluster_colours(str(i + 1) for i in range(len(markers))).values(), strict=True)
    )

    sheet, panels = _panels(names, bottom=18.0)
    for axes, name in zip(panels, names, strict=True):
        rows = np.flatnonzero(of_events == name)
        # NaN, the events without a code, come first
        rank = np.where(np.isnan(separation[rows]), -1.0, separation[rows])
        rows = rows[np.argsort(rank, kind="stable")]
        shown = rows
        if rows.size > max_events:
            shown = rows[np.linspace(0, rows.size - 1, max_events).round().astype(int)]
        values = np.arcsinh(counts[shown][:, places] / COFACTOR) / (scales.get(name) or usual)
        for column, marker in enumerate(markers):
            axes.plot(
                np.linspace(0, 1, shown.size) if shown.size > 1 else [0.5], values[:, column], linestyle="none",
                marker=".", markersize=1.2, markeredgewidth=0, color=colours[marker], rasterized=True, label=marker,
            )  # fmt: skip
        axes.set_xlim(-0.01, 1.01)
        axes.set_ylim(-0.1, 1.3)
        axes.set_xticks([])
        axes.text(
            0.98, 0.98, f"n = {fitted_text.count(rows.size)}", transform=axes.transAxes, ha="right", va="top",
            size=style.SMALL,
        )  # fmt: skip
    sheet.text(
        12, 3, "Barcode signals of single events, 1 = 95th percentile of positive channels", size=style.TITLE
    )
    sheet.text(12, sheet.height - 13, "events, from smallest to largest separation", size=style.FONT)
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], linestyle="none", marker="o", markersize=3, color=colours[m]) for m in markers]
    sheet.legend(
        12, sheet.height - 8, handles, [fitted_text.label(m, 14) for m in markers], ncols=min(len(markers), 8)
    )
    return sheet.figure
