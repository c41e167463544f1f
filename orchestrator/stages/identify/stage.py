"""The identify stage: which customer is this event about?

One row per identity (``kind:value``). An event is looked up by its strongest identity, whose row
lies in the partition of its key; the other identities hear of it by a ``Link`` record each, sent
once. A row keeps its first owner for ever: that two owners are one customer is a merge, told by
records and never by rewriting rows.

Merges are not decided yet: a row notes in ``joined`` which other customers it was seen with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from orchestrator import ids
from orchestrator.errors import InputError
from orchestrator.identities import CUSTOMER, strongest_first
from orchestrator.partitioning import partition_for
from orchestrator.records import Event, Link
from orchestrator.stages.identify import state as states
from orchestrator.stages.identify.state import MAX_LINKS, Identity
from orchestrator.stages.protocol import Emit

if TYPE_CHECKING:
    from orchestrator.stages.catalog import Catalog, Identities
    from orchestrator.stages.protocol import Input


class Identify:
    """See the module docstring and ``stages/protocol.py``."""

    name: Literal["identify"] = "identify"
    source: Literal["events"] = "events"
    table: Literal["identities"] = "identities"
    sweeps: Literal[False] = False

    def key(self, item: Input) -> str:
        """Return the identity under which ``item`` lies in the log.

        Events that name the customer itself have no row: they share one empty one, so that receipts
        do not fill the table.
        """
        if not item.key:
            raise InputError("a record needs its strongest identity, kind:value, as key", "bad_key")
        if isinstance(item.record, Event) and CUSTOMER in item.record.identities:
            return CUSTOMER
        return item.key

    def new(self, key: str) -> Identity:
        """Return an identity that was never seen."""
        del key
        return Identity()

    def encode(self, state: Identity) -> bytes:
        """Return version byte + MessagePack."""
        return states.encode(state)

    def decode(self, data: bytes) -> Identity:
        """Inverse of ``encode``."""
        return states.decode(data)

    def apply(
        self, key: str, state: Identity, item: Input, now: int, catalog: Catalog
    ) -> list[Emit]:
        """Send an event on to its customer, or take in a link.

        Raises:
            InputError: ``no_identity``, ``bad_identity``, ``bad_link``, ``unexpected_record``.
        """
        del key
        match item.record:
            case Event():
                return _event(state, item, item.record, now, catalog.identities)
            case Link():
                return _link(state, item, item.record, catalog.identities)
            case other:
                raise InputError(
                    f"{type(other).__name__} records do not belong on the events topic",
                    "unexpected_record",
                )

    def fire(self, key: str, state: Identity, now: int, catalog: Catalog) -> list[Emit]:
        """Do nothing: identities have no timers."""
        del key, state, now, catalog
        return []

    def switch(self, key: str, state: Identity, old: Catalog, new: Catalog, at: int) -> list[Emit]:
        """Do nothing: a row stands in the light of no catalog."""
        del key, state, old, new, at
        return []


def _event(state: Identity, item: Input, event: Event, now: int, rules: Identities) -> list[Emit]:
    strongest, *others = strongest_first(event.identities, rules.primary, rules.also, rules.block)
    if _misplaced(item, strongest.key):
        return [_pass_on(item, "events", strongest.key)]
    if strongest.kind == CUSTOMER:
        return [_pass_on(item, "timeline", strongest.value)]
    known = strongest.kind == rules.primary
    if not state.customer_id:
        state.customer_id = strongest.value if known else ids.provisional_id(strongest.key)
        state.first_seen = now
    # A row that is older than its kind's rank may have another owner: the primary value decides.
    customer_id = strongest.value if known else state.customer_id
    emits = [_pass_on(item, "timeline", customer_id)]
    for other in others:
        if other.key in state.links:
            continue
        state.links = [*state.links, other.key][-MAX_LINKS:]
        link = Link(
            a=strongest.key,
            b=other.key,
            customer_id=customer_id,
            first_seen=state.first_seen,
            caused_by=event.event_id,
        )
        emits.append(
            Emit(
                topic="events",
                key=other.key,
                record=link,
                backfill=item.backfill,
                trace=item.trace,
            )
        )
    return emits


def _link(state: Identity, item: Input, link: Link, rules: Identities) -> list[Emit]:
    kind, _, value = link.b.partition(":")
    if not value or kind == CUSTOMER or not link.customer_id:
        raise InputError(
            f"a link to {link.b!r} of customer {link.customer_id!r} cannot be: it needs kind:value"
            f" of a declared kind (never {CUSTOMER!r}) and a customer",
            "bad_link",
        )
    if _misplaced(item, link.b):
        return [_pass_on(item, "events", link.b)]
    if rules.block & {link.a, link.b}:
        state.refused += 1
        return []
    if not state.customer_id:
        state.customer_id = value if kind == rules.primary else link.customer_id
        state.first_seen = link.first_seen
    if link.customer_id not in {state.customer_id, *state.joined}:
        if len(state.joined) + 1 < rules.join_limit:
            state.joined = [*state.joined, link.customer_id]
        else:
            state.refused += 1
    return []


def _misplaced(item: Input, key: str) -> bool:
    """Return whether a record must go round once more, under its right key.

    Our producer puts it where ``key`` says, so it comes back in its right place: partition counts
    never change after the first event.
    """
    return item.key != key or partition_for(key.encode(), item.partitions) != item.partition


def _pass_on(item: Input, topic: Literal["events", "timeline"], key: str) -> Emit:
    """Return the record as it lies in the log, untouched; ``record`` only where there are no bytes."""
    return Emit(
        topic=topic,
        key=key,
        record=None if item.raw else item.record,
        raw=item.raw or None,
        backfill=item.backfill,
        trace=item.trace,
    )
