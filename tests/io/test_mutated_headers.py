"""Headers with one thing changed, by `benchmarks/mutate_headers.py`: right values, a refusal or a stated doubt."""

from __future__ import annotations

import runpy
from collections import Counter
from pathlib import Path

import pytest

SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "mutate_headers.py"))


def test_no_mutant_gives_other_values_without_a_word(tmp_path: Path) -> None:
    bases = [base for path in SCRIPT["made"](tmp_path) if (base := SCRIPT["take_apart"](path)) is not None]
    assert len(bases) == 12
    results = SCRIPT["judged"](SCRIPT["mutants"](bases, 500, 7), tmp_path)
    wrong = [
        (mutant.base.name, mutant.kind, mutant.change, said)
        for mutant, verdict, said in results
        if verdict == "WRONG"
    ]
    assert wrong == []
    # Neither is everything refused, nor is nothing changed.
    counts = Counter(verdict for _, verdict, _ in results)
    assert min(counts["right"], counts["refused"], counts["doubt"]) > 10


@pytest.mark.parametrize(
    "name", ["cyflow_cube_8.fcs", "Data001.fcs", "SG_2014-09-26_Duplicate_Names.fcs", "G11.fcs"]
)
def test_no_mutant_of_a_real_file_gives_other_values_without_a_word(
    tmp_path: Path, test_data: Path, name: str
) -> None:
    base = SCRIPT["take_apart"](test_data / "fcs_corpus" / name)
    results = SCRIPT["judged"](SCRIPT["mutants"]([base], 100, 3), tmp_path)
    wrong = [(mutant.kind, mutant.change, said) for mutant, verdict, said in results if verdict == "WRONG"]
    assert wrong == []
