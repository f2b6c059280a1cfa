"""FlowIO as the second opinion on an FCS file: events, names and every value compared with what cytocar reads."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from io import BufferedReader
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from cytocar._core.errors import FcsError, Problem
from cytocar.io._fcs.data import blocks
from cytocar.io._fcs.header import HEADER_BYTES, FcsHeader
from cytocar.io._fcs.offsets import LOCATED
from cytocar.io._fcs.packed import open_fcs

if TYPE_CHECKING:
    from flowio import FlowData

AGREES, DIFFERS, REFUSED = "agrees", "differs", "refused"
# How FlowIO is asked, the strictest way first, with what each of the others tolerates.
_WAYS: Final[tuple[tuple[str, dict[str, bool]], ...]] = (
    ("", {}),
    ("an end of DATA that is one byte late", {"ignore_offset_error": True}),
    ("offsets in HEADER that are not those in TEXT", {"ignore_offset_discrepancy": True}),
    ("the offsets in HEADER in place of those in TEXT", {"use_header_offsets": True}),
    ("the offsets in HEADER, one byte late", {"use_header_offsets": True, "ignore_offset_error": True}),
)
_MOST_EXAMPLES: Final = 5
_ELSEWHERE: Final = "it takes the events where the offsets say, and there they are not"


@dataclass(frozen=True)
class SecondOpinion:
    """What FlowIO says of a file that cytocar reads.

    Parameters
    ----------
    verdict
        ``"agrees"``, ``"differs"``, or ``"refused"`` where FlowIO does not read the file.
    version
        Version of FlowIO.
    events, channels
        What was compared: events x channels.
    reason
        Why FlowIO refuses the file, or what it had to tolerate to read it; ``""`` where it reads it as it is.
    problems
        Differences that no rule explains, each with its place and both values.
    notes
        Differences that come from a rule of FlowIO.
    """

    verdict: str
    version: str
    events: int
    channels: int
    reason: str = ""
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        said = f"FlowIO {self.version}"
        compared = f"{self.events} events x {self.channels} channels"
        if self.verdict == REFUSED:
            return f"{said} does not read this file: {self.reason}"
        if self.verdict == DIFFERS:
            return f"{said} reads other values or names than cytocar: {len(self.problems)} differences"
        if self.reason:
            return f"{said} reads the same {compared}, tolerating {self.reason}"
        return f"{said} reads the same {compared}"


def second_opinion(header: FcsHeader) -> SecondOpinion:
    """Read a file with FlowIO too, and compare events, names and every stored value.

    FlowIO is asked strictly first, then with its own tolerances, until it agrees. Values are compared as they are
    stored (integers masked by `$PnR`, not linearised or divided by a gain); NaN equals NaN. FlowIO reads from the
    path as cytocar does, only after cytocar found the header sound; it needs twice the size of the file in memory.

    Parameters
    ----------
    header
        What `read_header` gave, of a file that is not truncated.

    Returns
    -------
    The opinion.

    Examples
    --------
    >>> import numpy as np, tempfile, pathlib
    >>> from cytocar.io._fcs.header import read_header
    >>> from cytocar.io._fcs.write import write_events
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "a.fcs"
    >>> write_events(file, np.ones((3, 2), np.float32), [("Time", ""), ("Yb171Di", "171Yb_CD3")])
    >>> second_opinion(read_header(file)).verdict
    'agrees'
    """
    first_reason = ""
    differing: SecondOpinion | None = None
    for tolerated, options in _WAYS:
        try:
            data = _flowio(header, options)
        except _Refused as refusal:
            first_reason = first_reason or str(refusal)
            continue
        opinion = _compare(header, data, tolerated)
        if opinion.verdict == AGREES:
            return opinion
        differing = differing or opinion
    if differing is not None:
        if not _is_located(header):
            return differing
        first_reason = _ELSEWHERE
    return SecondOpinion(REFUSED, _version(), header.n_events, len(header.channels), first_reason)


def flowio_blocks(header: FcsHeader) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """Give the events as FlowIO reads them, in the form of `data.blocks`.

    Raises
    ------
    FcsError
        FlowIO does not read the file, or finds another number of values.
    """
    fix = "engine='cytocar' reads such files where their bytes are sound, and says what it tolerated"
    try:
        if _is_located(header):
            raise _Refused(_ELSEWHERE)
        data = _flowio(header, {})
    except _Refused as refusal:
        raise FcsError(
            f"FlowIO {_version()} does not read this file: {refusal}", where=str(header.path), fix=fix
        ) from None
    values = _matrix(data, header)
    if values is None:
        found = f"{len(data.events)} values"
        wanted = f"{header.n_events} events x {len(header.channels)} channels"
        raise FcsError(
            f"FlowIO {_version()} reads {found}, expected {wanted}", where=str(header.path), fix=fix
        )
    yield 0, values


def _is_located(header: FcsHeader) -> bool:
    """Whether the events were found elsewhere than the offsets say, where FlowIO does not look."""
    return any(told.startswith(LOCATED) for told in header.tolerances)


class _Refused(Exception):
    """FlowIO does not read the file."""


def _version() -> str:
    return version("flowio")


def _flowio(header: FcsHeader, options: dict[str, bool]) -> FlowData:
    """Return the file as FlowIO reads it; what it raises becomes the reason of a refusal."""
    import flowio

    if header.data_set:
        raise _Refused("the data sets behind the first are not compared")
    _require_known(header)
    # Told where the first data set begins, FlowIO reads it and does not refuse the others.
    beginning: dict[str, Any] = {"nextdata_offset": 0} if header.n_data_sets > 1 else {}
    try:
        # Of a path that it refuses, FlowIO would leave the file open.
        with BufferedReader(open_fcs(header.path)) as stream, warnings.catch_warnings():
            # What it warns of is a tolerance, which is said with the verdict.
            warnings.simplefilter("ignore")
            data = flowio.FlowData(stream, **beginning, **options)
    except Exception as error:  # FlowIO raises what its steps raise: KeyError, ValueError, struct.error, ...
        raise _Refused(_said(error, header)) from None
    if data.events is None:
        raise _Refused("values of a width other than 8, 16 or 32 bits")
    return data


def _require_known(header: FcsHeader) -> None:
    """Refuse what FlowIO would read as something else without a word, or reserve memory for before it looks."""
    declared = header.keywords["$DATATYPE"].strip().upper()
    if any(channel.datatype != declared for channel in header.channels):
        raise _Refused("it does not know $PnDATATYPE, and would read every channel by $DATATYPE")
    ascending = tuple(range(1, len(header.byte_order) + 1))
    if header.byte_order not in (ascending, ascending[::-1]):
        order = ",".join(map(str, header.byte_order))
        raise _Refused(f"it does not know $BYTEORD {order}, and would take the byte order of the computer")
    for begin, end in _analysis_offsets(header):
        if max(begin, end) > header.file_bytes:
            raise _Refused(
                f"ANALYSIS is said to be at bytes {begin} to {end}, the file has {header.file_bytes}"
            )


def _analysis_offsets(header: FcsHeader) -> list[tuple[int, int]]:
    """Return where HEADER and TEXT put ANALYSIS; 0 where they hold no number."""
    with open_fcs(header.path) as stream:
        head = stream.read(HEADER_BYTES)
    stated = [
        (head[42:50].decode("latin-1"), head[50:58].decode("latin-1")),
        (header.keywords.get("$BEGINANALYSIS", ""), header.keywords.get("$ENDANALYSIS", "")),
    ]
    return [(_offset(begin), _offset(end)) for begin, end in stated]


def _offset(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        return 0


def _said(error: Exception, header: FcsHeader) -> str:
    text = str(error).replace(str(header.path), "the file").replace(header.path.name, "the file").strip()
    if isinstance(error, KeyError):
        return f"keyword {text} is not in the TEXT segment that it reads"
    return text or type(error).__name__


def _matrix(data: FlowData, header: FcsHeader) -> npt.NDArray[Any] | None:
    values = np.asarray(data.events)
    shape = (header.n_events, len(header.channels))
    return values.reshape(shape) if values.size == shape[0] * shape[1] else None


def _compare(header: FcsHeader, data: FlowData, tolerated: str) -> SecondOpinion:
    problems: list[Problem] = []
    notes: list[str] = []
    where = str(header.path)
    shape = (header.n_events, len(header.channels))
    if (data.event_count, data.channel_count) != shape:
        what = (
            f"cytocar reads {shape[0]} events x {shape[1]} channels, FlowIO "
            f"{data.event_count} x {data.channel_count}"
        )
        problems.append(Problem(where, what, "one of the two is wrong: export the file again"))
    else:
        _compare_names(header, data, problems, notes)
        values = _matrix(data, header)
        if values is None:
            what = f"FlowIO reads {len(data.events)} values, cytocar {shape[0]} events x {shape[1]} channels"
            problems.append(Problem(where, what, "one of the two is wrong: export the file again"))
        else:
            problems += _compare_values(header, values)
    verdict = DIFFERS if problems else AGREES
    return SecondOpinion(verdict, _version(), *shape, tolerated, tuple(problems), tuple(notes))


def _compare_names(header: FcsHeader, data: FlowData, problems: list[Problem], notes: list[str]) -> None:
    pairs = zip(header.channels, data.pnn_labels, data.pns_labels, strict=True)
    by_rule = []
    for number, (channel, pnn, pns) in enumerate(pairs, 1):
        for keyword, ours, theirs in (("N", channel.pnn, pnn), ("S", channel.pns, pns)):
            if ours == str(theirs).strip():
                continue
            if ours.replace("$", "") == str(theirs).strip():
                by_rule.append(f"$P{number}{keyword}")
                continue
            problems.append(
                Problem(
                    str(header.path),
                    f"$P{number}{keyword} is {ours!r} by cytocar and {theirs!r} by FlowIO",
                    "look at the name with a text editor, and export the file again",
                )
            )
    if by_rule:
        notes.append(f"FlowIO leaves out every '$' in values: {', '.join(by_rule)}")


def _compare_values(header: FcsHeader, theirs: npt.NDArray[Any]) -> list[Problem]:
    """Return one problem per channel with other values: the first event, both values, and how many there are."""
    counts = np.zeros(len(header.channels), dtype=np.int64)
    firsts: dict[int, tuple[int, float, float]] = {}
    for start, ours in blocks(header):
        other = theirs[start : start + len(ours)]
        with np.errstate(invalid="ignore"):
            same = (ours == other) | ((ours != ours) & (other != other))
        if same.all():
            continue
        counts += np.count_nonzero(~same, axis=0)
        for column in np.flatnonzero(~same.all(axis=0)):
            row = int(np.argmin(same[:, column]))
            firsts.setdefault(int(column), (start + row, float(ours[row, column]), float(other[row, column])))
    problems = [
        Problem(
            str(header.path),
            f"channel {header.channels[column].pnn!r}, event {event}: cytocar reads {ours:g}, FlowIO {theirs_:g} "
            f"({counts[column]} of {header.n_events} events differ)",
            "one of the two is wrong: export the file again, and compare with the program that wrote it",
        )
        for column, (event, ours, theirs_) in sorted(firsts.items())
    ]
    if len(problems) > _MOST_EXAMPLES:
        more = Problem(
            str(header.path), f"{len(problems) - _MOST_EXAMPLES} more channels differ", problems[0].fix
        )
        problems = [*problems[:_MOST_EXAMPLES], more]
    return problems
