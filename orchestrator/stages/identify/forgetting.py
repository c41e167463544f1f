"""A customer is forgotten on request: the rows forget whose they were, and remember only that.

The order comes along the way of the events, one to each row, and goes on to the customer behind
all that the row had sent there: so nothing that was under way outlives it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator import ids
from orchestrator.identities import CUSTOMER
from orchestrator.records import Event
from orchestrator.stages.protocol import Emit

if TYPE_CHECKING:
    from orchestrator.records import Forget
    from orchestrator.stages.identify.state import Identity
    from orchestrator.stages.protocol import Input


def forget(state: Identity, item: Input, order: Forget, now: int) -> list[Emit]:
    """Erase a row and send the order on to its customer."""
    gone = frozenset(order.customer_ids)
    if item.key.startswith(f"{CUSTOMER}:"):
        customer_id = item.key.partition(":")[2]
    elif state.customer_id in gone:
        customer_id = state.customer_id
        state.customer_id, state.first_seen = "", 0
        state.links, state.joined = [], []
        state.forgotten = now
    else:
        # Another customer's by now, or already forgotten: only their names go.
        state.joined = [one for one in state.joined if one not in gone]
        return []
    return [Emit(topic="timeline", key=customer_id, record=order, trace=item.trace)]


def revoke(key: str, state: Identity) -> list[Emit]:
    """Tell the first customer after a forgotten one that nothing is consented to.

    It counts as of the erasure: what is granted after that, is granted.
    """
    if not state.forgotten:
        return []
    revocation = Event(
        event_id=ids.event_id("identify", key, state.customer_id, str(state.forgotten)),
        type="consent.revoked",
        occurred_at=state.forgotten,
        identities={},
        source="identify",
    )
    return [Emit(topic="timeline", key=state.customer_id, record=revocation)]
