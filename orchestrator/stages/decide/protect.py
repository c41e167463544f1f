"""Look-ahead: leave the last slots of a cap to higher-priority sends that are scheduled."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from orchestrator.stages.catalog import Wait
from orchestrator.stages.decide import caps
from orchestrator.stages.decide.variants import variants_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.stages.catalog import Cap
    from orchestrator.stages.decide.state import Entry, Sent
    from orchestrator.stages.decide.turn import Turn
    from orchestrator.stages.decide.variants import Candidate, Variant


class Look(NamedTuple):
    """A cap whose last slots are spoken for."""

    rule: str
    until: int
    left: int
    scheduled: int


class _Scheduled(NamedTuple):
    at: int
    variants: list[Variant]


def protected(turn: Turn, candidate: Candidate, variant: Variant, sends: list[Sent]) -> Look | None:
    """Return the shared cap that holds the send back longest, None = no slot is spoken for."""
    span = turn.catalog.policy.protect
    message = variant.message
    if span is None or message is None:
        return None
    horizon = turn.calendar.add(turn.now, span)
    scheduled = [one for one in _scheduled(turn, candidate) if one.at < horizon]
    if not scheduled:
        return None
    worst: Look | None = None
    for cap in turn.catalog.policy.caps:
        name, channel, category = message.name, variant.channel_name, message.category
        if not caps.applies(cap, turn.catalog, name, channel, category):
            continue
        ends = caps.usage(turn, cap, sends)
        window = caps.window_end(cap, turn.calendar, turn.now)
        rivals = [
            one.at for one in scheduled if one.at < window and _shares(turn, cap, one.variants)
        ]
        left = cap.limit - len(ends)
        if rivals and left <= len(rivals):
            # Asked again when the last of them has had its turn, or when a slot becomes free.
            until = min([max(rivals), *ends]) if ends else max(rivals)
            until = min(until, window)
            if worst is None or until > worst.until:
                worst = Look(cap.name, until, left, len(rivals))
    return worst


def _shares(turn: Turn, cap: Cap, variants: list[Variant]) -> bool:
    return any(
        caps.applies(cap, turn.catalog, one.message.name, one.channel_name, one.message.category)
        for one in variants
        if one.message is not None and one.message.counts_to_caps and one.contested
    )


def _scheduled(turn: Turn, candidate: Candidate) -> Iterator[_Scheduled]:
    """Yield the higher-priority sends whose instant is known: deferred, or behind a plain wait."""
    for entry in turn.customer.entries:
        journey = turn.journey_of(entry)
        if entry is candidate.entry or journey is None:
            continue
        if journey.priority <= candidate.journey.priority:
            continue
        at, step_id = _next_send(entry), entry.step
        step = journey.steps.get(step_id)
        if entry.waiting and step is not None and isinstance(step.do, Wait):
            at, step = entry.wake, journey.steps.get(step.then or "")
        if step is not None and at > turn.now:
            variants = variants_of(turn, step)
            if variants:
                yield _Scheduled(at, variants)


def _next_send(entry: Entry) -> int:
    return entry.pending.until if entry.pending is not None else 0
