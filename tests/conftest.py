"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Return the folder of real measurements, or skip where there is none."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("CYTOCAR_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"real test data are not at {folder}; set CYTOCAR_TEST_DATA to where they are")
    return folder
