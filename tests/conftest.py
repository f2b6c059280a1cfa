"""What all tests share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import pandas as pd

CELLS = 12_000
"""CD45+ cells per file of the study that tests of the whole run share."""


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Return the folder of real measurements, or skip where there is none."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("CYTOCAR_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"real test data are not at {folder}; set CYTOCAR_TEST_DATA to where they are")
    return folder


def made_once(name: str, make: Callable[[Path], object], factory: pytest.TempPathFactory) -> Path:
    """Return a folder that one worker of the session makes; the others wait for it and only read it."""
    base = factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, begun, done, failed = (
        shared / f"{name}{ending}" for ending in ("", ".begun", ".done", ".failed")
    )
    try:
        begun.touch(exist_ok=False)
    except FileExistsError:
        while not done.exists():
            if failed.exists():
                pytest.fail(f"another worker could not make {name}")
            time.sleep(0.2)
        return folder
    try:
        make(folder)
    except BaseException:
        failed.touch()
        raise
    done.touch()
    return folder


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small simulated study; a test that changes it works on a copy."""
    from cytocar import datasets

    return made_once(
        "study", lambda folder: datasets.write_legend2(folder, cells=CELLS, seed=0), tmp_path_factory
    )


@pytest.fixture(scope="session")
def finished(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished run of `study`; a test that changes it works on a copy."""
    from cytocar.study import run

    return made_once("results", lambda folder: run(study, folder), tmp_path_factory)


@pytest.fixture(scope="session")
def schema_faults() -> Callable[[str, pd.DataFrame], list[str]]:
    """Return a function that says what in a table contradicts its schema; the table has texts only, as in the file."""
    import pandas as pd

    from cytocar._core.schemas import SCHEMAS

    def is_of(kind: str, values: pd.Series) -> bool:
        numbers = pd.to_numeric(values, errors="coerce")
        return {
            "boolean": values.isin(["True", "False"]).all(),
            "number": numbers.notna().all(),
            "integer": (numbers % 1 == 0).all(),
        }.get(kind, True)

    def faults(name: str, table: pd.DataFrame) -> list[str]:
        schema = SCHEMAS.get(name)
        if schema is None:
            return [f"table {name} has no schema"]
        found = [f"{name} is missing {column}" for column in schema.always if column not in table]
        for column in table:
            declared, values = schema.column(column), table[column][table[column] != ""]
            if declared is None:
                found.append(f"{name} does not declare {column}")
            elif not is_of(declared.kind, values):
                found.append(f"{column} of {name} is declared {declared.kind}: {values.unique()[:3]}")
        return found

    return faults


@pytest.fixture(scope="session")
def run_faults(
    schema_faults: Callable[[str, pd.DataFrame], list[str]],
) -> Callable[[Path], list[str]]:
    """Return a function that says what in the tables of a run contradicts their schemas."""
    import pandas as pd

    def faults(out: Path) -> list[str]:
        files = sorted((out / "tables").glob("*.csv"))
        assert files
        tables = {file.stem: pd.read_csv(file, dtype=str, keep_default_na=False) for file in files}
        return [fault for name, table in tables.items() for fault in schema_faults(name, table)]

    return faults
