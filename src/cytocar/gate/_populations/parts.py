"""The parts of a strategy: populations, their gates, the biaxials to draw."""

from __future__ import annotations

from dataclasses import dataclass

from cytocar._core.errors import GateError

ROOT = "cells"
"""The population above all others: events that the clean-up calls cells, or all events without clean-up."""


@dataclass(frozen=True)
class Term:
    """One half of a threshold: ``CD3+`` is all events at or above it, ``CD3-`` all events below it."""

    threshold: str
    positive: bool

    @classmethod
    def parse(cls, text: str) -> Term:
        """Read ``"CD3+"`` or ``"CD3-"``; the sign is the last character, so ``"PD-1-"`` is PD-1 negative."""
        stripped = str(text).strip()
        if len(stripped) < 2 or stripped[-1] not in "+-":
            raise GateError(
                f"{text!r} is not a gate term; write the name of a threshold and + or -, as in 'CD3+'"
            )
        return cls(stripped[:-1].strip(), stripped[-1] == "+")

    def __str__(self) -> str:
        return self.threshold + ("+" if self.positive else "-")


@dataclass(frozen=True)
class Terms:
    """A gate of threshold halves, all of which a cell must fulfil."""

    terms: tuple[Term, ...]

    def __str__(self) -> str:
        return " ".join(map(str, self.terms))


@dataclass(frozen=True)
class Boolean:
    """A gate of other populations: in all of `all_of`, in at least one of `any_of`, in none of `none_of`."""

    all_of: tuple[str, ...] = ()
    any_of: tuple[str, ...] = ()
    none_of: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Every population it refers to."""
        return (*self.all_of, *self.any_of, *self.none_of)

    def __str__(self) -> str:
        parts = (("all of", self.all_of), ("any of", self.any_of), ("not", self.none_of))
        return "; ".join(f"{word} {', '.join(names)}" for word, names in parts if names)


@dataclass(frozen=True)
class Population:
    """A named set of cells: those of `parent` that are inside `gate`."""

    name: str
    parent: str
    gate: Terms | Boolean


@dataclass(frozen=True)
class Plot:
    """A biaxial to draw: the cells of `parent` over two markers."""

    parent: str
    x: str
    y: str
