"""Whether the values of an FCS file can be what an instrument gives, or a misreading of other bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cytocar.io._fcs.data import blocks
from cytocar.io._fcs.header import Channel, FcsHeader
from cytocar.io._fcs.offsets import DOUBT
from cytocar.panel.names import channel_isotope
from cytocar.panel.roles import guess_role

# Pieces of the file that are judged, and the events of each: enough for shares of a few percent, at little cost.
_PIECES: Final = 8
_EVENTS_OF_A_PIECE: Final = 1000
# Fewer values than this say nothing about a share.
_FEWEST: Final = 20

LARGEST_NOT_FINITE: Final = 0.01
LARGEST_NEGATIVE: Final = 0.10
LARGEST_TINY: Final = 0.02
LARGEST_HUGE: Final = 0.005
LARGEST_AS_FLOAT: Final = 0.25
MOST_COUNTS: Final = 1e6
_MOST_OF_ANY: Final = 1e12
_TINY: Final = 1e-20
# The lowest byte of a measurement varies more than the highest; bits of entropy.
_ENTROPY_REVERSED: Final = 1.0
_SHIFTED_UP: Final = 0.25
_FORWARDS: Final = 0.995
_NOT_FORWARDS: Final = 0.95


def value_doubts(header: FcsHeader) -> list[str]:
    """Say why the values of a file may be misread: wrong offsets, number type or byte order.

    Eight pieces of 1000 events each, evenly over the file, are judged channel by channel, zeros left out, and then
    all channels together. Limits, and why:

    - not finite in more than 1 %: instruments write none, software one here and there (a division by 0);
    - a mass channel below -1 in more than 10 %: counts are not negative, and randomisation spreads a count over
      -1 to 0. Compensation without bounds can do so too;
    - a mass channel above 1,000,000 in more than 0.5 %: an ion cloud of 150 pushes holds tens of thousands of counts;
      other channels above 1e12, where Time and areas of pulses end below 1e10;
    - nearer to 0 than 1e-20, without being 0, in more than 2 %: a quarter of random bytes are such numbers, and every
      integer read as floating point;
    - integers with bits above `$PnR`, in any event: the standard cuts them off, and real files have none, or the number
      of the channel (Beckman Coulter), which has two forms;
    - integers of 32 bits and more that use the highest bits, in several ways, in more than 25 %: what floating-point
      numbers do;
    - integers of which a higher byte varies more than the lowest by 1 bit of entropy: the byte order is reversed;
    - Time goes back in more than 5 % of the steps, while a neighbour of it never does: columns are shifted.

    Channels without mass (areas, probabilities that software appended) are only doubted where most of them are.

    Parameters
    ----------
    header
        What `read_header` gave, of a file that is not truncated.

    Returns
    -------
    One sentence per reason; none for a file that looks as it should.

    Examples
    --------
    >>> import numpy as np, tempfile, pathlib
    >>> from cytocar.io._fcs.header import read_header
    >>> from cytocar.io._fcs.write import write_events
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "a.fcs"
    >>> write_events(file, np.full((100, 1), 1e30, np.float32), [("Yb171Di", "171Yb_CD3")])
    >>> value_doubts(read_header(file))[0].split(': ')[1]
    '100% of the values above 1e+06 in Yb171Di'
    """
    if header.n_events == 0 or header.missing_bytes or header.channels[0].datatype == "A":
        return []
    # Without ranges nothing is masked.
    plain = replace(header, channels=tuple(replace(channel, range=0.0) for channel in header.channels))
    pieces = [block for _, block in _pieces(plain)]
    # Bytes that are no numbers may be NaN of a kind that warns when it is converted.
    with np.errstate(all="ignore"):
        pieces = [piece.astype(np.float64) for piece in pieces]
    values = np.concatenate(pieces)
    doubts = [*_float_doubts(header.channels, values), *_integer_doubts(header.channels, values, plain)]
    doubts += _time_doubts(header.channels, pieces)
    return [DOUBT + doubt for doubt in doubts]


def _pieces(header: FcsHeader) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    row = header.data_bytes // header.n_events
    size = min(_EVENTS_OF_A_PIECE, -(-header.n_events // _PIECES))
    starts = np.unique(np.linspace(0, header.n_events - size, _PIECES).astype(np.int64)).tolist()
    if size * _PIECES >= header.n_events:
        starts, size = [0], header.n_events
    for start in starts:
        part = replace(
            header, n_events=size, data_begin=header.data_begin + start * row, data_bytes=size * row
        )
        yield from ((start + first, block.copy()) for first, block in blocks(part))


def _float_doubts(channels: Sequence[Channel], values: npt.NDArray[np.float64]) -> list[str]:
    floats = np.array([channel.datatype in "FD" for channel in channels])
    if not floats.any():
        return []
    mass = np.array([channel_isotope(channel.pnn, channel.pns) is not None for channel in channels])[floats]
    names = [channel.pnn for channel, kept in zip(channels, floats, strict=True) if kept]
    values = values[:, floats]
    finite = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        size = np.abs(values)
        filled = finite & (values != 0)
        huge = finite & (size > np.where(mass, MOST_COUNTS, _MOST_OF_ANY))
        tiny = filled & (size < _TINY)
        negative = finite & (values < -1) & mass
    everything = np.ones_like(finite)
    return [
        *_judged(~finite, everything, names, mass, LARGEST_NOT_FINITE, "not finite"),
        *_judged(negative, filled & mass, names, mass, LARGEST_NEGATIVE, "below -1"),
        *_judged(huge & mass, filled & mass, names, mass, LARGEST_HUGE, f"above {MOST_COUNTS:g}"),
        *_judged(huge & ~mass, filled & ~mass, names, mass, LARGEST_HUGE, f"above {_MOST_OF_ANY:g}"),
        *_judged(tiny, filled, names, mass, LARGEST_TINY, f"nearer to 0 than {_TINY:g}"),
    ]


def _judged(
    bad: npt.NDArray[np.bool_],
    of: npt.NDArray[np.bool_],
    names: Sequence[str],
    mass: npt.NDArray[np.bool_],
    limit: float,
    what: str,
) -> list[str]:
    """Return the doubt about the channels with too large a share of `bad` values, or about all of them together."""
    n_bad, n = np.count_nonzero(bad, axis=0), np.count_nonzero(of, axis=0)
    share = n_bad / np.maximum(n, 1)
    beyond = (share > limit) & (n >= _FEWEST)
    asked = n >= _FEWEST
    # A channel that software appended may hold anything: alone it raises no doubt.
    others = beyond & ~mass
    if np.count_nonzero(others) * 2 <= np.count_nonzero(asked & ~mass):
        beyond &= mass
    if not beyond.any():
        together = n_bad[mass].sum() if mass.any() else n_bad.sum()
        total = n[mass].sum() if mass.any() else n.sum()
        if total < _FEWEST or together <= limit * total:
            return []
        return [f"{_percent(float(together / total))} of all values {what}"]
    worst = float(share[beyond].max())
    return [
        f"{_percent(worst)} of the values {what} in {_some([names[k] for k in np.flatnonzero(beyond).tolist()])}"
    ]


def _integer_doubts(
    channels: Sequence[Channel], values: npt.NDArray[np.float64], plain: FcsHeader
) -> list[str]:
    limits = np.full(len(channels), np.inf)
    floating: list[tuple[float, str]] = []
    reversed_bytes: list[str] = []
    for n, (channel, column) in enumerate(zip(channels, values.T, strict=True)):
        filled = column[column > 0]
        if channel.datatype != "I" or len(filled) < _FEWEST:
            continue
        top = 2.0 ** (channel.bits - 1)
        limit = 2.0 ** np.ceil(np.log2(channel.range)) if channel.range >= 2 else 2.0**channel.bits
        if limit <= top and not _is_number_of_channel(filled, limit, top):
            limits[n] = limit
        if channel.bits >= 32 and not _is_number_of_channel(filled, top / 256, top):
            floating.append((float(np.mean(filled >= top / 4)), channel.pnn))
        if channel.bits > 8 and _is_reversed(column, channel.bits):
            reversed_bytes.append(channel.pnn)
    doubts = _cut_off(plain, limits)
    beyond = [(share, name) for share, name in floating if share > LARGEST_AS_FLOAT]
    if beyond:
        doubts.append(
            f"{_percent(max(beyond)[0])} of the values use the highest bits, as floating-point numbers do, in "
            f"{_some([name for _, name in beyond])}"
        )
    if reversed_bytes:
        doubts.append(
            f"a higher byte varies more than the lowest in {_some(reversed_bytes)}: is $BYTEORD reversed?"
        )
    return doubts


def _cut_off(plain: FcsHeader, limits: npt.NDArray[np.float64]) -> list[str]:
    """Return the doubt about channels with values that their range cuts off: all are counted, few may be there."""
    if np.isinf(limits).all():
        return []
    above = np.zeros(len(limits), dtype=np.int64)
    for _, block in blocks(plain):
        above += np.count_nonzero(block >= limits, axis=0)
    names = [plain.channels[n].pnn for n in np.flatnonzero(above).tolist()]
    if not names:
        return []
    return [f"{above.max()} values have bits above $PnR, which are cut off, in {_some(names)}"]


def _is_reversed(column: npt.NDArray[np.float64], bits: int) -> bool:
    """Whether a higher byte varies more than the lowest, as it does where the byte order is wrong."""
    whole = column[column > 0]
    entropies = [_entropy(whole // 256.0**place % 256) for place in range(bits // 8)]
    # Values of fewer bits that were shifted up are even, mostly.
    odd = float(np.mean(whole % 2))
    return odd > _SHIFTED_UP and max(entropies[1:]) > entropies[0] + _ENTROPY_REVERSED


def _is_number_of_channel(filled: npt.NDArray[np.float64], limit: float, top: float) -> bool:
    """Whether the bits from `limit` on are the same in all values, but for the topmost.

    Beckman Coulter writes the number of the channel there, and sets the topmost bit in every second event.
    """
    high = (filled % top if limit < top else filled) // limit
    return bool((high == high[0]).all()) and float(filled.max()) >= limit


def _entropy(whole: npt.NDArray[np.float64]) -> float:
    """Return the entropy of whole numbers from 0 to 255, in bits."""
    counts = np.bincount(whole.astype(np.int64), minlength=256)
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log2(share)).sum())


def _time_doubts(channels: Sequence[Channel], pieces: Sequence[npt.NDArray[Any]]) -> list[str]:
    """Return whether another column goes on as Time should, and Time does not."""
    roles = [guess_role(channel.pnn, channel.pnn, None) for channel in channels]
    if "time" not in roles:
        return []
    with np.errstate(invalid="ignore"):
        steps = [np.diff(piece, axis=0) for piece in pieces if len(piece) > 1]
    if not steps:
        return []
    with np.errstate(invalid="ignore"):
        moved = np.concatenate(steps)
        forwards = np.mean(moved >= 0, axis=0)
        rising = np.mean(moved > 0, axis=0)
    time = roles.index("time")
    if len(moved) < _FEWEST or forwards[time] >= _NOT_FORWARDS:
        return []
    others = [k for k in range(len(channels)) if k != time and forwards[k] >= _FORWARDS and rising[k] >= 0.2]
    if not others:
        return []
    return [f"{channels[others[0]].pnn} goes on from event to event as Time should, and Time does not"]


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.095 else f"{share:.1%}"


def _some(names: Sequence[str], limit: int = 5) -> str:
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
