"""The decide stage: from a customer's timeline to actions and decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, assert_never

from orchestrator import ids
from orchestrator.errors import InputError
from orchestrator.records import Absorb, Event, Forget, Link, Merge, Model
from orchestrator.stages.decide import forgetting, merging, order, silences, timers, trimming
from orchestrator.stages.decide import state as states
from orchestrator.stages.decide import switch as switching
from orchestrator.stages.decide.concerns import NOTHING, concern_of, moves_entries
from orchestrator.stages.decide.entries import end, enter
from orchestrator.stages.decide.reactions import react_past
from orchestrator.stages.decide.seen import check_and_remember
from orchestrator.stages.decide.state import Customer
from orchestrator.stages.decide.turn import Turn
from orchestrator.stages.decide.wakes import wake_all_pending
from orchestrator.stages.decide.whens import rising
from orchestrator.stages.protocol import Emit

if TYPE_CHECKING:
    from orchestrator.stages.catalog import Catalog
    from orchestrator.stages.protocol import Input


class Decide:
    """What happens next for one customer, if anything (see ``stages/protocol.py``).

    With ``assume_accepted`` every sent action is followed, within the same record, by its
    ``message.accepted`` receipt: for runs without sinks.
    """

    name: Literal["decide"] = "decide"
    source: Literal["timeline"] = "timeline"
    table: Literal["customers"] = "customers"
    sweeps: Literal[True] = True

    def __init__(self, *, assume_accepted: bool = False) -> None:
        self.assume_accepted = assume_accepted

    def key(self, item: Input) -> str:
        """Return the customer whose timeline ``item`` is part of."""
        if not item.key:
            raise InputError("a timeline record needs its customer as key", "bad_key")
        return item.key

    def new(self, key: str) -> Customer:
        """Return a customer that was never seen."""
        del key
        return Customer()

    def encode(self, state: Customer) -> bytes:
        """Return version byte + MessagePack; nothing for a customer of whom nothing is known."""
        return b"" if forgetting.blank(state) else states.encode(state)

    def decode(self, data: bytes) -> Customer:
        """Inverse of ``encode``."""
        return states.decode(data)

    def apply(
        self, key: str, state: Customer, item: Input, now: int, catalog: Catalog
    ) -> list[Emit]:
        """Apply one timeline record."""
        record = item.record
        match record:
            case Event():
                return self._event(key, state, item, record, now, catalog)
            case Merge():
                if state.redirect:
                    return merging.readdress(key, state, record, catalog.identities)
                return merging.export(key, state, record)
            case Absorb():
                return self._absorb(key, state, item, record, now, catalog)
            case Forget():
                turn = self._turn(key, state, now, catalog, record.order_id, item.trace)
                return forgetting.forget(turn, record)
            case Model():
                return []  # nothing learns yet: ``choose`` takes the first eligible option
            case Link():
                raise InputError("a Link has no place on the timeline", "bad_input")
            case _:  # pragma: no cover - a new kind of record fails type checking here
                assert_never(record)

    def fire(self, key: str, state: Customer, now: int, catalog: Catalog) -> list[Emit]:
        """Fire every timer with due <= ``now``, each at its own instant."""
        emits: list[Emit] = []
        while 0 < state.due <= now:
            turn = self._turn(key, state, state.due, catalog, ids.timer_cause(state.due))
            _fire(turn)
            emits += _finish(turn)
        return emits

    def switch(self, key: str, state: Customer, old: Catalog, new: Catalog, at: int) -> list[Emit]:
        """Bring a customer from one catalog to the next."""
        if state.redirect or state.first_seen == 0:
            return []
        turn = self._turn(key, state, at, new, f"catalog:{new.hash}:{at}")
        switching.switch(turn, old)
        order.run(turn)
        return _finish(turn)

    def give_up(self, key: str, state: Customer, now: int, catalog: Catalog) -> list[Emit]:
        """End what was due at ``now`` after ``fire`` raised: reason ``error``, nothing else moves.

        A timer that raises is dead-lettered and must not stop its partition (``GivesUp``).
        """
        turn = self._turn(key, state, now, catalog, ids.timer_cause(now))
        silences.over(state, now)
        timers.due_names(state.scheduled, now)
        for entry in list(state.entries):
            if timers.is_due(entry, now):
                end(turn, entry, "error")
        if 0 < state.watch <= now:
            state.watch = 0
        state.due = timers.next_due(state)
        return turn.emits

    # -- inside ---------------------------------------------------------------------------------

    def _turn(
        self,
        key: str,
        state: Customer,
        now: int,
        catalog: Catalog,
        cause: str,
        trace: str | None = None,
    ) -> Turn:
        return Turn(key, state, now, catalog, cause, trace, assume_accepted=self.assume_accepted)

    def _event(
        self, key: str, state: Customer, item: Input, event: Event, now: int, catalog: Catalog
    ) -> list[Emit]:
        if state.redirect:
            return [_forward(state.redirect, item)]
        if state.first_seen == 0 and "customer" in event.identities:
            raise InputError(f"no customer {key!r} is known", "unknown_customer")
        concern = concern_of(catalog, event.type)
        if (
            concern is NOTHING
            and state.first_seen
            and not moves_entries(event.type, state, now, catalog)
        ):
            check_and_remember(state.profile, event, now)
            return []
        turn = self._turn(key, state, now, catalog, event.event_id, item.trace)
        if not order.handle(turn, event, concern, backfill=item.backfill):
            return turn.emits
        order.run(turn)
        return _finish(turn)

    def _absorb(
        self, key: str, state: Customer, item: Input, absorb: Absorb, now: int, catalog: Catalog
    ) -> list[Emit]:
        if state.redirect:
            forwarded = merging.forward(key, state, absorb, item.trace)
            if forwarded is not None:
                return forwarded
        if absorb.merge_id in state.profile.absorbed:
            return []
        turn = self._turn(key, state, now, catalog, absorb.merge_id)
        loser = states.decode(absorb.state)
        turn.changed |= merging.unite(state, loser, absorb.merge_id, catalog)
        merging.note(state, loser, absorb.loser)
        turn.scope.forget_zone()
        turn.consent_changed = True
        merging.settle_rivals(turn)
        switching.bring_entries(turn)
        order.follow_changes(turn)
        wake_all_pending(turn)
        order.run(turn)
        return _finish(turn)


def _forward(winner: str, item: Input) -> Emit:
    """Send a record of a merged customer on to the winner, as it is."""
    return Emit(
        topic="timeline",
        key=winner,
        record=None if item.raw else item.record,
        raw=item.raw or None,
        backfill=item.backfill,
        trace=item.trace,
    )


def _fire(turn: Turn) -> None:
    """Fire the timers of one instant, in their order."""
    customer = turn.customer
    started = []
    if 0 < customer.watch <= turn.now:
        customer.watch = 0
        order.update_lifecycle(turn)
        started = rising(turn, all_of_them=True)
        react_past(turn, None)
    timers.fire_entries(turn)
    started += silences.over(customer, turn.now)
    started += timers.due_names(customer.scheduled, turn.now)
    for name in sorted(set(started)):
        journey = turn.catalog.journeys.get(name)
        if journey is not None:
            enter(turn, journey, None)
    order.run(turn)


def _finish(turn: Turn) -> list[Emit]:
    """Set the next timer and return what leaves."""
    timers.watch(turn)
    trimming.hold(turn.customer, turn.now, turn.catalog)
    turn.customer.due = timers.next_due(turn.customer)
    return turn.emits
