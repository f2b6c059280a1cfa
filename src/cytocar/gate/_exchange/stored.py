"""A strategy as text that holds all of it, as data and the record of a run keep it, and such text as a strategy."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from cytocar.gate._documents.shape_strategy import ShapeStrategy
from cytocar.gate._exchange.gatingml_document import gatingml_text
from cytocar.gate._exchange.gatingml_elements import element_text, roles_xml
from cytocar.gate._exchange.gatingml_read import document_from
from cytocar.gate._exchange.xml import parse_xml
from cytocar.gate._strategy.tree import GateTree

if TYPE_CHECKING:
    from cytocar.gate._strategy.strategy import Strategy


def text_of(strategy: Strategy) -> str:
    """Return a strategy as text, of which `strategy_from` makes one with the same populations.

    Thresholds are YAML. Shapes are Gating-ML; scales that only FlowJo has stand in it under their own names, which no
    other program reads.

    Examples
    --------
    >>> from cytocar.gate import car_t
    >>> strategy_from(text_of(car_t())) == car_t()
    True
    """
    document = strategy.as_document()
    if document is None:
        return strategy.as_thresholds().to_yaml()
    custom_info = f"      <strategy>{element_text(strategy.name)}</strategy>\n{roles_xml(document.roles)}"
    return gatingml_text(document, custom_info=custom_info, own_scales=True)


def read_stored(given: Strategy | str | None) -> Strategy | None:
    """Return a strategy, or the text of one, as a strategy; None for a text of something else."""
    if not isinstance(given, str):
        return given
    return strategy_from(given) if is_gatingml(given) or "cytocar_gating" in given else None


def is_gatingml(text: str) -> bool:
    """Return whether a stored strategy is Gating-ML."""
    return text.startswith("<?xml")


@functools.lru_cache(maxsize=4)
def strategy_from(text: str) -> Strategy:
    """Return the strategy of which `text_of` made a text."""
    # Reading YAML takes as long as gating; a strategy does not change.
    if not is_gatingml(text):
        return GateTree.from_yaml(text)
    root = parse_xml(text.encode("utf-8"), where="gates as applied", what="Gating-ML 2.0")
    names = [
        name.text
        for node in root.all("custom_info")
        for maker in node.all("cytocar")
        for name in maker.all("strategy")
    ]
    return ShapeStrategy(document_from(root), name=names[0] if names else "gates")
