"""What a run of a study will do and what it will not, in one line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cytocar._core import keys
from cytocar._core.ordering import timepoint_order
from cytocar._core.population_words import words_for
from cytocar._core.vocabulary import CONTROL_ROLE, PATIENT_ROLE
from cytocar.panel.antigens import same_antigen
from cytocar.panel.bead_kits import BEAD_KITS, FEWEST_BEAD_CHANNELS
from cytocar.panel.car_reagents import car_reagents

if TYPE_CHECKING:
    import pandas as pd

    from cytocar.gate import Strategy
    from cytocar.io import StudyConfig
    from cytocar.panel import Panel

_STEPS = ("CD45", "CD11b", "CD11c", "CD66b", "CD19", "CD14", "CD7")


@dataclass(frozen=True)
class Plan:
    """What will be done, what will not, and the CAR channels that nothing will be made of.

    Parameters
    ----------
    done, left
        Clauses.
    unused
        Markers that show a CAR in a study that is not gated for one.
    """

    done: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()

    def __str__(self) -> str:
        done = f"will be done: {'; '.join(self.done)}"
        return f"{done}. Will not be done: {'; '.join(self.left)}." if self.left else f"{done}."

    @property
    def verdict(self) -> str:
        """What a check that found no problems ends with."""
        if not self.unused:
            return "no problems found"
        return (
            f"can be run, but {', '.join(self.unused)} shows a CAR and is not used: the study is not gated for it "
            "(gating in study.yaml; 'cytocar init' writes gates for a panel as gating.yaml)"
        )


def plan_of(panel: Panel, samples: pd.DataFrame, config: StudyConfig, strategy: Strategy) -> Plan:
    """Return what a run of a study without problems will do."""
    reagents = [each.marker for each in car_reagents(panel.markers) if each.certain]
    gated = keys.CAR in strategy.compartments
    patients = samples[samples[keys.ROLE] == PATIENT_ROLE]
    several = len(timepoint_order(patients)) > 1
    done = [*_counted(strategy, panel, samples), *_clustered(config)]
    left = [*_beads_not_found(panel, config), *_not_gated(panel, strategy)]
    if several:
        done.append("timepoints compared")
    else:
        left.append("timepoints compared (there is one)")
    return Plan(tuple(done), tuple(left), () if gated else tuple(reagents))


def _counted(strategy: Strategy, panel: Panel, samples: pd.DataFrame) -> Iterator[str]:
    controls = int((samples[keys.ROLE] == CONTROL_ROLE).sum())
    tubes = _number(int((samples[keys.ROLE] == PATIENT_ROLE).sum()), "sample")
    tubes += f", {_number(controls, 'negative control')}" if controls else ""
    if keys.CAR not in strategy.compartments:
        yield f"all {strategy.for_run().compartments.get(keys.CELLS, 'cells')} of {tubes}"
        return
    words = words_for(strategy.compartments, strategy.denominator)
    by = "".join(f" by {text}" for text in _car_markers(strategy, panel))
    among = f"{words.car_cells}{by} counted among {words.denominator_cells}"
    yield f"{among}, beside {words.host_cells} ({tubes})"
    if strategy.subsets:
        yield f"subsets {', '.join(strategy.subsets)}"


def _beads_not_found(panel: Panel, config: StudyConfig) -> Iterator[str]:
    """Say that beads stay in, where channels are named as those of beads and their masses tell no kit."""
    named = [str(name) for name in panel.frame.loc[panel.frame[keys.ROLE] == "bead", keys.MARKER]]
    masses = set(panel.frame[keys.MASS].dropna().astype(int))
    if (
        config.beads != "auto"
        or not named
        or any(len(masses & set(kit)) >= FEWEST_BEAD_CHANNELS for kit in BEAD_KITS.values())
    ):
        return
    yield (
        f"beads found and signals normalised to them ({', '.join(named)} is there, but the panel does not say which "
        "other channels the metals of the beads are in: name all bead channels as beads in study.yaml)"
    )


def _number(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def _car_markers(strategy: Strategy, panel: Panel) -> Iterator[str]:
    """Walk through the markers above whose thresholds the cells with a CAR are; none where gates are shapes."""
    thresholds = getattr(strategy, "thresholds", {})
    for name in strategy.thresholds_above(strategy.compartments[keys.CAR]):
        if (threshold := thresholds.get(name)) is not None:
            marker = next(iter(panel.candidates(*threshold.markers)), threshold.marker)
            rules = ", else ".join(rule.kind for rule in threshold.rules())
            yield f"{marker} (threshold: {'stated' if threshold.value is not None or not rules else rules})"


def _clustered(config: StudyConfig) -> Iterator[str]:
    if config.clustering.method != "off":
        yield "clusters"
    if config.embedding != "off":
        yield "maps"


def _not_gated(panel: Panel, strategy: Strategy) -> Iterator[str]:
    """Say what the gates leave out that those for CAR-T cells have."""
    if keys.CAR not in strategy.compartments:
        shown = [each.marker for each in car_reagents(panel.markers)]
        why = f"gating is off, and {', '.join(shown)} may show one" if shown else "no marker shows one"
        yield f"cells with a CAR counted ({why})"
        return
    if not strategy.subsets:
        yield "subsets"
    thresholds = getattr(strategy, "thresholds", {})
    if thresholds and not any(same_antigen("CD3", each.marker) for each in thresholds.values()):
        yield "restriction to T cells (no CD3)"
    # Steps of the strategy for CAR-T cells that this panel cannot take.
    lacks = [name for name in _STEPS if not panel.candidates(name)] if thresholds else []
    if lacks:
        yield f"gates on {', '.join(lacks)} (not in the panel)"
