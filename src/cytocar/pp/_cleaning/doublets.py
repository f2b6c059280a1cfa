"""Limits of doublets: DNA, Event_length and CD45 added with weights, above nearly all single cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from cytocar.pp._cleaning.humps import centre_and_scale
from cytocar.pp._cleaning.limit import FEWEST, UNIT, UNIT_SUM, Limit, not_judged

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Share of single cells that the doublet limit may cost, and the normal quantile that belongs to it: with CD45, and
# by DNA and length alone, which separate doublets less well, so that they would keep too many at the same cost.
SINGLETS_LOST: Final = 0.005
SINGLETS_LOST_BY_TWO: Final = 0.01
_QUANTILE: Final = 2.576
_QUANTILE_BY_TWO: Final = 2.326
# Without Event_length, cells in division have the DNA of a doublet: the limit goes up.
_QUANTILE_DNA_ALONE: Final = 3.0
# Two cells have twice the DNA and the CD45 of one, and as a rule 1.4 times its length.
_DOUBLET_DNA: Final = float(np.log(2.0))
# Length counts for three quarters of that: short events are nearer to each other than long ones, so that the lower half
# makes it a surer sign than it is.
_DOUBLET_LENGTH: Final = 0.27
_DOUBLET_STAIN: Final = float(np.log(2.0))
# Weights of length and CD45 beside the 1 of DNA stay within these.
_LENGTH_WEIGHTS: Final = (0.2, 2.0)
_LARGEST_STAIN_WEIGHT: Final = 1.0
# A doublet is longer than the typical single cell; what is not has the DNA of a cell in division.
_LONGER: Final = 0.75
# Where CD45 counts too: the part of the way from one cell to two, in length and CD45 together.
_WAY_TO_TWO: Final = 0.55


def doublet_weights(dna_scale: float, length_scale: float, stain_scale: float | None) -> tuple[float, ...]:
    """Return the weights of DNA (1), length and, if it was stained, CD45 in the score of doublets.

    Those of Fisher's discriminant, distance of two cells from one over variance, relative to that of DNA.

    Parameters
    ----------
    dna_scale, length_scale, stain_scale
        Standard deviations of single cells by their lower halves, arcsinh units; `None` without CD45.

    Examples
    --------
    >>> [round(weight, 3) for weight in doublet_weights(0.25, 0.2, 0.5)]
    [1.0, 0.609, 0.25]
    """
    of_dna = _DOUBLET_DNA / dna_scale**2
    of_length = float(np.float32(np.clip((_DOUBLET_LENGTH / length_scale**2) / of_dna, *_LENGTH_WEIGHTS)))
    if stain_scale is None:
        return 1.0, of_length
    of_stain = float(np.float32(min((_DOUBLET_STAIN / stain_scale**2) / of_dna, _LARGEST_STAIN_WEIGHT)))
    return 1.0, of_length, of_stain


def doublet_limits(
    dna: NDArray[np.floating],
    length: NDArray[np.floating] | None,
    stain: NDArray[np.floating] | None,
    names: tuple[str, str, str],
) -> list[Limit]:
    """Return the limits that a doublet is above: of DNA, length and stain together, of DNA, and of length.

    The score is Fisher's discriminant for an event of twice the DNA, 1.3 times the length and twice the CD45 of a
    cell, with scales from the lower halves. Its limit is the 99.5 % quantile of single cells (99 % without CD45), as
    their lower half tells it. Length and CD45 without DNA have a limit of their own, which keeps cells in division.
    A stain on all cells (CD45) weighs little where it varies much from cell to cell.

    Parameters
    ----------
    dna, length, stain
        arcsinh(x / 5) of shape (events,); `None` where the file has no such channel.
    names
        Their channels.
    """
    if dna.size < FEWEST:
        return [not_judged("doublet", f"{dna.size} single cells are fewer than {FEWEST}")]
    dna_centre, dna_scale = centre_and_scale(dna)
    if length is None:
        return [_by_dna_alone(names[0], dna_centre, dna_scale)]
    _, length_scale = centre_and_scale(length)
    stain_scale = None if stain is None else centre_and_scale(stain)[1]
    weights = doublet_weights(dna_scale, length_scale, stain_scale)
    score = dna + np.float32(weights[1]) * length
    if stain is not None:
        score = score + np.float32(weights[2]) * stain
    centre, scale = centre_and_scale(score)
    lost, quantile = (SINGLETS_LOST_BY_TWO, _QUANTILE_BY_TWO) if stain is None else (SINGLETS_LOST, _QUANTILE)
    return [
        Limit(
            "doublet",
            centre + quantile * scale,
            UNIT_SUM,
            "above",
            "sum",
            names[: len(weights)],
            weights,
            f"{100 * lost:g} % of single cells above it, by the lower half of their score",
            _note(centre, scale),
        ),
        Limit(
            "doublet_dna",
            dna_centre + 0.5 * _DOUBLET_DNA,
            UNIT,
            "above",
            "sum",
            names[:1],
            (1.0,),
            "DNA nearer to that of two cells than of one",
            _note(dna_centre, dna_scale),
        ),
        _by_length(length, length_scale, names[1])
        if stain is None or stain_scale is None
        else _by_length_and_stain(length, length_scale, stain, stain_scale, names[1:]),
    ]


def _note(centre: float, scale: float) -> str:
    return f"mode {centre:.3f}, SD of the lower half {scale:.3f}"


def _by_dna_alone(name: str, centre: float, scale: float) -> Limit:
    return Limit(
        "doublet",
        centre + max(_QUANTILE_DNA_ALONE * scale, _DOUBLET_DNA),
        UNIT,
        "above",
        "sum",
        (name,),
        (1.0,),
        "fallback: 3 SD above the mode of the cells, at least twice its DNA, by DNA alone",
        "Event_length is missing: most doublets stay; " + _note(centre, scale),
    )


def _by_length(length: NDArray[np.floating], length_scale: float, name: str) -> Limit:
    """Return the limit of length without DNA, which keeps cells in division."""
    centre, scale = centre_and_scale(length)
    return Limit(
        "doublet_length",
        centre + _LONGER * length_scale,
        UNIT,
        "above",
        "sum",
        (name,),
        (1.0,),
        f"{_LONGER:g} SD above the mode: what is not longer than a cell is one cell, maybe in division",
        _note(centre, scale),
    )


def _by_length_and_stain(
    length: NDArray[np.floating],
    length_scale: float,
    stain: NDArray[np.floating],
    stain_scale: float,
    names: tuple[str, ...],
) -> Limit:
    """Return the limit of length and CD45 without DNA, which keeps cells in division."""
    per_length = (_DOUBLET_STAIN / stain_scale**2) / (_DOUBLET_LENGTH / length_scale**2)
    weight = float(np.float32(min(per_length, _LARGEST_STAIN_WEIGHT)))
    centre, scale = centre_and_scale(length + np.float32(weight) * stain)
    return Limit(
        "doublet_length",
        centre + _WAY_TO_TWO * (_DOUBLET_LENGTH + weight * _DOUBLET_STAIN),
        UNIT_SUM,
        "above",
        "sum",
        names,
        (1.0, weight),
        f"{_WAY_TO_TWO:g} of the way from the length and CD45 of one cell to those of two: what is below is one "
        "cell, maybe in division",
        _note(centre, scale),
    )
