"""Which figures a run has: those of each chapter of the report."""

from __future__ import annotations

from cytocar.report import _answer, _changes, _clusters, _cohort, _gates, _quality
from cytocar.report._figure import FigureOfRun

FIGURES: tuple[FigureOfRun, ...] = (
    *_answer.FIGURES,
    *_clusters.FIGURES,
    *_changes.FIGURES,
    *_cohort.FIGURES,
    *_gates.FIGURES,
    *_quality.FIGURES,
)
