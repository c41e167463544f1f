"""The send pipeline, block by block, in its exact order (2-semantics 2.6).

``screen`` runs what concerns one message on one channel alone, up to quiet hours; ``contest`` runs
what sends compete for, from the gap on. The first block is the decision's reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator import ids
from orchestrator.expressions.durations import Duration
from orchestrator.stages.decide import caps, consent, protect, quiet
from orchestrator.stages.decide.history import already_sent
from orchestrator.stages.decide.variants import Block

if TYPE_CHECKING:
    from orchestrator.stages.catalog import Channel, Holdout, Message, OnBlock, Suppression
    from orchestrator.stages.decide.state import Sent
    from orchestrator.stages.decide.turn import Turn
    from orchestrator.stages.decide.variants import Candidate, Variant

_DEFERS = frozenset({"quiet_hours", "gap", "cap", "arbitration", "protected", "suppression"})
"""Blocks that are deferred unless the author says otherwise; the others skip."""


def on_block(turn: Turn, variant: Variant, name: str) -> OnBlock:
    """Return what follows a block: the step's word, else the policy's, else the default."""
    said = variant.send.on_block.get(name) or turn.catalog.policy.on_block.get(name)
    return said or ("defer" if name in _DEFERS else "skip")


def screen(turn: Turn, candidate: Candidate, variant: Variant) -> Block | None:
    """Return the first block up to and including quiet hours; None = none."""
    message, channel = variant.message, variant.channel
    if message is None:
        return Block("no_content", "skip", rule=variant.send.message)
    block = (
        _not_meant(turn, candidate, variant)
        or _outdated(turn, candidate, variant, message)
        or repeated(turn, candidate, variant, message)
    )
    if block is not None:
        return block
    if channel is None:
        return Block("no_content", "skip", rule=variant.channel_name)
    return (
        _suppressed(turn, candidate, variant, message, channel)
        or _shut(message, channel)
        or _unreachable(turn, variant, message, channel)
        or _held_out(turn, candidate, variant, message, channel)
        or _quiet(turn, variant, message, channel)
    )


def contest(turn: Turn, candidate: Candidate, variant: Variant) -> Block | None:
    """Return the first block from arbitration on; slots taken so far in this round count."""
    message, channel = variant.message, variant.channel
    if message is None or channel is None:  # pragma: no cover - screened before
        return Block("no_content", "skip")
    if turn.reserved and (block := repeated(turn, candidate, variant, message)) is not None:
        return block
    if channel.internal:
        return None
    sends = caps.counted(turn)
    return (
        _gap(turn, variant, channel, sends)
        or _cap(turn, variant, message, channel, sends)
        or _protected(turn, candidate, variant, sends)
    )


def _gap(turn: Turn, variant: Variant, channel: Channel, sends: list[Sent]) -> Block | None:
    if not variant.contested:
        return None
    hold = caps.gapped(turn, channel.name, sends)
    if hold is None:
        return None
    values = {"last": hold.used, "gap_ms": hold.limit}
    winner = None
    if caps.gapped(turn, channel.name, caps.counted(turn, turn.reserved)) is None:
        winner = next(s for s in turn.reserved if s.counts and hold.rule in {"any", s.channel})
    return _taken(turn, variant, "gap", hold, values, winner)


def _cap(
    turn: Turn, variant: Variant, message: Message, channel: Channel, sends: list[Sent]
) -> Block | None:
    if not message.obeys_caps:
        return None
    hold = caps.capped(turn, message, channel.name, sends)
    if hold is None:
        return None
    values = {"used": hold.used, "limit": hold.limit}
    others = caps.counted(turn, turn.reserved)
    winner = None
    if variant.contested and caps.capped(turn, message, channel.name, others) is None:
        winner = next(s for s in turn.reserved if s.counts and caps.falls_under(turn, hold.rule, s))
    return _taken(turn, variant, "cap", hold, values, winner)


def _protected(
    turn: Turn, candidate: Candidate, variant: Variant, sends: list[Sent]
) -> Block | None:
    message = variant.message
    if message is None or not (variant.contested and message.obeys_caps):
        return None
    look = protect.protected(turn, candidate, variant, sends)
    if look is None:
        return None
    return Block(
        "protected",
        on_block(turn, variant, "protected"),
        rule=look.rule,
        until=look.until,
        values={"left": look.left, "scheduled": look.scheduled},
    )


def _taken(
    turn: Turn,
    variant: Variant,
    reason: str,
    hold: caps.Hold,
    values: dict[str, int],
    winner: Sent | None,
) -> Block:
    """Return the block of a slot or gap: lost, if ``winner`` took it in this round."""
    if winner is None:
        then = on_block(turn, variant, reason)
        return Block(reason, then, rule=hold.rule, until=hold.until, values=values)
    return Block(
        "arbitration",
        on_block(turn, variant, "arbitration"),
        rule=hold.rule,
        until=hold.until,
        values={**values, "winner": winner.message},
        lost=True,
    )


def _not_meant(turn: Turn, candidate: Candidate, variant: Variant) -> Block | None:
    """Return the block of an option of a choice whose ``if`` is false."""
    condition = variant.option.condition if variant.option is not None else None
    if condition is None or condition.holds(turn.at(candidate.entry)):
        return None
    return Block("condition", "skip", rule=condition.text)


def _outdated(turn: Turn, candidate: Candidate, variant: Variant, message: Message) -> Block | None:
    if turn.now >= variant.expires_at:
        return Block("expired", "skip")
    if message.obsolete_if is None or not message.obsolete_if.holds(turn.at(candidate.entry)):
        return None
    then = on_block(turn, variant, "obsolete")
    return Block("obsolete", then, rule=message.obsolete_if.text)


def repeated(turn: Turn, candidate: Candidate, variant: Variant, message: Message) -> Block | None:
    """Return the block of a message that was sent before."""
    own = candidate.entry.id if variant.send.again else ""
    last = already_sent(turn.customer, message, turn.now, turn.calendar, except_entry=own)
    if last is None:
        return None
    then = on_block(turn, variant, "already_sent")
    again = message.repeat
    until = turn.calendar.add(last, again) if isinstance(again, Duration) else 0
    return Block("already_sent", then, rule="repeat", until=until, values={"last": last})


def suppression_covers(rule: Suppression, message: Message, channel: str) -> bool:
    """Whether a suppression is about this message on this channel."""
    return (
        (not rule.channels or channel in rule.channels)
        and (not rule.categories or message.category in rule.categories)
        and (not rule.messages or message.name in rule.messages)
    )


def _suppressed(
    turn: Turn, candidate: Candidate, variant: Variant, message: Message, channel: Channel
) -> Block | None:
    if message.class_ == "mandatory" or channel.internal:
        return None
    for rule in turn.catalog.policy.suppress:
        scope = turn.at(candidate.entry)
        if suppression_covers(rule, message, channel.name) and rule.condition.holds(scope):
            then = variant.send.on_block.get("suppression") or rule.then
            if then == "defer":
                then = on_block(turn, variant, "suppression")
            until = rule.condition.next_change(turn.at(candidate.entry)) or 0
            return Block("suppression", then, rule=rule.name, until=until)
    return None


def _shut(message: Message, channel: Channel) -> Block | None:
    """Return the block of a channel for which the message has no text, or that is paused."""
    if channel.name not in message.content:
        return Block("no_content", "skip", rule=channel.name)
    return Block("channel_paused", "defer", rule=channel.name) if channel.paused else None


def _unreachable(turn: Turn, variant: Variant, message: Message, channel: Channel) -> Block | None:
    profile = turn.customer.profile
    if message.class_ != "mandatory" and not channel.internal:
        allowed, rule = consent.allowed(profile, channel.name, message.category, turn.catalog)
        if not allowed:
            return Block("no_consent", on_block(turn, variant, "consent"), rule=rule)
    if channel.address is not None:
        address = address_of(turn, channel)
        if not address:
            return Block("no_address", on_block(turn, variant, "address"), rule="missing")
        if not consent.usable(profile, channel.name, address):
            return Block("no_address", on_block(turn, variant, "address"), rule="bounced")
    return None


def address_of(turn: Turn, channel: Channel) -> str | None:
    """Return where the channel reaches the customer."""
    if channel.address is None:
        return None
    value = channel.address(turn.at(None))
    return None if value is None or isinstance(value, bool | list) else str(value).strip()


def _held_out(
    turn: Turn, candidate: Candidate, variant: Variant, message: Message, channel: Channel
) -> Block | None:
    if message.class_ != "promotional" or channel.internal:
        return None
    journey = candidate.journey
    for name, holdout in (("", turn.catalog.policy.holdout), (journey.name, journey.holdout)):
        if holdout is not None and control(turn, holdout, name):
            then = on_block(turn, variant, "holdout")
            return Block("holdout", then, rule=name or "policy")
    return None


def holdout_key(holdout: Holdout, journey: str = "") -> str:
    """Return where the draw of a holdout is kept: a salt may serve several shares at once."""
    return f"{holdout.salt}\x1f{journey}" if journey else holdout.salt


def control(turn: Turn, holdout: Holdout, journey: str = "") -> bool:
    """Whether the customer is in the control group; decided once, kept in the profile.

    Only a smaller share changes it later: it lets go those beyond it. Nobody who may have been
    written to becomes control, so a greater share finds new customers alone.
    """
    kept = turn.customer.profile.holdout
    key = holdout_key(holdout, journey)
    bucket = kept.get(key)
    if bucket is None:
        bucket = ids.bucket(holdout.salt, turn.key)
    kept[key] = bucket if bucket < holdout.share else ids.BUCKETS
    return bucket < holdout.share


def _quiet(turn: Turn, variant: Variant, message: Message, channel: Channel) -> Block | None:
    if not message.obeys_quiet_hours or channel.internal:
        return None
    policy, calendar = turn.catalog.policy, turn.calendar
    window = quiet.current(policy, calendar, channel.name, turn.now)
    if window is None:
        return None
    until = quiet.release(policy, calendar, channel.name, turn.key, window.end, variant.expires_at)
    return Block(
        "quiet_hours",
        on_block(turn, variant, "quiet_hours"),
        rule=window.name,
        until=until,
        values={"from": window.start, "to": window.end},
    )
