"""What is said where a sample has no clear threshold: why, what the cells look like, what to write instead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core.errors import GateError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cytocar.gate._rules.base import RuleInput
    from cytocar.gate._strategy.threshold import Threshold

_BLOCKS = "▁▂▃▄▅▆▇█"


class ThresholdNotFound(GateError):
    """A threshold has no clear place in a sample.

    Attributes
    ----------
    name, sample, marker
        Which threshold, in which sample, of which marker.
    needs_others
        True where the strategy would take the median of the other samples, and none were given: `apply` may be
        called again with their numbers in `others`.
    """

    def __init__(
        self, message: str, *, name: str = "", sample: str = "", marker: str = "", needs_others: bool = False
    ) -> None:
        super().__init__(message)
        self.name, self.sample, self.marker, self.needs_others = name, sample, marker, needs_others

    def __reduce__(self) -> tuple[Any, ...]:
        # The state holds what else an error has: its address and its notes.
        return _rebuild, (self.what, self.name, self.sample, self.marker, self.needs_others), self.__dict__


def _rebuild(message: str, name: str, sample: str, marker: str, needs_others: bool) -> ThresholdNotFound:
    return ThresholdNotFound(message, name=name, sample=sample, marker=marker, needs_others=needs_others)


def not_found(
    threshold: Threshold, given: RuleInput, sample: str, reasons: Sequence[str]
) -> ThresholdNotFound:
    """Return the error for a sample in which no rule has found a number, with the reason of each."""
    middle = _suggestion(threshold, given)
    needs_others = given.others is None and any(rule.needs_others for rule in threshold.rules())
    lines = [
        f"sample {sample}: no threshold {threshold.name} (marker {threshold.marker}) "
        f"in {threshold.population} ({given.values.size:,} cells)",
        *(f"  {reason}" for reason in reasons),
        *(f"  {line}" for line in sketch(given.values)),
        f"Look at the density and state a number in study.yaml, such as  thresholds: {{{threshold.name}: {middle}}}"
        f"  for all samples, or  thresholds: {{{threshold.name}: {{{sample}: {middle}}}}}  for this one.",
    ]
    if needs_others:
        lines.append(
            "Or hand over what other samples have (others={name: numbers}; others={} to go on without them)."
        )
    return ThresholdNotFound(
        "\n".join(lines),
        name=threshold.name,
        sample=sample,
        marker=threshold.marker,
        needs_others=needs_others,
    )


def _suggestion(threshold: Threshold, given: RuleInput) -> str:
    """Return a number within the range of the rule, to show how one is written."""
    rule = threshold.rule
    if rule is not None and rule.low is not None and rule.high is not None:
        return f"{(rule.low + rule.high) / 2:.1f}"
    if given.values.size:
        return f"{(float(given.values.min()) + float(given.values.max())) / 2:.1f}"
    return "2.0"


def sketch(values: NDArray[Any], width: int = 48) -> list[str]:
    """Draw a density in two lines of text: blocks as high as the square root of the share of cells, and an axis.

    Examples
    --------
    >>> import numpy as np
    >>> for line in sketch(np.repeat([0.0, 4.0], [300, 100]), width=9):
    ...     print(line)
    █▁▁▁▁▁▁▁▅
    0.0   4.0
    """
    if values.size == 0:
        return ["(no cells)"]
    low, high = float(values.min()), float(values.max())
    high = high if high > low else low + 1.0
    counts, _ = np.histogram(values, bins=width, range=(low, high))
    height = np.sqrt(counts / counts.max())
    blocks = "".join(_BLOCKS[round(float(h) * (len(_BLOCKS) - 1))] for h in height)
    left, right = f"{low:.1f}", f"{high:.1f}"
    inner = width - len(left) - len(right)
    centre = f"{(low + high) / 2:.1f}" if inner > 12 else ""
    return [blocks, left + centre.center(inner) + right]
