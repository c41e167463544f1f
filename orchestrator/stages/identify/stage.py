"""The identify stage: which customer is this event about?

One row per identity (``kind:value``). An event is looked up by its strongest identity, whose row
lies in the partition of its key; the other identities hear of it by a ``Link`` record each, sent
once. A row keeps its first owner for ever: that two owners are one customer is a ``Merge``, told to
the loser on the timeline (who knows where he went before) and never by rewriting rows. Guards of
profile.yaml keep customers apart; what they refuse is a dead letter (``joining.py``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from orchestrator import ids
from orchestrator.errors import InputError
from orchestrator.identities import CUSTOMER, Owner, strongest_first
from orchestrator.partitioning import partition_for
from orchestrator.records import Event, Forget, Link
from orchestrator.stages.identify import state as states
from orchestrator.stages.identify.forgetting import forget, revoke
from orchestrator.stages.identify.joining import join
from orchestrator.stages.identify.state import MAX_LINKS, Identity, row_key
from orchestrator.stages.protocol import Emit

if TYPE_CHECKING:
    from orchestrator.identities import IdentityKey
    from orchestrator.stages.catalog import Catalog, Identities
    from orchestrator.stages.protocol import Input


class Identify:
    """See the module docstring and ``stages/protocol.py``.

    Args:
        salt: Of the rows' keys. The deployment's, and the same for ever.
    """

    name: Literal["identify"] = "identify"
    source: Literal["events"] = "events"
    table: Literal["identities"] = "identities"
    sweeps: Literal[False] = False

    def __init__(self, salt: str = "") -> None:
        self.salt = salt

    def key(self, item: Input) -> str:
        """Return the row of the identity under which ``item`` lies in the log.

        What names the customer itself has no row: it shares an empty one, so that receipts do not
        fill the table. An order to forget names the row.
        """
        if not item.key:
            raise InputError("a record needs its strongest identity, kind:value, as key", "bad_key")
        match item.record:
            case Event(identities=identities) if CUSTOMER in identities:
                return CUSTOMER
            case Forget():
                return CUSTOMER if item.key.startswith(f"{CUSTOMER}:") else item.key
            case _:
                return row_key(self.salt, item.key)

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
        """Send an event on to its customer, take in a link, or forget.

        Raises:
            InputError: ``no_identity``, ``bad_identity``, ``bad_link``, ``unexpected_record``.
            JoinRefused: ``blocked_identity``, ``known_customers``, ``join_limit``.
        """
        match item.record:
            case Event():
                return self._event(key, state, item, item.record, now, catalog.identities)
            case Link():
                return _link(key, state, item, item.record, now, catalog.identities)
            case Forget():
                return forget(state, item, item.record, now)
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

    # -- inside ---------------------------------------------------------------------------------

    def _event(
        self, key: str, state: Identity, item: Input, event: Event, now: int, rules: Identities
    ) -> list[Emit]:
        strongest, *others = strongest_first(
            event.identities, rules.primary, rules.also, rules.block
        )
        if _misplaced(item, strongest.key):
            return [_pass_on(item, "events", strongest.key)]
        if strongest.kind == CUSTOMER:
            return [_pass_on(item, "timeline", strongest.value)]
        owner, emits = _owner(key, state, strongest, now, rules)
        emits.append(_pass_on(item, "timeline", owner.customer_id))
        for other in others:
            row = row_key(self.salt, other.key)
            if row in state.links:
                continue
            state.links = [*state.links, row][-MAX_LINKS:]
            link = Link(
                a=strongest.key,
                b=other.key,
                customer_id=owner.customer_id,
                first_seen=owner.first_seen,
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


def _owner(
    key: str, state: Identity, identity: IdentityKey, now: int, rules: Identities
) -> tuple[Owner, list[Emit]]:
    """Return the customer of an event's strongest identity, and what must be told before it."""
    if identity.key in rules.block:
        # Everybody's: whom it belonged to before it was blocked gets no strangers' events.
        return Owner(ids.provisional_id(identity.key), now), []
    known = identity.kind == rules.primary
    emits = []
    if not state.customer_id:
        state.customer_id = identity.value if known else ids.provisional_id(identity.key)
        state.first_seen = now
        emits = revoke(key, state)
    # A row that is older than its kind's rank may have another owner: the primary value decides.
    customer_id = identity.value if known else state.customer_id
    return Owner(customer_id, state.first_seen), emits


def _link(
    key: str, state: Identity, item: Input, link: Link, now: int, rules: Identities
) -> list[Emit]:
    kind, _, value = link.b.partition(":")
    if not value or kind == CUSTOMER or not link.customer_id:
        raise InputError(
            f"a link to {link.b!r} of customer {link.customer_id!r} cannot be: it needs kind:value"
            f" of a declared kind (never {CUSTOMER!r}) and a customer",
            "bad_link",
        )
    if _misplaced(item, link.b):
        return [_pass_on(item, "events", link.b)]
    emits = []
    if not state.customer_id and not rules.block & {link.a, link.b}:
        if kind == rules.primary:
            state.customer_id, state.first_seen = value, now
        else:
            state.customer_id, state.first_seen = link.customer_id, link.first_seen
        emits = revoke(key, state)
    return emits + join(state, link, item.trace, rules)


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
