"""The keywords of a file that was put together from several."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cytocar._core.version import __version__
from cytocar.io._fcs.concat_sources import Source
from cytocar.io._fcs.deidentify import deidentified
from cytocar.io._fcs.header import FcsHeader
from cytocar.io._fcs.read import STATE_KEYWORD, STEPS_KEYWORD
from cytocar.io._fcs.write import VERSION_KEYWORD

if TYPE_CHECKING:
    import pandas as pd

FILES_KEYWORD: Final = "CYTOCAR_FILES"
# P3OLDNAME follows its channel as $P3V does.
_OLD_NAME: Final = "P{}OLDNAME"
_OLD_LABEL: Final = "P{}OLDLABEL"
_SPILL: Final = ("$SPILLOVER", "$SPILL", "SPILL", "$COMP")
# What the files lost, measured and aborted adds up.
_SUMS: Final = ("$ABRT", "$LOST", "$VOL")
# When the last file ended.
_ENDS: Final = ("$ETIM", "$ENDDATETIME")


def keywords_of(
    sources: Sequence[Source],
    kept: Sequence[int],
    names: Sequence[tuple[str, str]],
    new_names: Sequence[tuple[str, str]],
    out: Path,
    table: pd.DataFrame,
    *,
    deidentify: bool,
) -> dict[str, str]:
    """Return the keywords of the first file with what changed, and where the events are from."""
    first = dict(sources[0].header.keywords)
    for key in _SUMS:
        _set(first, key, _sum([source.header.keywords.get(key) for source in sources]))
    for key in _ENDS:
        _set(first, key, sources[-1].header.keywords.get(key))
    first["$FIL"] = out.name
    if deidentify:
        first = deidentified(first)
    changed = {old[0]: new[0] for old, new in zip(names, new_names, strict=True) if old[0] != new[0]}
    first |= _renamed_spill(first, changed)
    for column, old, new in zip(kept, names, new_names, strict=True):
        # By its new name in the keywords a channel keeps its $PnV and the like; by number it may move.
        first[f"$P{column + 1}N"] = new[0]
        for form, was, now in ((_OLD_NAME, old[0], new[0]), (_OLD_LABEL, old[1], new[1])):
            if was != now:
                first[form.format(column + 1)] = was
    files = []
    for source, row in zip(sources, table.to_dict("records"), strict=True):
        spelled = [source.header.names[column] for column in source.columns]
        files.append(_of_file(source, row, spelled, new_names, deidentify=deidentify))
    first[FILES_KEYWORD] = json.dumps(files, ensure_ascii=False)
    first[STEPS_KEYWORD] = json.dumps(_history(sources, files, deidentify=deidentify))
    first[VERSION_KEYWORD] = __version__
    _set(first, STATE_KEYWORD, sources[0].header.keywords.get(STATE_KEYWORD))
    return first


def _set(keywords: dict[str, str], key: str, value: str | None) -> None:
    """Set a keyword, or remove it where there is no value."""
    if value is None:
        keywords.pop(key, None)
    else:
        keywords[key] = value


def _renamed_spill(keywords: Mapping[str, str], changed: Mapping[str, str]) -> dict[str, str]:
    """Return the spillover keywords with the new names of their channels."""
    return {
        key: ",".join(changed.get(item.strip(), item) for item in keywords[key].split(","))
        for key in _SPILL
        if key in keywords
    }


def _sum(values: Sequence[str | None]) -> str | None:
    """Return the sum as text, None where a file does not state its own."""
    total = 0.0
    for value in values:
        try:
            total += float(value or "")
        except ValueError:
            return None
    return f"{total:.15g}"


def _of_file(
    source: Source,
    row: dict[Any, Any],
    spelled: Sequence[tuple[str, str]],
    new_names: Sequence[tuple[str, str]],
    *,
    deidentify: bool,
) -> dict[str, Any]:
    shift = row["time_shift"]
    entry: dict[str, Any] = {
        "number": int(row["number"]),
        "events": int(row["events"]),
        "time_shift": None if np.isnan(shift) else float(shift),
        "time_by": row["time_by"],
        "channels": {
            new[0]: list(old) for old, new in zip(spelled, new_names, strict=True) if tuple(old) != tuple(new)
        },
    }
    if not deidentify:
        entry["file"] = source.name
        entry["keywords"] = {
            key: source.header.keywords[key]
            for key in ("$FIL", "$DATE", "$BTIM", "$ETIM", "$SMNO", "$SRC", "$TOT")
            if key in source.header.keywords
        }
    return entry


def _history(
    sources: Sequence[Source], files: Sequence[dict[str, Any]], *, deidentify: bool
) -> list[dict[str, Any]]:
    """Return the steps that all files have in common, and concatenation with those of each file."""
    histories = [_steps(source.header) for source in sources]
    settings: dict[str, Any] = {"files": len(files)}
    if deidentify:
        histories = [[{"step": str(step.get("step", ""))} for step in history] for history in histories]
    else:
        settings = {"files": [entry["file"] for entry in files]}
    names = [[step.get("step") for step in history] for history in histories]
    if all(other == names[0] for other in names):
        return [*histories[0], {"step": "io.concat_fcs", "settings": settings}]
    return [{"step": "io.concat_fcs", "settings": settings | {"steps_before": histories}}]


def _steps(header: FcsHeader) -> list[dict[str, Any]]:
    try:
        history = json.loads(header.keywords.get(STEPS_KEYWORD, "[]"))
    except ValueError:
        return []
    return [step for step in history if isinstance(step, dict)] if isinstance(history, list) else []
