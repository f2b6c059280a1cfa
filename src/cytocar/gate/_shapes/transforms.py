"""The scales of Gating-ML 2.0, with their inverses, the ratio of two channels, and spectrum matrices."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from cytocar._core.errors import GateError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

LN10 = math.log(10.0)
MOST_DECADES = 50
"""Far more decades than are measured, and few enough that the constants of every scale are finite."""
_ROUNDS = 12
"""More rounds of 256 parts than lie between a millionth and the last bit of a double."""
_NEIGHBOURS = 16
_Constants = tuple[float, float, float, float, float]


def asinh_top(cofactor: float) -> float:
    """Return T of the `Asinh` scale that equals arcsinh(x / cofactor), with M = 1 / ln 10 and A = 0."""
    return cofactor * math.sinh(1.0)


@dataclass(frozen=True)
class Transformation:
    """One scale: a value of a channel to a value on an axis.

    Parameters
    ----------
    bound_min, bound_max
        Values on the axis below and above which all values are set to the bound; None for no bound.
    """

    bound_min: float | None = None
    bound_max: float | None = None

    xml_name: ClassVar[str] = ""

    def parameters(self) -> dict[str, float]:
        """Return the parameters by the names that Gating-ML gives them."""
        return {
            field.name.upper(): getattr(self, field.name)
            for field in fields(self)
            if field.name not in ("bound_min", "bound_max", "numerator", "denominator")
        }

    def bounded(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return `values` within the bounds."""
        if self.bound_min is None and self.bound_max is None:
            return values
        return np.clip(values, self.bound_min, self.bound_max)

    def _check(self) -> None:
        for name, value in self.parameters().items():
            if not math.isfinite(value):
                raise GateError(f"{self.xml_name}: {name} is {value}", fix="it has to be a finite number")
        low, high = self.bound_min, self.bound_max
        if low is not None and high is not None and not low <= high:
            raise GateError(f"{self.xml_name}: boundMin is {low}, above boundMax {high}")

    def _need(self, holds: bool, what: str) -> None:
        if not holds:
            given = ", ".join(f"{name} = {value:g}" for name, value in self.parameters().items())
            raise GateError(f"{self.xml_name} with {given}: {what} is needed")


