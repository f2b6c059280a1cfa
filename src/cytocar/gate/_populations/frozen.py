"""A dict that cannot be changed."""

from __future__ import annotations

from typing import Any, TypeVar

Key = TypeVar("Key")
Item = TypeVar("Item")


class FrozenDict(dict[Key, Item]):
    """A dict that cannot be changed: keeps a `GateTree` what it was when it was checked, and can be pickled."""

    def _refuse(self, *_args: Any, **_settings: Any) -> Any:
        raise TypeError("a GateTree is not changed in place; with_threshold() returns a changed copy")

    __setitem__ = __delitem__ = clear = pop = popitem = setdefault = update = __ior__ = _refuse

    def __hash__(self) -> int:  # type: ignore[override]  # dict is unhashable because it can change; this cannot
        return hash(frozenset(self.items()))

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenDict, (dict(self),)
