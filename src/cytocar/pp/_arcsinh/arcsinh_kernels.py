"""The compiled arcsinh: the same operations in the same order as `arcsinh_numpy`, in one pass."""

from __future__ import annotations

from typing import Any

import numpy as np

from cytocar._core.compiled import compiled
from cytocar.pp._arcsinh.arcsinh_numpy import (
    C3,
    C5,
    C7,
    EXPONENT,
    HALF_ROOT_BITS,
    LN2_HIGH,
    LN2_LOW,
    ONE,
    ROOT,
    SIGN_BITS,
    SIZE_BITS,
)

_F = np.float32
_I = np.int32


@compiled()
def _bits(value: Any) -> Any:
    return _F(value).view(np.int32)


@compiled()
def _float(bits: Any) -> Any:
    return _I(bits).view(np.float32)


@compiled(error_model="numpy")
def transform(values: Any, tile: Any, limit: Any) -> Any:
    """Replace float32 values by arcsinh(value / cofactor), in place, chunk by chunk; return the first left out.

    A chunk is as long as `tile`, which holds the cofactor of each of its values. The first chunk with a value
    whose bits without the sign are above `limit` ends the loop: such values, infinities and NaN need branches,
    without which the loop is vectorised. Only operations that IEEE 754 rounds correctly are used and none is
    fused, so every processor gives the same bytes.
    """
    for start in range(0, values.shape[0], tile.shape[0]):
        chunk = values[start : start + tile.shape[0]]
        top = _I(0)
        for i in range(chunk.shape[0]):
            top = max(top, _I(_bits(chunk[i]) & SIZE_BITS))
        if top > limit:
            return start
        for i in range(chunk.shape[0]):
            ratio = chunk[i] / tile[i]
            size = abs(ratio)
            root = np.sqrt(size * size + ONE)
            power = size + root
            bits = _bits(power)
            exponent = _I(_I(bits - HALF_ROOT_BITS) >> EXPONENT)
            mantissa = _float(_I(bits - _I(exponent << EXPONENT)))
            near = power < ROOT
            above = size if near else mantissa - ONE
            below = (root if near else mantissa) + ONE
            s = above / below
            z = s * s
            double = s + s
            series = ((C7 * z + C5) * z + C3) * z
            scale = _F(exponent)
            inverse = scale * LN2_HIGH + (double + (double * series + scale * LN2_LOW))
            chunk[i] = _float(_I(_bits(inverse) | _I(_bits(ratio) & SIGN_BITS)))
    return values.shape[0]
