"""An axis of samples: names that fit, and the number of cells above each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar.pl._page import fitted_text, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDEST_SLOT = 22.0


def sample_axis(axes: Axes, names: Sequence[str], width_mm: float, *, longest: int = 16) -> float:
    """Write sample names below an axis: turned where they are too wide, thinned where they are too many.

    Returns
    -------
    The height in millimetres that the names take.
    """
    texts, turned = _names_on(names, width_mm, longest)
    slot = _slot(len(texts), width_mm)
    every = max(1, int(np.ceil((fitted_text.height_mm() + 0.2) / slot))) if turned else 1
    axes.set_xticks(range(0, len(texts), every), texts[::every], rotation=90 if turned else 0)
    middle, half = (len(texts) - 1) / 2, width_mm / slot / 2 + 0.1
    axes.set_xlim(middle - half, middle + half)
    return names_height(names, width_mm, longest=longest)


def _slot(n: int, width_mm: float) -> float:
    """Return the room of one sample: a few bars are not made wide, they stand in the middle."""
    return min(width_mm / max(n, 1), _WIDEST_SLOT)


def _names_on(names: Sequence[str], width_mm: float, longest: int) -> tuple[list[str], bool]:
    texts = [fitted_text.label(name, longest) for name in names]
    return texts, max(map(fitted_text.width_mm, texts)) > _slot(len(texts), width_mm) - 0.6


def names_height(names: Sequence[str], width_mm: float, *, longest: int = 16) -> float:
    """Return what `sample_axis` will return."""
    texts, turned = _names_on(names, width_mm, longest)
    return (max(map(fitted_text.width_mm, texts)) if turned else fitted_text.height_mm()) + 2.0


def write_totals(axes: Axes, totals: np.ndarray, width_mm: float) -> None:
    """Write the number of cells above each bar, or their range where they do not fit."""
    texts = [fitted_text.count(n) for n in totals]
    how: dict[str, Any] = {
        "size": style.SMALL,
        "color": style.SOFT,
        "va": "bottom",
        "textcoords": "offset points",
    }
    if max(fitted_text.width_mm(text, style.SMALL) for text in texts) < width_mm / len(texts) - 0.4:
        for position, text in enumerate(texts):
            axes.annotate(
                text, (position, 1), xycoords=("data", "axes fraction"), xytext=(0, 2.5), ha="center", **how
            )
        axes.annotate("n", (0, 1), xycoords="axes fraction", xytext=(-3, 2.5), ha="right", **how)
    else:
        axes.annotate(
            f"{fitted_text.n_range(totals)} per sample",
            (1, 1),
            xycoords="axes fraction",
            xytext=(0, 2.5),
            ha="right",
            **how,
        )