@dataclass(frozen=True)
class Scale(Transformation, ABC):
    """A transformation of one channel."""

    everywhere: ClassVar[bool] = True
    """Rising, and defined for all values."""

    def apply(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return the values on the axis, float64, within the bounds; NaN where the scale is not defined."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return self.bounded(self._apply(np.ascontiguousarray(values, dtype=np.float64)))

    def inverse(self, positions: ArrayLike) -> NDArray[np.float64]:
        """Return the values of the channel that are at these positions on the axis, without regard to the bounds."""
        return self._inverse(np.ascontiguousarray(positions, dtype=np.float64))

    def cut(self, position: float) -> float | None:
        """Return the smallest value of the channel that `apply` puts at or above a position on the axis.

        With it, values need not be transformed to be compared. None where there is no such value that is safe: with
        bounds, or where rounding makes `apply` fall somewhere among the neighbours of that value.
        """
        if not self.everywhere or self.bound_min is not None or self.bound_max is not None:
            return None
        with np.errstate(over="ignore"):
            middle = float(self.inverse([position])[0])
        top = float(self.parameters()["T"])
        reach = 1e-6 * max(abs(middle), 1e-6 * top)
        low, high = middle - reach, middle + reach
        # A thousand times T is above anything measured, and far from what a double cannot hold.
        if (
            not abs(middle) < 1e3 * top
            or self.apply([low])[0] >= position
            or not self.apply([high])[0] >= position
        ):
            return None
        for _ in range(_ROUNDS):
            if np.nextafter(low, high) >= high:
                break
            grid = np.linspace(low, high, 257)
            first = int(np.argmax(self.apply(grid) >= position))
            if first == 0:
                return None
            low, high = float(grid[first - 1]), float(grid[first])
        around = [high]
        for _ in range(_NEIGHBOURS):
            around = [math.nextafter(around[0], -math.inf), *around, math.nextafter(around[-1], math.inf)]
        return high if ((self.apply(around) >= position) == (np.array(around) >= high)).all() else None

    @abstractmethod
    def _apply(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the values on this scale."""

    @abstractmethod
    def _inverse(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the values that are at these positions of the scale."""


@dataclass(frozen=True)
class Linear(Scale):
    """flin(x) = (x + A) / (T + A).

    Parameters
    ----------
    t
        Top of scale, above 0: the value that becomes 1.
    a
        0 to T: -A becomes 0.
    """

    t: float = 1.0
    a: float = 0.0
    xml_name: ClassVar[str] = "flin"

    def __post_init__(self) -> None:
        self._check()
        self._need(self.t > 0 and 0 <= self.a <= self.t, "T > 0 and 0 <= A <= T")

    def _apply(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return (values + self.a) / (self.t + self.a)

    def _inverse(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        return positions * (self.t + self.a) - self.a


@dataclass(frozen=True)
class Log(Scale):
    """flog(x) = log10(x / T) / M + 1; not defined below 0.

    Parameters
    ----------
    t
        Top of scale, above 0: the value that becomes 1.
    m
        Decades from 0 to 1 on the axis, above 0.
    """

    t: float = 1.0
    m: float = 1.0
    xml_name: ClassVar[str] = "flog"
    everywhere: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self._check()
        self._need(self.t > 0 and self.m > 0, "T > 0 and M > 0")

    def _apply(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.log10(values / self.t) / self.m + 1.0

    def _inverse(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.t * 10.0 ** ((positions - 1.0) * self.m)


@dataclass(frozen=True)
class Asinh(Scale):
    """fasinh(x) = (arcsinh(x sinh(M ln 10) / T) + A ln 10) / ((M + A) ln 10).

    Parameters
    ----------
    t
        Top of scale, above 0: the value that becomes 1.
    m
        Decades of positive values, above 0.
    a
        Decades of negative values, 0 to M.
    """

    t: float = 1.0
    m: float = 1.0
    a: float = 0.0
    xml_name: ClassVar[str] = "fasinh"

    def __post_init__(self) -> None:
        self._check()
        self._need(
            self.t > 0 and 0 < self.m <= MOST_DECADES and 0 <= self.a <= self.m,
            f"T > 0, 0 < M <= {MOST_DECADES} and 0 <= A <= M",
        )

    @classmethod
    def of_cofactor(cls, cofactor: float) -> Asinh:
        """Return the scale that equals arcsinh(x / cofactor)."""
        return cls(t=asinh_top(cofactor), m=1.0 / LN10)

    @property
    def cofactor(self) -> float:
        """What values are divided by before the arcsinh."""
        return self.t / math.sinh(self.m * LN10)

    @property
    def unit(self) -> float:
        """Length on the axis of one unit of arcsinh(x / cofactor)."""
        return 1.0 / ((self.m + self.a) * LN10)

    @property
    def offset(self) -> float:
        """Position of 0 on the axis."""
        return self.a / (self.m + self.a)

    def equals_arcsinh(self, cofactor: float) -> bool:
        """Return whether positions on the axis are arcsinh(x / cofactor), bounds apart."""
        return (
            math.isclose(self.cofactor, cofactor, rel_tol=1e-9)
            and math.isclose(self.unit, 1.0, rel_tol=1e-9)
            and self.offset == 0
        )

    def _apply(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        scaled = np.arcsinh(values * (math.sinh(self.m * LN10) / self.t))
        return (scaled + self.a * LN10) / ((self.m + self.a) * LN10)

    def _inverse(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.sinh(positions * ((self.m + self.a) * LN10) - self.a * LN10) * self.cofactor


@dataclass(frozen=True)
class _Mirrored(Scale):
    """The root y of a function of y that is the value, mirrored below 0: logicle and hyperlog.

    The function is about linear near 0 and exponential far from it; it has the value 0 at x1.
    """

    t: float = 262144.0
    w: float = 0.5
    m: float = 4.5
    a: float = 0.0
    with_w_of_0: ClassVar[bool] = True
    linear: ClassVar[bool] = False
    """The function has a linear term in place of a second exponential."""

    def __post_init__(self) -> None:
        self._check()
        self._need(
            self.t > 0
            and 0 < self.m <= MOST_DECADES
            and (self.w > 0 or (self.with_w_of_0 and self.w == 0))
            and self.w <= self.m / 2
            and -self.w <= self.a <= self.m - 2 * self.w,
            f"T > 0, 0 < M <= {MOST_DECADES}, 0 {'<=' if self.with_w_of_0 else '<'} W <= M / 2 and "
            "-W <= A <= M - 2 W",
        )

    @abstractmethod
    def _constants(self) -> tuple[_Constants, float]:
        """Return a, b, c, d and f of the function, and x1."""

    @abstractmethod
    def _values_at(self, y: NDArray[np.float64], constants: _Constants) -> NDArray[np.float64]:
        """Return the function of y, for y of at least x1."""

    def _apply(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        from cytocar.gate._shapes.kernels import mirrored_roots

        constants, x1 = self._constants()
        positions = np.empty_like(values)
        mirrored_roots(self.linear, values, constants, x1, positions)
        return positions

    def _inverse(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        constants, x1 = self._constants()
        above = x1 + np.abs(positions - x1)
        return np.where(positions < x1, -1.0, 1.0) * self._values_at(above, constants)


@dataclass(frozen=True)
class Logicle(_Mirrored):
    """logicle(x): the root y of a exp(b y) - c exp(-d y) - f = x, mirrored below 0.

    Moore and Parks 2012, doi 10.1002/cyto.a.22030.

    Parameters
    ----------
    t
        Top of scale, above 0: the value that becomes 1.
    w
        Decades of the linear part, 0 to M / 2.
    m
        Decades of the logarithmic scale that it nears for large values, above 0.
    a
        Additional decades of negative values, -W to M - 2 W.
    """

    xml_name: ClassVar[str] = "logicle"

    def _constants(self) -> tuple[_Constants, float]:
        b = (self.m + self.a) * LN10
        w, x2 = self.w / (self.m + self.a), self.a / (self.m + self.a)
        x1, x0 = x2 + w, x2 + 2 * w
        d = (
            root_between_0_and(b, lambda value: 2.0 * (math.log(value) - math.log(b)) + w * (b + value))
            if w
            else b
        )
        c_a = math.exp(x0 * (b + d))
        f_a = math.exp(b * x1) - c_a * math.exp(-d * x1)
        a = self.t / ((math.exp(b) - f_a) - c_a * math.exp(-d))
        return (a, b, c_a * a, d, f_a * a), x1

    def _values_at(self, y: NDArray[np.float64], constants: _Constants) -> NDArray[np.float64]:
        a, b, c, d, f = constants
        return a * np.exp(b * y) - c * np.exp(-d * y) - f


@dataclass(frozen=True)
class Hyperlog(_Mirrored):
    """hyperlog(x): the root y of a exp(b y) + c y - f = x, mirrored below 0.

    Bagwell 2005, doi 10.1002/cyto.a.20114.

    Parameters
    ----------
    t
        Top of scale, above 0: the value that becomes 1.
    w
        Decades of the linear part, above 0 to M / 2.
    m
        Decades of the logarithmic scale that it nears for large values, above 0.
    a
        Additional decades of negative values, -W to M - 2 W.
    """

    xml_name: ClassVar[str] = "hyperlog"
    with_w_of_0: ClassVar[bool] = False
    linear: ClassVar[bool] = True

    def _constants(self) -> tuple[_Constants, float]:
        b = (self.m + self.a) * LN10
        w, x2 = self.w / (self.m + self.a), self.a / (self.m + self.a)
        x1, x0 = x2 + w, x2 + 2 * w
        c_a = math.exp(b * x0) / w
        f_a = math.exp(b * x1) + c_a * x1
        a = self.t / ((math.exp(b) + c_a) - f_a)
        return (a, b, c_a * a, 0.0, f_a * a), x1

    def _values_at(self, y: NDArray[np.float64], constants: _Constants) -> NDArray[np.float64]:
        a, b, c, _, f = constants
        return a * np.exp(b * y) + c * y - f


def root_between_0_and(high: float, function: Callable[[float], float]) -> float:
    """Return the root of a rising function between 0 and `high`, by bisection to the last bit."""
    low = 0.0
    while True:
        middle = 0.5 * (low + high)
        if middle in (low, high):
            return middle
        if function(middle) < 0:
            low = middle
        else:
            high = middle


@dataclass(frozen=True)
class Ratio(Transformation):
    """fratio(x, y) = A (x - B) / (y - C), a new dimension from two channels.

    Parameters
    ----------
    numerator, denominator
        Names of the two channels.
    a, b, c
        As in the formula.
    """

    numerator: str = ""
    denominator: str = ""
    a: float = 1.0
    b: float = 0.0
    c: float = 0.0
    xml_name: ClassVar[str] = "fratio"

    def __post_init__(self) -> None:
        self._check()
        if not self.numerator or not self.denominator:
            raise GateError("fratio needs the names of two channels")

    def apply(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the ratio of two channels, within the bounds; infinite or NaN where it divides by zero."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return self.bounded(self.a * ((x - self.b) / (y - self.c)))


SCALES: dict[str, type[Scale]] = {kind.xml_name: kind for kind in (Linear, Log, Asinh, Logicle, Hyperlog)}
