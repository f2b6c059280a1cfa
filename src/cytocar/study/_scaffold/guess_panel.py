"""One panel for all files: what they have in common, where they contradict each other, what some of them lack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from cytocar._core import keys
from cytocar.panel import Panel
from cytocar.panel.antigens import same_antigen
from cytocar.panel.names import Isotope, channel_isotope, marker_key, marker_name, unnamed

Names = tuple[str, str]

# Stands for $CYT of files that are known to be mass cytometry.
_MASS_CYTOMETER: Final = "CyTOF"


@dataclass
class _Channel:
    """A mass channel in all files: how each file spells it, and which columns it is in."""

    spellings: Counter[Names] = field(default_factory=Counter)
    markers: dict[str, list[str]] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class GuessedPanel:
    """The panel of the channels that all files have, those that only some have, and what is worth knowing."""

    panel: Panel
    partial: list[tuple[Panel, str]]
    notes: list[str]


def guess_panel(files: Sequence[tuple[str, Sequence[Names]]]) -> GuessedPanel:
    """Guess one panel from the channels of several files.

    Parameters
    ----------
    files
        The name of each file, and ``($PnN, $PnS)`` of its channels.

    Returns
    -------
    The panel, in the order of the first file that has a channel.
    """
    if all(_has_names_only(names) for _, names in files):
        return _of_names_only(files)
    channels = _collect(files)
    notes: list[str] = []
    common: list[Names] = []
    partial: list[tuple[Panel, str]] = []
    spelled = {isotope: _representative(isotope, channel, notes) for isotope, channel in channels.items()}
    for isotope, channel in channels.items():
        name = spelled[isotope]
        if len(set(channel.files)) == len(files):
            common.append(name)
            continue
        without = [file for file, _ in files if file not in channel.files]
        text = f"not in {_some(without)}"
        # Its role may depend on the other channels, and its name has to differ from theirs.
        beside = [other for key, other in spelled.items() if key != isotope]
        partial.append((Panel(Panel.from_channels([name, *beside]).frame.iloc[[0]]), text))
        called = marker_name(*name)
        notes.append(f"channel {isotope.channel} ({called}) is {text}: it is a comment in panel.csv")
    panel = Panel.from_channels([*common, *_without_mass(files)])
    return GuessedPanel(panel, partial, notes + _remarks(panel))


def _has_names_only(names: Sequence[Names]) -> bool:
    frame = Panel.from_channels(names, instrument=_MASS_CYTOMETER).frame
    return bool(((frame[keys.ROLE] == "marker") & (frame[keys.METAL] == "")).any())


def _of_names_only(files: Sequence[tuple[str, Sequence[Names]]]) -> GuessedPanel:
    """Return the panel of mass cytometry whose names hold antigens and no isotopes: what every file has, by name."""
    spelled: dict[str, Names] = {}
    lists = [{marker_key(pnn): (pnn, pns) for pnn, pns in names} for _, names in files]
    for by_key in lists:
        spelled |= {key: names for key, names in by_key.items() if key not in spelled}
    common = [names for key, names in spelled.items() if all(key in by_key for by_key in lists)]
    missing = {
        key: [file for (file, _), by_key in zip(files, lists, strict=True) if key not in by_key]
        for key in spelled
    }
    notes = ["$PnN hold antigens and no isotopes: channels are found by name, and metals are not known"]
    panel = Panel.from_channels(common, instrument=_MASS_CYTOMETER)
    partial = [
        (Panel.from_channels([spelled[key]], instrument=_MASS_CYTOMETER), f"not in {_some(without)}")
        for key, without in missing.items()
        if without
    ]
    notes += [
        f"channel {other.frame[keys.CHANNEL].iloc[0]} is {text}: it is a comment in panel.csv"
        for other, text in partial
    ]
    return GuessedPanel(panel, partial, notes)


def _collect(files: Sequence[tuple[str, Sequence[Names]]]) -> dict[Isotope, _Channel]:
    channels: dict[Isotope, _Channel] = {}
    for file, names in files:
        for pnn, pns in names:
            isotope = channel_isotope(pnn, pns)
            if isotope is None:
                continue
            channel = channels.setdefault(isotope, _Channel())
            channel.spellings[pnn.strip(), pns.strip()] += 1
            channel.files.append(file)
            marker = marker_name(pnn, pns)
            if marker != unnamed(isotope):
                channel.markers.setdefault(marker, []).append(file)
    # One mass under two elements (Ce142, Nd142) is one channel if no file has both.
    for mass in {isotope.mass for isotope in channels}:
        same = [isotope for isotope in channels if isotope.mass == mass and isotope.span is None]
        same.sort(key=lambda isotope: -len(channels[isotope].files))
        for other in same[1:]:
            if set(channels[same[0]].files) & set(channels[other].files):
                continue
            gone = channels.pop(other)
            kept = channels[same[0]]
            kept.spellings += gone.spellings
            kept.files += gone.files
            for marker, names_of in gone.markers.items():
                kept.markers.setdefault(marker, []).extend(names_of)
    return channels


def _representative(isotope: Isotope, channel: _Channel, notes: list[str]) -> Names:
    """Return the commonest spelling that says what the commonest marker is; tell other antigens."""
    if not channel.markers:
        return _of_isotope(isotope, channel.spellings)
    by_count = sorted(channel.markers, key=lambda marker: -len(channel.markers[marker]))
    first = by_count[0]
    others = [marker for marker in by_count[1:] if not same_antigen(first, marker)]
    if others:
        spelled = "; ".join(f"{marker!r} in {_some(channel.markers[marker])}" for marker in by_count)
        notes.append(f"channel {isotope.channel} is {spelled}: panel.csv says {first!r}")
    fitting: Counter[Names] = Counter(
        {names: count for names, count in channel.spellings.items() if marker_name(*names) == first}
    )
    return _of_isotope(isotope, fitting)


def _of_isotope(isotope: Isotope, spellings: Counter[Names]) -> Names:
    own = [names for names, _ in spellings.most_common() if channel_isotope(*names) == isotope]
    return own[0] if own else (isotope.channel, marker_name(*spellings.most_common(1)[0][0]))


def _without_mass(files: Sequence[tuple[str, Sequence[Names]]]) -> list[Names]:
    """Return time, event length and pulse shape, as far as every file has them."""
    by_key: dict[str, tuple[Names, int]] = {}
    for _, names in files:
        frame = Panel.from_channels(names).frame
        for number, role in enumerate(frame[keys.ROLE]):
            if role in ("time", "event_length", "gaussian"):
                pnn, pns = names[number]
                key = role if role != "gaussian" else marker_key(pnn)
                first, count = by_key.get(key, ((pnn, pns), 0))
                by_key[key] = (first, count + 1)
    return [names for names, count in by_key.values() if count == len(files)]


def _remarks(panel: Panel) -> list[str]:
    """Say which channel may be what the panel seems to lack."""
    frame = panel.frame
    if "viability" in set(frame[keys.ROLE]):
        return []
    platinum = frame[(frame[keys.METAL] == "Pt") & (frame[keys.ROLE] == "background")]
    if platinum.empty:
        return []
    names = ", ".join(platinum[keys.CHANNEL])
    return [f"no channel is named as viability: if {names} is cisplatin, give it that role in panel.csv"]


def _some(names: Sequence[str]) -> str:
    names = list(dict.fromkeys(names))
    if len(names) <= 3:
        return ", ".join(names)
    return f"{', '.join(names[:2])} and {len(names) - 2} more files"
