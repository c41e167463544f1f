"""One customer's world, as expressions see it."""

from __future__ import annotations

from math import ceil, floor, isfinite
from typing import TYPE_CHECKING

from orchestrator.stages.calendar import Calendar, calendar_for
from orchestrator.stages.decide import consent, windows
from orchestrator.stages.decide.state import FLAGS
from orchestrator.stages.decide.trait_values import (
    COMPARE,
    count_key,
    last_key,
    read,
    stored,
    when_crosses,
)
from orchestrator.stages.decide.values import as_declared, fits, properties_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.expressions.scope import Comparison, Flag, Value
    from orchestrator.records import Event
    from orchestrator.records import Value as Property
    from orchestrator.stages.catalog import Catalog
    from orchestrator.stages.decide.state import Customer, Entry

_NOTHING: Mapping[str, Property] = {}
_MOST_DAYS = 4_000_000
"""More calendar days than there are years to put them in."""
_GONE = FLAGS["dropped"] | FLAGS["failed"]
_IMPLIED = {
    # clicked implies opened implies delivered implies accepted
    "accepted": FLAGS["accepted"] | FLAGS["delivered"] | FLAGS["opened"] | FLAGS["clicked"],
    "delivered": FLAGS["delivered"] | FLAGS["opened"] | FLAGS["clicked"],
    "opened": FLAGS["opened"] | FLAGS["clicked"],
    "clicked": FLAGS["clicked"],
}


class CustomerScope:
    """Implements ``expressions.Scope``; one per customer and turn, re-used between evaluations.

    Set ``now``, ``current_entry`` and the event (``set_event``) as the evaluation moves on. After a
    change of the trait that holds the zone call ``forget_zone`` (``traits`` does so).
    """

    __slots__ = (
        "catalog",
        "current_entry",
        "customer",
        "customer_id",
        "event_properties",
        "known_calendar",
        "now",
    )

    def __init__(self, customer_id: str, customer: Customer, catalog: Catalog, now: int) -> None:
        self.customer_id = customer_id
        self.customer = customer
        self.catalog = catalog
        self.now = now
        self.event_properties: Mapping[str, Property] = _NOTHING
        """Of the event at hand, as events.yaml types them."""
        self.current_entry: Entry | None = None
        self.known_calendar: Calendar | None = None
        """``calendar``, once it was asked for."""

    # -- what the evaluation is about -----------------------------------------------------------

    def set_event(self, event: Event | None) -> None:
        """Take ``event`` as the one at hand, its properties as declared; None = there is none."""
        if event is None:
            self.event_properties = _NOTHING
        elif as_declared(event, self.catalog):  # mostly so, and no calendar is needed for it
            self.event_properties = event.properties
        else:
            self.event_properties = properties_of(event, self.catalog, self.calendar)

    def reset(self, now: int) -> None:
        """Start anew at ``now``: no event, no entry, the zone is read again."""
        self.now = now
        self.event_properties = _NOTHING
        self.current_entry = None
        self.known_calendar = None

    @property
    def calendar(self) -> Calendar:
        """The customer's calendar: the zone trait if it names a zone, else the policy's."""
        if self.known_calendar is None:
            default = self.catalog.policy.timezone
            # A derived zone trait may itself ask for calendar days: it gets the policy's.
            self.known_calendar = calendar_for(None, default)
            if self.catalog.timezone_trait is not None:
                self.known_calendar = calendar_for(self.trait(self.catalog.timezone_trait), default)
        return self.known_calendar

    def forget_zone(self) -> None:
        """The zone may have changed: read it again when it is next asked for."""
        self.known_calendar = None

    # -- expressions.Scope ----------------------------------------------------------------------

    def trait(self, name: str) -> Value:
        """Value of a declared trait; ``lifecycle`` is one."""
        trait = self.catalog.traits.get(name)
        if trait is None:
            return (self.customer.profile.lifecycle or None) if name == "lifecycle" else None
        if trait.expression is not None:
            return trait.expression.evaluate(self)
        state = stored(self.customer.profile, trait)
        if trait.as_kept:  # mostly so, and mostly of the very type that was declared
            value = state.value
            if value is None:
                return trait.default
            if fits(value, trait.type):
                return value
        return read(trait, state, self.now, self.known_calendar or self.calendar)

    def event(self, name: str) -> Value:
        """Property of the event at hand."""
        return self.event_properties.get(name)

    def entry(self, name: str) -> Value:
        """Property of the event that started the entry."""
        return None if self.current_entry is None else self.current_entry.entry.get(name)

    def latest(self, name: str) -> Value:
        """Property of the last event that started, moved or restarted the entry."""
        entry = self.current_entry
        if entry is None:
            return None
        return (entry.entry if entry.latest is None else entry.latest).get(name)

    def flag(self, step: str, flag: Flag) -> bool:
        """What became of the latest pass of a send step of this entry."""
        entry = self.current_entry
        if entry is None:
            return False
        latest, own = entry.passes.get(step), bytes.fromhex(entry.id)
        for sent in reversed(self.customer.sends):
            if sent.step == step and sent.entry == own:
                if sent.pass_ != latest:
                    return False
                if flag == "sent":
                    return not sent.flags & _GONE
                return bool(sent.flags & _IMPLIED[flag])
        return False

    def consent(self, channel: str, category: str) -> bool:
        """Whether a send would be allowed by consent now."""
        return consent.allowed(self.customer.profile, channel, category, self.catalog)[0]

    def count(self, type_: str, window_ms: int) -> int:
        """Events of a type later than now - window."""
        state = self.customer.profile.traits.get(count_key(type_, window_ms))
        return 0 if state is None else int(windows.total(state, window_ms, self.now))

    def last(self, type_: str) -> int | None:
        """occurred_at of the newest event of a type, epoch ms."""
        state = self.customer.profile.traits.get(last_key(type_))
        return None if state is None else state.at

    def days_since(self, instant: int) -> int:
        """Whole calendar days in the customer's zone from ``instant`` to now; negative before it."""
        return self.calendar.days_between(instant, self.now)

    # -- watched conditions ---------------------------------------------------------------------

    def when_trait_crosses(self, name: str, comparison: Comparison, bound: float) -> int | None:
        """For traits that move with time (score, windowed count and sum)."""
        trait = self.catalog.traits.get(name)
        if trait is None:
            return None
        state = stored(self.customer.profile, trait)
        return when_crosses(trait, state, self.now, comparison, bound)

    def when_count_crosses(
        self, type_: str, window_ms: int, comparison: Comparison, bound: float
    ) -> int | None:
        """For ``count(type, window)``."""
        state = self.customer.profile.traits.get(count_key(type_, window_ms))
        if state is None:
            return None
        compare = COMPARE[comparison]
        return windows.next_change(state, window_ms, self.now, lambda value: compare(value, bound))

    def when_days_since(self, instant: int, comparison: Comparison, bound: float) -> int | None:
        """For ``days_since(instant)``."""
        if not isfinite(bound) or abs(bound) > _MOST_DAYS:
            return None
        turns: tuple[int, ...] = ()
        if comparison in {"<", ">="}:
            turns = (ceil(bound),)
        elif comparison in {"<=", ">"}:
            turns = (floor(bound) + 1,)
        elif bound == floor(bound):
            turns = (floor(bound), floor(bound) + 1)
        for turn in turns:
            then = self.calendar.days_after(instant, turn)
            if then > self.now:
                return then
        return None
