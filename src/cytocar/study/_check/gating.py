"""Problems of the gating strategy of a study."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cytocar._core import keys
from cytocar._core.errors import GateError, ParameterError, Problem, did_you_mean
from cytocar.gate._strategy.strategy import StudyFacts
from cytocar.io._study.folder import StudyParts, gating_roles, gating_source

if TYPE_CHECKING:
    import pandas as pd

    from cytocar.gate import Strategy
    from cytocar.io import StudyConfig

_STRATEGIES = (
    "name a strategy that comes with cytocar, a YAML file, "
    "Gating-ML (.xml), a FlowJo workspace (.wsp), or off"
)


def load_strategy(file: Path, parts: StudyParts) -> tuple[Strategy | None, list[Problem]]:
    """Load the strategy."""
    from cytocar import gate

    config = parts.config
    if config is None:
        return None, []
    where = f"{file} (gating)"
    try:
        strategy = gate.load(gating_source(parts.folder, config.gating), **gating_roles(config.gating))
    except (GateError, ParameterError) as error:
        return None, list(Problem.all_of(error.within(where), fix=_STRATEGIES))
    except OSError as error:
        return None, list(Problem.all_of(error, where=where, fix=_STRATEGIES))
    return strategy, []


def strategy_problems(
    file: Path, parts: StudyParts, strategy: Strategy, notes: list[str], *, sheet: pd.DataFrame | None
) -> list[Problem]:
    """Find what keeps a strategy, and the pinned thresholds of the settings, from a study.

    `sheet` has the samples that are left out too: a threshold that is pinned for one of them is no mistake.
    """
    config = parts.config
    if config is None:
        return []
    where = f"{file} (gating)"
    compensated = config.compensation != "off"
    study = StudyFacts(parts.panel, parts.samples, compensated)
    notes += strategy.notes(study)
    return [
        *_pinned_thresholds(file, config, strategy, sheet),
        *(problem.within(where) for problem in strategy.problems(study)),
    ]


def _pinned_thresholds(
    file: Path, config: StudyConfig, strategy: Strategy, samples: pd.DataFrame | None
) -> Iterator[Problem]:
    sheet = None if samples is None else [str(sample) for sample in samples[keys.SAMPLE]]
    pinned: dict[str, str] = {}
    for name, value in config.thresholds.items():
        where = f"{file} (thresholds.{name})"
        try:
            meant = strategy.threshold_name(name)
        except GateError as error:
            yield Problem.of(error, where=where)
        else:
            if meant in pinned:
                yield Problem(where, f"{pinned[meant]!r} states the same threshold", "state it once")
            pinned[meant] = name
        if isinstance(value, dict) and sheet is not None:
            yield from (
                Problem(where, f"there is no sample {sample!r}", did_you_mean(sample, sheet))
                for sample in value
                if sample not in sheet
            )
