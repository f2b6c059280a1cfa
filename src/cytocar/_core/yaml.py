"""YAML with line numbers: read safely, words stay words, and a key given twice is found."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from cytocar._core.errors import Problem

Key = tuple[str | int, ...]


class _Loader(yaml.SafeLoader):
    """The safe loader with the plain values of YAML 1.2: ``off`` and ``yes`` are words, ``1e-3`` is a number."""


class _Dumper(yaml.SafeDumper):
    """The safe dumper, which quotes what YAML 1.1 reads as something else than a text, and what YAML 1.2 does."""


_Dumper.yaml_implicit_resolvers = {
    key: list(pairs) for key, pairs in yaml.SafeDumper.yaml_implicit_resolvers.items()
}
_Loader.yaml_implicit_resolvers = {}
_TEXT: Final = "tag:yaml.org,2002:str"
_NUMBER_STARTS: Final = list("-+.0123456789")
# More digits do not fit into a float.
_DIGITS: Final = 300
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?[0-9]+", _NUMBER_STARTS),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        _NUMBER_STARTS,
    ),
):
    for _form in (_Loader, _Dumper):
        _form.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), _first)


def _int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    # A leading zero does not make a number octal.
    return int(str(loader.construct_scalar(node)))


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[str, Any]:
    # Keys are names: a sample may be called 1.
    return {str(key.value): loader.construct_object(value, deep=True) for key, value in node.value}


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # Plain and single-quoted texts cannot keep their line breaks, of which Unicode has some that look like none.
    breaks = text.splitlines() not in ([], [text])
    return dumper.represent_scalar(_TEXT, text, style='"' if breaks else None)


_PLAIN: Final[Any] = _Loader("")
_Dumper.add_representer(str, _text)
_Loader.add_constructor("tag:yaml.org,2002:int", _int)
_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


@dataclass(frozen=True)
class YamlText:
    """What a YAML text holds, and how and where it was written.

    Parameters
    ----------
    content
        The mapping.
    lines
        The line of each key and list item, by the keys that lead to it from the top.
    written
        How numbers and truth values were written, by the same keys: a name may be 01.
    """

    content: dict[str, Any]
    lines: Mapping[Key, int]
    written: Mapping[Key, str]

    def line(self, at: Key) -> int:
        """Return the line of a key, or of the nearest one above it that has a line."""
        return next((self.lines[at[:n]] for n in range(len(at), 0, -1) if at[:n] in self.lines), 1)

    def as_written(self, at: Key, value: Any) -> str:
        """Return a value as the text it was written as."""
        return self.written.get(at, str(value))


def load_yaml(path: Path) -> tuple[dict[str, Any] | None, dict[Key, int], list[Problem]]:
    """Load a YAML file that holds one mapping, with all that is wrong with it.

    Returns
    -------
    The mapping (None where there are problems), the line of each key by its path from the top, and the problems.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return None, {}, [Problem(str(path), "there is no such file", "check the name and the folder")]
    except UnicodeDecodeError:
        return None, {}, [Problem(str(path), "is not UTF-8 text", "save it as UTF-8")]
    except OSError as error:
        return (
            None,
            {},
            [Problem(str(path), f"cannot be read: {error.strerror}", "check the rights of the file")],
        )
    parsed, problems = parse_yaml(text, start="give at least cytocar, panel and samples")
    within = [problem.within(str(path)) for problem in problems]
    return (parsed.content, dict(parsed.lines), within) if parsed else (None, {}, within)


def parse_yaml(text: str, *, start: str) -> tuple[YamlText | None, list[Problem]]:
    """Read a YAML text that holds one mapping; `start` says what to write where it is empty.

    Returns
    -------
    What it holds (None where there are problems), and the problems with their lines.
    """
    loader: Any = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None, [Problem("", "is empty", start)]
        if not isinstance(node, yaml.MappingNode):
            where = f"line {node.start_mark.line + 1}"
            return None, [Problem(where, "holds no settings", "write lines of 'name: value'")]
        survey = _Survey()
        problems = survey.look(node, ())
        if problems:
            return None, problems
        return YamlText(loader.construct_document(node), survey.lines, survey.written), []
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        what = f"is not YAML: {error.problem or error.context}"
        fix = "quote texts that hold ':' or '#', indent with blanks, and close every bracket and quote"
        if "\\t" in (error.problem or ""):
            what, fix = "is not YAML: the line is indented with a TAB", "indent with blanks"
        return None, [Problem(where, what, fix)]
    except yaml.reader.ReaderError as error:
        where = f"line {len(text[: error.position].splitlines()) or 1}"
        what = f"is not YAML: the character U+{ord(text[error.position]):04X} is not allowed"
        return None, [Problem(where, what, "remove it")]
    except RecursionError:
        return None, [Problem("", "is not YAML: too many lists lie within one another")]
    except (yaml.YAMLError, ValueError) as error:
        return None, [Problem("", f"is not YAML: {error}", "see the example in the documentation")]
    finally:
        if loader is not None:
            loader.dispose()


