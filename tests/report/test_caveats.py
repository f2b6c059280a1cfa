"""Caveats: each is said where it holds, and only there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from cytocar.report._caveats import caveats
from cytocar.report._load import FinishedRun


def run_with(settings: dict[str, Any] | None = None, **tables: pd.DataFrame) -> FinishedRun:
    return FinishedRun(Path("nowhere"), tables, {"settings": settings or {}})


def samples(*patients: str) -> pd.DataFrame:
    return pd.DataFrame({"sample_id": list("ab")[: len(patients)], "patient_id": patients})


def beads(*after: float) -> pd.DataFrame:
    rows = {"sample_id": list("abc")[: len(after)], "spread_before": 1.4, "spread_after": after}
    return pd.DataFrame(rows)


def test_without_beads_and_compensation_both_are_said_to_stay_in_the_results():
    drift, spillover = caveats(run_with())
    assert drift == "Counts were not normalised to beads: a drift of the instrument stays in the results."
    assert spillover.startswith("Counts were not compensated for spillover")


def test_beads_are_told_by_what_they_took_away_and_files_without_them_by_name():
    [text] = caveats(run_with(beads=beads(1.02, float("nan"), 1.05), compensation=pd.DataFrame({"a": [1]})))
    assert text == (
        "Counts were normalised to beads: their signal moved by up to 40 % over a file before, 5 % after. "
        "Not normalised: b."
    )


def test_beads_in_no_file_are_no_normalisation():
    assert "not normalised to beads" in caveats(run_with(beads=beads(float("nan"))))[0]


@pytest.mark.parametrize(("patients", "alone"), [(("P1", "P1"), True), (("P1", "P2"), False)])
def test_a_single_patient_has_no_p_values(patients, alone):
    said = caveats(run_with(samples=samples(*patients)))
    assert any(text.startswith("One patient: ") for text in said) is alone


@pytest.mark.parametrize(("unit", "said"), [("cell", True), ("patient", False)])
def test_the_margin_between_tubes_is_the_one_of_the_settings(unit, said):
    comparisons = pd.DataFrame({"unit": [unit]})
    texts = caveats(run_with({"compare": {"margin": 0.35}}, comparisons=comparisons))
    assert any("a margin of 0.35 arcsinh units" in text for text in texts) is said


def test_fallbacks_are_named_with_their_samples():
    thresholds = pd.DataFrame(
        {"name": ["CD3", "VHH"], "sample_id": ["a", "b"], "rule": ["valley", "fallback: others"]}
    )
    assert caveats(run_with(thresholds=thresholds))[-1].endswith("states was used: VHH (b).")
    assert not any("fallback" in text for text in caveats(run_with(thresholds=thresholds.iloc[:1])))
