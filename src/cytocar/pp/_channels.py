"""Channels by their role, and the counts in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys, provenance
from cytocar._core.errors import ParameterError, StateError
from cytocar.panel.bead_kits import BEAD_KITS, FEWEST_BEAD_CHANNELS

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray


def technical(adata: AnnData, role: str) -> str | None:
    """Return the column of obs that plays a role such as ``event_length``."""
    from cytocar.panel.roles import guess_role

    for name in adata.obs.columns:
        if guess_role(str(name), str(name), None) == role:
            return str(name)
    return None


def gaussian(adata: AnnData) -> list[str]:
    """Return the columns of obs that hold Gaussian parameters of the ion clouds."""
    from cytocar.panel.roles import guess_role

    return [str(name) for name in adata.obs.columns if guess_role(str(name), str(name), None) == "gaussian"]


def with_role(adata: AnnData, role: str) -> list[int]:
    """Return the columns of X that play a role such as ``dna``."""
    if keys.ROLE not in adata.var:
        raise ParameterError(
            "var has no column 'role', so that DNA, viability and bead channels are unknown",
            fix="read the file with cytocar.io, or set var['role']",
        )
    return [int(i) for i in np.flatnonzero(adata.var[keys.ROLE].to_numpy().astype(str) == role)]


def require_finite_channels(values: Mapping[str, NDArray[np.float32]]) -> None:
    """Raise `ParameterError` with the first value of a channel that is not finite."""
    for name, value in values.items():
        if not np.isfinite(value).all():
            event = int(np.flatnonzero(~np.isfinite(value))[0])
            raise ParameterError(f"{name} is {value[event]} in event {event}", fix="values must be finite")


def strongest(signals: Mapping[str, NDArray[np.float32]], names: Sequence[str]) -> str | None:
    """Return the channel with the highest upper quartile, the isotope that is seen best; `None` without channels."""
    if len(names) < 2 or not signals[names[0]].size:
        return names[0] if names else None
    return max(names, key=lambda name: float(np.percentile(signals[name], 75)))


def bead_sets(adata: AnnData, beads: str | Sequence[str]) -> tuple[list[list[int]], str]:
    """Return the sets of bead channels to try, columns of X, and why there is none."""
    if not isinstance(beads, str):
        return [_named(adata, [str(name) for name in beads])], ""
    if beads == "off":
        return [], "beads are switched off"
    if beads != "auto":
        raise ParameterError(f"beads is {beads!r}", fix="it must be 'auto', 'off' or a list of bead channels")
    sets = _of_kits(adata)
    return sets, "" if sets else "there are no bead channels (EQ4 or EQ6, one of them without an antibody)"


def _named(adata: AnnData, asked: list[str]) -> list[int]:
    """Return the columns of channels or markers that the user names."""
    from cytocar.panel.antigens import marker_positions

    if not asked:
        raise ParameterError("the list of bead channels is empty", fix="name them, or pass 'auto' or 'off'")
    names = [str(name) for name in adata.var_names]
    channels = adata.var[keys.CHANNEL].astype(str) if keys.CHANNEL in adata.var else ()
    columns = {name: column for column, name in enumerate(channels) if name in asked}
    markers = [name for name in asked if name not in columns]
    positions = marker_positions(markers, names, what="channel")
    columns |= dict(zip(markers, positions, strict=True))
    return sorted({columns[name] for name in asked})


def _of_kits(adata: AnnData) -> list[list[int]]:
    """Return the columns of each kit of which enough channels are there, and one of them without an antibody."""
    if keys.MASS not in adata.var:
        raise ParameterError(
            "var has no column 'mass', so that bead channels are unknown", fix="name them, or pass 'off'"
        )
    masses = adata.var[keys.MASS].to_numpy()
    antibody = set(with_role(adata, "marker"))
    sets = []
    for kit in BEAD_KITS.values():
        of_kit = [np.flatnonzero(masses == mass) for mass in kit]
        columns = [int(at[0]) for at in of_kit if at.size]
        if len(columns) >= FEWEST_BEAD_CHANNELS and set(columns) - antibody:
            sets.append(columns)
    return sets


def _dense(values: Any) -> NDArray[np.float32]:
    if hasattr(values, "toarray"):
        values = values.toarray()
    return np.asarray(values, dtype=np.float32)


def counts_in_x(adata: AnnData) -> NDArray[np.float32]:
    """Return X as a dense float32 matrix, without a copy where it is one already."""
    if adata.X is None:
        raise StateError("this AnnData has no X", fix="read the file with cytocar.io")
    return _dense(adata.X)


def counts_of(adata: AnnData, step: str) -> NDArray[np.float32]:
    """Return the counts, from X or from the layer that keeps them, without a copy where possible."""
    if provenance.state(adata) == keys.STATE_COUNTS:
        return counts_in_x(adata)
    if keys.COUNTS not in adata.layers:
        raise StateError(
            f"{step} needs counts, but X holds arcsinh values and layers['counts'] is not there",
            fix="read the file again",
        )
    return _dense(adata.layers[keys.COUNTS])
