"""Write docs/licences.md: the licence of each package that cytocar depends on, as its own metadata say it."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

HEAD = """# Licences

<!-- made by docs/make_licences.py from the metadata of the installed packages -->

cytocar is under the BSD-3-Clause licence. It contains no code of the packages below; it imports them as they are
installed.

## What is under the GPL

`igraph` and `leidenalg` come with `phenograph` (itself under the MIT licence), which depends on both. cytocar needs
none of the three to be imported, and none for `demo`, `check`, `run` and `report`: its PhenoGraph, FlowSOM, maps and
statistics do without. They are used where the user asks for them, and nowhere else:

| asked for by | uses | how |
|---|---|---|
| `tl.phenograph(engine="phenograph")` | `phenograph`, `igraph`, `leidenalg` | in a process of its own |
| `tl.leiden`, `clustering: {method: leiden}` | `igraph`, through scanpy | imported when it is called |

To ship cytocar without them, install the other packages of the table, then cytocar by `pip install --no-deps`. The
calls above then say which package is missing, and everything else works: `tests/test_licences.py` runs a whole study
with the three blocked.

## Dependencies

The kind of licence that each package states in its metadata. What these packages bring beside the two at the end is
under a permissive licence or the MPL-2.0.

| package | licence | |
|---|---|---|
"""
KINDS = {
    "GPL": r"GPL|General Public",
    "BSD": r"BSD",
    "MIT": r"^MIT",
    "Apache": r"Apache",
    "PSF": r"PSF|Python Software Foundation",
    "ISC": r"ISC",
}
# longer than any name of a licence
_NAME = 120


def needed() -> dict[str, str]:
    """Return the packages that the project depends on with a note; of those they bring, the ones under a GPL."""
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    direct = [Requirement(line).name for line in tomllib.loads(text)["project"]["dependencies"]]
    found = dict.fromkeys(sorted(direct, key=str.casefold), "")
    return found | {
        name: f"comes with `{by}`" for name, by in sorted(brought(direct).items()) if "GPL" in licence(name)
    }


def brought(direct: list[str]) -> dict[str, str]:
    """Return each installed package that the packages in `direct` bring, with the one that brings it first."""
    seen = {_plain(name): name for name in direct}
    by: dict[str, str] = {}
    queue = list(direct)
    for name in queue:
        for line in metadata.requires(name) or []:
            requirement = Requirement(line)
            # what an extra asks for is not installed with it
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
                continue
            if _plain(requirement.name) not in seen:
                seen[_plain(requirement.name)] = requirement.name
                by[requirement.name] = name
                queue.append(requirement.name)
    return by


def licence(name: str) -> str:
    """Return the kind of licence that the metadata of an installed package state."""
    said = metadata.metadata(name)
    field = str(said.get("License-Expression") or said.get("License") or "").strip()
    classified = [
        line.split(" :: ")[-1] for line in said.get_all("Classifier") or [] if line.startswith("License ::")
    ]
    named = [line for line in classified if line != "OSI Approved"]
    if not field or field == "LICENSE" or len(field) > _NAME:
        # neither a file's name nor the text of a licence is a name of it
        field = named[0] if named else field.partition("\n")[0]
    if " AND " in field or " OR " in field:
        return field
    # releases of one package name one licence in several ways
    return next((kind for kind, pattern in KINDS.items() if re.search(pattern, field)), field or "not stated")


def page() -> str:
    """Return the text of the page."""
    return HEAD + "".join(
        f"| `{name}` | {licence(name)} | {note} |\n".replace("|  |", "| |") for name, note in needed().items()
    )


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).casefold()


if __name__ == "__main__":
    Path(__file__).with_name("licences.md").write_text(page(), encoding="utf-8")
