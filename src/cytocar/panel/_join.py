"""Several panels of one study: each in the words of the first, and all of them as one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cytocar._core import keys
from cytocar.panel.antigens import marker_index
from cytocar.panel.names import marker_key

if TYPE_CHECKING:
    from cytocar.panel._panel import Panel

_OF_THE_STUDY = (keys.MARKER, keys.MARKER_CLASS, keys.CLUSTERING, keys.COFACTOR)


@dataclass(frozen=True)
class JoinedPanels:
    """The panels of a study.

    Parameters
    ----------
    panel
        The first, and the markers that only others have.
    own
        The others, with markers called as the first calls them, its classes and its cofactors.
    notes
        What the others say otherwise, and what they share.
    """

    panel: Panel
    own: tuple[Panel, ...] = ()
    notes: tuple[str, ...] = ()


def join_panels(first: Panel, others: Sequence[Panel]) -> JoinedPanels:
    """Bring panels to the words of the first, by the names of antigens.

    Examples
    --------
    >>> from cytocar.panel import Panel
    >>> first = Panel.from_channels([("Yb171Di", "CD3"), ("Lu175Di", "PD-1")])
    >>> other = Panel.from_channels([("Y89Di", "CD279"), ("Nd142Di", "CD19")])
    >>> joined = join_panels(first, [other])
    >>> joined.panel.markers, joined.own[0].markers
    (('CD3', 'PD-1', 'CD19'), ('PD-1', 'CD19'))
    """
    panel, own, notes = first, [], []
    for other in others:
        renamed, remarks = _in_the_words_of(panel, other)
        own.append(renamed)
        notes += [f"panel {other.name}: {remark}" for remark in remarks]
        panel = _with_markers_of(panel, renamed)
    return JoinedPanels(panel, tuple(own), tuple(notes))


def _in_the_words_of(panel: Panel, other: Panel) -> tuple[Panel, list[str]]:
    import pandas as pd

    known = {str(row[keys.MARKER]): row for row in panel.frame[panel.has_mass].to_dict("records")}
    index = marker_index(list(known))
    rows: list[dict[str, Any]] = []
    called: dict[str, str] = {}
    differ: list[str] = []
    cofactors: list[str] = []
    for row, has_mass in zip(other.frame.to_dict("records"), other.has_mass, strict=True):
        rows.append({str(key): value for key, value in row.items()})
        name = str(row[keys.MARKER])
        fits = index.find(name) if has_mass else ()
        if len(fits) != 1 or fits[0] in called.values() or known[fits[0]][keys.ROLE] != row[keys.ROLE]:
            continue
        mine = known[fits[0]]
        called[name] = fits[0]
        if row[keys.COFACTOR] != mine[keys.COFACTOR]:
            cofactors.append(fits[0])
        if row[keys.MARKER_CLASS] != mine[keys.MARKER_CLASS]:
            differ.append(f"{fits[0]} ({row[keys.MARKER_CLASS]})")
        rows[-1] |= {column: mine[column] for column in _OF_THE_STUDY}
    _tell_apart(rows, other.has_mass, called)
    renamed = [f"{name} is {mine}" for name, mine in called.items() if name != mine]
    notes = [f"{', '.join(renamed)} in the study's panel"] if renamed else []
    if differ:
        notes.append(f"classes are those of the study's panel, also of {', '.join(differ)}")
    if cofactors:
        notes.append(f"cofactors are those of the study's panel, also of {', '.join(cofactors)}")
    frame = pd.DataFrame(rows, columns=list(other.frame.columns)).astype(other.frame.dtypes.to_dict())
    return replace(other, frame=frame), notes


def _tell_apart(rows: list[dict[str, Any]], has_mass: Iterable[bool], called: Mapping[str, str]) -> None:
    """Give markers a name of their own, in place, where another row was given theirs: they are another channel."""
    for row, of_mass in zip(rows, has_mass, strict=True):
        name = str(row[keys.MARKER])
        if of_mass and sum(name == one[keys.MARKER] for one in rows) > 1 and name not in called:
            row[keys.MARKER] = f"{name}_{row[keys.CHANNEL]}"


def _with_markers_of(panel: Panel, other: Panel) -> Panel:
    """Return a panel with the markers that only another has, behind its own."""
    import pandas as pd

    mine = {marker_key(str(marker)) for marker in panel.frame[keys.MARKER]}
    new = [
        role == "marker" and marker_key(str(marker)) not in mine
        for role, marker in zip(other.frame[keys.ROLE], other.frame[keys.MARKER], strict=True)
    ]
    if not any(new):
        return panel
    # One channel may stand there twice then, for two markers: files are read by their own panels.
    return replace(panel, frame=pd.concat([panel.frame, other.frame[new]], ignore_index=True))
