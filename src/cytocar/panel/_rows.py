"""The rows of a panel file: checked, completed, every problem collected."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cytocar._core import keys
from cytocar._core.errors import Problem, did_you_mean
from cytocar._core.hand_tables import Findings, Row, Table, load_table
from cytocar.panel.classes import CLASSES, guess_class
from cytocar.panel.names import ISOTOPES, NOT_ELEMENTS, Isotope, marker_key, parse_isotope
from cytocar.panel.roles import MASS_ROLES, ROLES, FileContext, guess_role

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
    table, problems = load_table(path, aliases=ALIASES, names=(keys.CHANNEL, keys.MARKER))
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
    context = _context(table)
    findings = Findings(str(path))
    rows = [_RowReader(row, table, findings, context).complete(cofactor) for row in table.rows]
    return rows, [*findings.problems(), *_duplicates(path, table.rows, rows)]


def _context(table: Table) -> FileContext:
    """Return what the rows say of each other."""
    # Mass cytometry whose names hold antigens only: no antibody names an isotope, and each row says its role.
    names_only = not any(
        parse_isotope(row.get(keys.CHANNEL)) or row.get(keys.METAL) or row.get(keys.MASS)
        for row in table.rows
        if row.get(keys.ROLE).casefold() in ("", "marker")
    )
    isotopes = [parse_isotope(row.get(keys.CHANNEL)) for row in table.rows]
    elements = frozenset(isotope.symbol for isotope in isotopes if isotope is not None)
    return FileContext(elements | {row.get(keys.METAL) for row in table.rows}, names_only)


@dataclass(frozen=True)
class _RowReader:
    """One row of a panel file; what is wrong with it goes to the findings of the file."""

    row: Row
    table: Table
    findings: Findings
    context: FileContext

    def complete(self, cofactor: float) -> dict[str, Any]:
        """Return the row with all columns; what it does not say is derived from its names."""
        channel, marker = self._names()
        isotope = self._isotope(channel)
        role = self._role(channel, marker, isotope)
        marker_class = self._one_of(keys.MARKER_CLASS, CLASSES) or guess_class(marker, role)
        clustering = self._clustering(channel, has_mass=isotope is not None or role in MASS_ROLES)
        value = self._cofactor(cofactor)
        return {
            keys.CHANNEL: channel,
            keys.MARKER: marker,
            keys.MARKER_CLASS: marker_class,
            keys.ROLE: role,
            keys.METAL: isotope.symbol if isotope else "",
            keys.MASS: isotope.mass if isotope else None,
            keys.CLUSTERING: role == "marker" and marker_class != "none"
            if clustering is None
            else clustering,
            keys.COFACTOR: value if role in MASS_ROLES else float("nan"),
        }

    def _wrong(self, what: str, fix: str) -> None:
        self.findings.add(self.row.line, what, fix)

    def _wrong_channel(self, channel: str, texts: tuple[str, str], fix: str) -> None:
        self.findings.of_item(self.row.line, channel, texts, fix)

    def _wrong_cell(self, column: str, fix: str) -> None:
        self.findings.cell(self.row.line, column, self.row.get(column), fix)

    def _one_of(self, column: str, choices: tuple[str, ...]) -> str:
        text = self.row.get(column).casefold()
        if text and text not in choices:
            self._wrong_cell(column, did_you_mean(text, choices))
            return ""
        return text

    def _names(self) -> tuple[str, str]:
        channel, marker = self.row.get(keys.CHANNEL), self.row.get(keys.MARKER)
        if not channel:
            self._wrong(f"channel of marker {marker!r} is empty", "give $PnN, such as Yb171Di")
        if not marker:
            self._wrong(f"marker of channel {channel!r} is empty", "give a name, or remove the row")
        if "/" in marker:
            self._wrong(f"marker {marker!r} has a slash", "write an underscore: files cannot hold the name")
        return channel, marker

    def _isotope(self, channel: str) -> Isotope | None:
        """Return the isotope from the channel, or from the columns metal and mass; both have to agree."""
        in_channel, stated = parse_isotope(channel), self._stated_isotope()
        if stated is None:
            return in_channel
        symbol, mass = stated
        if in_channel is None:
            return Isotope(symbol, mass) if symbol and mass else None
        if (symbol or in_channel.symbol, mass or in_channel.mass) != (in_channel.symbol, in_channel.mass):
            self._wrong(
                f"channel {channel!r} is {in_channel}, but metal and mass say "
                f"{symbol or in_channel.symbol}{mass or in_channel.mass}",
                "correct the one that is wrong, or leave metal and mass empty",
            )
        return in_channel

    def _stated_isotope(self) -> tuple[str, int] | None:
        """Return the symbol ("" for none) and mass (0 for none) of the columns, None where they cannot be read."""
        metal, mass = self.row.get(keys.METAL), self.row.get(keys.MASS)
        number = mass.removesuffix(".0")
        if number and not number.isdecimal():
            self._wrong_cell(keys.MASS, "give a whole number such as 171, or leave it empty")
            return None
        isotope = parse_isotope(metal)
        symbol = isotope.symbol if isotope else metal
        if symbol and symbol not in ISOTOPES and symbol not in NOT_ELEMENTS:
            self._wrong_cell(keys.METAL, "give the symbol of an element such as Yb, or leave it empty")
            return None
        return symbol, int(number or 0) or (isotope.mass if isotope else 0)

    def _role(self, channel: str, marker: str, isotope: Isotope | None) -> str:
        role = self._one_of(keys.ROLE, ROLES) or guess_role(channel, marker, isotope, self.context)
        needs_mass = role in MASS_ROLES or (role == "none" and not self.row.get(keys.ROLE))
        stated = self.context.names_only and bool(self.row.get(keys.ROLE))
        if isotope is None and channel and needs_mass and not stated:
            self._wrong_channel(
                channel,
                ("channel {} names no isotope", "channels {} name no isotope"),
                "write channels as the file does, such as Yb171Di, (Yb171)Dd or 171Yb, or give columns metal and mass",
            )
        if isotope is not None and role not in MASS_ROLES:
            self._wrong_channel(
                channel,
                (
                    f"channel {{}} has a mass, but its role is {role!r}",
                    f"channels {{}} have a mass, but their role is {role!r}",
                ),
                f"use one of {', '.join(MASS_ROLES)}",
            )
        return role

    def _clustering(self, channel: str, *, has_mass: bool) -> bool | None:
        """Return whether the row says that its channel is used for clustering; None where it does not say."""
        text = self.row.get(keys.CLUSTERING)
        stated = _YES_NO.get(text.casefold())
        if text and stated is None:
            self._wrong_cell(keys.CLUSTERING, "write 1 or 0")
        if stated and not has_mass:
            self._wrong_channel(
                channel,
                (
                    "channel {} is used for clustering, but it has no mass",
                    "channels {} are used for clustering, but they have no mass",
                ),
                "write 0: only mass channels can be clustered",
            )
        return stated

    def _cofactor(self, default: float) -> float:
        text = self.row.get(keys.COFACTOR)
        if not text:
            return default
        number = self.table.number(text)
        if number is None or number <= 0:
            self._wrong_cell(keys.COFACTOR, "give a number above 0, such as 5, or leave it empty")
            return default
        return number


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
                        "one row per channel: keep the antibody, since beads are known by their masses",
                    )
                )
    return problems
