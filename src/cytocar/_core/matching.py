"""Names as users write them, matched to names as the data have them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from cytocar._core.errors import ParameterError, Problem, did_you_mean


def positions(
    asked: Iterable[str], names: Sequence[str], *, key: Callable[[str], str], what: str
) -> list[int]:
    """Return where each asked-for name stands in `names`: by exact spelling, else by its folded form.

    Parameters
    ----------
    asked
        Names as the user wrote them.
    names
        Names as the data have them.
    key
        Folds a name for matching, such as `cytocar.panel.names.marker_key`.
    what
        What a name is called in a message, such as ``"marker"``.

    Raises
    ------
    ParameterError
        Lists every name that is unknown or that fits more than one column.

    Examples
    --------
    >>> positions(["cd3"], ["CD4", "CD3"], key=str.casefold, what="marker")
    [1]
    """
    exact: dict[str, list[int]] = {}
    folded: dict[str, list[int]] = {}
    for position, name in enumerate(names):
        exact.setdefault(name, []).append(position)
        folded.setdefault(key(name), []).append(position)
    found: list[int] = []
    problems: list[Problem] = []
    for name in asked:
        hits = exact.get(name) or folded.get(key(name)) or []
        if len(hits) == 1:
            found.append(hits[0])
        elif hits:
            fits = ", ".join(repr(names[hit]) for hit in hits)
            problems.append(
                Problem("", f"{name!r} fits {len(hits)} columns ({fits})", "use the exact name of one")
            )
        else:
            problems.append(Problem("", f"{name!r} is not a {what} of these data", did_you_mean(name, names)))
    if problems:
        raise ParameterError(problems=problems)
    return found
