"""A gating strategy as YAML text: the form in which an analyst reads and edits it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from cytocar._core.errors import GateError, Problem, did_you_mean
from cytocar._core.yaml import YamlText, flow, parse_yaml
from cytocar.gate._populations.frozen import FrozenDict
from cytocar.gate._populations.parts import ROOT, Boolean, Plot, Population, Term, Terms
from cytocar.gate._rules.base import Rule
from cytocar.gate._rules.entries import Entry, InvalidEntry, name, names, number, terms
from cytocar.gate._rules.registry import RULES
from cytocar.gate._strategy.threshold import Threshold

if TYPE_CHECKING:
    from cytocar.gate._strategy.strategy import ThresholdStrategy

VERSION = 1

_TOP = (
    "cytocar_gating",
    "name",
    "description",
    "thresholds",
    "populations",
    "denominator",
    "compartments",
    "subsets",
    "optional_markers",
    "plots",
)
_OF_THRESHOLD = ("marker", "in", "value", "samples", "fallback")
_OF_ANY_RULE = tuple(dict.fromkeys(key for rule in RULES.values() for key in rule.yaml_keys()))
_BOOLEANS = ("all_of", "any_of", "not")


class Fields(TypedDict):
    """The fields of a `GateTree`."""

    name: str
    description: str
    thresholds: dict[str, Threshold]
    populations: tuple[Population, ...]
    denominator: str
    compartments: dict[str, str]
    subsets: dict[str, tuple[Term, ...]]
    optional: tuple[str, ...]
    plots: tuple[Plot, ...]


def read(text: str) -> Fields:
    """Read the fields of a strategy; `GateError` lists every problem with its line."""
    document = _document(text)
    problems: list[Problem] = []
    top = Entry(document.content, (), "", document, problems)
    top.is_mapping(_TOP, ("name",))
    fields = Fields(
        name=top.take("name", name, ""),
        description=_description(top),
        thresholds={entry.name: _threshold(entry) for entry in _mapping_of(top, "thresholds", "threshold")},
        populations=tuple(_population(entry) for entry in _list_of(top, "populations", "population")),
        denominator=top.take("denominator", name, ROOT),
        compartments={
            entry.name: entry.attempt(name, "") for entry in _mapping_of(top, "compartments", "compartment")
        },
        subsets={entry.name: entry.attempt(terms, ()) for entry in _mapping_of(top, "subsets", "subset")},
        optional=_optional(top),
        plots=tuple(_plot(entry) for entry in _list_of(top, "plots", "plot")),
    )
    if problems:
        raise GateError(problems=problems)
    return fields


def _document(text: str) -> YamlText:
    first_line = f"its first line should be  cytocar_gating: {VERSION}"
    document, problems = parse_yaml(text, start=first_line)
    if document is None:
        raise GateError(problems=[problem.within("gating strategy") for problem in problems])
    if "cytocar_gating" not in document.content:
        raise GateError("this is not a gating strategy", fix=first_line)
    version = document.content["cytocar_gating"]
    if version != VERSION or isinstance(version, bool):
        raise GateError(
            f"cytocar_gating is {version!r}; this version of cytocar reads {VERSION}",
            where=f"line {document.line(('cytocar_gating',))}",
        )
    return document


def _description(top: Entry) -> str:
    return (top.take("description", name, "") if top.value.get("description") is not None else "").strip()


def _optional(top: Entry) -> tuple[str, ...]:
    return top.take("optional_markers", names, ()) if top.value.get("optional_markers") else ()


def _mapping_of(top: Entry, key: str, kind: str) -> Iterator[Entry]:
    """Walk through a section of named entries."""
    if top.value.get(key) is None:
        return
    section = top.child(key)
    if not isinstance(section.value, dict):
        section.note(f"{key} should be a mapping, not {section.value!r}")
        return
    for entry in section.value:
        yield section.child(entry, f"{kind} {entry}")


def _list_of(top: Entry, key: str, kind: str) -> Iterator[Entry]:
    """Walk through a section that is a list, by the name that each entry has, or its number."""
    if top.value.get(key) is None:
        return
    section = top.child(key)
    if not isinstance(section.value, list):
        section.note(f"{key} should be a list, not {section.value!r}")
        return
    for index, value in enumerate(section.value):
        named = isinstance(value, dict) and "name" in value
        label = repr(value["name"]) if named else f"number {index + 1}"
        yield section.child(index, f"{kind} {label}")


def _threshold(entry: Entry) -> Threshold:
    if not isinstance(entry.value, dict):
        entry.is_mapping((*_OF_THRESHOLD, *_OF_ANY_RULE))
        return Threshold(entry.name, (entry.name,))
    kind = _kind(entry)
    entry.is_mapping((*_OF_THRESHOLD, *_keys_of(entry, kind)))
    rule = None if kind is None else kind.read(entry)
    return Threshold(
        name=entry.name,
        markers=entry.take("marker", _markers, (entry.name,)),
        population=entry.take("in", name, ROOT),
        rule=rule,
        fallback=tuple(_fallbacks(entry, rule)),
        value=entry.take("value", number, None) if entry.value.get("value") is not None else None,
        samples=FrozenDict(_pins(entry)),
    )


def _kind(entry: Entry) -> type[Rule] | None:
    """Return the class of the rule that an entry names; None, with the problem noted, where there is no such rule."""
    kind = entry.value.get("rule")
    if isinstance(kind, str) and kind in RULES:
        return RULES[kind]
    if "rule" in entry.value:
        entry.child("rule").note(f"there is no rule {kind!r}; {did_you_mean(str(kind), RULES)}")
    return None


def _keys_of(entry: Entry, kind: type[Rule] | None) -> tuple[str, ...]:
    """Return the keys of the rule of an entry; those of all rules where it names one that does not exist."""
    if kind is not None:
        return kind.yaml_keys()
    return _OF_ANY_RULE if "rule" in entry.value else ()


def _fallbacks(entry: Entry, rule: Rule | None) -> Iterator[Rule]:
    if "fallback" not in entry.value:
        return
    stated = entry.child("fallback")
    if not isinstance(stated.value, (dict, list)):
        stated.note(
            f"fallback is {stated.value!r}; it must be a rule such as {{rule: other_samples}}, or a list of rules"
        )
        return
    for item in [stated] if isinstance(stated.value, dict) else stated.items():
        kind = _kind(item) if isinstance(item.value, dict) else None
        keys = _OF_ANY_RULE if kind is None else kind.yaml_keys()
        if item.is_mapping(keys, ("rule",)) and kind is not None:
            yield kind.read(item, stands_in_for=rule)


def _markers(entry: Entry) -> tuple[str, ...]:
    markers = names(entry)
    if not markers:
        raise InvalidEntry("marker is empty; it must be a name or a list of names")
    return markers


def _pins(entry: Entry) -> dict[str, float]:
    if "samples" not in entry.value:
        return {}
    samples = entry.child("samples")
    if not isinstance(samples.value, dict):
        samples.note(f"samples is {samples.value!r}; it must be {{sample: number}}")
        return {}
    return {sample: samples.child(sample).attempt(_pin, 0.0) for sample in samples.value}


def _pin(entry: Entry) -> float:
    try:
        return number(entry)
    except InvalidEntry as error:
        raise InvalidEntry(f"the value for sample {error}") from None


def _population(entry: Entry) -> Population:
    gate: Terms | Boolean = Terms(())
    if not entry.is_mapping(("name", "parent", "gate", *_BOOLEANS), ("name",)):
        return Population("", ROOT, gate)
    used = [key for key in _BOOLEANS if key in entry.value]
    if ("gate" in entry.value) == bool(used):
        entry.note("give either  gate: [TERMS]  or some of all_of, any_of, not")
    elif used:
        gate = Boolean(*(entry.take(key, names, ()) for key in _BOOLEANS))
    else:
        # An empty list is all of the parent: what is left where the markers of every term are optional and missing.
        gate = Terms(entry.take("gate", terms, ()))
    return Population(entry.take("name", name, ""), entry.take("parent", name, ROOT), gate)


def _plot(entry: Entry) -> Plot:
    if not entry.is_mapping(("parent", "x", "y"), ("x", "y")):
        return Plot(ROOT, "", "")
    return Plot(entry.take("parent", name, ROOT), entry.take("x", name, ""), entry.take("y", name, ""))


def write(tree: ThresholdStrategy) -> str:
    """Return YAML text with one line per threshold and per population; `read` gives the same fields back."""
    lines = [f"cytocar_gating: {VERSION}", f"name: {flow(tree.name)}"]
    if tree.description:
        lines.append(f"description: {flow(tree.description)}")
    sections: dict[str, Mapping[str, Any] | Sequence[Any]] = {
        "thresholds": {name: _plain_threshold(threshold) for name, threshold in tree.thresholds.items()},
        "populations": [_plain_population(population) for population in tree.populations],
        "compartments": dict(tree.compartments),
        "subsets": {name: [str(term) for term in terms] for name, terms in tree.subsets.items()},
        "plots": [dataclasses.asdict(plot) for plot in tree.plots],
    }
    for key, entries in sections.items():
        if not entries:
            continue
        lines.append(f"{key}:")
        if isinstance(entries, Mapping):
            lines += [f"  {flow(name)}: {flow(entry)}" for name, entry in entries.items()]
        else:
            lines += [f"  - {flow(entry)}" for entry in entries]
    lines.append(f"denominator: {flow(tree.denominator)}")
    if tree.optional:
        lines.append(f"optional_markers: {flow(list(tree.optional))}")
    return "\n".join(lines) + "\n"


def _plain_threshold(threshold: Threshold) -> dict[str, Any]:
    markers = list(threshold.markers)
    plain: dict[str, Any] = {"marker": markers[0] if len(markers) == 1 else markers}
    if threshold.value is not None:
        plain["value"] = threshold.value
    if threshold.samples:
        plain["samples"] = dict(threshold.samples)
    if threshold.rule is not None:
        plain |= threshold.rule.plain()
    if threshold.population != ROOT or threshold.rule is not None:
        plain["in"] = threshold.population
    fallback = [_plain_fallback(rule, threshold.rule) for rule in threshold.fallback]
    if fallback:
        plain["fallback"] = fallback[0] if len(fallback) == 1 else fallback
    return plain


def _plain_fallback(rule: Rule, stands_in_for: Rule | None) -> dict[str, Any]:
    """Return a fallback without the range that it takes over, or with an open one where it does not."""
    plain = rule.plain()
    if stands_in_for is not None and (rule.low, rule.high) == (stands_in_for.low, stands_in_for.high):
        plain.pop("range", None)
    elif "range" not in plain:
        plain["range"] = [None, None]
    return plain


def _plain_population(population: Population) -> dict[str, Any]:
    plain: dict[str, Any] = {"name": population.name, "parent": population.parent}
    if isinstance(population.gate, Boolean):
        gate = population.gate
        parts = (("all_of", gate.all_of), ("any_of", gate.any_of), ("not", gate.none_of))
        return plain | {key: list(names) for key, names in parts if names}
    return plain | {"gate": [str(term) for term in population.gate.terms]}
