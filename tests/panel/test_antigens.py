from __future__ import annotations

import pytest

from cytocar.panel.antigens import antigens, marker_hint, same_antigen


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("CD8", "CD8a", True),
        ("CD279", "PD1", True),
        ("CD196_CCR6", "CCR6", True),
        ("CD127_IL-7Ra", "CD127", True),
        ("TIM-3", "CD366", True),
        ("CD45", "CD45RA", False),
        ("CD3", "CD38", False),
        ("CD11b", "CD11c", False),
        ("", "CD3", False),
    ],
)
def test_two_names_of_one_antigen(one: str, other: str, same: bool) -> None:
    assert same_antigen(one, other) is same_antigen(other, one) is same


def test_a_hint_never_names_another_antigen() -> None:
    panel = ["CD95", "CD11b", "CD4", "CD45RO", "PD-1", "Granzyme B"]
    assert marker_hint("CD19", panel) == "known: " + ", ".join(panel)
    assert marker_hint("CD11c", panel).startswith("known:")
    assert marker_hint("CD45R0", panel).startswith("known:")
    assert marker_hint("CD279", panel) == "did you mean 'PD-1'?"
    assert marker_hint("Granzym B", panel) == "did you mean 'Granzyme B'?"
    assert marker_hint("GZMB", panel) == "did you mean 'Granzyme B'?"


def test_synonyms_are_one_antigen() -> None:
    assert antigens("Granzyme B") == antigens("GZMB") == {"gzmb"}
