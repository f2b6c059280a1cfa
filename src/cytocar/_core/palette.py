"""Colours fixed by name, so that a cluster or a subset looks the same in every figure, and in those of scanpy.

Subsets and compartments use the palette of Okabe and Ito (Color Universal Design, 2008), clusters the "muted" scheme of
Paul Tol (2021), extended by colours that stay apart in normal, deuteranopic and protanopic vision.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from cytocar._core import keys
from cytocar._core.ordering import is_number, natural
from cytocar._core.vocabulary import NO_CLUSTER

if TYPE_CHECKING:
    from anndata import AnnData

# Okabe and Ito, by the names that they gave; black is the ink.
BLUE: Final = "#0072B2"
VERMILION: Final = "#D55E00"
GREEN: Final = "#009E73"
PURPLE: Final = "#CC79A7"
ORANGE: Final = "#E69F00"
SKY: Final = "#56B4E9"
YELLOW: Final = "#F0E442"

DARK: Final = "#5B5B5B"
GREY: Final = "#B8B8B8"

NO_CLUSTER_COLOUR: Final = GREY

SUBSET_COLOURS: Final[Mapping[str, str]] = {
    "CD4": BLUE,
    "CD8": VERMILION,
    "DN": GREEN,
    "DP": PURPLE,
    keys.CAR: ORANGE,
    keys.HOST: SKY,
    keys.CELLS: SKY,
    keys.ALL: DARK,
    "": GREY,
}

# The first nine are Tol's muted scheme. The rest were picked one by one, each the colour farthest (in OKLab,
# smallest distance over the three kinds of vision) from all before it and from the grey of "-1".
CLUSTER_COLOURS: Final = (
    "#CC6677", "#332288", "#DDCC77", "#117733", "#88CCEE", "#882255", "#44AA99", "#999933", "#AA4499",
    "#5377F2", "#53300D", "#9A9AF2", "#9AF2CF", "#6530AC", "#ACBD1E", "#7788BD", "#F2E10D", "#0D77BD",
    "#650D42", "#53530D", "#658842", "#65BD77", "#0D5377", "#88ACCF",
)  # fmt: skip


def cluster_colours(labels: Iterable[object]) -> dict[str, str]:
    """Return one colour per cluster label: the same for a number in every figure, grey for ``-1``.

    Parameters
    ----------
    labels
        Cluster labels. ``"1"``, ``"2"``, ... take the first, second, ... colour whatever else is asked for;
        other names take colours in their sorted order, so pass all of them at once. After 24 the same colours
        come again, paler.

    Examples
    --------
    >>> cluster_colours(["3", "-1"])
    {'3': '#DDCC77', '-1': '#B8B8B8'}
    """
    names = list(dict.fromkeys(str(label) for label in labels))
    named = sorted((name for name in names if not is_number(name) and name != NO_CLUSTER), key=natural)
    positions = {name: position for position, name in enumerate(named)}
    colours = {}
    for name in names:
        if name in (NO_CLUSTER, "", "nan"):
            colours[name] = NO_CLUSTER_COLOUR
        else:
            position = int(name) - 1 if is_number(name) else positions[name]
            colours[name] = _colour_at(position)
    return colours


def _colour_at(position: int) -> str:
    """Return the colour at a position of the list; after its end the list comes again, paler every time."""
    again, position = divmod(position, len(CLUSTER_COLOURS))
    colour = CLUSTER_COLOURS[position]
    for _ in range(min(again, 2)):
        colour = "#" + "".join(f"{(int(colour[i : i + 2], 16) + 255) // 2:02X}" for i in (1, 3, 5))
    return colour


def subset_colour(name: object) -> str:
    """Return the fixed colour of a subset or compartment; grey for a name without one."""
    return SUBSET_COLOURS.get(str(name), NO_CLUSTER_COLOUR)


def colours_by_name(names: Sequence[str]) -> dict[str, str]:
    """Return the colours of subsets or compartments where all names are such, and of clusters otherwise.

    Examples
    --------
    >>> colours_by_name(["CD4", ""]), colours_by_name(["1", "CD4"])
    ({'CD4': '#0072B2', '': '#B8B8B8'}, {'1': '#CC6677', 'CD4': '#CC6677'})
    """
    if set(names) <= set(SUBSET_COLOURS):
        return {name: subset_colour(name) for name in names}
    return cluster_colours(names)


def store(adata: AnnData, *columns: str) -> None:
    """Write the colours of categorical columns of `obs` to ``uns["<column>_colors"]``, where scanpy looks for them.

    One colour per category, in their order. Columns that are not there, or not categorical, are left alone.
    """
    import pandas as pd

    for column in columns:
        if column in adata.obs and isinstance(adata.obs[column].dtype, pd.CategoricalDtype):
            names = [str(name) for name in adata.obs[column].cat.categories]
            colours = colours_by_name(names)
            adata.uns[f"{column}_colors"] = [colours[name] for name in names]
