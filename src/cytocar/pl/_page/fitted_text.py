"""Texts of data as they are written into pictures."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable

from cytocar._core import keys
from cytocar.pl._page import style

# Widths of letters of DejaVu Sans as shares of the font size, rounded up.
_NARROW = dict.fromkeys(" ,.:;|'!()[]ijl", 0.36) | dict.fromkeys("-frtIJ/", 0.42)
_WIDE = dict.fromkeys("mwMW%@=", 1.0) | dict.fromkeys("ABCDGHKNOPQRSTUVXYZ", 0.74)
_USUAL = 0.64
_MM_PER_POINT = 25.4 / 72


def label(text: object, longest: int = 24, *, spoken: bool = True) -> str:
    r"""Return a text of the data as it can be drawn: on one line, not too long, never read as a formula.

    Parameters
    ----------
    text
        A sample id, a marker, a population.
    longest
        Number of characters from which the middle is replaced by an ellipsis, so that both ends, which tell
        samples apart, stay.
    spoken
        Say what a value of a table means (``car``: CAR-T) instead of the value itself.

    Examples
    --------
    >>> label("patient_007_5yr_PBMC_run2", 15)
    'patient…BMC_run2'
    >>> print(label("$a$"))
    \$a\$
    """
    name = style.in_words(str(text)) if spoken else str(text)
    # Control characters would make the SVG unreadable, line breaks would break the layout.
    clean = "".join(c if unicodedata.category(c)[0] != "C" else " " for c in name)
    clean = " ".join(clean.split())
    if len(clean) > longest + 1:
        head = longest // 2
        clean = f"{clean[:head]}…{clean[len(clean) - (longest - head) :]}"
    return clean.replace("$", r"\$")


def heading(column: str) -> str:
    """Return what a clustering or another column of obs is called above a picture."""
    headings = {
        keys.PHENOGRAPH: "PhenoGraph clusters",
        keys.FLOWSOM: "FlowSOM metaclusters",
        keys.LEIDEN: "Leiden clusters",
        keys.SUBSET: "Subsets",
    }
    return headings.get(column, label(column))


def count(n: float) -> str:
    """Return a count with thousands apart: ``12,345``.

    Examples
    --------
    >>> count(104167.0)
    '104,167'
    """
    return f"{round(n):,}"


def percent(value: float, digits: int = 2) -> str:
    """Return a percentage to `digits` significant digits, without a power of ten.

    Examples
    --------
    >>> percent(0.2404), percent(91.64), percent(0.00012), percent(100.0), percent(0)
    ('0.24', '92', '<0.001', '100', '0')

    A whole is only called so where it is one:

    >>> percent(99.56), percent(99.997)
    ('99.6', '>99.9')
    """
    if not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    if 99.5 <= value < 100:
        return f"{value:.1f}" if value < 99.95 else ">99.9"
    if abs(value) < 1e-3:
        return "<0.001"
    return f"{value:.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"


def tenth(value: float) -> str:
    """Return a percentage as short as can be, no finer than a tenth.

    Examples
    --------
    >>> tenth(70.4), tenth(5.12), tenth(0.036), tenth(0.0)
    ('70', '5.1', '<0.1', '0')
    """
    if not math.isfinite(value):
        return "–"
    if 0 < value < 0.05:
        return "<0.1"
    return "0" if value == 0 else f"{value:.1f}" if value < 9.95 else f"{value:.0f}"


def n_range(counts: Iterable[float]) -> str:
    """Return ``n = 5`` or ``n = 5–940`` for one or many counts.

    Examples
    --------
    >>> n_range([5, 940, 12])
    'n = 5–940'
    """
    values = [round(value) for value in counts]
    low, high = min(values, default=0), max(values, default=0)
    return f"n = {low:,}" if low == high else f"n = {low:,}–{high:,}"


def width_mm(text: str, size: float = style.FONT) -> float:
    """Return about how wide a text is, in millimetres, without asking a renderer."""
    return sum(map(_letter, text.replace(r"\$", "$"))) * size * _MM_PER_POINT


def _letter(letter: str) -> float:
    if unicodedata.east_asian_width(letter) in "WF":
        return 1.05
    return _NARROW.get(letter) or _WIDE.get(letter, _USUAL)


def fit(text: object, width: float, size: float = style.FONT, *, spoken: bool = False) -> str:
    """Return a text of the data, as `label` does, short enough for a width in millimetres.

    Examples
    --------
    >>> fit("2mo", 30), width_mm(fit("a very long name of a timepoint", 20)) <= 20
    ('2mo', True)
    """
    for longest in range(len(str(text)), 1, -1):
        short = label(text, longest, spoken=spoken)
        if width_mm(short, size) <= width:
            return short
    return label(text, 1, spoken=spoken)


def height_mm(size: float = style.FONT) -> float:
    """Return the height of a line of text in millimetres."""
    return size * 1.2 * _MM_PER_POINT
