"""The figures that cytocar hands out."""

from __future__ import annotations

import io
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cytocar.pl._page import style


class Picture(Figure):
    """A figure without pyplot: it draws in any process, leaks nothing, and still shows itself in a notebook."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        FigureCanvasAgg(self)

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        with style.style():
            self.savefig(stream, format="png", dpi=style.DPI)
        return stream.getvalue()
