"""A request's body -> the records that go to Kafka, and what was refused. Pure but for the codec.

Limits are Segment's: 500 KB for a request, 32 KB for each event, also for one that comes alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import msgspec
from msgspec import Struct

from orchestrator.codec import Codec, headers_for
from orchestrator.errors import NO_JSON, InputError
from orchestrator.kafka.dead_letters import dead_letter_headers
from orchestrator.kafka.topics import Topology
from orchestrator.observability.metrics import dead_letters
from orchestrator.records import Event
from orchestrator.sources import metrics
from orchestrator.sources.arrivals import HEADER, Told, Tracked, encode_told
from orchestrator.sources.identities import IdentityKinds
from orchestrator.sources.mapping import (
    Clock,
    ForbiddenEvent,
    Kind,
    Origin,
    instant,
    parse,
    to_event,
)
from orchestrator.sources.producer import Outgoing

MAX_BODY = 500 * 1024
MAX_EVENT = 32 * 1024
ROLE = "collect"


class Refusal(Struct):
    """One event that was not taken; ``index`` is its place in the batch."""

    index: int
    cause: str
    message: str


@dataclass(slots=True)
class Taken:
    """What a body came to. ``records`` holds dead letters too."""

    records: list[Outgoing] = field(default_factory=list)
    accepted: int = 0
    refused: list[Refusal] = field(default_factory=list)


class _Batch(Struct, rename="camel"):
    batch: list[msgspec.Raw]
    sent_at: str | int | None = None


class _Key(Struct, rename="camel"):
    write_key: str = ""


_batch_decoder = msgspec.json.Decoder(_Batch)
_key_decoder = msgspec.json.Decoder(_Key)


def key_of_body(body: bytes) -> str:
    """Return ``writeKey`` of a body; empty if there is none."""
    try:
        return _key_decoder.decode(body).write_key
    except NO_JSON:
        return ""


class Intake:
    """Makes records for one deployment.

    ``kinds`` gives the identity kinds in force and raises DefinitionMissing while there are none.
    """

    def __init__(
        self, topology: Topology, codec: Codec, kinds: Callable[[], IdentityKinds]
    ) -> None:
        self._codec = codec
        self._kinds = kinds
        self._events = topology.name("events")
        self._dead_letters = topology.name("dead-letters")
        self._log_clock = topology.log_clock

    def take(self, kind: Kind | None, body: bytes, origin: Origin, received: int) -> Taken:
        """Return what a body comes to; ``kind`` None = a batch. ``received`` is epoch ms.

        Raises:
            InputError: The body as a whole cannot be read: nothing of it is taken.
            DefinitionMissing: No catalog is in force yet.
        """
        kinds, taken = self._kinds(), Taken()
        now = None if self._log_clock else received
        if kind:
            clock, messages = Clock(now), iter([body])
        else:
            clock, messages = self._open(body, now)
        for index, raw in enumerate(messages):
            try:
                taken.records.append(self._record(raw, kind, kinds, origin, clock))
                taken.accepted += 1
                metrics.accepted(origin.source).inc()
            except InputError as error:
                taken.refused.append(Refusal(index, error.cause, str(error)))
                told = Tracked(received, kind, origin.scope, clock.sent_at)
                if dead := self.refuse(raw, origin, error, received, told):
                    taken.records.append(dead)
        return taken

    def record(self, raw: bytes, kind: Kind | None, origin: Origin, clock: Clock) -> Outgoing:
        """Return the record of one message.

        Raises:
            InputError: It cannot be mapped; the cause is a closed word.
            DefinitionMissing: No catalog is in force yet.
        """
        return self._record(raw, kind, self._kinds(), origin, clock)

    def _record(
        self, raw: bytes, kind: Kind | None, kinds: IdentityKinds, origin: Origin, clock: Clock
    ) -> Outgoing:
        if len(raw) > MAX_EVENT:
            raise InputError(f"an event may have {MAX_EVENT} bytes", "too_large")
        event = to_event(parse(raw, kind), kinds, origin, clock)
        return self.outgoing(event, kinds.key(event.identities))

    def outgoing(self, event: Event, key: str) -> Outgoing:
        """Return the record of an event."""
        return Outgoing(
            self._events,
            key.encode(),
            self._codec.encode(event, self._events),
            list(headers_for(event, event.source)),
            event.occurred_at if self._log_clock else 0,
        )

    def refuse(
        self,
        raw: bytes,
        origin: Origin,
        error: InputError,
        received: int,
        told: Told | None = None,
    ) -> Outgoing | None:
        """Return the dead letter of what cannot be mapped; what is forbidden leaves none.

        ``told``: what it takes beside the bytes to map it again; None = it is no single record.
        """
        metrics.refused.labels(origin.source, error.cause).inc()
        if isinstance(error, ForbiddenEvent):
            metrics.received.labels(origin.source, "refused").inc()
            return None
        metrics.received.labels(origin.source, "dead_letter").inc()
        dead_letters.labels(ROLE, error.cause).inc()
        headers = dead_letter_headers(ROLE, error.cause, str(error), topic=origin.source)
        if told is not None:
            headers.append((HEADER, encode_told(told)))
        return Outgoing(self._dead_letters, None, raw, list(headers), received)

    def _open(self, body: bytes, received: int | None) -> tuple[Clock, Iterator[bytes]]:
        try:
            batch = _batch_decoder.decode(body)
        except NO_JSON as error:
            raise InputError(f"no batch: {error}", "bad_message") from error
        return Clock(received, instant(batch.sent_at)), (bytes(raw) for raw in batch.batch)
