"""A strategy of thresholds against a study: markers of the panel, tubes and samples of the sheet, compartments."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from cytocar._core import keys
from cytocar._core.errors import Problem, did_you_mean
from cytocar._core.vocabulary import FMO_ROLE
from cytocar.gate._strategy.strategy import StudyFacts, controlled_by
from cytocar.panel.antigens import antigen, marker_hint, several
from cytocar.panel.names import marker_key

if TYPE_CHECKING:
    import pandas as pd

    from cytocar.gate._strategy.strategy import Strategy, ThresholdStrategy
    from cytocar.gate._strategy.threshold import Threshold
    from cytocar.panel import Panel


def problems(tree: ThresholdStrategy, study: StudyFacts) -> Iterator[Problem]:
    """Find samples, tubes, compartments and markers of a strategy that a study does not have."""
    if study.samples is not None:
        yield from _samples(tree, study.samples)
    yield from _compartments(tree)
    if study.panel is not None:
        yield from _markers(tree, study.panel)


def notes(tree: ThresholdStrategy, study: StudyFacts) -> Iterator[str]:
    """Say which tubes a strategy does not use, and which optional markers it leaves out."""
    if study.samples is not None:
        yield from idle_tubes(tree, study.samples)
    if study.panel is not None:
        _, left_out = missing_markers(tree, study.panel)
        if left_out:
            yield f"gating {tree.name!r} leaves out {', '.join(left_out)}: optional, and not in the panel"


def idle_tubes(strategy: Strategy, samples: pd.DataFrame) -> Iterator[str]:
    """Find tubes that lack an antibody and in which no threshold is looked for: they are left out of the study."""
    for sample, role in zip(samples[keys.SAMPLE].astype(str), samples[keys.ROLE].astype(str), strict=True):
        if role == FMO_ROLE and not controlled_by(strategy, sample, role):
            yield (
                f"sample {sample!r} has the role {FMO_ROLE}, and no threshold of the gating {strategy.name!r} is found "
                "in such a tube: it is not used"
            )


def _samples(tree: ThresholdStrategy, samples: pd.DataFrame) -> Iterator[Problem]:
    """Find samples and roles that a strategy names and the sheet does not have."""
    known = [str(sample) for sample in samples[keys.SAMPLE]]
    roles = sorted(set(samples[keys.ROLE].astype(str)))
    yield from unknown_pins(tree, known)
    for threshold in tree.thresholds.values():
        for tube in threshold.named_tubes():
            if tube not in known:
                yield Problem(
                    "",
                    f"threshold {threshold.name!r} is found in tube {tube!r}; the sheet has no such sample",
                    did_you_mean(tube, known),
                )
        for role in threshold.named_roles():
            if role not in roles:
                yield Problem(
                    "",
                    f"threshold {threshold.name!r} is found in tubes of role {role!r}; the sample sheet has none",
                    f"roles in the sheet: {', '.join(roles)}",
                )


def unknown_pins(strategy: Strategy, samples: Collection[str]) -> Iterator[Problem]:
    """Find samples that a strategy pins numbers for and nobody has: these numbers would never be used."""
    for sample, thresholds in strategy.pinned_samples().items():
        if sample not in samples:
            yield Problem(
                "",
                f"strategy {strategy.name!r} pins {', '.join(thresholds)} for sample {sample!r}, and there is no such "
                "sample",
                did_you_mean(sample, samples),
            )


def _compartments(tree: ThresholdStrategy) -> Iterator[Problem]:
    """Find compartments that a run does not know, and CAR-T cells without host cells or the other way round."""
    names = set(tree.for_run().compartments)
    if names not in ({keys.CAR, keys.HOST}, {keys.CELLS}):
        yield Problem(
            "",
            f"gating {tree.name!r} has the compartments {', '.join(tree.compartments)}",
            f"a run needs both {keys.CAR} and {keys.HOST}, or {keys.CELLS} alone: "
            "compartments: {car: CAR-T, host: Host T}",
        )


def _markers(tree: ThresholdStrategy, panel: Panel) -> Iterator[Problem]:
    for threshold in tree.thresholds.values():
        fits = panel.candidates(*threshold.markers)
        if len(fits) > 1:
            yield several(
                threshold.marker, fits, "markers of the panel", where=f"threshold {threshold.name!r}"
            )
    missing, _ = missing_markers(tree, panel)
    if not missing:
        return
    hints = [
        f"for {marker} {hint}"
        for marker in missing
        if (hint := marker_hint(marker.split(" or ")[0], panel.markers)).startswith("did you mean")
    ]
    fix = "correct the names in the panel, name another strategy, or write 'gating: off'"
    yield Problem(
        "",
        f"gating {tree.name!r} needs {', '.join(missing)}: the panel has no such "
        f"{'marker' if len(missing) == 1 else 'markers'}",
        "; ".join([*hints, fix]),
    )


def missing_markers(tree: ThresholdStrategy, panel: Panel) -> tuple[list[str], list[str]]:
    """Return the markers that a strategy needs and the panel does not have, and the optional ones among them."""
    missing: list[str] = []
    left_out: list[str] = []
    for threshold in tree.thresholds.values():
        if not panel.candidates(*threshold.markers):
            (left_out if tree.may_lack(threshold) else missing).append(_any_of(threshold))
    return list(dict.fromkeys(missing)), list(dict.fromkeys(left_out))


def _any_of(threshold: Threshold) -> str:
    # CD8a and CD8 are one antigen.
    names: dict[str, str] = {}
    for marker in threshold.markers:
        names.setdefault(antigen(marker) or marker_key(marker), marker)
    return " or ".join(names.values())
