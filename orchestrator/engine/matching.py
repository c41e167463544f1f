"""Two multisets compared in one pass: what should lie on a topic, and what does.

Both come in nearly the same order, so that only what is still without its counterpart is held.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple


class Item(NamedTuple):
    """One record as bytes."""

    key: bytes
    value: bytes


class Matcher:
    """See the module docstring. Equal bytes match; the caller compares the contents of the rest."""

    def __init__(self) -> None:
        self.matched = 0
        self._expected: Counter[Item] = Counter()
        self._found: Counter[Item] = Counter()
        self._ever: set[int] = set()
        """Hashes of all that was ever expected: what is found once more was made twice."""

    def expect(self, item: Item) -> None:
        """It should be there."""
        self._ever.add(hash(item))
        self._meet(item, self._found, self._expected)

    def find(self, item: Item) -> None:
        """It is there."""
        self._meet(item, self._expected, self._found)

    def _meet(self, item: Item, other: Counter[Item], own: Counter[Item]) -> None:
        if not other[item]:
            del other[item]
            own[item] += 1
            return
        self.matched += 1
        other[item] -= 1
        if not other[item]:
            del other[item]

    @property
    def open(self) -> bool:
        """Whether something that should be there has not been found so far."""
        return bool(self._expected)

    def missing(self) -> Iterator[Item]:
        """Yield what was not found."""
        yield from self._expected.elements()

    def surplus(self) -> Iterator[Item]:
        """Yield what should not be there."""
        yield from self._found.elements()

    def expected_before(self, item: Item) -> bool:
        """Whether the very same was expected, and found, besides this one."""
        return hash(item) in self._ever