@dataclass
class _Survey:
    """Where each key of a YAML text stands, how numbers were written, and what must not be there."""

    lines: dict[Key, int] = field(default_factory=dict)
    written: dict[Key, str] = field(default_factory=dict)
    met: set[int] = field(default_factory=set)

    def look(self, node: yaml.Node, at: Key) -> list[Problem]:
        """Note the line of every key below `node`; find keys given twice, and aliases."""
        if id(node) in self.met:
            # An alias may contain itself, or stand for more values than fit into memory.
            where = f"line {self.lines.get(at, node.start_mark.line + 1)}"
            return [Problem(where, f"{'.'.join(map(str, at))} is an alias", "write the value out")]
        self.met.add(id(node))
        wrong = _unreadable(node, at)
        if wrong is not None:
            return [wrong]
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, at)
        problems: list[Problem] = []
        if isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                self.lines[(*at, index)] = value.start_mark.line + 1
                problems += self.look(value, (*at, index))
        elif isinstance(node, yaml.ScalarNode) and node.tag != _TEXT:
            self.written[at] = str(node.value)
        return problems

    def _mapping(self, node: yaml.MappingNode, at: Key) -> list[Problem]:
        problems: list[Problem] = []
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                problems.append(
                    Problem(f"line {line}", "a key is not a plain word", "write lines of 'name: value'")
                )
                continue
            if key.value in seen:
                problems.append(
                    Problem(
                        f"line {line}, column {key.start_mark.column + 1}",
                        f"{key.value!r} is also given on line {seen[key.value]}",
                        "keep one of them",
                    )
                )
            seen.setdefault(key.value, line)
            self.lines[(*at, key.value)] = line
            problems += self.look(value, (*at, key.value))
        return problems


def _unreadable(node: yaml.Node, at: Key) -> Problem | None:
    """Return what is wrong with a value that a tag calls what it is not, and with a number that no float can hold."""
    where = f"line {node.start_mark.line + 1}, column {node.start_mark.column + 1}"
    name = ".".join(map(str, at)) or "the text"
    plain = _PLAIN.resolve(type(node), node.value, (True, False))
    if node.tag not in (plain, _PLAIN.resolve(type(node), node.value, (False, True))):
        tag = node.tag.replace("tag:yaml.org,2002:", "!!")
        return Problem(
            where, f"{name} has the tag {tag}", "write the value without a tag, and texts in quotes"
        )
    digits = len(node.value.lstrip("+-")) if node.tag == "tag:yaml.org,2002:int" else 0
    if digits > _DIGITS:
        return Problem(where, f"{name} is a number of {digits:,} digits", f"write at most {_DIGITS}")
    return None


def flow(value: Any) -> str:
    """Return a value as YAML on one line; `parse_yaml` reads it back as it was, and so does a reader of YAML 1.1.

    Examples
    --------
    >>> flow({"samples": {"01": 3.0, "off": 1.5, "1e3": 2}})
    "{samples: {'01': 3.0, 'off': 1.5, '1e3': 2}}"
    """
    text: str = yaml.dump(
        value,
        Dumper=_Dumper,
        default_flow_style=True,
        sort_keys=False,
        allow_unicode=True,
        width=float("inf"),
    )
    return text.removesuffix("...\n").strip()


def as_written(value: Any) -> str:
    """Write a setting as `study.yaml` has it; what is not set is left out.

    Examples
    --------
    >>> as_written({"method": "both", "stability": True, "names": "", "k": None, "markers": ["CD4", "CD8"]})
    '{method: both, stability: true, markers: [CD4, CD8]}'
    """
    if isinstance(value, dict):
        stated = {name: each for name, each in value.items() if each is not None and each != ""}
        return "{" + ", ".join(f"{name}: {as_written(each)}" for name, each in stated.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(as_written, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return "" if value is None else str(value)
