"""Caveats: what a reader has to know to judge the numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cytocar._core import keys
from cytocar._core.population_words import words
from cytocar._core.vocabulary import PATIENT_ROLE
from cytocar.report import _cohort

if TYPE_CHECKING:
    from cytocar.report._load import FinishedRun


def caveats(run: FinishedRun) -> tuple[str, ...]:
    """Return the caveats of a run, each a sentence or two."""
    return (
        *_not_measured(run),
        *_panels(run),
        *_beads(run),
        *_compensation(run),
        *_not_t_cells(run),
        *_one_patient(run),
        *_cohort.remarks(run),
        *_staining(run),
        *_fallbacks(run),
    )


def left_out(run: FinishedRun) -> list[str]:
    """Name the samples of the study that were not run."""
    table = run.tables.get("left_out")
    if table is None or table.empty:
        return []
    which = "; ".join(
        f"{row.sample_id} ({row.file}: no {row.lacks})" for row in table.itertuples(index=False)
    )
    text = f"Samples of the study were left out, because their files lack what the analysis needs: {which}."
    controls = [str(row.sample_id) for row in table.itertuples(index=False) if row.role != PATIENT_ROLE]
    if controls:
        text += (
            f" {', '.join(controls)} {'is a control' if len(controls) == 1 else 'are controls'}: thresholds and "
            "backgrounds come from other controls, or from the samples alone."
        )
    return [text]


def _not_measured(run: FinishedRun) -> list[str]:
    table = run.tables.get("not_measured")
    if table is None or table.empty:
        return []
    of_sample = table.groupby(keys.SAMPLE, sort=False)["marker"].agg(", ".join)
    which = "; ".join(f"{sample}: {markers}" for sample, markers in of_sample.items())
    return [
        f"Not measured, and without a number in these samples, never 0: {which}. Clusters and maps use markers that "
        "were measured in every sample."
    ]


def _panels(run: FinishedRun) -> list[str]:
    panels = run.provenance.get("panels")
    if not panels or len(panels) < 2:
        return []
    return [
        f"The files were stained with {len(panels)} panels ({', '.join(panels)}) and are compared by the markers that "
        "these share. Another antibody or metal gives other values of the same marker: differences between panels "
        "may be those of the stain."
    ]


def _beads(run: FinishedRun) -> list[str]:
    beads = run.tables.get("beads")
    done = None if beads is None else beads[beads["spread_after"].notna()]
    if beads is None or done is None or done.empty:
        return ["Counts were not normalised to beads: a drift of the instrument stays in the results."]
    before, after = done["spread_before"].max() - 1, done["spread_after"].max() - 1
    text = (
        f"Counts were normalised to beads: their signal moved by up to {100 * before:.0f} % over a file before, "
        f"{100 * after:.0f} % after."
    )
    left = sorted(set(beads[keys.SAMPLE]) - set(done[keys.SAMPLE]))
    return [text + (f" Not normalised: {', '.join(left)}." if left else "")]


def _compensation(run: FinishedRun) -> list[str]:
    if "compensation" in run.tables:
        return []
    return [
        "Counts were not compensated for spillover: what a bright channel leaks into its neighbours and into "
        "mass + 16 stays in the results."
    ]


def _not_t_cells(run: FinishedRun) -> list[str]:
    """Say that cells with the CAR may be others than T cells, where no gate on CD3 has seen to it."""
    if not run.has_car or run.gated_by_cd3 is not False:
        return []
    return [
        f"The gates have no CD3: {words().car_cells} are not restricted to T cells, and any cell that binds the "
        f"reagent counts as one; {words().host_cells} are all others of the same gate."
    ]


def _one_patient(run: FinishedRun) -> list[str]:
    samples = run.tables.get("samples")
    if samples is None or samples[keys.PATIENT].nunique() != 1:
        return []
    return [
        "One patient: cells of one sample are not replicates, so effects have intervals and calls, and no p values."
    ]


def _staining(run: FinishedRun) -> list[str]:
    comparisons = run.tables.get("comparisons")
    if comparisons is None or not (comparisons["unit"] == "cell").any():
        return []
    margin = run.provenance.get("settings", {}).get("compare", {}).get("margin", "the stated")
    return [
        "Two tubes differ in staining. A change over time is called only where it exceeds the change of the same "
        f"marker in the {words().host_cells} of the same tubes, and a margin of {margin} arcsinh units."
    ]


def _fallbacks(run: FinishedRun) -> list[str]:
    thresholds = run.tables.get("thresholds")
    if thresholds is None or thresholds.empty:
        return []
    taken = thresholds[thresholds["rule"].astype(str).str.contains("fallback")]
    if taken.empty:
        return []
    which = ", ".join(
        f"{row.name} ({row.sample_id})" for row in taken[["name", keys.SAMPLE]].itertuples(index=False)
    )
    return [
        f"These thresholds have no clear valley; the fallback that the strategy states was used: {which}."
    ]
