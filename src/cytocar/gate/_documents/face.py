"""What the files of this room ask of a strategy of shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from cytocar.gate._strategy.strategy import MemberOf, Strategy

if TYPE_CHECKING:
    from cytocar.gate._documents.document import GatingDocument


class ShapedMember(MemberOf, Protocol):
    """A population of a document."""

    @property
    def path(self) -> tuple[str, ...]:
        """Names in the document from the top down to it."""


class Shapes(Strategy, Protocol):
    """A document of gates as a strategy: `ShapeStrategy`."""

    @property
    def document(self) -> GatingDocument:
        """The gates."""

    @property
    def labels(self) -> Mapping[str, str]:
        """Identity of each population in the document to its name in tables."""

    @property
    def unknown(self) -> Sequence[str]:
        """What a study asks of a strategy and this one cannot say."""

    def expanded(self) -> Sequence[ShapedMember]:
        """Return all populations in the order of the ledger, parents first."""
