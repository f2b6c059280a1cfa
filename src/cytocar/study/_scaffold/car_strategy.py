"""A gating strategy for one panel: the strategy for CAR-T cells, without the steps whose markers the panel lacks."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from cytocar._core import keys
from cytocar._core.vocabulary import CONTROL_ROLE
from cytocar.gate._populations.parts import Boolean, Plot, Population, Term, Terms
from cytocar.gate._rules.fmo import Fmo
from cytocar.gate._rules.negatives import Negatives
from cytocar.gate._rules.tail import Tail
from cytocar.gate._rules.valley import Valley
from cytocar.gate._strategy.leave_out import leave_out, renamed
from cytocar.panel.car_reagents import CarReagent, car_reagents, reagent_name

if TYPE_CHECKING:
    from cytocar.gate import GateTree
    from cytocar.gate._rules.base import Rule
    from cytocar.gate._strategy.threshold import Threshold
    from cytocar.panel import Panel

CAR_POPULATION: Final = "CAR+"
HOST_POPULATION: Final = "CAR-negative"
"""What the two are called where nothing says that they are T cells."""
NEGATIVE_LINEAGES: Final = "CAR-negative lineages"

# What it means for the result that a step is left out.
_LEFT_OUT: Final = {
    "CD45": "shares are given in per cent of all cells, and what is not a leukocyte stays among them",
    "CD11b": "myeloid cells are kept out by the other steps only",
    "CD11c": "monocytes and dendritic cells are kept out by the other steps only",
    "CD66b": "granulocytes are kept out by the other steps only",
    "CD19": "B cells are kept out by the other steps only",
    "CD14": "monocytes are kept out by the other steps only",
    "CD7": "T cells are those that are CD3+",
    "CD3": "CAR+ is not restricted to T cells: any cell that binds the reagent counts as CAR+, and the cells beside "
    "them are CAR-negative cells, not T cells",
    "CD4": "there are no subsets",
    "CD8a": "there are no subsets",
}
# Without CD3, nothing else keeps the cells of a lineage out.
_NOT_EVEN_CD3: Final = {
    "CD11b": "myeloid cells are not kept out",
    "CD11c": "monocytes and dendritic cells are not kept out",
    "CD66b": "granulocytes are not kept out",
    "CD19": "B cells are not kept out: those that bind the reagent count as CAR+",
    "CD14": "monocytes are not kept out: those that bind the reagent count as CAR+",
    "CD7": "T and NK cells are not told from other cells",
}
# Lineages that are known to have no CAR, by the threshold above which they are.
_LINEAGES: Final = {"CD19": "B cells", "CD14": "Monocytes", "CD66b": "Granulocytes"}
_MYELOID: Final = ("CD14", "CD66b")
_ALSO_ON_T_CELLS: Final = ("CD11b", "CD11c")
"""Activated T cells have them: they tell myeloid cells only beside a marker that says which cells are which."""
# Reagents that bind cells without a CAR: the threshold above which these cells are.
_ALSO_BOUND: Final = {"Protein L": "CD19", "anti-human Fab": "CD19", "tCD19": "CD19", "tCD20": "CD19"}
_RATES: Final = (7e-5, 1e-4, 2e-4, 5e-4, 1e-3)
"""Shares of false positives to choose from: with few cells in the tubes a smaller share is not seen."""


@dataclass(frozen=True)
class Tubes:
    """What the names of the files say of tubes that show where a CAR begins.

    Parameters
    ----------
    controls, before, fmo
        Samples without CAR-T cells, samples from before the infusion, and tubes that lack the CAR reagent.
    fewest
        Events of the smallest file.
    """

    controls: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    fmo: tuple[str, ...] = ()
    fewest: int = 0


@dataclass(frozen=True)
class PanelStrategy:
    """A strategy for one panel, the marker that shows the CAR, and what was decided, in words."""

    tree: GateTree
    reagent: CarReagent
    text: str
    notes: tuple[str, ...]

    @property
    def certain(self) -> bool:
        """Whether the marker is on a panel for no other reason than to show a CAR."""
        return self.reagent.certain


def car_strategy(panel: Panel, tubes: Tubes | None = None) -> PanelStrategy | None:
    """Return the strategy for CAR-T cells as a panel allows it; None where no marker may show a CAR.

    Parameters
    ----------
    panel
        The panel. Its own spelling of markers is written.
    tubes
        What is known of the tubes of the study; it decides how the CAR threshold is found.
    """
    from cytocar import gate

    found = car_reagents(_antibodies(panel))
    if not found:
        return None
    tubes = tubes or Tubes()
    reagent = _best(found)
    whole = gate.car_t()
    car = whole.thresholds_above(whole.compartments[keys.CAR])[0]
    tree = _with_markers(whole, panel, reagent, car)
    missing = [
        name
        for name, threshold in tree.thresholds.items()
        if name not in (car, "CAR") and not _candidates(panel, threshold)
    ]
    bound = _ALSO_BOUND.get(_usual_name(reagent), "") if reagent.kind == "marker_gene" else ""
    gone = dict.fromkeys([*missing, *([bound] if bound in tree.thresholds else [])])
    if set(gone) >= {"CD3", *_MYELOID}:
        gone |= dict.fromkeys(_ALSO_ON_T_CELLS)
    if {"CD4", "CD8a"} & set(gone):
        gone |= dict.fromkeys(("CD4", "CD8a"))
    tree = leave_out(tree, gone, panel=panel.markers)
    if "CD3" in gone:
        names = {tree.compartments[keys.CAR]: CAR_POPULATION, tree.compartments[keys.HOST]: HOST_POPULATION}
        tree = renamed(tree, names)
    rule = whole.thresholds[car].rule
    why: list[str] = []
    if isinstance(rule, Negatives):
        known = replace(
            rule, population=tree.denominator, gate=tuple(t for t in rule.gate if t.threshold not in gone)
        )
        tree, why = _with_car_rule(tree, known, reagent, tubes)
    if tree != whole:
        tree = replace(
            tree, name="car_t_adapted" if gone else "car_t_of_panel", description=_description(tree)
        )
    left_out = {name: _meaning(name, gone, missing, reagent) for name in gone}
    text = _text(whole, tree, reagent, left_out, missing, why)
    notes = [*_ambiguous(whole, panel, car), *_notes(found, reagent, left_out, why)]
    return PanelStrategy(tree, reagent, text, tuple(notes))


def _ambiguous(whole: GateTree, panel: Panel, car: str) -> Iterator[str]:
    for name, threshold in whole.thresholds.items():
        fits = _candidates(panel, threshold)
        if name != car and len(fits) > 1:
            yield f"gating.yaml: {name} may be {' or '.join(fits)}: gated by {fits[0]}; name the other if it is meant"


def _antibodies(panel: Panel) -> list[str]:
    frame = panel.frame
    return [str(name) for name in frame.loc[frame[keys.ROLE] == "marker", keys.MARKER]]


def _best(found: Sequence[CarReagent]) -> CarReagent:
    """Return the reagent to gate by: a certain one, and what binds the CAR itself before a gene beside it."""
    order = ("car", "marker_gene", "tag", "secondary")
    # The name CAR alone says least, but it is the CAR: another reagent beside it may be a second way to see it.
    return min(found, key=lambda each: (not each.certain, order.index(each.kind)))


def _usual_name(reagent: CarReagent) -> str:
    return reagent_name(reagent.marker) or reagent.marker


def _with_markers(whole: GateTree, panel: Panel, reagent: CarReagent, car: str) -> GateTree:
    """Return the strategy with the panel's own names of markers, and with the reagent of the panel as CAR."""
    tree = replace(
        whole,
        thresholds={
            name: _spelled(threshold, panel) for name, threshold in whole.thresholds.items() if name != car
        }
        | {car: whole.thresholds[car]},
        plots=tuple(_plot_spelled(plot, whole, panel) for plot in whole.plots),
    )
    if reagent.marker == whole.thresholds[car].marker:
        return tree
    old, new = tree.thresholds[car], "CAR"

    def called(terms: Terms) -> Terms:
        return Terms(tuple(Term(new, t.positive) if t.threshold == car else t for t in terms.terms))

    return replace(
        tree,
        thresholds={
            new if name == car else name: replace(old, name=new, markers=(reagent.marker,))
            if name == car
            else each
            for name, each in tree.thresholds.items()
        },
        populations=tuple(
            replace(p, gate=called(p.gate)) if isinstance(p.gate, Terms) else p for p in tree.populations
        ),
        plots=tuple(
            replace(plot, x=_swapped(plot.x, old.marker, reagent), y=_swapped(plot.y, old.marker, reagent))
            for plot in tree.plots
        ),
    )


