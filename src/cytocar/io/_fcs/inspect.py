"""What an FCS file holds, and its unusual features, as text."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from cytocar._core import keys
from cytocar.io._fcs.data import blocks
from cytocar.io._fcs.header import FcsHeader, read_header, truncated
from cytocar.io._fcs.judge import value_doubts
from cytocar.io._fcs.read import STATE_KEYWORD, looks_transformed
from cytocar.panel.bead_kits import BEAD_KITS
from cytocar.panel.roles import MASS_ROLES

if TYPE_CHECKING:
    import pandas as pd

# The kit whose channels are named where there are none.
_USUAL_KIT: Final = "EQ4"
_GAUSSIAN: Final = ("center", "offset", "width", "residual")


@dataclass(frozen=True, eq=False)
class FileReport:
    """What `inspect_file` returns.

    Parameters
    ----------
    path
        The file.
    version
        FCS version.
    instrument
        `$CYT`, empty where the file has none.
    date
        `$DATE` as written, empty where the file has none.
    events
        Number of events.
    data_sets
        Number of data sets in the file.
    channels
        One row per channel: `number` (1-based), `channel` ($PnN), `long_name` ($PnS), `marker`, `metal`, `mass` (0
        without), `role`, `type` (number type and bits), `range` ($PnR), and `min`, `max` of the values (NaN where
        not read).
    oddities
        Unusual features of the file, one sentence each.
    """

    path: Path
    version: str
    instrument: str
    date: str
    events: int
    data_sets: int
    channels: pd.DataFrame
    oddities: list[str]

    def facts(self) -> list[tuple[str, str]]:
        """Return what is there besides channels and unusual features, as names and texts."""
        sets = [] if self.data_sets == 1 else [("data sets", str(self.data_sets))]
        return [
            ("FCS version", self.version),
            ("instrument", self.instrument or "not stated"),
            ("date", self.date or "not stated"),
            ("events", str(self.events)),
            *sets,
        ]


def inspect_file(path: str | os.PathLike[str], *, data_set: int = 0, values: bool = True) -> FileReport:
    """Say what an FCS file holds and what its unusual features are; nothing is changed.

    Parameters
    ----------
    path
        An FCS file.
    data_set
        Which data set of a file with several, from 0.
    values
        Read the events too, for the smallest and largest value of each channel and the unusual features of the values.

    Returns
    -------
    Version, instrument, date, number of events, a table of channels, and the unusual features. A truncated file is
    described from its header, and `oddities` says what is missing.

    Raises
    ------
    FcsError
        The file is not FCS, damaged, or contradicts itself.

    Examples
    --------
    >>> import numpy as np, tempfile, pathlib
    >>> from cytocar.io._fcs.write import write_events
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "a.fcs"
    >>> write_events(file, np.ones((3, 1)), [("Yb171Di", "171Yb_CD3")], {"$CYT": "Helios"})
    >>> report = inspect_file(file)
    >>> report.version, report.events, list(report.channels["marker"]), report.oddities[0]
    ('3.1', 3, ['CD3'], 'there is no Time channel')
    """
    import pandas as pd

    from cytocar.panel import Panel

    header = read_header(path, data_set=data_set, allow_truncated=True)
    frame = Panel.from_channels(header.names, instrument=header.keywords.get("$CYT", "")).frame
    metals = [str(metal) for metal in frame["metal"]]
    masses = [int(mass) if metal else 0 for metal, mass in zip(metals, frame["mass"], strict=True)]
    roles = [str(role) for role in frame[keys.ROLE]]
    oddities = _header_oddities(header)
    oddities += _channel_oddities(header, metals, masses, roles)
    low = high = np.full(len(roles), np.nan)
    if values and header.n_events and not header.missing_bytes:
        survey = _survey(header, roles)
        low, high = survey.low, survey.high
        oddities += value_doubts(header)
        measured = np.array([role in MASS_ROLES for role in roles])
        oddities += _value_oddities(header, survey, measured)
    channels = pd.DataFrame(
        {
            "number": np.arange(1, len(roles) + 1),
            "channel": [channel.pnn for channel in header.channels],
            "long_name": [channel.pns for channel in header.channels],
            "marker": list(frame["marker"]),
            "metal": metals,
            "mass": masses,
            keys.ROLE: roles,
            "type": [f"{channel.datatype}{channel.bits or ''}" for channel in header.channels],
            "range": [channel.range for channel in header.channels],
            "min": low,
            "max": high,
        }
    )
    return FileReport(
        path=header.path,
        version=header.version,
        instrument=header.keywords.get("$CYT", "").strip(),
        date=header.keywords.get("$DATE", "").strip(),
        events=header.n_events,
        data_sets=header.n_data_sets,
        channels=channels,
        oddities=oddities,
    )


def _header_oddities(header: FcsHeader) -> list[str]:
    features = list(header.tolerances)
    if header.missing_bytes:
        cut = truncated(header)
        features.append(f"{cut.what}; {cut.fix}")
    if header.n_data_sets > 1:
        features.append(
            f"the file has {header.n_data_sets} data sets; this is number {header.data_set}, counted from 0"
        )
    if not header.n_events:
        features.append("the file has no events")
    if not header.keywords.get("$CYT", "").strip():
        features.append("$CYT is missing: the file does not say what instrument it is from")
    names = [channel.pnn for channel in header.channels]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        features.append(f"$PnN is there more than once: {', '.join(repeated)}")
    if header.keywords.get(STATE_KEYWORD) == "arcsinh":
        features.append("cytocar wrote arcsinh values into this file, no counts")
    amplified = [
        channel.pnn
        for n, channel in enumerate(header.channels, 1)
        if channel.datatype == "I" and not header.keywords.get(f"$P{n}E", "0").strip().startswith("0")
    ]
    if amplified:
        features.append(f"log-amplified channels are read as stored, not linearised: {_some(amplified)}")
    return features


def _channel_oddities(
    header: FcsHeader, metals: Sequence[str], masses: Sequence[int], roles: Sequence[str]
) -> list[str]:
    features = [] if "time" in roles else ["there is no Time channel"]
    if not any(masses):
        return [*features, *_names_only(roles)]
    features += _without_long_name(header, masses)
    if "dna" not in roles:
        features.append(
            "there is no DNA channel (191Ir, 193Ir): the events were cleaned before, or doublets stay"
        )
    if "bead" not in roles:
        features += _missing_beads(set(zip(masses, metals, strict=True)))
    if "event_length" not in roles:
        features.append("there is no Event_length channel")
    present = {channel.pnn.casefold() for channel in header.channels}
    absent = [name.capitalize() for name in _GAUSSIAN if name not in present]
    if absent:
        features.append(f"Gaussian parameters are missing: {', '.join(absent)}")
    appended = [channel.pnn for channel, role in zip(header.channels, roles, strict=True) if role == "none"]
    if appended:
        features.append(
            f"columns without mass that no instrument writes, so appended by software: {_some(appended)}"
        )
    return features


def _names_only(roles: Sequence[str]) -> list[str]:
    """Say what a file without isotopes in its names is."""
    if not any(role in MASS_ROLES for role in roles):
        return ["no channel has a mass: this is not mass cytometry"]
    names = "$PnN hold antigens and no isotopes: by $CYT or the other channels this is mass cytometry"
    without = (
        []
        if "dna" in roles
        else ["there is no DNA channel: the events were cleaned before, or doublets stay"]
    )
    return [f"{names}, whose metals are not known", *without]


def _without_long_name(header: FcsHeader, masses: Sequence[int]) -> list[str]:
    of_masses = zip(header.channels, masses, strict=True)
    unnamed = [channel.pnn for channel, mass in of_masses if mass and not channel.pns]
    return [f"$PnS is missing in {_some(unnamed)}"] if unnamed else []


def _missing_beads(isotopes: set[tuple[int, str]]) -> list[str]:
    if any(isotopes >= kit.items() for kit in BEAD_KITS.values()):
        return []
    missing = ", ".join(
        f"{mass}{metal}" for mass, metal in BEAD_KITS[_USUAL_KIT].items() if (mass, metal) not in isotopes
    )
    return [
        f"bead channels are missing ({missing} of {_USUAL_KIT}): the signal cannot be normalised to beads"
    ]


@dataclass(eq=False)
class _Survey:
    """What one pass over the events gave, per channel."""

    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    not_finite: npt.NDArray[np.int64]
    randomised: npt.NDArray[np.int64]
    backwards: int


def _survey(header: FcsHeader, roles: Sequence[str]) -> _Survey:
    width = len(header.channels)
    survey = _Survey(
        low=np.full(width, np.inf),
        high=np.full(width, -np.inf),
        not_finite=np.zeros(width, np.int64),
        randomised=np.zeros(width, np.int64),
        backwards=0,
    )
    time = list(roles).index("time") if "time" in roles else None
    last = -np.inf
    for _, block in blocks(header):
        finite = np.isfinite(block)
        survey.not_finite += np.count_nonzero(~finite, axis=0)
        survey.low = np.minimum(survey.low, block.min(axis=0, where=finite, initial=np.inf))
        survey.high = np.maximum(survey.high, block.max(axis=0, where=finite, initial=-np.inf))
        survey.randomised += np.count_nonzero((block > -1) & (block < 0), axis=0)
        if time is not None:
            times = np.concatenate([[last], block[:, time]])
            survey.backwards += int(np.count_nonzero(times[1:] < times[:-1]))
            last = float(block[-1, time])
    nothing = survey.low > survey.high
    survey.low[nothing] = survey.high[nothing] = np.nan
    return survey


def _value_oddities(header: FcsHeader, survey: _Survey, has_mass: npt.NDArray[np.bool_]) -> list[str]:
    names = np.array([channel.pnn for channel in header.channels], dtype=object)
    features = []
    if survey.not_finite.any():
        bad = _some(list(names[survey.not_finite > 0]))
        features.append(f"{int(survey.not_finite.sum())} values are NaN or infinite, in {bad}")
    if survey.backwards:
        features.append(
            f"Time runs backwards {survey.backwards} times: files were joined, or events were sorted"
        )
    if not has_mass.any():
        return features
    low, high = survey.low[has_mass], survey.high[has_mass]
    if survey.randomised[has_mass].any() and np.fmin.reduce(low) > -1:
        share = survey.randomised[has_mass].sum() / (header.n_events * int(has_mass.sum()))
        features.append(
            f"{share:.1%} of the counts lie between -1 and 0: whole counts were spread at random below themselves"
        )
    below = names[has_mass][low <= -1]
    if len(below):
        features.append(f"values at or below -1 in {_some(list(below))}: compensated or transformed before")
    empty = names[has_mass][(low == 0) & (high == 0)]
    if len(empty):
        features.append(f"all values are 0 in {_some(list(empty))}")
    if said := looks_transformed(high, n_events=header.n_events):
        features.append(said)
    return features


def _some(names: Sequence[str], limit: int = 8) -> str:
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
