"""What tests of runs share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def no_figures(finished: Path) -> Iterator[None]:
    """Leave out the figures of runs that a module makes, not those of `finished`; the page is written all the same."""
    from cytocar import report

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(report.build.__globals__, "FIGURES", ())
        yield
