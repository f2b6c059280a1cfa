"""A gating strategy as YAML text: the form in which an analyst reads and edits it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml

from cytocar._core.errors import GateError, did_you_mean
from cytocar.gate._populations.frozen import FrozenDict
from cytocar.gate._populations.parts import ROOT, Boolean, Plot, Population, Term, Terms
from cytocar.gate._strategy.rules import (
    CONTROLS,
    RULES,
    Fmo,
    LowerLimit,
    Mixture,
    Negatives,
    OfCells,
    Quantile,
    Rule,
    Threshold,
    UpperLimit,
    Valley,
)
from cytocar.gate._strategy.tree import GateTree

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
_COMMON = ("rule", "range", "min_cells")
_OF_RULE: dict[type[Rule], tuple[str, ...]] = {
    Valley: ("min_confidence",),
    Mixture: ("min_confidence",),
    UpperLimit: ("rate",),
    LowerLimit: ("rate",),
    Negatives: ("negatives", "false_positive_rate", "controls"),
    Quantile: ("of", "quantile"),
    Fmo: ("fmo", "quantile"),
}
_OF_THRESHOLD = ("marker", "in", "value", "samples", "fallback")


class _Loader(yaml.SafeLoader):
    """Refuses a key that is written twice, of which YAML would keep the last without a word."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: dict[Any, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise GateError(f"line {line}: a list or a mapping stands where a name is expected")
        if key.value in seen:
            raise GateError(
                f"{key.value!r} is written twice, in lines {seen[key.value]} and {line}; remove one"
            )
        seen[key.value] = line
    return dict(loader.construct_pairs(node, deep=True))


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


class _Wrong(Exception):
    """One thing that is wrong; collected by `_Reader`."""


