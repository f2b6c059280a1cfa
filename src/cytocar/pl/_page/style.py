"""How every figure looks: colours, fonts, and the context in which it is drawn.

Colours are fixed by name, so that a cluster or a subset looks the same in every figure. Subsets and
compartments use the palette of Okabe and Ito (Color Universal Design, 2008), clusters the "muted" scheme of
Paul Tol (2021), extended by colours that stay apart in normal, deuteranopic and protanopic vision.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from cytocar._core import keys
from cytocar._core.ordering import is_number, natural
from cytocar._core.vocabulary import (
    DETECTED,
    DOWN,
    INCONCLUSIVE,
    NO_CLUSTER,
    NOT_DETECTED,
    QUANTIFIED,
    UNCHANGED,
    UP,
)

if TYPE_CHECKING:
    from matplotlib.colors import LinearSegmentedColormap

P = ParamSpec("P")
R = TypeVar("R")

WIDTH_MM: Final = 180.0
DPI: Final = 200
FONT: Final = 7.0
SMALL: Final = 6.0
TITLE: Final = 7.5

# Okabe and Ito, by the names that they gave; black is the ink.
BLUE: Final = "#0072B2"
VERMILION: Final = "#D55E00"
GREEN: Final = "#009E73"
PURPLE: Final = "#CC79A7"
ORANGE: Final = "#E69F00"
SKY: Final = "#56B4E9"
YELLOW: Final = "#F0E442"

# Greys, from dark to light.
INK: Final = "#262626"
DARK: Final = "#5B5B5B"
SOFT: Final = "#6E6E6E"
DIM: Final = "#A8A8A8"
GREY: Final = "#B8B8B8"
PALE: Final = "#DADADA"
FAINT: Final = "#EFEFEF"
FAINTEST: Final = "#F3F3F3"
WHITE: Final = "#FFFFFF"

HILL: Final = "#C9D6DF"
"""Area below a density."""
SAND: Final = "#F0C9A8"
"""Range of a number, behind its line."""

DENSITY_MAP: Final = "viridis"
BACKGROUND_MAP: Final = "Greys"
"""Colour maps of matplotlib for a density that is looked at, and for one that lies behind something else."""

GROUP_COLOURS: Final = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
"""Colours of groups of patients, in their order."""

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

CALL_COLOURS: Final[Mapping[str, str]] = {
    UP: VERMILION,
    DOWN: BLUE,
    UNCHANGED: SOFT,
    INCONCLUSIVE: WHITE,
    QUANTIFIED: GREEN,
    DETECTED: ORANGE,
    NOT_DETECTED: WHITE,
}

CALL_MARKERS: Final[Mapping[str, str]] = {
    UP: "^",
    DOWN: "v",
    UNCHANGED: "o",
    INCONCLUSIVE: "o",
    QUANTIFIED: "o",
    DETECTED: "s",
    NOT_DETECTED: "v",
}

WORDS: Final[Mapping[str, str]] = {
    keys.CAR: "CAR-T",
    keys.HOST: "Host T",
    keys.CELLS: "All cells",
    keys.ALL: "all",
    "": "none",
    NOT_DETECTED: "not detected",
}
"""How a value of a table is called in a picture."""

# The first nine are Tol's muted scheme. The rest were picked one by one, each the colour farthest (in OKLab,
# smallest distance over the three kinds of vision) from all before it and from the grey of "-1".
CLUSTER_COLOURS: Final = (
    "#CC6677", "#332288", "#DDCC77", "#117733", "#88CCEE", "#882255", "#44AA99", "#999933", "#AA4499",
    "#5377F2", "#53300D", "#9A9AF2", "#9AF2CF", "#6530AC", "#ACBD1E", "#7788BD", "#F2E10D", "#0D77BD",
    "#650D42", "#53530D", "#658842", "#65BD77", "#0D5377", "#88ACCF",
)  # fmt: skip

_EXPRESSION = ("#E4E2DA", "#BFDCC3", "#63B7BD", "#2A77B4", "#1D2F73")
"""From not expressed (recedes into the paper) to high; the lightness falls steadily, so it also works in grey."""

_SECTIONS = (
    "agg", "axes", "axes3d", "errorbar", "figure", "font", "grid", "hatch", "image", "legend", "lines", "markers",
    "mathtext", "patch", "path", "pcolormesh", "savefig", "scatter", "svg", "text", "xaxis", "xtick", "yaxis",
    "ytick",
)  # fmt: skip

_STYLE: Final[Mapping[str, Any]] = {
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.labelpad": 2.0,
    "axes.labelsize": FONT,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlepad": 3.0,
    "axes.titlesize": TITLE,
    "axes.titleweight": "normal",
    "axes.unicode_minus": True,
    "figure.dpi": DPI,
    "font.size": FONT,
    "hatch.linewidth": 0.6,
    "legend.borderaxespad": 0.0,
    "legend.borderpad": 0.0,
    "legend.columnspacing": 1.2,
    "legend.fontsize": FONT,
    "legend.frameon": False,
    "legend.handlelength": 1.2,
    "legend.handletextpad": 0.5,
    "legend.labelspacing": 0.35,
    "legend.title_fontsize": FONT,
    "lines.linewidth": 0.9,
    "lines.markersize": 3.5,
    "patch.linewidth": 0.5,
    "savefig.dpi": DPI,
    "savefig.facecolor": WHITE,
    "svg.fonttype": "none",  # texts stay texts: small files that can be searched and edited
    "svg.hashsalt": "cytocar",  # otherwise the ids in the file are random
    "text.color": INK,
    "xtick.color": INK,
    "xtick.labelsize": FONT,
    "xtick.major.pad": 2.0,
    "xtick.major.size": 2.0,
    "xtick.major.width": 0.6,
    "xtick.minor.size": 1.2,
    "xtick.minor.width": 0.4,
    "ytick.color": INK,
    "ytick.labelsize": FONT,
    "ytick.major.pad": 2.0,
    "ytick.major.size": 2.0,
    "ytick.major.width": 0.6,
    "ytick.minor.size": 1.2,
    "ytick.minor.width": 0.4,
}

_FAR_EAST = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "WenQuanYi Zen Hei",
    "Microsoft YaHei",
    "PingFang SC",
    "SimHei",
)


@functools.cache
def _settings() -> dict[str, Any]:
    import matplotlib
    from matplotlib import font_manager

    defaults: dict[str, Any] = {
        str(name): value
        for name, value in matplotlib.rcParamsDefault.items()
        if name.split(".")[0] in _SECTIONS and name != "savefig.directory"
    }
    # Names of people and places are not all Latin; a font is only named where it is installed.
    installed = {entry.name for entry in font_manager.fontManager.ttflist}
    families = ["DejaVu Sans", *(name for name in _FAR_EAST if name in installed)]
    return {**defaults, **_STYLE, "font.family": families}


@contextmanager
def style() -> Iterator[None]:
    """Draw in cytocar's style, whatever the user's settings are, and put those back afterwards."""
    import matplotlib

    settings: Any = _settings()
    with matplotlib.rc_context(settings):
        yield


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Make a function draw within `style`."""

    @functools.wraps(draw)
    def within(*args: P.args, **kwargs: P.kwargs) -> R:
        with style():
            return draw(*args, **kwargs)

    return within


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


