"""One turn: all that one record, timer instant or catalog does to one customer.

A turn carries the context (customer, log time, catalog, cause), the work that is still to be done
within the turn, and what leaves: it is the only place that builds records.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator import ids
from orchestrator.records import Action, Candidate, Decision, Event
from orchestrator.stages.decide.lifecycle import CHANGED, changed_event
from orchestrator.stages.decide.scope import CustomerScope
from orchestrator.stages.protocol import Emit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.records import DecisionOutcome, Value
    from orchestrator.stages.calendar import Calendar
    from orchestrator.stages.catalog import Catalog, Journey, Message, Step
    from orchestrator.stages.decide.lifecycle import Change
    from orchestrator.stages.decide.state import Customer, Entry, Sent

MAX_DERIVED = 32
"""Events that one record may derive; what goes beyond them starts nothing (``cascade``)."""


class Turn:
    """See the module docstring. ``now`` is log time in epoch ms.

    One is made for each record, so it is made by hand: nothing but what must be new.
    """

    __slots__ = (
        "_derived_count",
        "_ordinal",
        "_taken_count",
        "assume_accepted",
        "catalog",
        "cause",
        "changed",
        "consent_changed",
        "customer",
        "derived",
        "due",
        "emits",
        "flags_changed",
        "key",
        "now",
        "ready",
        "reserved",
        "scope",
        "slots_freed",
        "trace",
        "vacated",
    )

    def __init__(
        self,
        key: str,
        customer: Customer,
        now: int,
        catalog: Catalog,
        cause: str,
        trace: str | None = None,
        *,
        assume_accepted: bool = False,
    ) -> None:
        self.key = key
        self.customer = customer
        self.now = now
        self.catalog = catalog
        self.cause = cause
        self.trace = trace
        self.assume_accepted = assume_accepted
        self.scope = CustomerScope(key, customer, catalog, now)
        self.emits: list[Emit] = []
        self.ready: list[Entry] = []
        """Entries on their way: to be walked until they park."""
        self.due: list[Entry] = []
        """Entries at a send that is due now."""
        self.derived: list[Event] = []
        self.changed: set[str] = set()
        """Traits that changed and whose consequences have not been drawn yet."""
        self.consent_changed = False
        self.flags_changed = False
        """A receipt changed what ``opened()`` and its like say."""
        self.slots_freed = False
        self.vacated = False
        """A send that was scheduled is no longer: ``protected`` may end."""
        self.reserved: list[Sent] = []
        """Sends of this round, in the order in which they took their slots."""
        self._ordinal = 0
        self._derived_count = 0
        self._taken_count = 0

    # -- context --------------------------------------------------------------------------------

    @property
    def calendar(self) -> Calendar:
        """The calendar of the customer's zone as it is now."""
        scope = self.scope
        return scope.known_calendar or scope.calendar

    def journey_of(self, entry: Entry) -> Journey | None:
        """Return the definition that governs an entry."""
        return self.catalog.journey(entry.journey, entry.version)

    def place_of(self, entry: Entry) -> tuple[Journey, Step] | None:
        """Return where an entry stands: its definition and step; None = that is gone."""
        journey = self.journey_of(entry)
        step = journey.steps.get(entry.step) if journey is not None else None
        return None if journey is None or step is None else (journey, step)

    def status(self, journey: str) -> str:
        """Return a journey's status; one that is no longer in the catalog only drains."""
        if journey not in self.catalog.journeys:
            return "draining"
        return self.catalog.status.get(journey, "live")

    def at(self, entry: Entry | None, event: Mapping[str, Value] | None = None) -> CustomerScope:
        """Return the scope as seen from an entry, with the event at hand if there is one."""
        scope = self.scope
        scope.current_entry = entry
        scope.event_properties = event or {}
        return scope

    # -- what leaves ----------------------------------------------------------------------------

    def decide(
        self,
        outcome: DecisionOutcome,
        *,
        entry: Entry | None = None,
        journey: Journey | None = None,
        step: str | None = None,
        reason: str | None = None,
        rule: str | None = None,
        values: Mapping[str, Value] | None = None,
        candidates: Sequence[Candidate] = (),
        message: str | None = None,
        channel: str | None = None,
        action_id: str | None = None,
        until: int | None = None,
        propensity: float | None = None,
        sent: Sent | None = None,
    ) -> str:
        """Write a decision; return its id. ``sent`` fills in what an earlier action says."""
        name = journey.name if journey else None
        version = journey.version if journey else None
        subject = name or ""
        entry_id, trace = None, self.trace
        if entry is not None:
            trace = trace or entry.trace or None
            name, version, entry_id = entry.journey, entry.version, entry.id
            subject = entry.id
        if sent is not None:
            message, channel, action_id = sent.message, sent.channel, sent.action.hex()
            step = sent.step
            if entry is None:
                name, entry_id, subject = sent.journey, sent.entry_id, sent.entry_id
        decision_id = ids.decision_id(
            self.cause, self.key, subject, step or "", outcome, self._ordinal
        )
        self._ordinal += 1
        record = Decision(
            decision_id=decision_id,
            customer_id=self.key,
            outcome=outcome,
            reason=reason,
            rule=rule,
            rule_values=dict(values) if values else {},
            candidates=list(candidates),
            journey=name,
            journey_version=version,
            entry_id=entry_id,
            step=step,
            message=message,
            channel=channel,
            action_id=action_id,
            until=until or None,
            caused_by=self.cause,
            decided_at=self.now,
            catalog=self.catalog.hash,
            propensity=propensity,
            trace=trace,
        )
        self.emits.append(Emit(topic="decisions", key=self.key, record=record, trace=trace))
        return decision_id

    def act(self, action: Action) -> None:
        """Write an action to its channel."""
        self.emits.append(
            Emit(
                topic="actions",
                key=self.key,
                record=action,
                channel=action.channel,
                trace=action.trace,
            )
        )

    def cancel(self, sent: Sent, decision_id: str, message: Message | None) -> None:
        """Order the sink to drop an action that it has not accepted yet."""
        journey = self.catalog.journeys.get(sent.journey)
        self.act(
            Action(
                action_id=sent.action.hex(),
                kind="cancel",
                customer_id=self.key,
                channel=sent.channel,
                message=sent.message,
                template=message.definition if message else "",
                journey=sent.journey,
                journey_version=journey.version if journey else "",
                entry_id=sent.entry_id,
                step=sent.step,
                decision_id=decision_id,
                category=sent.category,
                priority=journey.priority if journey else 0,
                decided_at=self.now,
                caused_by=self.cause,
                trace=self.trace,
            )
        )

    def lifecycle_changed(self, change: Change) -> None:
        """Queue the event of a change of lifecycle, at the same instant."""
        self._derived_count += 1
        self.derived.append(
            changed_event(self.key, change, self.now, self.cause, self._derived_count)
        )

    def accept(self, action_id: str) -> None:
        """Queue the receipt that a sink would send at once."""
        self.derived.append(
            Event(
                event_id=ids.receipt_id(action_id, "accepted"),
                type="message.accepted",
                occurred_at=self.now,
                identities={"customer": self.key},
                source="decide",
                properties={"action_id": action_id},
            )
        )

    def next_derived(self) -> Event:
        """Take the derived event that is next."""
        event = self.derived.pop(0)
        self._taken_count += event.type == CHANGED
        return event

    @property
    def cascading(self) -> bool:
        """Whether more events have been derived than a record may: they move nothing any more."""
        return self._taken_count > MAX_DERIVED
