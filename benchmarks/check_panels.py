"""Score how channels of real panels are read against the reading of experts: role, marker, mass, name found.

    python benchmarks/check_panels.py [panels.csv] [-v]

The table has one row per channel: panel_id, pnn, pns, is_mass, mass, marker, role, certain, origin; rows that experts
could read otherwise (certain 0) are shown to the package and not scored. `panel_synonyms.csv` beside it says which
names are of one antigen (canonical, synonyms with | between). By default the table is `../panels/panels_open.csv` as
seen from the folder of real measurements, `$CYTOCAR_TEST_DATA`. With -v every error is printed. Exit code 0 where the
bar is held: the role right in 99 % and the marker in 98 % of the certain channels.

- role: the right role; a channel that is none of the known ones is "other" in the table.
- marker: the right antigen of a named antibody, by any of its names; one antigen written twice (CD197_CCR7) counts.
- mass: the right mass, and none where the channel has none.
- find: `Panel.find` leads from the right name to the channel, where the name is there once. Not in the verdict.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cytocar.panel import Panel

BAR = {"role": 0.99, "marker": 0.98}
WHAT = ("role", "marker", "mass", "find")
Row = dict[str, str]


@dataclass
class Score:
    """How many channels were scored and right, by what is asked and by origin of the panel; and the errors."""

    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    right: Counter[tuple[str, str]] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)

    def add(self, origin: str, what: str, right: bool) -> None:
        """Count one channel, in its origin and in all."""
        for group in (origin, "all"):
            self.asked[group, what] += 1
            self.right[group, what] += right

    def share(self, what: str, group: str = "all") -> float:
        """Return the share that is right; 1 where nothing was asked."""
        asked = self.asked[group, what]
        return self.right[group, what] / asked if asked else 1.0

    def holds(self) -> bool:
        """Whether the bar is held."""
        return all(self.share(what) >= least for what, least in BAR.items())

    def lines(self) -> Iterator[str]:
        """Return one line of figures per origin, the last of all."""
        for group in [*sorted({group for group, _ in self.asked} - {"all"}), "all"]:
            shares = (
                f"{what} {self.share(what, group):.4f} ({self.right[group, what]}/{self.asked[group, what]})"
                for what in WHAT
            )
            yield f"{group}: {', '.join(shares)}"


def folded(name: str) -> str:
    """Return a name without case and punctuation, Greek letters as Latin."""
    return re.sub(r"[^a-z0-9+]", "", name.lower().translate(str.maketrans("αβγδεκ", "abgdek")))


def read_synonyms(path: Path) -> dict[str, str]:
    """Return the first name of each antigen by all its names, folded."""
    names: dict[str, str] = {}
    with path.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            for name in (row["canonical"], *row["synonyms"].split("|")):
                names.setdefault(folded(name), folded(row["canonical"]))
    return names


def is_antigen(got: str, wanted: str, names: Mapping[str, str]) -> bool:
    """Whether a marker is the wanted antigen, or twice that antigen."""

    def meant(name: str) -> str:
        return names.get(folded(name), folded(name))

    halves = [(got[: at.start()], got[at.end() :]) for at in re.finditer(r"[^A-Za-z0-9]+", got)]
    twice = any(one and two and meant(one) == meant(two) == meant(wanted) for one, two in halves)
    return meant(got) == meant(wanted) or twice


def score_panel(rows: list[Row], names: Mapping[str, str], score: Score) -> None:
    """Read the channels of one panel, and count and list what is right and wrong."""
    panel = Panel.from_channels([(row["pnn"], row["pns"]) for row in rows])
    times = Counter(row["marker"] for row in rows)
    for want, got in zip(rows, panel.frame.astype({"mass": "object"}).to_dict("records"), strict=True):
        if want["certain"] != "1":
            continue
        mass = re.sub(r"\D", "", str(got["mass"]))
        # By this ending markers of one name are told apart.
        marker = got["marker"].removesuffix(f"_{mass}{got['metal']}")
        checks = {"role": {"none": "other"}.get(got["role"], got["role"]) == want["role"]}
        if want["mass"] or want["is_mass"] == "0":
            checks["mass"] = mass == want["mass"]
        if want["role"] == "marker" and want["marker"]:
            checks["marker"] = is_antigen(marker, want["marker"], names)
            if times[want["marker"]] == 1:
                checks["find"] = panel.find(want["marker"]) == got["marker"]
        for what, right in checks.items():
            score.add(want.get("origin", ""), what, right)
            if not right:
                asked = " ".join(filter(None, (want["role"], want["marker"], want["mass"])))
                read = f"{got['role']} {got['marker']} {mass}".strip()
                score.errors.append(
                    f"{want['panel_id']}: {what} of {want['pnn']!r}, {want['pns']!r}: should be {asked}, is {read}"
                )


def score_table(path: Path) -> Score:
    """Score all panels of a table."""
    panels: dict[str, list[Row]] = defaultdict(list)
    with path.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            panels[row["panel_id"]].append(row)
    names, score = read_synonyms(path.parent / "panel_synonyms.csv"), Score()
    for rows in panels.values():
        score_panel(rows, names, score)
    return score


def main() -> int:
    """Print the figures; return 0 where the bar is held."""
    data = Path(os.environ.get("CYTOCAR_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "table", nargs="?", type=Path, default=data.parent / "panels" / "panels_open.csv", help="the panels"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="print every error")
    options = parser.parse_args()
    score = score_table(options.table)
    print(*(score.errors if options.verbose else ()), *score.lines(), sep="\n")
    return 0 if score.holds() else 1


if __name__ == "__main__":
    sys.exit(main())
