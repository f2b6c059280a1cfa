from __future__ import annotations

import pytest

from cytocar import gate
from cytocar._core.population_words import PopulationWords, speaking_of, words, words_for


def test_the_strategy_for_car_t_cells_speaks_of_t_cells() -> None:
    tree = gate.car_t()
    spoken = words_for(tree.compartments, tree.denominator)
    assert spoken == PopulationWords()
    assert (spoken.car_cells, spoken.host_cells, spoken.denominator_cells) == (
        "CAR-T cells", "host T cells", "CD45+ cells",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("CAR-", "CAR-negative cells"),
        ("T > CAR-negative", "CAR-negative cells"),
        ("endogenous cells", "endogenous cells"),
    ],
)
def test_a_population_is_called_as_the_strategy_calls_it(host: str, said: str) -> None:
    assert words_for({"car": "CAR+", "host": host}, "cells").host_cells == said
    assert words_for({"car": "CAR+", "host": host}, "cells").of_denominator == "cells"


def test_words_hold_within_their_block_only() -> None:
    with speaking_of(PopulationWords(host="CAR-negative")):
        assert words().title("host") == "CAR-negative"
    assert words().title("host") == "Host T"
