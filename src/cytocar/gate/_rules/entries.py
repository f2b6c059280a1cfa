"""One entry of a strategy in YAML: its values read within their domains, each problem noted with its line."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from cytocar._core.errors import GateError, Problem, did_you_mean
from cytocar.gate._populations.parts import Term

if TYPE_CHECKING:
    from cytocar._core.yaml import Key, YamlText

Value = TypeVar("Value")
Default = TypeVar("Default")


class InvalidEntry(Exception):
    """A value is outside its domain; the text says which value, and what it must be."""


class Entry:
    """A value of the YAML text, what messages call it, and where it stands.

    Parameters
    ----------
    value
        As YAML reads it.
    at
        The keys that lead to it from the top.
    label
        The threshold, population or subset that it belongs to.
    text
        The YAML text, which knows lines and how numbers were written.
    problems
        What is wrong, collected over the whole text.
    """

    def __init__(self, value: Any, at: Key, label: str, text: YamlText, problems: list[Problem]) -> None:
        self.value, self.at, self.label, self.text, self.problems = value, at, label, text, problems

    @property
    def name(self) -> str:
        """The key under which it stands."""
        names = [key for key in self.at if isinstance(key, str)]
        return names[-1] if names else ""

    def child(self, key: str | int, label: str = "") -> Entry:
        """Return the value under a key of a mapping, or at an index of a list."""
        return Entry(self.value[key], (*self.at, key), label or self.label, self.text, self.problems)

    def items(self) -> Iterator[Entry]:
        """Walk through the values of a list."""
        return (self.child(index) for index in range(len(self.value)))

    def note(self, what: str, fix: str = "") -> None:
        """Note that something is wrong here, and what would be right."""
        where = ", ".join(filter(None, (f"line {self.text.line(self.at)}", self.label)))
        self.problems.append(Problem(where, what, fix))

    def attempt(self, read: Callable[[Entry], Value], otherwise: Default) -> Value | Default:
        """Return what `read` makes of it; `otherwise`, with the problem noted, where it cannot."""
        try:
            return read(self)
        except InvalidEntry as error:
            self.note(str(error))
        except GateError as error:
            self.note(error.what, error.fix)
        return otherwise

    def take(self, key: str, read: Callable[[Entry], Value], default: Default) -> Value | Default:
        """Return what `read` makes of the value under a key, and `default` where there is none."""
        return self.child(key).attempt(read, default) if key in self.value else default

    def is_mapping(self, allowed: Collection[str], required: Sequence[str] = ()) -> bool:
        """Note what is wrong with the keys; return whether it is a mapping that has all that are required."""
        if not isinstance(self.value, dict):
            self.note(f"{self.value!r} should be a mapping with {', '.join(allowed)}")
            return False
        for key in self.value:
            if key not in allowed:
                self.child(key).note(f"unknown key {key!r}, {did_you_mean(key, allowed)}")
        missing = [key for key in required if key not in self.value]
        if missing:
            self.note(f"{', '.join(missing)} is missing")
        return not missing


def number(entry: Entry) -> float:
    """Read a finite number."""
    value = entry.value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidEntry(f"{entry.name} is {value!r}; it must be a number")
    if not math.isfinite(value):
        raise InvalidEntry(f"{entry.name} is {value!r}; it must be a finite number")
    return float(value)


def whole_number(entry: Entry) -> int:
    """Read a whole number of at least 1."""
    value = number(entry)
    if value < 1 or value != int(value):
        raise InvalidEntry(f"{entry.name} is {value:g}; it must be a whole number of at least 1")
    return int(value)


def share_of_few(entry: Entry) -> float:
    """Read a share above 0 and below 0.5."""
    return _between(entry, 0.0, 0.5)


def share(entry: Entry) -> float:
    """Read a share above 0 and below 1."""
    return _between(entry, 0.0, 1.0)


def _between(entry: Entry, low: float, high: float) -> float:
    value = number(entry)
    if not low < value < high:
        raise InvalidEntry(f"{entry.name} is {value:g}; it must be above {low:g} and below {high:g}")
    return value


def confidence(entry: Entry) -> float:
    """Read a number from 0 to 1."""
    value = number(entry)
    if not 0.0 <= value <= 1.0:
        raise InvalidEntry(f"{entry.name} is {value:g}; it must be between 0 and 1")
    return value


def interval(entry: Entry) -> tuple[float | None, float | None]:
    """Read a range, either end of which may be open."""
    if not isinstance(entry.value, list) or len(entry.value) != 2:
        raise InvalidEntry(
            f"{entry.name} is {entry.value!r}; it must be [low, high], with null for an open end"
        )
    low, high = (None if end.value is None else number(end) for end in entry.items())
    if low is not None and high is not None and not low < high:
        raise InvalidEntry(f"{entry.name} is {entry.value!r}; low must be below high")
    return low, high


def one_of(words: Sequence[str]) -> Callable[[Entry], str]:
    """Return how to read one of several words."""

    def read(entry: Entry) -> str:
        if entry.value not in words:
            raise InvalidEntry(f"{entry.name} is {entry.value!r}; it must be one of {', '.join(words)}")
        return str(entry.value)

    return read


def name(entry: Entry) -> str:
    """Read a name, just as it was written: 01 is not 1."""
    if isinstance(entry.value, (list, dict)) or entry.value is None:
        kind = (
            "nothing" if entry.value is None else "a list" if isinstance(entry.value, list) else "a mapping"
        )
        raise InvalidEntry(f"{entry.name} is {kind}; it must be a text")
    return entry.text.as_written(entry.at, entry.value)


def names(entry: Entry) -> tuple[str, ...]:
    """Read a name or a list of names."""
    if isinstance(entry.value, list):
        if not any(item.value is None or isinstance(item.value, (list, dict)) for item in entry.items()):
            return tuple(name(item) for item in entry.items())
    elif entry.value is not None and not isinstance(entry.value, dict):
        return (name(entry),)
    raise InvalidEntry(f"{entry.name} is {entry.value!r}; it must be a name or a list of names")


def terms(entry: Entry) -> tuple[Term, ...]:
    """Read the terms of a gate."""
    return tuple(Term.parse(text) for text in names(entry))