def timepoint_colours(labels: Iterable[object]) -> dict[str, str]:
    """Return one colour per timepoint, from dark (first) to light (last), for labels in the order of months.

    Examples
    --------
    >>> list(timepoint_colours(["2mo", "5yr"]))
    ['2mo', '5yr']
    """
    import matplotlib
    from matplotlib.colors import to_hex

    names = list(dict.fromkeys(str(label) for label in labels))
    ramp = matplotlib.colormaps[DENSITY_MAP]
    last = max(len(names) - 1, 1)
    return {name: to_hex(ramp(0.02 + 0.84 * position / last)) for position, name in enumerate(names)}


@functools.cache
def expression_map() -> LinearSegmentedColormap:
    """Return the colours of expression, the same in heat maps and on maps of cells."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("expression", _EXPRESSION)


def colours_of(column: str, names: Sequence[str]) -> dict[str, str]:
    """Return the colours of the values of an obs column: of subsets, timepoints, or clusters."""
    if column == keys.TIMEPOINT:
        return timepoint_colours(names)
    if set(names) <= set(SUBSET_COLOURS):
        return {name: subset_colour(name) for name in names}
    return cluster_colours(names)


def subset_colour(name: object) -> str:
    """Return the fixed colour of a subset or compartment; grey for a name without one."""
    return SUBSET_COLOURS.get(str(name), NO_CLUSTER_COLOUR)


def ink_on(colour: str) -> str:
    """Return black or white, whichever reads better on `colour`.

    Examples
    --------
    >>> ink_on("#332288"), ink_on("#DDCC77")
    ('#FFFFFF', '#262626')
    """
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return INK if 0.299 * red + 0.587 * green + 0.114 * blue > 0.52 else WHITE
