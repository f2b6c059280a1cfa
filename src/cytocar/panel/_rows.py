"""The rows of a panel file: checked, completed, every problem collected."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from cytocar._core import keys
from cytocar._core.errors import Problem, did_you_mean
from cytocar._core.hand_tables import Row, Table, load_table
from cytocar.panel.names import ISOTOPES, NOT_ELEMENTS, Isotope, marker_key, parse_isotope
from cytocar.panel.roles import CLASSES, MASS_ROLES, ROLES, guess_class, guess_role

ALIASES: Final = {
    "fcs_colname": keys.CHANNEL,
    "channel_name": keys.CHANNEL,
    "antigen": keys.MARKER,
    "marker_name": keys.MARKER,
    "class": keys.MARKER_CLASS,
    "use_for_clustering": keys.CLUSTERING,
}
_YES_NO: Final = {
    "1": True,
    "1.0": True,
    "true": True,
    "yes": True,
    "0": False,
    "0.0": False,
    "false": False,
    "no": False,
}


def load_rows(path: str | os.PathLike[str], *, cofactor: float) -> tuple[list[dict[str, Any]], list[Problem]]:
    """Read the rows of a panel file; what a row does not say is derived from its names."""
    path = Path(path)
    table, problems = load_table(path, aliases=ALIASES)
    if table is None:
        return [], problems
    for column in (keys.CHANNEL, keys.MARKER):
        if column not in table.columns:
            others = [name for name in table.columns if name]
            known = [column, *(alias for alias, name in ALIASES.items() if name == column)]
            problems.append(
                Problem(
                    str(path),
                    f"has no column {column!r}; its columns are {', '.join(others)}",
                    f"name one of them {' or '.join(known)}",
                )
            )
    if problems:
        return [], problems
    rows = [_complete(path, table, row, cofactor, problems) for row in table.rows]
    problems += _duplicates(path, table.rows, rows)
    return rows, problems


def _complete(path: Path, table: Table, row: Row, cofactor: float, problems: list[Problem]) -> dict[str, Any]:
    """Return one row with all columns; append what is wrong with it to `problems`."""
    where = f"{path}, line {row.line}"
    channel, marker = row.get(keys.CHANNEL), row.get(keys.MARKER)
    if not channel:
        problems.append(
            Problem(where, f"channel of marker {marker!r} is empty", "give $PnN, such as Yb171Di")
        )
    if not marker:
        problems.append(
            Problem(where, f"marker of channel {channel!r} is empty", "give a name, or remove the row")
        )
    if "/" in marker:
        problems.append(
            Problem(
                where, f"marker {marker!r} has a slash", "write an underscore: files cannot hold the name"
            )
        )
    isotope = _row_isotope(where, row, channel, problems)
    role = _one_of(where, row, keys.ROLE, ROLES, problems) or guess_role(channel, marker, isotope)
    if isotope is None and channel and (role in MASS_ROLES or (role == "none" and not row.get(keys.ROLE))):
        problems.append(
            Problem(
                where,
                f"channel {channel!r} ({marker}) names no isotope",
                "write it as the file does, such as Yb171Di, (Yb171)Dd or 171Yb, or give the columns metal and mass",
            )
        )
    if isotope is not None and role not in MASS_ROLES:
        problems.append(
            Problem(
                where,
                f"channel {channel!r} has a mass, but its role is {role!r}",
                f"use one of {', '.join(MASS_ROLES)}",
            )
        )
    marker_class = _one_of(where, row, keys.MARKER_CLASS, CLASSES, problems) or guess_class(marker, role)
    clustering = role == "marker" and marker_class != "none"
    if text := row.get(keys.CLUSTERING):
        given = _YES_NO.get(text.casefold())
        if given is None:
            problems.append(Problem(where, f"{keys.CLUSTERING} is {text!r}", "write 1 or 0"))
        else:
            clustering = given
            if given and isotope is None and role not in MASS_ROLES:
                problems.append(
                    Problem(
                        where,
                        f"channel {channel!r} is used for clustering, but it has no mass",
                        "write 0: only mass channels can be clustered",
                    )
                )
    value = cofactor
    if text := row.get(keys.COFACTOR):
        number = table.number(text)
        if number is None or number <= 0:
            problems.append(
                Problem(where, f"cofactor is {text!r}", "give a number above 0, such as 5, or leave it empty")
            )
        else:
            value = number
    return {
        keys.CHANNEL: channel,
        keys.MARKER: marker,
        keys.MARKER_CLASS: marker_class,
        keys.ROLE: role,
        keys.METAL: isotope.symbol if isotope else "",
        keys.MASS: isotope.mass if isotope else None,
        keys.CLUSTERING: clustering,
        keys.COFACTOR: value if isotope else float("nan"),
    }


def _one_of(where: str, row: Row, column: str, known: tuple[str, ...], problems: list[Problem]) -> str:
    text = row.get(column).casefold()
    if text and text not in known:
        problems.append(Problem(where, f"{column} is {row.get(column)!r}", did_you_mean(text, known)))
        return ""
    return text


def _row_isotope(where: str, row: Row, channel: str, problems: list[Problem]) -> Isotope | None:
    """Return the isotope of a row from its channel, or from its columns metal and mass; both have to agree."""
    in_channel = parse_isotope(channel)
    metal, mass = row.get(keys.METAL), row.get(keys.MASS)
    both = parse_isotope(metal)
    number = mass.removesuffix(".0")
    if number and not number.isdecimal():
        problems.append(
            Problem(where, f"mass is {mass!r}", "give a whole number such as 171, or leave it empty")
        )
        return in_channel
    symbol = both.symbol if both else metal
    if symbol and symbol not in ISOTOPES and symbol not in NOT_ELEMENTS:
        problems.append(
            Problem(
                where, f"metal is {metal!r}", "give the symbol of an element such as Yb, or leave it empty"
            )
        )
        return in_channel
    given = int(number) if number and int(number) else (both.mass if both else 0)
    if in_channel is None:
        return Isotope(symbol, given) if symbol and given else None
    if (symbol and symbol != in_channel.symbol) or (given and given != in_channel.mass):
        problems.append(
            Problem(
                where,
                f"channel {channel!r} is {in_channel}, but metal and mass say "
                f"{symbol or in_channel.symbol}{given or in_channel.mass}",
                "correct the one that is wrong, or leave metal and mass empty",
            )
        )
    return in_channel


def _duplicates(path: Path, rows: tuple[Row, ...], complete: list[dict[str, Any]]) -> list[Problem]:
    problems = []
    markers: dict[str, tuple[int, str]] = {}
    channels: dict[object, tuple[int, str]] = {}
    for row, entry in zip(rows, complete, strict=True):
        channel, marker = entry[keys.CHANNEL], entry[keys.MARKER]
        where = f"{path}, line {row.line}"
        if marker:
            line, first = markers.setdefault(marker_key(marker), (row.line, marker))
            if line != row.line:
                same = (
                    f"also on line {line}"
                    if first == marker
                    else f"the same name as {first!r} on line {line}"
                )
                problems.append(
                    Problem(
                        where, f"marker {marker!r} is {same}", "give each channel a marker name of its own"
                    )
                )
        if channel:
            isotope = parse_isotope(channel) or (
                (entry[keys.METAL], entry[keys.MASS]) if entry[keys.MASS] else None
            )
            line, first = channels.setdefault(isotope or marker_key(channel), (row.line, channel))
            if line != row.line:
                same = f"also on line {line}" if first == channel else f"the same as {first!r} on line {line}"
                problems.append(
                    Problem(
                        where,
                        f"channel {channel!r} ({marker}) is {same}",
                        "one row a channel: keep the antibody, since beads are known by their masses",
                    )
                )
    return problems