def _swapped(marker: str, old: str, reagent: CarReagent) -> str:
    return reagent.marker if marker == old else marker


def _spelled(threshold: Threshold, panel: Panel) -> Threshold:
    """Return a threshold whose marker is the panel's, where the panel has it under another of its names."""
    own = next(iter(_candidates(panel, threshold)), None)
    found_as_it_is = panel.candidates(*threshold.markers) == (own,) and own in threshold.markers
    return threshold if own is None or found_as_it_is else replace(threshold, markers=(own,))


def _candidates(panel: Panel, threshold: Threshold) -> list[str]:
    """Return the antibodies of a panel that the marker of a threshold may be; a barcode of the same antigen is none."""
    antibodies = set(_antibodies(panel))
    return [marker for marker in panel.candidates(*threshold.markers) if marker in antibodies]


def _plot_spelled(plot: Plot, whole: GateTree, panel: Panel) -> Plot:
    def own(marker: str) -> str:
        threshold = whole.thresholds.get(marker)
        return marker if threshold is None else _spelled(threshold, panel).marker

    return replace(plot, x=own(plot.x), y=own(plot.y))


def _with_car_rule(
    tree: GateTree, rule: Negatives, reagent: CarReagent, tubes: Tubes
) -> tuple[GateTree, list[str]]:
    """Return the strategy with the rule for the CAR threshold that the study allows, and why it is this one."""
    car = tree.thresholds_above(tree.compartments[keys.CAR])[0]
    threshold = tree.thresholds[car]
    why = [_of_controls(tubes)]
    binds = _bound_by(reagent)
    rate = next((rate for rate in _RATES if tubes.fewest and rate * tubes.fewest >= 1.5), _RATES[-1])
    # As few false positives as by control tubes: cells with a CAR are rare, and the usual 0.5 % would be most of them.
    fmo = tuple(Fmo(sample=tube, quantile=round(1 - rate, 5)) for tube in tubes.fmo)
    lineages = [name for name in _LINEAGES if name in tree.thresholds and name not in binds]
    # Cells that bind the reagent, and that no threshold tells from the others, are no known negatives.
    mixed = bool(lineages) and any(name not in tree.thresholds for name in binds)
    if "CD3" in tree.thresholds and not mixed:
        gate = (*rule.gate, *(Term(name, False) for name in binds if name in tree.thresholds))
        rule = replace(rule, gate=gate)
        why.append(
            f"without control tubes, cells of the same tube that are {' '.join(map(str, gate))} show it"
        )
        new = replace(threshold, rule=rule, fallback=fmo)
        tree = replace(tree, thresholds={**tree.thresholds, car: new})
        return tree, [*why, *_of_fmo(tubes)]
    if lineages:
        tree = _with_lineages(tree, lineages)
        named = " or ".join(f"{name}+" for name in lineages)
        why.append(
            f"without control tubes, cells of the same tube that are {named} show it: they have no CAR"
        )
        new = replace(
            threshold,
            rule=replace(rule, population=NEGATIVE_LINEAGES, gate=()),
            fallback=(*fmo, Valley(), Tail()),
        )
        return replace(tree, thresholds={**tree.thresholds, car: new}), [*why, *_of_fmo(tubes)]
    only: Rule = replace(rule.without_cells(), controls="only", false_positive_rate=rate)
    more: tuple[Rule, ...] = (Valley(), Tail())
    rules = (*fmo, only, *more) if fmo and not tubes.controls + tubes.before else (only, *fmo, *more)
    why += [
        f"a share of {rate:g} of their cells may be above it",
        "no lineage of the panel is known to be negative: without control tubes the density of the CAR is all there is",
    ]
    new = replace(threshold, rule=rules[0], fallback=rules[1:])
    return replace(tree, thresholds={**tree.thresholds, car: new}), [*why, *_of_fmo(tubes)]


