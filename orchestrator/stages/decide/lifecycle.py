"""Where a customer is by behaviour: the first rule that is true names it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from orchestrator import ids
from orchestrator.records import Event

if TYPE_CHECKING:
    from orchestrator.stages.catalog import Catalog
    from orchestrator.stages.decide.scope import CustomerScope
    from orchestrator.stages.decide.state import Profile

SOURCE = "lifecycle"
CHANGED = "lifecycle.changed"


class Change(NamedTuple):
    """A customer's lifecycle became another; ``before`` is empty at the first sight of a customer."""

    before: str
    after: str


def current(scope: CustomerScope, catalog: Catalog) -> str:
    """Return the name of the first rule that is true; empty without rules."""
    for rule in catalog.lifecycle:
        if rule.condition is None or rule.condition.holds(scope):
            return rule.name
    return ""


def next_change(scope: CustomerScope, catalog: Catalog) -> int | None:
    """Return the earliest instant after ``scope.now`` at which time alone may change the lifecycle.

    Only rules up to the first true one matter: a later rule cannot win before one of these turns.
    """
    earliest: int | None = None
    for rule in catalog.lifecycle:
        if rule.condition is None:
            break
        instant = rule.condition.next_change(scope)
        if instant is not None and (earliest is None or instant < earliest):
            earliest = instant
        if rule.condition.holds(scope):
            break
    return earliest


def update(profile: Profile, scope: CustomerScope, catalog: Catalog) -> Change | None:
    """Bring ``profile.lifecycle`` up to date; return the change, if there is one.

    A change from "" is that of a new customer (worth an event), or the first evaluation after
    lifecycle rules were first applied (recorded silently): the caller knows which.
    """
    after = current(scope, catalog)
    if after == profile.lifecycle:
        return None
    change = Change(profile.lifecycle, after)
    profile.lifecycle = after
    return change


def changed_event(customer_id: str, change: Change, now: int, cause: str, ordinal: int) -> Event:
    """Return the derived event of a change; ``ordinal`` is its number within the causing record.

    An empty lifecycle is null in ``from`` or ``to``.
    """
    return Event(
        event_id=ids.event_id(SOURCE, customer_id, cause, str(ordinal)),
        type=CHANGED,
        occurred_at=now,
        identities={"customer": customer_id},
        source=SOURCE,
        properties={"from": change.before or None, "to": change.after or None},
    )
