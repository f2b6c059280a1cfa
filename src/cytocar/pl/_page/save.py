"""Figures as files."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from cytocar._core import scanpy_settings
from cytocar._core.files import replacing
from cytocar.pl._page import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def save(figure: Figure | Axes, path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Write a figure as ``path.png`` and ``path.svg``: the same bytes for the same figure.

    Neither file holds a date or a random id, and no half-written file ever has its final name. Layers of many
    points are images within the SVG; its texts are texts.

    Parameters
    ----------
    figure
        What a function of `cytocar.pl` returned.
    path
        The path without an ending; ``.png`` or ``.svg`` at its end is taken off. A bare name without a folder goes to
        ``scanpy.settings.figdir``, which is made if need be, where scanpy is in use and that was set to other than
        ``"figures"``, as it comes; otherwise to the working folder.

    Returns
    -------
    The two paths, PNG first.

    Raises
    ------
    FileNotFoundError
        The folder does not exist.

    Examples
    --------
    >>> import tempfile, pathlib, pandas
    >>> import cytocar as cc
    >>> shares = pandas.DataFrame({"sample_id": ["a"], "compartment": ["car"], "subset": ["DN"], "n": [9],
    ...                            "fraction": [0.9], "low": [0.55], "high": [0.997]})
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> [p.name for p in cc.pl.save(cc.pl.subsets(shares), folder / "subsets")]
    ['subsets.png', 'subsets.svg']
    """
    stem = os.fspath(path)
    if stem.lower().endswith((".png", ".svg")):
        stem = stem[:-4]
    folder = scanpy_settings.figdir()
    if folder is not None and Path(stem).name == stem:
        folder.mkdir(parents=True, exist_ok=True)
        stem = os.fspath(folder / stem)
    whole = figure.figure.figure if not hasattr(figure, "savefig") else figure
    png, svg = Path(f"{stem}.png"), Path(f"{stem}.svg")
    with style.style(), warnings.catch_warnings():
        # A letter that no installed font has is drawn as a box; the SVG keeps the letter itself.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font", category=UserWarning)
        with replacing(png) as temporary:
            whole.savefig(temporary, format="png", dpi=style.DPI, metadata={"Software": None})
        with replacing(svg) as temporary:
            whole.savefig(temporary, format="svg", dpi=style.DPI, metadata={"Date": None})
    return png, svg