def _bound_by(reagent: CarReagent) -> list[str]:
    """Return the thresholds above which cells without a CAR bind the reagent."""
    binds = _ALSO_BOUND.get(_usual_name(reagent))
    # Monocytes have receptors for the Fc part of an antigen.
    return [binds] if binds else ["CD14"] if "-Fc" in _usual_name(reagent) else []


def _with_lineages(tree: GateTree, names: Sequence[str]) -> GateTree:
    lineages = [Population(_LINEAGES[name], tree.denominator, Terms((Term(name, True),))) for name in names]
    both = Population(NEGATIVE_LINEAGES, tree.denominator, Boolean(any_of=tuple(p.name for p in lineages)))
    return replace(tree, populations=(*tree.populations, *lineages, both))


def _of_controls(tubes: Tubes) -> str:
    named = [*tubes.controls, *tubes.before]
    if not named:
        return f"tubes of role {CONTROL_ROLE} in samples.csv show where the CAR begins, where there are any"
    parts = [
        f"{what} {_listed(which)}"
        for what, which in (
            ("without CAR-T cells", tubes.controls),
            ("from before the infusion", tubes.before),
        )
        if which
    ]
    return f"tubes of role {CONTROL_ROLE} in samples.csv show where the CAR begins: {', '.join(parts)}"


