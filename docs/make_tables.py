"""Write docs/tables.md, the reference of the tables of a run, from the schemas that the writer of the tables uses."""

from __future__ import annotations

from pathlib import Path

from cytocar._core.schemas import SCHEMAS, Column, Schema

HEAD = """# Tables of a run

<!-- made by docs/make_tables.py from cytocar/_core/schemas.py -->

Every table is `tables/NAME.csv`: UTF-8, commas, one header line. A value that is not known is empty. Numbers have ten
significant digits. Columns marked *sometimes* are there where the study has what they need. The columns that are always
there stay in their order between versions; a version may add columns after them.
"""


def reference() -> str:
    """Return the text of the page."""
    return HEAD + "".join(f"\n{_section(schema)}" for schema in SCHEMAS.values())


def _section(schema: Schema) -> str:
    rows = "".join(f"{_row(column)}\n" for column in schema.columns)
    return f"## {schema.name}\n\n{schema.what}\n\n| column | type | unit | |\n|---|---|---|---|\n{rows}"


def _row(column: Column) -> str:
    sometimes = "" if column.always else "*Sometimes.* "
    return f"| `{column.name}` | {column.kind} | {column.unit} | {sometimes}{_escaped(column.what)} |"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    Path(__file__).with_name("tables.md").write_text(reference(), encoding="utf-8")
