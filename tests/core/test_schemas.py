from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from cytocar._core.schemas import SCHEMAS, Column, Schema

DOCS = Path(__file__).parents[2] / "docs"


def test_every_table_of_a_run_has_a_schema_that_it_keeps(
    finished: Path, run_faults: Callable[[Path], list[str]]
) -> None:
    assert run_faults(finished) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda table: table.drop(columns="low"), "clusters is missing low"),
        (lambda table: table.assign(colour="red"), "clusters does not declare colour"),
        (lambda table: table.assign(n="2.5"), "n of clusters is declared integer"),
        (lambda table: table.assign(fraction="many"), "fraction of clusters is declared number"),
    ],
)
def test_what_a_schema_does_not_say_is_a_fault(
    change: Callable[[pd.DataFrame], pd.DataFrame],
    fault: str,
    finished: Path,
    schema_faults: Callable[[str, pd.DataFrame], list[str]],
) -> None:
    table = pd.read_csv(finished / "tables" / "clusters.csv", dtype=str, keep_default_na=False)
    (found,) = schema_faults("clusters", change(table))
    assert found.startswith(fault)


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS.keys())
def test_a_schema_says_each_thing_once_and_in_a_sentence(schema: Schema) -> None:
    names = [column.name for column in schema.columns]
    assert len(set(names)) == len(names)
    assert all(text.endswith(".") for text in (schema.what, *(column.what for column in schema.columns)))
    assert all(not column.always for column in schema.columns if "*" in column.name)


def test_a_name_goes_before_a_pattern() -> None:
    schema = Schema("t", "A row.", (Column("*", "any", "Other."), Column("n", "integer", "Cells.")))
    assert schema.column("n").kind == "integer"
    assert schema.column("m").kind == "any"


@pytest.fixture(scope="module")
def page() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_tables", DOCS / "make_tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_page_is_made_from_the_schemas(page: ModuleType) -> None:
    written = (DOCS / "tables.md").read_text(encoding="utf-8")
    assert written == page.reference(), "run: python docs/make_tables.py"


def test_the_reference_page_has_every_table_and_column(page: ModuleType) -> None:
    text = page.reference()
    for schema in SCHEMAS.values():
        section = text.split(f"## {schema.name}\n", 1)[1].split("\n## ", 1)[0]
        assert all(f"| `{column.name}` |" in section for column in schema.columns)
