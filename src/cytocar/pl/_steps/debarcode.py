"""Barcoded pools: yields, separations and the barcode signals of the events of each sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cytocar._core import palette
from cytocar._core.errors import ParameterError, did_you_mean
from cytocar.pl._page import fitted_text, inputs, style
from cytocar.pl._page.sheet import Box, Sheet, dress, few_ticks, grid, rows_of

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_CURVE: Final = palette.BLUE
_CUTOFF: Final = palette.VERMILION
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
    for position, (name, box) in enumerate(zip(names, boxes, strict=True)):
        axes = sheet.axes(box, label=name)
        axes.set_title(fitted_text.label(name or "in no sample", 18, spoken=False))
        if position % _COLUMNS:
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
    Figure; one Axes per sample, labelled with its name.

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
            kept = (
                f"{cutoff:.2f}: {fitted_text.count(row['assigned'])}\nof {fitted_text.count(row['events'])}"
            )
        else:
            kept = f"{fitted_text.count(float(part['events'].max()))} events"
        axes.text(
            0.97, 0.97, kept, transform=axes.transAxes, ha="right", va="top", size=style.SMALL, linespacing=1.1,
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

    result = kept(adata)
    separation = adata.obs[SEPARATION].to_numpy(dtype=float)
    assigned = inputs.column(adata, BARCODE) != UNASSIGNED
    coded = np.isfinite(separation)
    figure = None
    if ax is None:
        sheet = Sheet(62, width=110)
        ax = sheet.axes(Box(16, 10, 88, 38), label="separation")
        figure = sheet.figure
    dress(ax)
    top = max(1.0, float(separation[coded].max(initial=0.0)))
    edges = np.linspace(0.0, top, _BINS + 1)
    base = np.zeros(_BINS)
    for rows, name, colour in (
        (coded & assigned, "in a sample", _CURVE),
        (coded & ~assigned, "in no sample", palette.NO_CLUSTER_COLOUR),
    ):
        counts = np.histogram(separation[rows], bins=edges)[0].astype(float)
        ax.stairs(
            base + counts, edges, baseline=base, fill=True, color=colour, linewidth=0,
            label=f"{name}: {fitted_text.count(int(rows.sum()))}",
        )  # fmt: skip
        base = base + counts
    cuts = sorted({float(entry["cutoff"]) for entry in result["populations"].values()})
    for cut in cuts:
        if cut <= top:
            ax.axvline(cut, color=_CUTOFF, linewidth=0.6, label="cut-off" if cut == cuts[0] else None)
    ax.set_xlim(0, top)
    ax.set_ylim(0, max(float(base.max()), 1.0) * 1.05)
    few_ticks(ax, 4)
    ax.set_xlabel("barcode separation")
    ax.set_ylabel("events")
    ax.set_title(
        f"{fitted_text.count(int((~coded).sum()))} of {fitted_text.count(adata.n_obs)} events have no code of the key"
    )
    ax.legend(loc="upper right")
    return ax if figure is None else figure


@style.styled
def barcode_events(
    adata: AnnData, *, barcodes: Sequence[str] | None = None, max_events: int = _EVENTS
) -> Figure:
    """Draw the barcode signals of the events of each sample, from the smallest separation to the largest.

    One column of points per event: arcsinh(counts / 10) of every barcode channel, 1 being the 95th percentile of the
    positive channels of the sample. In a clean sample the positive channels lie together, far above the others.

    Parameters
    ----------
    adata
        Events after `cytocar.pp.debarcode`.
    barcodes
        Samples to draw; ``""`` for the events in none. `None` draws all that have events, and the latter last.
    max_events
        Most events of a sample to draw, at least 2; evenly spaced by rank where there are more.

    Returns
    -------
    Figure; one Axes per sample, labelled with its name.

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
    signals = arrange_events(adata, barcodes, max_events)
    markers = list(next(iter(signals.values())).values.columns)
    colours = dict(
        zip(markers, palette.cluster_colours(str(i + 1) for i in range(len(markers))).values(), strict=True)
    )
    sheet, panels = _panels(list(signals), bottom=18.0)
    for axes, shown in zip(panels, signals.values(), strict=True):
        for marker in markers:
            n = len(shown.values)
            axes.plot(
                np.linspace(0, 1, n) if n > 1 else [0.5], shown.values[marker].to_numpy(), linestyle="none",
                marker=".", markersize=1.2, markeredgewidth=0, color=colours[marker], rasterized=True, label=marker,
            )  # fmt: skip
        axes.set_xlim(-0.01, 1.01)
        axes.set_ylim(-0.1, 1.3)
        axes.set_xticks([])
        axes.text(
            0.98, 0.98, f"n = {fitted_text.count(shown.n)}", transform=axes.transAxes, ha="right", va="top",
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


@dataclass(frozen=True)
class Signals:
    """Barcode signals of the events of one sample."""

    n: int
    values: pd.DataFrame
    """Events drawn, by separation, x barcode channels; 1 is the 95th percentile of the positive channels."""


def arrange_events(adata: AnnData, barcodes: Sequence[str] | None, max_events: int) -> dict[str, Signals]:
    """Arrange what `barcode_events` draws: the signals of each sample."""
    import pandas as pd

    from cytocar.pp._barcodes.assign import COFACTOR
    from cytocar.pp._barcodes.debarcode import BARCODE, SEPARATION, UNASSIGNED, kept
    from cytocar.pp._channels import counts_of

    result = kept(adata)
    if max_events < 2:
        raise ParameterError(f"max_events is {max_events}", fix="it must be at least 2")
    of_events = inputs.column(adata, BARCODE)
    names = _asked(barcodes, [*result["populations"], UNASSIGNED], set(of_events))
    markers = result["markers"]
    positions = [list(map(str, adata.var_names)).index(marker) for marker in markers]
    counts = counts_of(adata, "pl.barcode_events")
    separation = adata.obs[SEPARATION].to_numpy(dtype=float)
    scales = {name: float(entry["scale"]) for name, entry in result["populations"].items()}
    usual = float(np.median([scale for scale in scales.values() if scale > 0] or [1.0]))
    signals = {}
    for name in names:
        rows = np.flatnonzero(of_events == name)
        drawn = evenly(_by_separation(rows, separation), max_events)
        values = np.arcsinh(counts[drawn][:, positions] / COFACTOR) / (scales.get(name) or usual)
        signals[name] = Signals(rows.size, pd.DataFrame(values, columns=markers))
    return signals


def _asked(barcodes: Sequence[str] | None, known: Sequence[str], present: set[str]) -> list[str]:
    """Return the samples asked for, by default all that have events; the events in none come last in `known`."""
    names = [name for name in known if name in present] if barcodes is None else [str(b) for b in barcodes]
    for name in names:
        if name not in known:
            raise ParameterError(f"{name!r} is not a sample of the key", fix=did_you_mean(name, known[:-1]))
    if not names:
        raise ParameterError("there are no events to draw")
    return names


def _by_separation(rows: NDArray[np.intp], separation: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return rows from the smallest separation to the largest; events without a code, which have none, come first."""
    rank = np.where(np.isnan(separation[rows]), -1.0, separation[rows])
    return np.asarray(rows[np.argsort(rank, kind="stable")])


def evenly(rows: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    """Return at most `most` rows, the first and the last among them, at the same distance from each other.

    Examples
    --------
    >>> evenly(np.arange(10), 4).tolist()
    [0, 3, 6, 9]
    """
    if rows.size <= most:
        return rows
    return np.asarray(rows[np.linspace(0, rows.size - 1, most).round().astype(int)])
