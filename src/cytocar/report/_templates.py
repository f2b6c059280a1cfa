"""The templates of pages: texts are escaped, and a name that a template does not get is an error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cytocar._core.yaml import as_written
from cytocar.report._format import shown

if TYPE_CHECKING:
    from jinja2 import Environment


def templates() -> Environment:
    """Return what gives the templates by name."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("cytocar.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["as_written"] = as_written
    environment.filters["shown"] = shown
    return environment