class _Reader:
    """Turns parsed YAML into parts of a tree and collects what is wrong with it."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def attempt(self, where: str, make: Callable[..., Any], *arguments: Any) -> Any:
        """Return what `make` makes, or None with the problem noted."""
        try:
            return make(*arguments)
        except (_Wrong, GateError) as wrong:
            self.problems.append(f"{where}: {wrong}")
            return None


def _require_keys(entry: Any, known: Sequence[str], required: Sequence[str] = ()) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise _Wrong(f"{entry!r} should be a mapping with {', '.join(known)}")
    unknown = [str(key) for key in entry if key not in known]
    if unknown:
        raise _Wrong("; ".join(f"unknown key {key!r}, {did_you_mean(key, known)}" for key in unknown))
    missing = [key for key in required if key not in entry]
    if missing:
        raise _Wrong(f"{', '.join(missing)} is missing")
    return entry


def _number(value: Any, what: str) -> float:
    # YAML 1.1 reads 1e-4 as text and yes as a truth value.
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise _Wrong(f"{what} is {value!r}; it must be a number")
    try:
        number = float(value)
    except ValueError:
        raise _Wrong(f"{what} is {value!r}; it must be a number") from None
    if number != number or number in (float("inf"), float("-inf")):
        raise _Wrong(f"{what} is {value!r}; it must be a finite number")
    return number


def _share(value: Any, what: str) -> float:
    number = _number(value, what)
    if not 0.0 < number < 0.5:
        raise _Wrong(f"{what} is {number:g}; it must be above 0 and below 0.5")
    return number


def _text(value: Any, what: str) -> str:
    if isinstance(value, (list, dict)) or value is None:
        kind = "nothing" if value is None else "a list" if isinstance(value, list) else "a mapping"
        raise _Wrong(f"{what} is {kind}; it must be a text")
    return str(value)


def _texts(value: Any, what: str) -> tuple[str, ...]:
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        value = [value]
    if not isinstance(value, list) or not all(isinstance(item, (str, int, float)) for item in value):
        raise _Wrong(f"{what} is {value!r}; it must be a name or a list of names")
    return tuple(str(item) for item in value)


def _terms(value: Any, what: str) -> tuple[Term, ...]:
    return tuple(Term.parse(text) for text in _texts(value, what))


def _rule(entry: Mapping[str, Any], inherited: Rule | None = None) -> Rule:
    kind = entry["rule"]
    if not isinstance(kind, str) or kind not in RULES:
        raise _Wrong(f"there is no rule {kind!r}; {did_you_mean(str(kind), RULES)}")
    rule = RULES[kind]
    _require_keys(entry, (*_COMMON, *_OF_RULE.get(rule, ()), *_OF_THRESHOLD))
    # A fallback has to lie in the range of the rule it stands in for, unless it says otherwise.
    fields: dict[str, Any] = {"low": inherited.low, "high": inherited.high} if inherited else {}
    if "range" in entry:
        ends = entry["range"]
        if not isinstance(ends, list) or len(ends) != 2:
            raise _Wrong(f"range is {ends!r}; it must be [low, high], with null for an open end")
        low, high = (None if end is None else _number(end, "range") for end in ends)
        if low is not None and high is not None and not low < high:
            raise _Wrong(f"range is {ends!r}; low must be below high")
        fields |= {"low": low, "high": high}
    if "min_cells" in entry:
        cells = _number(entry["min_cells"], "min_cells")
        if cells < 1 or cells != int(cells):
            raise _Wrong(f"min_cells is {cells:g}; it must be a whole number of at least 1")
        fields["min_cells"] = int(cells)
    if "min_confidence" in entry:
        fields["min_confidence"] = _number(entry["min_confidence"], "min_confidence")
        if not 0.0 <= fields["min_confidence"] <= 1.0:
            raise _Wrong(f"min_confidence is {fields['min_confidence']:g}; it must be between 0 and 1")
    if "rate" in entry:
        fields["rate"] = _share(entry["rate"], "rate")
    if rule is Negatives:
        fields |= _negatives(entry)
    if rule in (Quantile, Fmo):
        fields |= _quantile(entry, "fmo" if rule is Fmo else "of")
    return rule(**fields)


def _negatives(entry: Mapping[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if "false_positive_rate" in entry:
        fields["false_positive_rate"] = _share(entry["false_positive_rate"], "false_positive_rate")
    controls = entry.get("controls", "auto")
    controls = "off" if controls is False else controls  # YAML 1.1 reads off as False
    if controls not in CONTROLS:
        raise _Wrong(f"controls is {controls!r}; it must be one of {', '.join(CONTROLS)}")
    fields["controls"] = controls
    if "negatives" in entry:
        cells = _require_keys(entry["negatives"], ("in", "gate"), ("in",))
        fields["population"] = str(cells["in"])
        fields["gate"] = _terms(cells.get("gate", []), "the gate of the negatives")
    elif controls != "only":
        raise _Wrong(
            "rule negatives needs  negatives: {in: POPULATION, gate: [TERMS]}  to say which cells are negative, "
            "or  controls: only"
        )
    return fields


def _quantile(entry: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Read which cells a quantile is taken of: a tube, the tubes of a role, or a population of the same tube."""
    forms = "{sample: TUBE} or {role: ROLE}" + ("" if key == "fmo" else " or {in: POPULATION, gate: [TERMS]}")
    if key not in entry:
        raise _Wrong(f"rule {entry['rule']} needs  {key}: {forms}  to say which cells it looks at")
    known = ("sample", "role") if key == "fmo" else ("sample", "role", "in", "gate")
    cells = _require_keys(entry[key], known)
    if len([name for name in ("sample", "role", "in") if cells.get(name) not in (None, "")]) != 1:
        raise _Wrong(f"{key} is {entry[key]!r}; it must be one of {forms}")
    if "gate" in cells and "in" not in cells:
        raise _Wrong(f"{key} is {entry[key]!r}; a gate goes with  in: POPULATION")
    fields: dict[str, Any] = {name: str(cells[name]) for name in ("sample", "role") if name in cells}
    if "in" in cells:
        fields |= {
            "population": str(cells["in"]),
            "gate": _terms(cells.get("gate", []), "the gate of the reference cells"),
        }
    if "quantile" in entry:
        fields["quantile"] = _number(entry["quantile"], "quantile")
        if not 0.0 < fields["quantile"] < 1.0:
            raise _Wrong(f"quantile is {fields['quantile']:g}; it must be above 0 and below 1")
    return fields


def _markers(value: Any) -> tuple[str, ...]:
    markers = _texts(value, "marker")
    if not markers:
        raise _Wrong("marker is empty; it must be a name or a list of names")
    return markers


