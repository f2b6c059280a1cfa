"""The list of the rules: what a strategy may name, in the order in which messages and docs list them."""

from __future__ import annotations

from importlib import import_module

from cytocar.gate._rules.base import Rule

# A rule is a file of this folder that calls its class RULE. One line each.
_FILES = (
    "valley",
    "mixture",
    "upper_limit",
    "lower_limit",
    "tail",
    "negatives",
    "quantile",
    "fmo",
    "other_samples",
)


def _rules() -> dict[str, type[Rule]]:
    rules: list[type[Rule]] = [import_module(f"{__package__}.{file}").RULE for file in _FILES]
    return {rule.kind: rule for rule in rules}


RULES = _rules()
"""What a rule is called to its class."""
