"""How every figure looks: colours of calls and of ink, fonts, and the context in which it is drawn.

The colours of subsets, compartments and clusters are in `_core/palette.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from cytocar._core import keys, palette
from cytocar._core.population_words import words
from cytocar._core.vocabulary import (
    DETECTED,
    DOWN,
    INCONCLUSIVE,
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

# Greys, from dark to light.
INK: Final = "#262626"
SOFT: Final = "#6E6E6E"
DIM: Final = "#A8A8A8"
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

GROUP_COLOURS: Final = (
    palette.BLUE,
    palette.VERMILION,
    palette.GREEN,
    palette.PURPLE,
    palette.ORANGE,
    palette.SKY,
)
"""Colours of groups of patients, in their order."""

CALL_COLOURS: Final[Mapping[str, str]] = {
    UP: palette.VERMILION,
    DOWN: palette.BLUE,
    UNCHANGED: SOFT,
    INCONCLUSIVE: WHITE,
    QUANTIFIED: palette.GREEN,
    DETECTED: palette.ORANGE,
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
    keys.ALL: "all",
    "": "none",
    NOT_DETECTED: "not detected",
}
"""How a value of a table is called in a picture, beyond compartments."""

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


def in_words(value: str) -> str:
    """Return what a value of a table is called in a picture.

    Examples
    --------
    >>> in_words("host"), in_words("not_detected"), in_words("5yr")
    ('Host T', 'not detected', '5yr')
    """
    return WORDS.get(str(value), words().title(str(value)))


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Make a function draw within `style`."""

    @functools.wraps(draw)
    def within(*args: P.args, **kwargs: P.kwargs) -> R:
        with style():
            return draw(*args, **kwargs)

    return within


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
    return palette.colours_by_name(names)


def ink_on(colour: str) -> str:
    """Return black or white, whichever reads better on `colour`.

    Examples
    --------
    >>> ink_on("#332288"), ink_on("#DDCC77")
    ('#FFFFFF', '#262626')
    """
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return INK if 0.299 * red + 0.587 * green + 0.114 * blue > 0.52 else WHITE
