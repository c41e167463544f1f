"""Due sends: ordered, decided, and their entries sent on their way.

All sends that come due at one instant compete: each is screened; those that are left and that
contend for gaps and caps are ordered by score and take their slots in that order.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator import ids
from orchestrator.records import Action
from orchestrator.records import Candidate as Considered
from orchestrator.stages.decide import consent, history, pipeline, quiet
from orchestrator.stages.decide.content import content_of
from orchestrator.stages.decide.entries import end
from orchestrator.stages.decide.state import Pending, Sent
from orchestrator.stages.decide.steps import go_on
from orchestrator.stages.decide.variants import Block, Candidate, Variant, candidate_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.records import DecisionOutcome
    from orchestrator.stages.catalog import Channel, Message
    from orchestrator.stages.decide.state import Entry
    from orchestrator.stages.decide.turn import Turn

_OUTCOMES: Mapping[str, DecisionOutcome] = {"holdout": "held_out", "expired": "expired"}


def decide_due(turn: Turn) -> None:
    """Decide every send that is due now."""
    due, turn.due = turn.due, []
    turn.reserved = []
    contenders = []
    for entry in due:
        candidate = _candidate(turn, entry)
        if candidate is None:
            continue
        whole = _whole_block(turn, candidate)
        if whole is not None:
            _conclude(turn, candidate, whole)
            continue
        for variant in candidate.variants:
            variant.block = pipeline.screen(turn, candidate, variant)
        first = next(iter(candidate.open), None)
        if first is None:
            _blocked(turn, candidate)
        elif first.contested:
            contenders.append(candidate)
        else:
            _try(turn, candidate)
    if contenders:
        _arbitrate(turn, contenders)


def _candidate(turn: Turn, entry: Entry) -> Candidate | None:
    place = turn.place_of(entry)
    if place is None:
        end(turn, entry, "not_live", leaving=True)
        return None
    journey, step = place
    pending = entry.pending
    fell_due = pending.fell_due if pending is not None else turn.now
    return candidate_of(turn, entry, journey, step, fell_due)


def _whole_block(turn: Turn, candidate: Candidate) -> Block | None:
    """Return what blocks the send as a whole: the journey's state, the step's ``if``, its age."""
    if turn.now >= candidate.expires_at and any(v.message for v in candidate.variants):
        return Block("expired", "skip")
    if turn.status(candidate.entry.journey) == "paused":
        return Block("paused", "defer")
    condition = candidate.step.condition
    if condition is not None and not condition.holds(turn.at(candidate.entry)):
        return Block("condition", "skip", rule=condition.text)
    return None


# -- arbitration --------------------------------------------------------------------------------


def _arbitrate(turn: Turn, contenders: list[Candidate]) -> None:
    window = turn.catalog.policy.arbitration_window
    if window and turn.customer.contest != turn.now:
        if turn.customer.contest < turn.now:
            turn.customer.contest = turn.calendar.add(turn.now, window)
        for candidate in contenders:
            block = Block("arbitration", "defer", rule="window", until=turn.customer.contest)
            for variant in candidate.open:
                variant.block = block
            _blocked(turn, candidate)
        return
    for candidate in contenders:
        candidate.score = candidate.journey.priority * _value(turn, candidate)
    contenders.sort(
        key=lambda one: (-one.score, -one.journey.priority, one.journey.name, one.entry.id)
    )
    rivals = (
        [Considered(name=one.journey.name, outcome="rival", score=one.score) for one in contenders]
        if len(contenders) > 1
        else []
    )
    for candidate in contenders:
        _try(turn, candidate, rivals)


def _value(turn: Turn, candidate: Candidate) -> float:
    """Return what a send is worth: its own value, else the journey's; 1 if unknown."""
    first = candidate.open[0].send.value or candidate.journey.value
    if first is None:
        return 1.0
    worth = first(turn.at(candidate.entry))
    if isinstance(worth, bool) or not isinstance(worth, int | float):
        return 1.0
    return float(worth)


def _try(turn: Turn, candidate: Candidate, rivals: list[Considered] | None = None) -> None:
    """Send the first variant that also passes gap and caps; else conclude with the blocks."""
    for variant in candidate.open:
        variant.block = pipeline.contest(turn, candidate, variant)
        if variant.block is None and variant.message is not None and variant.channel is not None:
            _send(turn, candidate, variant, variant.message, variant.channel, rivals or [])
            return
    _blocked(turn, candidate, rivals or [])


# -- outcomes -----------------------------------------------------------------------------------


def _blocked(turn: Turn, candidate: Candidate, rivals: list[Considered] | None = None) -> None:
    """Conclude with the blocks of all variants: the first one's reason counts.

    Of a choice that waits it is the first option that may still be taken.
    """
    blocks = [variant.block for variant in candidate.variants if variant.block is not None]
    first, way = blocks[0], 0
    deferring = [block for block in blocks if block.then == "defer"]
    if deferring:
        if candidate.variants[0].option is not None:
            first, way = deferring[0], blocks.index(deferring[0])
        until = min((block.until for block in deferring if block.until), default=0)
        first = replace(first, then="defer", until=until)
    _conclude(turn, candidate, first, rivals, way)


