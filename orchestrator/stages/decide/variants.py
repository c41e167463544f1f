"""The ways in which a due send can go out: each channel of a send, each option of a choice."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestrator.stages.catalog import Choose, Send

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.records import Value
    from orchestrator.stages.catalog import Channel, Journey, Message, OnBlock, Option, Step
    from orchestrator.stages.decide.state import Entry
    from orchestrator.stages.decide.turn import Turn


@dataclass(slots=True)
class Block:
    """Why a variant cannot go out now, and what follows."""

    reason: str
    then: OnBlock
    rule: str | None = None
    until: int = 0
    """When it may end by itself; 0 = no instant can be computed."""
    values: Mapping[str, Value] = field(default_factory=dict)
    lost: bool = False
    """A slot or gap that another send of this instant took."""


@dataclass(slots=True)
class Variant:
    """One message on one channel. ``message`` or ``channel`` None: no longer in the catalog."""

    send: Send
    channel_name: str
    message: Message | None
    channel: Channel | None
    option: Option | None = None
    expires_at: int = 0
    """When the message is no longer worth sending; known once the send has fallen due."""
    block: Block | None = None

    @property
    def contested(self) -> bool:
        """Whether gap, protect and arbitration apply."""
        return (
            self.message is not None
            and self.message.class_ == "promotional"
            and self.channel is not None
            and not self.channel.internal
        )


@dataclass(slots=True)
class Candidate:
    """One entry at a send that is due now."""

    entry: Entry
    journey: Journey
    step: Step
    fell_due: int
    expires_at: int
    variants: list[Variant]
    score: float = 0.0

    @property
    def open(self) -> list[Variant]:
        """The variants that nothing has blocked yet."""
        return [variant for variant in self.variants if variant.block is None]


def candidate_of(
    turn: Turn, entry: Entry, journey: Journey, step: Step, fell_due: int
) -> Candidate:
    """Return an entry at a send that first fell due then; each way of it expires by its own message."""
    variants = variants_of(turn, step)
    for variant in variants:
        if variant.message is not None:
            variant.expires_at = turn.calendar.add(fell_due, variant.message.expires)
    return Candidate(
        entry=entry,
        journey=journey,
        step=step,
        fell_due=fell_due,
        expires_at=max((one.expires_at for one in variants if one.message), default=fell_due),
        variants=variants,
    )


def variants_of(turn: Turn, step: Step) -> list[Variant]:
    """Return every way in which a step can send, in the author's order."""
    match step.do:
        case Send() as send:
            return [_variant(turn, send, channel, None) for channel in send.channels]
        case Choose() as choose:
            return [
                _variant(turn, option.send, channel, option)
                for option in choose.among
                for channel in option.send.channels
            ]
        case _:
            return []


def _variant(turn: Turn, send: Send, channel: str, option: Option | None) -> Variant:
    return Variant(
        send=send,
        channel_name=channel,
        message=turn.catalog.messages.get(send.message),
        channel=turn.catalog.policy.channels.get(channel),
        option=option,
    )


def named(turn: Turn, entry: Entry) -> tuple[str | None, str | None]:
    """Return message and channel of the send at which an entry stands: the way it is deferred for."""
    place = turn.place_of(entry)
    ways = variants_of(turn, place[1]) if place is not None else []
    if not ways:
        return None, None
    way = entry.pending.way if entry.pending is not None else 0
    chosen = ways[way if way < len(ways) else 0]
    return chosen.send.message, chosen.channel_name
