from __future__ import annotations

import pytest

from cytocar.panel.bead_kits import BEAD_KITS
from cytocar.panel.names import parse_isotope


@pytest.mark.parametrize("kit", BEAD_KITS)
def test_every_metal_of_a_kit_is_an_isotope(kit: str) -> None:
    for mass, metal in BEAD_KITS[kit].items():
        isotope = parse_isotope(f"{metal}{mass}Di")
        assert isotope is not None
        assert (isotope.symbol, isotope.mass) == (metal, mass)