def _conclude(
    turn: Turn,
    candidate: Candidate,
    block: Block,
    rivals: list[Considered] | None = None,
    way: int = 0,
) -> None:
    entry = candidate.entry
    variant = candidate.variants[way]
    if block.then == "defer":
        blocks = {v.block.reason for v in candidate.variants if v.block} | {block.reason}
        former = entry.pending
        entry.pending = Pending(
            fell_due=candidate.fell_due,
            until=block.until,
            expires_at=candidate.expires_at,
            reason=block.reason,
            rule=block.rule or "",
            blocks=tuple(sorted(blocks)),
            way=way,
        )
        entry.wake = 0
        if former is not None and _same(former, entry.pending):
            return
        outcome: DecisionOutcome = "lost" if block.lost else "deferred"
    else:
        entry.pending = None
        turn.vacated = True
        outcome = "lost" if block.lost else _OUTCOMES.get(block.reason, "suppressed")
    turn.decide(
        outcome,
        entry=entry,
        step=candidate.step.id,
        reason=block.reason,
        rule=block.rule,
        values=block.values,
        candidates=_considered(candidate, rivals or []),
        message=variant.send.message,
        channel=variant.channel_name,
        until=block.until if block.then == "defer" else None,
    )
    if block.then == "exit":
        end(turn, entry, block.reason, rule=block.rule)
    elif block.then == "skip":
        go_on(turn, entry, candidate.step.then)


def _same(former: Pending, pending: Pending) -> bool:
    """Whether a deferral was recorded before: the same block until the same instant."""
    return (former.reason, former.rule, former.until, former.way) == (
        pending.reason,
        pending.rule,
        pending.until,
        pending.way,
    )


def _considered(candidate: Candidate, rivals: list[Considered]) -> list[Considered]:
    if len(candidate.variants) == 1:
        return rivals
    return [_one(variant) for variant in candidate.variants] + rivals


def _one(variant: Variant) -> Considered:
    name = variant.channel_name
    if variant.option is not None:
        name = f"{variant.option.name}/{name}"
    block = variant.block
    if block is None:
        return Considered(name=name, outcome="open")
    return Considered(
        name=name,
        outcome="deferred" if block.then == "defer" else "blocked",
        reason=block.reason,
        rule=block.rule,
        until=block.until or None,
    )


def _send(
    turn: Turn,
    candidate: Candidate,
    variant: Variant,
    message: Message,
    channel: Channel,
    rivals: list[Considered],
) -> None:
    """Emit the action, take its slot, and let the entry go on."""
    entry, step, journey = candidate.entry, candidate.step, candidate.journey
    pass_, attempt = entry.passes.get(step.id, 1), entry.attempts.get(step.id, 0)
    action_id = ids.action_id(entry.id, step.id, pass_, attempt)
    entry.attempts[step.id] = attempt + 1
    expires_at = variant.expires_at
    if message.obeys_quiet_hours and not channel.internal:
        quiet_at = quiet.next_start(turn.catalog.policy, turn.calendar, channel.name, turn.now)
        expires_at = min(expires_at, quiet_at or expires_at)
    address = pipeline.address_of(turn, channel)
    considered = _considered(candidate, rivals)
    for one in considered:
        if one.outcome == "open":
            one.outcome = "sent" if one.name.rpartition("/")[2] == channel.name else "not_needed"
    choice = variant.option
    decision_id = turn.decide(
        "sent",
        entry=entry,
        step=step.id,
        rule="first_eligible" if choice is not None else None,
        values={"option": choice.name} if choice is not None else None,
        candidates=considered,
        message=message.name,
        channel=channel.name,
        action_id=action_id,
        propensity=1.0 if choice is not None else None,
    )
    trace = turn.trace or entry.trace or None
    turn.act(
        Action(
            action_id=action_id,
            customer_id=turn.key,
            channel=channel.name,
            message=message.name,
            template=message.definition,
            content=content_of(turn.at(entry), message, channel.name),
            address=address,
            journey=entry.journey,
            journey_version=entry.version,
            entry_id=entry.id,
            step=step.id,
            decision_id=decision_id,
            category=message.category,
            priority=journey.priority,
            decided_at=turn.now,
            expires_at=expires_at,
            caused_by=turn.cause,
            trace=trace,
        )
    )
    sent = Sent(
        action=bytes.fromhex(action_id),
        message=message.name,
        channel=channel.name,
        category=message.category,
        at=turn.now,
        counts=message.counts_to_caps and not channel.internal,
        entry=bytes.fromhex(entry.id),
        step=step.id,
        address=consent.digest(address) if address else b"",
        journey=entry.journey,
        pass_=pass_,
        fell_due=candidate.fell_due if candidate.fell_due != turn.now else 0,
    )
    entry.pending = None
    history.remember(turn.customer, sent, turn.catalog)
    turn.reserved.append(sent)
    turn.vacated = turn.flags_changed = True
    if turn.assume_accepted:
        turn.accept(action_id)
    go_on(turn, entry, (choice.then if choice is not None else None) or step.then)
    entry.after = step.id