def _threshold(name: str, entry: Any) -> Threshold:
    known = (*_OF_THRESHOLD, *_COMMON, *dict.fromkeys(key for keys in _OF_RULE.values() for key in keys))
    _require_keys(entry, known)
    rule = _rule(entry) if "rule" in entry else None
    if rule is None:
        _require_keys(entry, _OF_THRESHOLD)
    fallback = entry.get("fallback", [])
    fallback = [fallback] if isinstance(fallback, dict) else fallback
    if not isinstance(fallback, list):
        raise _Wrong(
            f"fallback is {fallback!r}; it must be a rule such as {{rule: other_samples}}, or a list of rules"
        )
    rules = []
    for item in fallback:
        kind = RULES.get(str(item.get("rule")) if isinstance(item, dict) else "", Rule)
        _require_keys(item, (*_COMMON, *_OF_RULE.get(kind, ())), ("rule",))
        rules.append(_rule(item, inherited=rule))
    samples = entry.get("samples", {})
    if not isinstance(samples, dict):
        raise _Wrong(f"samples is {samples!r}; it must be {{sample: number}}")
    return Threshold(
        name=name,
        markers=_markers(entry.get("marker", name)),
        population=str(entry.get("in", ROOT)),
        rule=rule,
        fallback=tuple(rules),
        value=None if entry.get("value") is None else _number(entry["value"], "value"),
        samples=FrozenDict({str(s): _number(v, f"the value for sample {s}") for s, v in samples.items()}),
    )


def _population(entry: Any) -> Population:
    booleans = ("all_of", "any_of", "not")
    _require_keys(entry, ("name", "parent", "gate", *booleans), ("name",))
    used = [key for key in booleans if key in entry]
    if ("gate" in entry) == bool(used):
        raise _Wrong("give either  gate: [TERMS]  or some of all_of, any_of, not")
    gate: Terms | Boolean
    if used:
        all_of, any_of, none_of = (_texts(entry.get(key, []), key) for key in booleans)
        gate = Boolean(all_of, any_of, none_of)
    else:
        # An empty list is all of the parent: what is left where the markers of every term are optional and missing.
        gate = Terms(_terms(entry["gate"], "gate"))
    return Population(_text(entry["name"], "name"), str(entry.get("parent", ROOT)), gate)


def _plot(entry: Any) -> Plot:
    _require_keys(entry, ("parent", "x", "y"), ("x", "y"))
    return Plot(str(entry.get("parent", ROOT)), str(entry["x"]), str(entry["y"]))


def _entries(reader: _Reader, document: Mapping[str, Any], key: str, kind: type) -> Any:
    value = document.get(key)
    if value is None:
        return kind()
    if not isinstance(value, kind):
        reader.problems.append(f"{key} should be a {'mapping' if kind is dict else 'list'}, not {value!r}")
        return kind()
    return value


def read(text: str) -> GateTree:
    """Read a strategy; `GateError` lists every problem."""
    try:
        document = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise GateError(f"this gating strategy is not YAML: {error}") from error
    except RecursionError:
        raise GateError(
            "this gating strategy is no strategy: too many lists lie within one another"
        ) from None
    if not isinstance(document, dict) or "cytocar_gating" not in document:
        raise GateError("this is not a gating strategy: its first line should be  cytocar_gating: 1")
    if document["cytocar_gating"] != VERSION:
        raise GateError(
            f"cytocar_gating is {document['cytocar_gating']!r}; this version of cytocar reads {VERSION}"
        )
    reader = _Reader()
    reader.attempt("top level", _require_keys, document, _TOP, ("name",))
    reader.attempt("name", _text, document.get("name", ""), "name")
    thresholds = {
        str(name): reader.attempt(f"threshold {name}", _threshold, str(name), entry)
        for name, entry in _entries(reader, document, "thresholds", dict).items()
    }
    populations = [
        reader.attempt(f"population {_label(entry, number)}", _population, entry)
        for number, entry in enumerate(_entries(reader, document, "populations", list), start=1)
    ]
    subsets = {
        str(name): reader.attempt(f"subset {name}", _terms, terms, "its gate")
        for name, terms in _entries(reader, document, "subsets", dict).items()
    }
    plots = [
        reader.attempt(f"plot {number}", _plot, entry)
        for number, entry in enumerate(_entries(reader, document, "plots", list), start=1)
    ]
    compartments = _entries(reader, document, "compartments", dict)
    optional = reader.attempt("optional_markers", _texts, document.get("optional_markers") or [], "it")
    if reader.problems:
        listed = "\n".join(f"  {problem}" for problem in reader.problems)
        name = document.get("name", "")
        title = f" {name!r}" if isinstance(name, str) and name else ""
        raise GateError(f"gating strategy{title} cannot be read:\n{listed}")
    return GateTree(
        name=str(document["name"]),
        description=str(document.get("description") or "").strip(),
        thresholds=thresholds,
        populations=tuple(populations),
        denominator=str(document.get("denominator", ROOT)),
        compartments={str(key): str(value) for key, value in compartments.items()},
        subsets=subsets,
        optional=optional,
        plots=tuple(plots),
    )


