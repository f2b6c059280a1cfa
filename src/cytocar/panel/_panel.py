"""A panel: what each channel measures, read from a table, guessed from files, and found again in other files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import PanelError, Problem, did_you_mean
from cytocar.panel._builtin import builtin_names, builtin_path
from cytocar.panel._match import PanelMatch, Wanted, match_channels
from cytocar.panel._rows import load_rows
from cytocar.panel.antigens import marker_index, without_clone
from cytocar.panel.classes import guess_class
from cytocar.panel.names import Isotope, channel_isotope, marker_key, marker_name, parse_isotope
from cytocar.panel.roles import MASS_ROLES, FileContext, guess_role

if TYPE_CHECKING:
    import pandas as pd

COLUMNS: Final = (
    keys.CHANNEL,
    keys.MARKER,
    keys.MARKER_CLASS,
    keys.ROLE,
    keys.METAL,
    keys.MASS,
    keys.CLUSTERING,
    keys.COFACTOR,
)


@dataclass(frozen=True, eq=False)
class Panel:
    """What each channel measures.

    Parameters
    ----------
    frame
        A row a channel: `channel` ($PnN), `marker` (unique), `marker_class` (type, state, none), `role`,
        `metal` (element symbol, ``""`` for a channel without mass), `mass` (Int64, missing without mass),
        `used_for_clustering` (bool), `cofactor` (float, NaN without mass).
    name
        The name of the built-in panel, or the path of the file.
    notes
        What was decided in reading that a user may want to know.

    Examples
    --------
    >>> panel = Panel.from_channels([("Time", ""), ("Y89Di", "89Y_CD45"), ("Ir191Di", "191Ir_DNA1")])
    >>> print(panel.frame[["channel", "marker", "role", "mass"]].to_string(index=False))
    channel marker   role  mass
       Time   Time   time  <NA>
      Y89Di   CD45 marker    89
    Ir191Di   DNA1    dna   191
    """

    frame: pd.DataFrame
    name: str = ""
    notes: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.frame)

    def __repr__(self) -> str:
        counts = self.frame[keys.ROLE].value_counts(sort=False)
        parts = ", ".join(f"{count} {role}" for role, count in counts.items())
        return f"Panel {self.name or '(unnamed)'}: {parts}"

    @property
    def markers(self) -> tuple[str, ...]:
        """The markers of all mass channels, in the order of the panel."""
        return tuple(self.frame.loc[self.has_mass, keys.MARKER])

    @property
    def var(self) -> pd.DataFrame:
        """The rows of the mass channels with the marker as index: the `var` of a matrix, `mass` as int64."""
        frame = self.frame[self.has_mass]
        # Mass cytometry whose names hold antigens only has no masses: 0, as for fluorescence.
        frame = frame.assign(**{keys.MASS: frame[keys.MASS].fillna(0).astype("int64")})
        return frame.set_index(frame[keys.MARKER].to_numpy(dtype=object))

    @property
    def has_mass(self) -> np.ndarray:
        """Which rows are mass channels, bool, one a row."""
        return np.asarray(self.frame[keys.ROLE].isin(MASS_ROLES), dtype=bool)

    def find(self, marker: str) -> str | None:
        """Return the marker of the panel that `marker` means, by any name of its antigen; None if none or several do.

        See Also
        --------
        candidates : all markers that a name fits.

        Examples
        --------
        >>> panel = Panel.read("legend2")
        >>> panel.find("PD-1"), panel.find("CD279"), panel.find("CD45")
        ('PD1', 'PD1', 'CD45')
        """
        fits = self.candidates(marker)
        return fits[0] if len(fits) == 1 else None

    def candidates(self, *names: str) -> tuple[str, ...]:
        """Return the markers of the panel that a name fits: one, none, or several where the name is ambiguous.

        Parameters
        ----------
        names
            A name, or names of one marker in the order in which they are preferred. A marker that is spelt so goes
            before one of the same antigen.

        Examples
        --------
        >>> panel = Panel.from_channels([("Nd143Di", "CD279"), ("Nd144Di", "PDCD1"), ("Nd145Di", "CD4")])
        >>> panel.candidates("PD-1"), panel.candidates("CD279"), panel.candidates("CD8", "CD8a")
        (('CD279', 'PDCD1'), ('CD279',), ())
        """
        return marker_index(self.markers).find(*names)

    def find_channel(self, name: str) -> str | None:
        """Return the mass channel that `name` means, as the panel spells it: by isotope, or by marker.

        Examples
        --------
        >>> panel = Panel.read("legend2")
        >>> panel.find_channel("(Yb171)Dd"), panel.find_channel("GZMB"), panel.find_channel("Yb175Di")
        ('Yb171Di', 'Yb171Di', None)
        """
        marker = self.find(name)
        isotope = parse_isotope(name)
        for row in self.frame[self.has_mass].to_dict("records"):
            if row[keys.MARKER] == marker or (isotope is not None and _row_isotope(row) == isotope):
                return str(row[keys.CHANNEL])
        return None

    @classmethod
    def from_channels(
        cls, channels: Iterable[tuple[str, str | None]], *, cofactor: float = 5.0, instrument: str = ""
    ) -> Panel:
        """Guess a panel from the channels of a file.

        Every channel becomes a row, in the order of the file. Beads that are all called ``Bead`` become
        ``Bead140``, ``Bead165``; other markers of one name get their isotope after it.

        Parameters
        ----------
        channels
            ``($PnN, $PnS)`` of each channel; ``$PnS`` may be None.
        cofactor
            Cofactor of the arcsinh of every mass channel, above 0.
        instrument
            ``$CYT``: tells mass cytometry whose names hold antigens and no isotopes.

        Returns
        -------
        The panel; its `channel` is ``$PnN``, or the isotope in the instrument's spelling where ``$PnN`` holds the
        marker.
        """
        names = [(pnn, pns or "") for pnn, pns in channels]
        isotopes = [channel_isotope(*pair) for pair in names]
        context = FileContext.of(names, isotopes, instrument)
        rows = [
            _guess(*pair, isotope, context, cofactor) for pair, isotope in zip(names, isotopes, strict=True)
        ]
        _make_unique(rows)
        return cls(_frame(rows))

    @classmethod
    def load(
        cls, source: str | os.PathLike[str], *, cofactor: float = 5.0
    ) -> tuple[Panel | None, list[Problem]]:
        """Former way to collect what is wrong with a panel; see `read`, whose error has all `problems`."""
        warnings.warn(
            "Panel.load will go away in version 1.0: Panel.read raises an error that has all problems",
            DeprecationWarning,
            stacklevel=2,
        )
        return load_panel(source, cofactor=cofactor)

    @classmethod
    def read(cls, source: str | os.PathLike[str], *, cofactor: float = 5.0) -> Panel:
        """Read a panel from a CSV file, or one that comes with cytocar by its name.

        Only the columns `channel` and `marker` have to be there; what is missing is derived from the names.

        Parameters
        ----------
        source
            The file or the name.
        cofactor
            Cofactor of channels for which the file gives none, above 0.

        Raises
        ------
        PanelError
            With everything that is wrong with the panel.

        Examples
        --------
        >>> panel = Panel.read("legend2")
        >>> int(panel.frame["used_for_clustering"].sum())
        33
        """
        panel, problems = load_panel(source, cofactor=cofactor)
        if panel is None:
            raise PanelError(problems=problems)
        return panel

    def match(
        self, channels: Sequence[tuple[str, str | None]], *, where: str, optional: Collection[str] = ()
    ) -> PanelMatch:
        """Find the channels of the panel in a file, by metal and mass however the file spells them.

        Parameters
        ----------
        channels
            ``($PnN, $PnS)`` of each channel of the file.
        where
            What to call the file in problems.
        optional
            Markers that the file need not have; background and barcode channels never have to be there.

        Returns
        -------
        The column of each row of the panel (-1 where the file has none), the other columns, problems (a channel that
        has to be there is missing, or one is ambiguous), notes (matched by mass only, another marker in ``$PnS``), and
        the rows of `optional` that are not measured.
        """
        wanted = [
            Wanted(row[keys.CHANNEL], row[keys.MARKER], row[keys.ROLE], _row_isotope(row))
            for row in self.frame.to_dict("records")
        ]
        return match_channels(
            wanted, [(pnn, pns or "") for pnn, pns in channels], where=where, optional=optional
        )

    def without(self, rows: Collection[int]) -> Panel:
        """Return the panel without some of its rows, by their positions.

        Examples
        --------
        >>> Panel.from_channels([("Y89Di", "CD45"), ("Er170Di", "CD3")]).without([0]).markers
        ('CD3',)
        """
        kept = [row for row in range(len(self.frame)) if row not in set(rows)]
        return replace(self, frame=self.frame.iloc[kept].reset_index(drop=True))

    def to_csv(self) -> str:
        """Return the panel as the text of a CSV file that `Panel.read` reads.

        Examples
        --------
        >>> print(Panel.from_channels([("Y89Di", "CD45"), ("Time", "")]).to_csv(), end="")
        channel,marker,marker_class,role,metal,mass,used_for_clustering,cofactor
        Y89Di,CD45,type,marker,Y,89,1,5
        Time,Time,none,time,,,0,
        """
        import csv
        import io

        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row, mass in zip(self.frame.to_dict("records"), self.has_mass, strict=True):
            writer.writerow(
                [
                    *(row[column] for column in COLUMNS[:5]),
                    row[keys.MASS] if row[keys.METAL] else "",
                    int(row[keys.CLUSTERING]),
                    f"{row[keys.COFACTOR]:g}" if mass else "",
                ]
            )
        return text.getvalue()


def load_panel(
    source: str | os.PathLike[str], *, cofactor: float = 5.0
) -> tuple[Panel | None, list[Problem]]:
    """Load a panel, with everything that is wrong with it.

    Parameters
    ----------
    source
        A CSV file, or the name of a panel that comes with cytocar (see `builtin_names`).
    cofactor
        Cofactor of channels for which the file gives none, above 0.

    Returns
    -------
    The panel and no problems, or None and all problems.
    """
    path = Path(source)
    name = str(source)
    if not path.exists() and name in builtin_names():
        path = builtin_path(name)
    elif not path.exists() and not path.suffix and path.name == name:
        fix = f"{did_you_mean(name, builtin_names())}; or give the path of a CSV file"
        return None, [Problem(name, "there is no panel of this name and no such file", fix)]
    rows, problems = load_rows(path, cofactor=cofactor)
    if problems:
        return None, problems
    return Panel(_frame(rows), name), []


def _row_isotope(row: dict[Any, Any]) -> Isotope | None:
    if row[keys.ROLE] not in MASS_ROLES:
        return None
    in_channel = parse_isotope(row[keys.CHANNEL])
    if in_channel is None and row[keys.MASS] is not None and not np.isnan(row[keys.MASS] or np.nan):
        return Isotope(row[keys.METAL], int(row[keys.MASS]))
    return in_channel


def _guess(
    pnn: str, pns: str, isotope: Isotope | None, context: FileContext, cofactor: float
) -> dict[str, Any]:
    marker = without_clone(marker_name(pnn, pns)) if isotope else pnn.strip()
    if isotope is None and context.names_only and pns.strip():
        marker = pns.strip()
    role = guess_role(pnn, marker, isotope, context)
    marker_class = guess_class(marker, role)
    return {
        keys.CHANNEL: pnn.strip() if isotope is None or parse_isotope(pnn) else isotope.channel,
        keys.MARKER: marker,
        keys.MARKER_CLASS: marker_class,
        keys.ROLE: role,
        keys.METAL: isotope.symbol if isotope else "",
        keys.MASS: isotope.mass if isotope else None,
        keys.CLUSTERING: marker_class != "none",
        keys.COFACTOR: cofactor if role in MASS_ROLES else float("nan"),
    }


def _make_unique(rows: list[dict[str, Any]]) -> None:
    """Tell apart, in place, markers of one name."""
    counts: dict[str, int] = {}
    for row in rows:
        key = marker_key(row[keys.MARKER])
        counts[key] = counts.get(key, 0) + 1
    taken = {key for key, count in counts.items() if count == 1}
    for row in rows:
        name = row[keys.MARKER]
        if counts[marker_key(name)] == 1:
            continue
        if row[keys.MASS]:
            plain = row[keys.ROLE] == "bead"
            name = f"{name}{row[keys.MASS]}" if plain else f"{name}_{row[keys.MASS]}{row[keys.METAL]}"
        stem, number = name, 2
        while marker_key(name) in taken:
            name, number = f"{stem}_{number}", number + 1
        taken.add(marker_key(name))
        row[keys.MARKER] = name


def _frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.astype({keys.MASS: "Int64", keys.CLUSTERING: "bool", keys.COFACTOR: "float64"})
