"""What stands between a customer and a message now: the live catalog and the customer's own state. Pure.

The same functions that decide are asked, on a copy of the state: what they say here is what they
would decide if the send fell due, or the entry began, at this instant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct

from orchestrator.explain import instant
from orchestrator.expressions.durations import Duration
from orchestrator.journeys.graph import leads_to
from orchestrator.records import Decision, Value
from orchestrator.stages.catalog import Catalog, Choose, Journey, Send, Step, Wait, WaitFor
from orchestrator.stages.decide import pipeline, state
from orchestrator.stages.decide.entries import enter
from orchestrator.stages.decide.state import Customer, Entry
from orchestrator.stages.decide.turn import Turn
from orchestrator.stages.decide.variants import Block, Variant, candidate_of

NOBODY = "00" * 16
"""Id of an entry that there is not."""


class Way(Struct, kw_only=True):
    """One channel (or option and channel) on which it could be sent now, or what blocks it."""

    channel: str
    option: str = ""
    reason: str = ""
    """Empty: nothing blocks it."""
    then: str = ""
    """What follows the block: defer, skip or exit."""
    rule: str = ""
    values: dict[str, Value] = {}
    until: int = 0
    """When the block ends by itself; 0 = no instant can be computed."""
    needs: str = ""
    """What has to change where time alone does not help."""


class Prospect(Struct, kw_only=True):
    """One step of one journey that sends the message."""

    journey: str
    status: str
    step: str
    stands: str = ""
    """Where the customer's live entry stands; empty: there is none."""
    key: str = ""
    waits: list[str] = []
    """The waits from there to the send, the present one first."""
    due: int = 0
    """When the present wait or deferral ends by itself; 0 = unknown."""
    passed: bool = False
    """The entry cannot come to this step any more."""
    begins: str = ""
    """What would start an entry."""
    refused: str = ""
    """Why one would not begin now."""
    ways: list[Way] = []


class Outlook(Struct, kw_only=True):
    """All that the catalog and the state say of one message for one customer."""

    message: str
    at: int
    known: bool
    """Whether the catalog in force has this message."""
    prospects: list[Prospect]


def outlook(
    customer_id: str, customer: Customer, catalog: Catalog, message: str, now: int
) -> Outlook:
    """Return what stands between a customer and a message at log time ``now`` (epoch ms)."""
    found: list[Prospect] = []
    for journey in _journeys(customer, catalog):
        steps = [step for step in journey.steps.values() if message in _sends(step)]
        entries = [
            one
            for one in customer.entries
            if (one.journey, one.version) == (journey.name, journey.version)
        ]
        for step in steps:
            for entry in (*entries,) or (None,):
                turn = _turn(customer_id, customer, catalog, now)
                found.append(_prospect(turn, journey, step, entry, message))
    return Outlook(message=message, at=now, known=message in catalog.messages, prospects=found)


def _journeys(customer: Customer, catalog: Catalog) -> Iterator[Journey]:
    """Yield the live journeys, then the earlier versions in which the customer still is."""
    yield from catalog.journeys.values()
    seen = {(one.name, one.version) for one in catalog.journeys.values()}
    for entry in customer.entries:
        place = (entry.journey, entry.version)
        pinned = catalog.journey(*place) if place not in seen else None
        seen.add(place)
        if pinned is not None:
            yield pinned


def _sends(step: Step) -> list[str]:
    match step.do:
        case Send(message=message):
            return [message]
        case Choose(among=options):
            return [option.send.message for option in options]
        case _:
            return []


def _turn(customer_id: str, customer: Customer, catalog: Catalog, now: int) -> Turn:
    copy = state.decode(state.encode(customer))
    return Turn(key=customer_id, customer=copy, now=now, catalog=catalog, cause="outlook")


def _prospect(
    turn: Turn, journey: Journey, step: Step, entry: Entry | None, message: str
) -> Prospect:
    found = Prospect(journey=journey.name, status=turn.status(journey.name), step=step.id)
    if entry is None:
        found.begins = _beginning(journey)
        found.refused = _refusal(turn, journey)
        entry = Entry(
            id=NOBODY,
            journey=journey.name,
            version=journey.version,
            started=turn.now,
            cause="",
            step=step.id,
        )
    else:
        path = _path(journey, entry.step, step.id)
        found.stands, found.key, found.passed = entry.step, entry.key, path is None
        found.waits = [name for name in path or () if _waits(journey.steps[name])]
        found.due = entry.pending.due if entry.pending is not None else entry.wake
    if not found.passed:
        found.ways = list(_ways(turn, journey, step, entry, message))
    return found


