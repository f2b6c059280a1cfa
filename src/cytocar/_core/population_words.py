"""What the populations of a study are called in sentences: CAR-T cells beside host T cells, where they are T cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from cytocar._core import keys

_CAR_T: Final = ("car-t", "car t", "cart")
_HOST_T: Final = ("host t", "host", "non-car t", "car- t")
_ROOT: Final = "cells"


@dataclass(frozen=True)
class PopulationWords:
    """The names of populations as adjectives: each stands before ``cells``.

    Parameters
    ----------
    car, host
        The cells with the CAR, and those beside them.
    denominator
        The cells of which shares are given; ``""`` for all cells.

    Examples
    --------
    >>> PopulationWords().host_cells, PopulationWords(host="CAR-negative").host_cells
    ('host T cells', 'CAR-negative cells')
    """

    car: str = "CAR-T"
    host: str = "host T"
    denominator: str = "CD45+"

    @property
    def car_cells(self) -> str:
        """``CAR-T cells``."""
        return f"{self.car} cells"

    @property
    def host_cells(self) -> str:
        """``host T cells``."""
        return f"{self.host} cells"

    @property
    def denominator_cells(self) -> str:
        """``CD45+ cells``, or ``cells``."""
        return f"{self.denominator} cells".strip()

    @property
    def of_denominator(self) -> str:
        """What a share is of, where there is little room: ``CD45+``, or ``cells``."""
        return self.denominator or _ROOT

    def say(self, text: str) -> str:
        """Return a fixed sentence about CAR-T cells, host T cells and CD45+ cells in these words.

        Names of samples and the like may hold the same words: they are put in afterwards.

        Examples
        --------
        >>> PopulationWords("CAR+", "CAR-negative", "").say("CAR-T cells beside host T cells, % of CD45+ cells")
        'CAR+ cells beside CAR-negative cells, % of cells'
        """
        if self == _DEFAULT:
            return text
        for default, now in (
            (_DEFAULT.denominator_cells, self.denominator_cells),
            (_DEFAULT.denominator, self.of_denominator),
            (_DEFAULT.car, self.car),
            (_DEFAULT.host, self.host),
        ):
            text = text.replace(default, now)
        return text

    def title(self, compartment: str) -> str:
        """Return what a compartment is called at the head of a panel."""
        called = {keys.CAR: self.car, keys.HOST: self.host, keys.CELLS: "all cells"}.get(compartment)
        return compartment if called is None else called[:1].upper() + called[1:]


_DEFAULT: Final = PopulationWords()
_NOW: ContextVar[PopulationWords] = ContextVar("population_words", default=_DEFAULT)


def words_for(compartments: Mapping[str, str], denominator: str) -> PopulationWords:
    """Return the words for a strategy, by the names that it gives to its populations.

    Parameters
    ----------
    compartments
        ``car`` and ``host`` to the population.
    denominator
        The population of which shares are given.

    Examples
    --------
    >>> words_for({"car": "CAR-T", "host": "Host T"}, "CD45+") == PopulationWords()
    True
    >>> words = words_for({"car": "live > CAR+", "host": "CAR-negative cells"}, "cells")
    >>> words.car_cells, words.host_cells, words.denominator_cells
    ('CAR+ cells', 'CAR-negative cells', 'cells')
    """
    car, host, of = (
        _adjective(name)
        for name in (compartments.get(keys.CAR, ""), compartments.get(keys.HOST, ""), denominator)
    )
    return PopulationWords(
        _DEFAULT.car if car.casefold() in ("", *_CAR_T) else car,
        _DEFAULT.host if host.casefold() in ("", *_HOST_T) else "CAR-negative" if host == "CAR-" else host,
        "" if of == _ROOT else of,
    )


def words() -> PopulationWords:
    """Return the words for the study that is worked on; those of T cells where none is."""
    return _NOW.get()


@contextmanager
def speaking_of(these: PopulationWords) -> Iterator[None]:
    """Use words in everything that is said within the block."""
    token = _NOW.set(these)
    try:
        yield
    finally:
        _NOW.reset(token)


def _adjective(name: str) -> str:
    """Return the name of a population without its path and without ``cells``."""
    last = name.rsplit(" > ", 1)[-1].strip()
    return last.removesuffix(" cells") or _ROOT
