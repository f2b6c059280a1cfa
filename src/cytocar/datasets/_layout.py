"""The channels of the simulated files, in the order in which they are written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np

from cytocar.datasets._design import populations
from cytocar.datasets._spill import spillover

if TYPE_CHECKING:
    from cytocar.panel import Panel

BEFORE: Final = ("Time", "Event_length")
AFTER: Final = ("Center", "Offset", "Width", "Residual")


@dataclass(frozen=True)
class Layout:
    """Where each signal stands among the mass channels.

    Parameters
    ----------
    panel
        The panel of the study.
    channels, names, masses
        ``$PnN``, marker and mass in dalton of the mass channels, by mass.
    markers, dna, platinum
        Rows of the antibodies (in the order of the populations' markers), of Ir191 and Ir193, of Pt194 and Pt195.
    spillover
        (channels, channels): rows emit, columns receive.
    """

    panel: Panel
    channels: tuple[str, ...]
    names: tuple[str, ...]
    masses: np.ndarray
    markers: np.ndarray
    dna: np.ndarray
    platinum: np.ndarray
    spillover: np.ndarray

    def row(self, channel: str) -> int:
        """Return the row of a channel."""
        return self.channels.index(channel)

    def file_channels(self) -> list[tuple[str, str]]:
        """Return ``$PnN`` and ``$PnS`` of all channels of a file, in order."""
        mass_channels = [
            (channel, f"{_tag(channel)}_{name}")
            for channel, name in zip(self.channels, self.names, strict=True)
        ]
        return [
            *((name, name) for name in BEFORE),
            *mass_channels,
            *((name, name) for name in AFTER),
        ]


def _tag(channel: str) -> str:
    """Return ``171Yb`` for ``Yb171Di``."""
    found = re.fullmatch(r"([A-Z][a-z]?)([0-9]+)Di", channel)
    return f"{found[2]}{found[1]}" if found else channel


@cache
def layout() -> Layout:
    """Return the channels of the study's panel by mass."""
    from cytocar.panel import Panel

    panel = Panel.read("legend2")
    frame = panel.frame[panel.has_mass].sort_values(["mass", "channel"])
    channels = tuple(str(channel) for channel in frame["channel"])
    names = tuple(str(name) for name in frame["marker"])
    masses = frame["mass"].to_numpy(dtype=np.int64)
    return Layout(
        panel=panel,
        channels=channels,
        names=names,
        masses=masses,
        markers=np.array([names.index(marker) for marker in populations().markers]),
        dna=np.array([channels.index("Ir191Di"), channels.index("Ir193Di")]),
        platinum=np.array([channels.index("Pt194Di"), channels.index("Pt195Di")]),
        spillover=spillover(channels, [int(mass) for mass in masses]).to_numpy(),
    )