def _waits(step: Step) -> bool:
    return isinstance(step.do, Wait | WaitFor)


def _path(journey: Journey, start: str, goal: str) -> list[str] | None:
    """Return the shortest way from one step to another, both included; None = there is none."""
    paths, seen = [[start]], {start}
    for path in paths:
        if path[-1] == goal:
            return path
        here = journey.steps.get(path[-1])
        following = leads_to(here) if here is not None else []
        for name in following:
            if name not in seen:
                seen.add(name)
                paths.append([*path, name])
    return None


# -- getting in ---------------------------------------------------------------------------------


def _beginning(journey: Journey) -> str:
    rule = journey.entry
    if rule.absence_of is not None and rule.absence_for is not None:
        text = f"{_length(rule.absence_for)} without {rule.absence_of}"
    elif rule.when is not None:
        text = f"{rule.when.text} becoming true"
    else:
        text = " or ".join(rule.on)
    return text + (f", if {rule.condition.text}" if rule.condition is not None else "")


def _length(duration: Duration) -> str:
    days = [f"{duration.days} days"] if duration.days else []
    return " and ".join([*days, *([f"{duration.ms // 60_000} minutes"] if duration.ms else [])])


def _refusal(turn: Turn, journey: Journey) -> str:
    """Return why an entry that began now would be refused; empty: it would not, as far as is known."""
    enter(turn, journey, None)
    for emit in turn.emits:
        decision = emit.record
        if not isinstance(decision, Decision) or decision.outcome != "nothing":
            continue
        condition = journey.entry.condition
        if decision.reason == "no_key":
            return ""  # the event will bring one
        if decision.reason == "not_eligible" and condition and condition.references.event:
            return ""  # that depends on the event
        until = f" until {instant(decision.until)}" if decision.until else ""
        rule = f" ({decision.rule})" if decision.rule else ""
        return f"{decision.reason}{rule}{until}"
    if turn.customer.truths.get(journey.name):
        return "its condition is true already: it must become false first"
    return ""


# -- the pipeline, asked ------------------------------------------------------------------------


def _ways(turn: Turn, journey: Journey, step: Step, entry: Entry, message: str) -> Iterator[Way]:
    """Yield what would become of each way of sending if the send fell due now."""
    candidate = candidate_of(turn, entry, journey, step, turn.now)
    for variant in candidate.variants:
        if variant.send.message == message:
            block = _whole(turn, step, entry) or pipeline.screen(turn, candidate, variant)
            block = block or pipeline.contest(turn, candidate, variant)
            yield _way(turn, variant, block, journey.name)


def _whole(turn: Turn, step: Step, entry: Entry) -> Block | None:
    if turn.status(entry.journey) == "paused":
        return Block("paused", "defer")
    if step.condition is not None and not step.condition.holds(turn.at(entry)):
        return Block("condition", "skip", rule=step.condition.text)
    return None


def _way(turn: Turn, variant: Variant, block: Block | None, journey: str) -> Way:
    way = Way(channel=variant.channel_name, option=variant.option.name if variant.option else "")
    if block is None:
        return way
    way.reason, way.then, way.rule = block.reason, block.then, block.rule or ""
    way.values, way.until = dict(block.values), block.until
    if not block.until:
        way.needs = _needs(turn, variant, block, journey)
    return way


def _needs(turn: Turn, variant: Variant, block: Block, journey: str) -> str:
    channel = variant.channel
    category = variant.message.category if variant.message is not None else ""
    rules = {rule.name: rule.condition.text for rule in turn.catalog.policy.suppress}
    address = channel.address.text if channel is not None and channel.address is not None else ""
    words: Mapping[str, str] = {
        "no_consent": f"consent.granted for {variant.channel_name}, {category}",
        "no_address": f"a usable address: {address}",
        "suppression": f"{rules.get(block.rule or '', 'its condition')} becoming false",
        "obsolete": f"{block.rule} becoming false",
        "condition": f"{block.rule} becoming true",
        "already_sent": "nothing: it goes out once, and did",
        "holdout": "nothing: the control group stays without it",
        "channel_paused": f"the channel {variant.channel_name} being resumed in the policy",
        "paused": f"orchestrator journeys resume {journey}",
        "no_content": f"content for {variant.channel_name}",
        "protected": "a free slot",
        "cap": "a free slot",
    }
    return words.get(block.reason, "")