def _label(entry: Any, number: int) -> str:
    return repr(entry["name"]) if isinstance(entry, dict) and "name" in entry else f"number {number}"


def _plain_rule(rule: Rule) -> dict[str, Any]:
    plain: dict[str, Any] = {"rule": rule.kind}
    if rule.low is not None or rule.high is not None:
        plain["range"] = [rule.low, rule.high]
    defaults = {f.name: f.default for f in dataclasses.fields(rule)}
    for name in ("min_cells", "min_confidence", "rate", "false_positive_rate"):
        value = getattr(rule, name, None)
        if value is not None and (value != defaults[name] or name == "false_positive_rate"):
            plain[name] = value
    if isinstance(rule, Negatives):
        plain["controls"] = rule.controls
    if isinstance(rule, Quantile):
        plain["quantile"] = rule.quantile
    if isinstance(rule, OfCells):
        cells: dict[str, Any] = {}
        if rule.population is not None:
            cells = {"in": rule.population, "gate": [str(term) for term in rule.gate]}
        if isinstance(rule, Quantile):
            cells |= {
                name: getattr(rule, name) for name in ("sample", "role") if getattr(rule, name) is not None
            }
        if cells:
            key = "negatives" if isinstance(rule, Negatives) else "fmo" if isinstance(rule, Fmo) else "of"
            plain[key] = cells
    return plain


def _plain_threshold(threshold: Threshold) -> dict[str, Any]:
    markers = list(threshold.markers)
    plain: dict[str, Any] = {"marker": markers[0] if len(markers) == 1 else markers}
    if threshold.value is not None:
        plain["value"] = threshold.value
    if threshold.samples:
        plain["samples"] = dict(threshold.samples)
    if threshold.rule is not None:
        plain |= _plain_rule(threshold.rule)
    if threshold.population != ROOT or threshold.rule is not None:
        plain["in"] = threshold.population
    fallback = []
    for rule in threshold.fallback:
        entry = _plain_rule(rule)
        first = threshold.rule
        if first is not None and (rule.low, rule.high) == (first.low, first.high):
            entry.pop("range", None)
        elif "range" not in entry:
            entry["range"] = [None, None]
        fallback.append(entry)
    if fallback:
        plain["fallback"] = fallback[0] if len(fallback) == 1 else fallback
    return plain


def _plain_population(population: Population) -> dict[str, Any]:
    plain: dict[str, Any] = {"name": population.name, "parent": population.parent}
    if isinstance(population.gate, Boolean):
        gate = population.gate
        parts = (("all_of", gate.all_of), ("any_of", gate.any_of), ("not", gate.none_of))
        return plain | {key: list(names) for key, names in parts if names}
    return plain | {"gate": [str(term) for term in population.gate.terms]}


def write(tree: GateTree) -> str:
    """Return YAML text with one line a threshold and one a population."""
    lines = [f"cytocar_gating: {VERSION}", f"name: {_flow(tree.name)}"]
    if tree.description:
        lines.append(f"description: {_flow(tree.description)}")
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
            lines += [f"  {_flow(name)}: {_flow(entry)}" for name, entry in entries.items()]
        else:
            lines += [f"  - {_flow(entry)}" for entry in entries]
    lines.append(f"denominator: {_flow(tree.denominator)}")
    if tree.optional:
        lines.append(f"optional_markers: {_flow(list(tree.optional))}")
    return "\n".join(lines) + "\n"


def _flow(value: Any) -> str:
    text: str = yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=float("inf")
    )
    return text.removesuffix("...\n").strip()
