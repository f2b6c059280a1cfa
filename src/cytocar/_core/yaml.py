"""YAML with line numbers: read safely, words stay words, and a key given twice is found."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import yaml

from cytocar._core.errors import Problem

Key = tuple[str | int, ...]


class _Loader(yaml.SafeLoader):
    """The safe loader with the plain values of YAML 1.2: ``off`` and ``yes`` are words, ``1e-3`` is a number."""


_Loader.yaml_implicit_resolvers = {}
_NUMBER_STARTS: Final = list("-+.0123456789")
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
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), _first)


def _int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    # A leading zero does not make a number octal.
    return int(str(loader.construct_scalar(node)))


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[str, Any]:
    # Keys are names: a sample may be called 1.
    return {str(key.value): loader.construct_object(value, deep=True) for key, value in node.value}


_Loader.add_constructor("tag:yaml.org,2002:int", _int)
_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def load_yaml(path: Path) -> tuple[dict[str, Any] | None, dict[Key, int], list[Problem]]:
    """Load a YAML file that holds one mapping, with all that is wrong with it.

    Returns
    -------
    The mapping (None where there are problems), the line of each key by its path from the top, and the problems.
    """
    lines: dict[Key, int] = {}
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return None, lines, [Problem(str(path), "there is no such file", "check the name and the folder")]
    except UnicodeDecodeError:
        return None, lines, [Problem(str(path), "is not UTF-8 text", "save it as UTF-8")]
    except OSError as error:
        return (
            None,
            lines,
            [Problem(str(path), f"cannot be read: {error.strerror}", "check the rights of the file")],
        )
    loader: Any = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None, lines, [Problem(str(path), "is empty", "give at least cytocar, panel and samples")]
        if not isinstance(node, yaml.MappingNode):
            return (
                None,
                lines,
                [
                    Problem(
                        f"{path}, line {node.start_mark.line + 1}",
                        "holds no settings",
                        "write lines of 'name: value'",
                    )
                ],
            )
        problems = _look(path, node, (), lines, set())
        if problems:
            return None, lines, problems
        return loader.construct_document(node), lines, []
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}, line {mark.line + 1}, column {mark.column + 1}" if mark else str(path)
        what = f"is not YAML: {error.problem or error.context}"
        fix = "quote texts that hold ':' or '#', indent with blanks, and close every bracket and quote"
        return None, lines, [Problem(where, what, fix)]
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        return (
            None,
            lines,
            [Problem(str(path), f"is not YAML: {error}", "see the example in the documentation")],
        )
    finally:
        if loader is not None:
            loader.dispose()


def _look(path: Path, node: yaml.Node, at: Key, lines: dict[Key, int], met: set[int]) -> list[Problem]:
    """Note the line of every key below `node`; find keys given twice, and aliases."""
    if id(node) in met:
        # An alias may contain itself, or stand for more values than fit into memory.
        where = f"{path}, line {lines.get(at, node.start_mark.line + 1)}"
        return [Problem(where, f"{'.'.join(map(str, at))} is an alias", "write the value out")]
    met.add(id(node))
    problems: list[Problem] = []
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                problems.append(
                    Problem(
                        f"{path}, line {line}", "a key is not a plain word", "write lines of 'name: value'"
                    )
                )
                continue
            if key.value in seen:
                problems.append(
                    Problem(
                        f"{path}, line {line}, column {key.start_mark.column + 1}",
                        f"{key.value!r} is also given on line {seen[key.value]}",
                        "keep one of them",
                    )
                )
            seen.setdefault(key.value, line)
            lines[(*at, key.value)] = line
            problems += _look(path, value, (*at, key.value), lines, met)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[(*at, index)] = value.start_mark.line + 1
            problems += _look(path, value, (*at, index), lines, met)
    return problems
