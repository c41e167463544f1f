"""What a partition's transaction holds, as bytes: receipts, inboxes, lines of the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from orchestrator.codec import Codec, headers_for
from orchestrator.kafka.inbox import mark_key
from orchestrator.kafka.topics import Topology
from orchestrator.partitioning import partition_for
from orchestrator.records import Action, Delivery, DeliveryState, Event, Inbox
from orchestrator.settings import Settings
from orchestrator.sinks.delivery import Outcome
from orchestrator.sinks.ledger import Entry, Write
from orchestrator.sinks.receipts import Status, receipt, receipt_key

Marks = Callable[[str], Iterable[str]]
"""Customer -> ids of the actions whose read marks lie beside the inbox."""


_STATUS: Final[Mapping[DeliveryState, Status]] = {
    "sent": "accepted",
    "dropped": "dropped",
    "failed": "failed",
    "unknown": "failed",
}


class Recorder:
    """Encodes for one channel.

    ``now`` is the sink's clock. On the log clock every record carries the action's decided_at;
    else the broker gives the time (0).
    """

    def __init__(
        self,
        settings: Settings,
        codec: Codec,
        now: Callable[[Action], int],
        marks: Marks = lambda _: (),
    ) -> None:
        topology = Topology(settings)
        self._codec = codec
        self._app = settings.app.id
        self._events = topology.name("events")
        self._inbox = topology.name("inbox")
        self._inbox_partitions = topology.partitions("inbox")
        self._log_clock = topology.log_clock
        self._now = now
        self._marks = marks

    def claim(self, action: Action, attempts: int) -> Entry:
        """Return the line that says: from here on the provider may have it."""
        delivery = Delivery(
            action_id=action.action_id, state="claimed", at=self._now(action), attempts=attempts
        )
        return Entry(action.action_id, delivery, self._timestamp(action))

    def release(self, action: Action) -> Entry:
        """Return the line that takes a claim back: the provider certainly does not have it."""
        return Entry(action.action_id, None, self._timestamp(action))

    def line(self, action: Action, outcome: Outcome) -> Entry:
        """Return the ledger's line of an outcome."""
        delivery = Delivery(
            action_id=action.action_id,
            state=outcome.state,
            at=self._now(action),
            attempts=outcome.attempts,
            detail=outcome.detail or outcome.reason,
        )
        return Entry(action.action_id, delivery, self._timestamp(action))

    def writes(self, action: Action, outcome: Outcome) -> Iterator[Write]:
        """Yield what goes with the line: receipts, and what the sender wants written."""
        for event in self._receipts(action, outcome):
            yield Write(
                topic=self._events,
                key=receipt_key(action).encode(),
                value=self._codec.encode(event, self._events),
                headers=headers_for(event, event.source, trace=action.trace),
                timestamp=self._timestamp(action),
            )
        if outcome.write:
            yield outcome.write._replace(timestamp=self._timestamp(action))
        if outcome.inbox:
            yield from self._inbox_writes(action, outcome.inbox)

    def _receipts(self, action: Action, outcome: Outcome) -> Iterator[Event]:
        at = self._now(action)
        status: Status = _STATUS[outcome.state]
        yield receipt(action, status, at, outcome)
        if outcome.report:
            yield receipt(action, outcome.report, at, outcome)

    def _inbox_writes(self, action: Action, inbox: Inbox) -> Iterator[Write]:
        customer_id, stamp = inbox.customer_id, self._timestamp(action)
        partition = partition_for(customer_id.encode(), self._inbox_partitions)
        value = self._codec.encode(inbox, self._inbox)
        headers = headers_for(inbox, self._app, trace=action.trace)
        yield Write(self._inbox, customer_id.encode(), value, headers, partition, stamp)
        for action_id in self._marks(customer_id):
            # The inbox above has taken the mark over, or the message has left it.
            key = mark_key(customer_id, action_id).encode()
            yield Write(self._inbox, key, None, [], partition, stamp)

    def _timestamp(self, action: Action) -> int:
        return action.decided_at if self._log_clock else 0
