"""What a partition has read and not finished: order per customer, concurrency across customers."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import NamedTuple

from orchestrator.records import Action
from orchestrator.sinks.ledger import Write


class Item(NamedTuple):
    """One record of the action topic. Without ``action`` it is poison, with its dead letter."""

    offset: int
    action: Action | None
    dead_letter: Write | None = None

    @property
    def lane(self) -> Hashable:
        """Items of one lane are handled one after the other."""
        return self.action.customer_id if self.action else self.offset


class Lanes:
    """Items by customer; only the head of a lane can be taken.

    ``position`` is where a new owner would have to begin: the oldest item without an outcome.
    """

    def __init__(self, position: int) -> None:
        self._next = position
        self._open: OrderedDict[int, None] = OrderedDict()
        self._lanes: dict[Hashable, deque[Item]] = {}
        self._ready: deque[Item] = deque()

    def __len__(self) -> int:
        return len(self._open)

    @property
    def position(self) -> int:
        """Offset of the oldest open item, or of the record to come."""
        return next(iter(self._open), self._next)

    def add(self, item: Item) -> None:
        """Put an item behind the others of its customer."""
        self.pass_over(item.offset)
        self._open[item.offset] = None
        lane = self._lanes.setdefault(item.lane, deque())
        lane.append(item)
        if len(lane) == 1:
            self._ready.append(item)

    def pass_over(self, offset: int) -> None:
        """Note a record that needs no outcome."""
        self._next = max(self._next, offset + 1)

    def take(self) -> Item | None:
        """Take the head of a lane, oldest first; it stays open until ``finish``."""
        return self._ready.popleft() if self._ready else None

    @property
    def ready(self) -> int:
        """How many items can be taken."""
        return len(self._ready)

    def put_back(self, item: Item) -> None:
        """Offer a taken item again, behind the others."""
        self._ready.append(item)

    def untake(self, item: Item) -> None:
        """Offer a taken item again, first of all."""
        self._ready.appendleft(item)

    def finish(self, item: Item) -> None:
        """Close an item; the next of its customer can be taken."""
        del self._open[item.offset]
        lane = self._lanes[item.lane]
        lane.popleft()
        if lane:
            self._ready.append(lane[0])
        else:
            del self._lanes[item.lane]
