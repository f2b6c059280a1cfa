"""Problems of the gating strategy of a study."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cytocar._core import keys
from cytocar._core.errors import GateError, ParameterError, Problem, did_you_mean
from cytocar._core.vocabulary import FMO_ROLE
from cytocar.io._study.folder import StudyParts, gating_roles, gating_source
from cytocar.panel.names import marker_key
from cytocar.panel.roles import marker_hint
from cytocar.study._check.documents import document_notes, document_problems

if TYPE_CHECKING:
    import pandas as pd

    from cytocar.gate import DocumentTree, GateTree
    from cytocar.io import StudyConfig
    from cytocar.panel import Panel

_STRATEGIES = (
    "name a strategy that comes with cytocar, a YAML file, "
    "Gating-ML (.xml), a FlowJo workspace (.wsp), or off"
)


def load_strategy(
    file: Path, parts: StudyParts, notes: list[str]
) -> tuple[GateTree | DocumentTree | None, list[Problem]]:
    """Load the strategy; find the markers that it needs in the panel, and the thresholds that the settings state."""
    from cytocar import gate

    config, panel = parts.config, parts.panel
    if config is None:
        return None, []
    where = f"{file} (gating)"
    try:
        strategy = gate.load(gating_source(parts.folder, config.gating), **gating_roles(config.gating))
    except (GateError, ParameterError) as error:
        return None, list(Problem.all_of(error.within(where), fix=_STRATEGIES))
    except OSError as error:
        return None, list(Problem.all_of(error, where=where, fix=_STRATEGIES))
    if parts.samples is not None:
        notes += _idle_tubes(strategy, parts.samples)
    if isinstance(strategy, gate.DocumentTree):
        notes += document_notes(strategy, parts.samples)
        problems = list(_stated_thresholds(file, config, strategy, parts.samples))
        return strategy, [*problems, *document_problems(where, strategy, parts)]
    if not strategy.compartments:
        # All cells of the denominator are looked at, as with gates of another program that say no more.
        strategy = replace(strategy, compartments={keys.CELLS: strategy.denominator})
    problems = [
        *_stated_thresholds(file, config, strategy, parts.samples),
        *_control_tubes(where, strategy, parts.samples),
        *_compartments(where, strategy),
    ]
    if panel is None:
        return strategy, problems
    missing, left_out = lacking(strategy, panel)
    if left_out:
        notes.append(
            f"gating {strategy.name!r} leaves out {', '.join(left_out)}: optional, and not in the panel"
        )
    if missing:
        hints = [
            f"for {marker} {hint}"
            for marker in missing
            if (hint := marker_hint(marker.split(" or ")[0], panel.markers)).startswith("did you mean")
        ]
        fix = "correct the names in the panel, name another strategy, or write 'gating: off'"
        problems.append(
            Problem(
                where,
                f"gating {strategy.name!r} needs {', '.join(missing)}: the panel has no such "
                f"{'marker' if len(missing) == 1 else 'markers'}",
                "; ".join([*hints, fix]),
            )
        )
    return strategy, problems


def _compartments(where: str, strategy: GateTree) -> Iterator[Problem]:
    """Find compartments that a run does not know, and CAR-T cells without host cells or the other way round."""
    known = {keys.CAR, keys.HOST}
    names = set(strategy.compartments)
    if names not in (known, {keys.CELLS}):
        yield Problem(
            where,
            f"gating {strategy.name!r} has the compartments {', '.join(strategy.compartments)}",
            f"a run needs both {keys.CAR} and {keys.HOST}, or {keys.CELLS} alone: "
            "compartments: {car: CAR-T, host: Host T}",
        )


def _idle_tubes(strategy: GateTree | DocumentTree, samples: pd.DataFrame) -> Iterator[str]:
    """Find tubes that lack an antibody and in which no threshold is looked for: they are left out of the study."""
    for sample, role in zip(samples[keys.SAMPLE].astype(str), samples["role"].astype(str), strict=True):
        if role == FMO_ROLE and not strategy.controlled_by(sample, role):
            yield (
                f"sample {sample!r} has the role {FMO_ROLE}, and no threshold of the gating {strategy.name!r} is found "
                "in such a tube: it is not used"
            )


def lacking(strategy: GateTree, panel: Panel) -> tuple[list[str], list[str]]:
    """Return the markers that a strategy needs and the panel has not, and the optional ones that it has not."""
    optional = {marker_key(marker) for marker in strategy.optional_markers()}
    missing: list[str] = []
    left_out: list[str] = []
    for threshold in strategy.thresholds.values():
        if any(panel.find(marker) for marker in threshold.markers):
            continue
        may_lack = bool(optional & {marker_key(marker) for marker in threshold.markers})
        into = left_out if may_lack else missing
        # CD8a and CD8A are one name.
        names: dict[str, str] = {}
        for marker in threshold.markers:
            names.setdefault(marker_key(marker), marker)
        into.append(" or ".join(names.values()))
    return list(dict.fromkeys(missing)), list(dict.fromkeys(left_out))


def _stated_thresholds(
    file: Path, config: StudyConfig, strategy: GateTree | DocumentTree, samples: pd.DataFrame | None
) -> Iterator[Problem]:
    known = None if samples is None else [str(sample) for sample in samples[keys.SAMPLE]]
    stated: dict[str, str] = {}
    for name, value in config.thresholds.items():
        where = f"{file} (thresholds.{name})"
        try:
            meant = strategy.threshold_name(name)
        except GateError as error:
            yield Problem.of(error, where=where)
        else:
            if meant in stated:
                yield Problem(where, f"{stated[meant]!r} states the same threshold", "state it once")
            stated[meant] = name
        if isinstance(value, dict) and known is not None:
            yield from (
                Problem(where, f"there is no sample {sample!r}", did_you_mean(sample, known))
                for sample in value
                if sample not in known
            )


def _control_tubes(where: str, strategy: GateTree, samples: pd.DataFrame | None) -> Iterator[Problem]:
    """Find control tubes that the strategy names and the sheet does not have."""
    if samples is None:
        return
    known = [str(sample) for sample in samples[keys.SAMPLE]]
    roles = sorted(set(samples["role"].astype(str)))
    for threshold in strategy.thresholds.values():
        for rule in threshold.rules():
            if rule.named_tube is not None and rule.named_tube not in known:
                yield Problem(
                    where,
                    f"threshold {threshold.name!r} is found in tube {rule.named_tube!r}; the sheet has no such sample",
                    did_you_mean(rule.named_tube, known),
                )
            if rule.named_role is not None and rule.named_role not in roles:
                yield Problem(
                    where,
                    f"threshold {threshold.name!r} is found in tubes of role {rule.named_role!r}; "
                    "the sample sheet has none",
                    f"roles in the sheet: {', '.join(roles)}",
                )