def _of_fmo(tubes: Tubes) -> list[str]:
    return [f"tubes that lack the reagent show it too: {_listed(tubes.fmo)}"] if tubes.fmo else []


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])} and {len(names) - 3} more"


def _description(tree: GateTree) -> str:
    """Say in a sentence which cells are which."""
    car, host = (tree.population(tree.compartments[name]) for name in (keys.CAR, keys.HOST))
    path = tree.paths()[car.name][:-1]
    above = " ".join(str(tree.population(name).gate) for name in path)
    path_text = above or "all cells"
    return f"{car.name} and {host.name}, as this panel allows: {path_text}, then {car.gate} or {host.gate}."


def _meaning(name: str, gone: Mapping[str, object], missing: Sequence[str], reagent: CarReagent) -> str:
    if name not in missing and name in _ALSO_ON_T_CELLS:
        return (
            f"activated T cells have {name} too, and nothing (CD3, CD14, CD66b) tells them from myeloid cells"
        )
    if name not in missing and name not in ("CD4", "CD8a"):
        return f"cells with the CAR have it too ({reagent.marker}): a cell that is {name}+ is not left out"
    meaning = _LEFT_OUT[name]
    return _NOT_EVEN_CD3.get(name, meaning) if "CD3" in gone else meaning


def _text(
    whole: GateTree,
    tree: GateTree,
    reagent: CarReagent,
    left_out: Mapping[str, str],
    missing: Collection[str],
    why: Sequence[str],
) -> str:
    """Return the strategy as YAML with comments: what was left out and what that means, and why this rule."""
    car = tree.thresholds_above(tree.compartments[keys.CAR])[0]
    lines = [
        "# How CAR-T cells are found with this panel: made by 'cytocar init' from the strategy car_t. Edit it freely.",
        "# A threshold is a number in arcsinh units. `CD3+` is at or above it, `CD3-` below it.",
        f"# The CAR is shown by {reagent.marker}: it {reagent.note}."
        if reagent.note.startswith("binds")
        else f"# The CAR is shown by {reagent.marker}: {reagent.note}.",
    ]
    for line in tree.to_yaml().splitlines():
        if line.startswith(f"  {car}: "):
            lines += [f"  # {sentence[0].upper()}{sentence[1:]}." for sentence in why]
        lines.append(line)
        if line == "populations:":
            for name, meaning in left_out.items():
                steps = [
                    p.name
                    for p in whole.populations
                    if isinstance(p.gate, Terms) and p.gate.terms[0].threshold == name
                ]
                why_gone = f" (no {name} in the panel)" if name in missing else ""
                lines.append(f"  # left out: {steps[0] if steps else name}{why_gone}: {meaning}")
    return "\n".join(lines) + "\n"


def _notes(
    found: Sequence[CarReagent],
    reagent: CarReagent,
    left_out: Mapping[str, str],
    why: Sequence[str],
) -> Iterator[str]:
    yield f"gating.yaml: the CAR is shown by {reagent.marker} ({reagent.note})"
    others = [each.marker for each in found if each is not reagent and each.certain]
    if others:
        yield f"gating.yaml: {', '.join(others)} may show the CAR too and is not gated on"
    by_meaning: dict[str, list[str]] = {}
    for name, meaning in left_out.items():
        by_meaning.setdefault(meaning, []).append(name)
    for meaning, names in by_meaning.items():
        yield f"gating.yaml leaves out {', '.join(names)}: {meaning}"
    yield f"gating.yaml, CAR threshold: {'; '.join(why)}"
