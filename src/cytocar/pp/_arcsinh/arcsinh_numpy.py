"""arcsinh in float32 by correctly rounded operations only, so that every processor gives the same bytes.

With a = |value / cofactor|, r = sqrt(a^2 + 1) and u = a + r the arcsinh is log(u) = e ln 2 + log(m), where
u = 2^e m and m lies between the root of 1/2 and the root of 2. log(m) = 2 artanh(s) with s = (m - 1) / (m + 1),
by its series; where e = 0, s = a / (1 + r) is the same without cancellation. ln 2 is split into a part that is
exact in few bits and the rest (Cody and Waite 1980, Software Manual for the Elementary Functions).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

ONE: Final = np.float32(1)
TWO: Final = np.float32(2)
ROOT: Final = np.float32(1.41421354)
LN2_HIGH: Final = np.float32(0.693359375)
LN2_LOW: Final = np.float32(-2.12194440e-4)
# The first terms of artanh(s) / s - 1 in s^2; the next is below 1e-8 for |s| < 0.172.
C3: Final = np.float32(1 / 3)
C5: Final = np.float32(1 / 5)
C7: Final = np.float32(1 / 7)
EXPONENT: Final = np.int32(23)
HALF_ROOT_BITS: Final = np.int32(0x3F3504F3)
SIZE_BITS: Final = np.int32(0x7FFFFFFF)
SIGN_BITS: Final = np.int32(-0x80000000)
# Above this, a^2 + 1 could overflow; there arcsinh(a) is log(2 a) to the last digit.
LARGE: Final = np.float32(1e18)
LARGE_BITS: Final = int(LARGE.view(np.int32))
_FINITE_BITS: Final = int(np.finfo(np.float32).max.view(np.int32))


def limit_bits(tile: npt.NDArray[np.float32]) -> np.int32:
    """Return the bits of the largest count whose ratio to every cofactor stays below `LARGE`."""
    smallest = float(tile.min(initial=1)) if len(tile) else 1.0
    limit = np.float32(min(smallest * float(LARGE), float(np.finfo(np.float32).max)))
    return np.int32(min(int(limit.view(np.int32)), _FINITE_BITS))


class Workspace:
    """Buffers of one chunk, made once for all chunks."""

    def __init__(self, length: int) -> None:
        self.floats = [np.empty(length, dtype=np.float32) for _ in range(4)]
        self.integers = [np.empty(length, dtype=np.int32) for _ in range(3)]


def transform_chunk(
    values: npt.NDArray[np.float32], tile: npt.NDArray[np.float32], limit: np.int32, space: Workspace
) -> None:
    """Replace float32 values by arcsinh(value / cofactor), in place; infinities and NaN stay.

    Parameters
    ----------
    values
        One-dimensional, contiguous, at most as long as the buffers.
    tile
        The cofactor of each value.
    limit
        What `limit_bits` gave for the cofactors.
    space
        Buffers.
    """
    n = len(values)
    size, root, power, other = (buffer[:n] for buffer in space.floats)
    exponent, signs, near = (buffer[:n] for buffer in space.integers)
    np.bitwise_and(values.view(np.int32), SIZE_BITS, out=exponent)
    rare: Any = None
    if n and exponent.max() > limit:
        rare = _rare(values, tile[:n])
    with np.errstate(over="ignore", invalid="ignore"):
        np.divide(values, tile[:n], out=values)
    np.bitwise_and(values.view(np.int32), SIGN_BITS, out=signs)
    np.abs(values, out=size)
    if rare is not None:
        size[rare[0]] = ONE
    np.multiply(size, size, out=root)
    np.add(root, ONE, out=root)
    np.sqrt(root, out=root)
    np.add(size, root, out=power)
    bits = power.view(np.int32)
    np.subtract(bits, HALF_ROOT_BITS, out=exponent)
    np.right_shift(exponent, EXPONENT, out=exponent)
    np.left_shift(exponent, EXPONENT, out=other.view(np.int32))
    np.subtract(bits, other.view(np.int32), out=bits)
    # `power` is the mantissa from here on. Bits are chosen by a mask: branches on noise are slow.
    np.subtract(power, ONE, out=other)
    np.subtract(exponent, np.int32(1), out=near)
    np.right_shift(near, np.int32(31), out=near)
    _choose(other.view(np.int32), size.view(np.int32), near)
    _choose(power.view(np.int32), root.view(np.int32), near)
    np.add(power, ONE, out=power)
    np.divide(other, power, out=other)
    s, z, double, series = other, size, root, power
    np.multiply(s, s, out=z)
    np.add(s, s, out=double)
    np.multiply(z, C7, out=series)
    np.add(series, C5, out=series)
    np.multiply(series, z, out=series)
    np.add(series, C3, out=series)
    np.multiply(series, z, out=series)
    np.multiply(series, double, out=series)
    scale = other
    np.copyto(scale, exponent, casting="same_kind")
    np.multiply(scale, LN2_LOW, out=z)
    np.add(series, z, out=series)
    np.add(double, series, out=series)
    np.multiply(scale, LN2_HIGH, out=scale)
    np.add(scale, series, out=values)
    np.bitwise_or(values.view(np.int32), signs, out=values.view(np.int32))
    if rare is not None:
        values[rare[0]] = rare[1]


def _choose(
    values: npt.NDArray[np.int32], others: npt.NDArray[np.int32], mask: npt.NDArray[np.int32]
) -> None:
    """Replace `values` by `others` where all bits of the mask are set; `others` are lost."""
    np.bitwise_xor(others, values, out=others)
    np.bitwise_and(others, mask, out=others)
    np.bitwise_xor(values, others, out=values)


def _rare(
    values: npt.NDArray[np.float32], tile: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """Return where ratios are beyond `LARGE`, infinite or NaN, and their arcsinh: log(2 a), or as they are."""
    ratio = values.astype(np.float64) / tile
    where = np.flatnonzero(~(np.abs(ratio) <= LARGE))
    found = ratio[where]
    finite = np.isfinite(found)
    # These few are rounded from double precision, where a ratio does not overflow.
    found[finite] = np.copysign(np.log(np.abs(found[finite])) + np.log(2.0), found[finite])
    return where, found.astype(np.float32)
