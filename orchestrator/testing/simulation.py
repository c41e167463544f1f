"""A catalog over a file of events, on the log clock, without Kafka."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from msgspec import Struct, field

from orchestrator.errors import UsageError
from orchestrator.records import Action, Decision
from orchestrator.testing.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from orchestrator.records import Event
    from orchestrator.stages.catalog import Catalog
    from orchestrator.testing.harness import Output

BEGINNING_MS = 1
"""The catalog takes effect here: before everything, as ``journeys apply`` does by default."""
NOT_SENT = frozenset("deferred suppressed lost held_out expired cancelled".split())


class Tally(Struct, kw_only=True):
    """What came of a run."""

    events: int = 0
    customers: int = 0
    """Those who were merged into another are not counted."""
    merges: int = 0
    """So many turned out to be another customer."""
    entries: dict[str, int] = field(default_factory=dict)
    """By journey."""
    exits: dict[str, int] = field(default_factory=dict)
    """By reason."""
    actions: dict[str, int] = field(default_factory=dict)
    """Sends by channel."""
    cancels: int = 0
    not_sent: dict[str, int] = field(default_factory=dict)
    """By outcome and reason; a send that was deferred and sent later is in both."""
    refused: dict[str, int] = field(default_factory=dict)
    """Entries that were refused, by reason."""
    dead_letters: dict[str, int] = field(default_factory=dict)
    """By cause."""


def simulate(
    catalog: Catalog,
    events: Iterable[Event],
    *,
    until: int | None = None,
    each: Callable[[Output], None] = lambda _: None,
) -> Tally:
    """Run ``events``, which must be sorted by time; every action counts as accepted.

    Args:
        catalog: In force from the beginning.
        events: In the order in which the log would hold them.
        until: Let time run on to this instant (epoch ms) behind the last event.
        each: Called with everything that leaves, in order.

    Raises:
        UsageError: The events are not sorted by ``occurred_at``.
    """
    pipeline = Pipeline(catalog, BEGINNING_MS)
    counts: Counter[tuple[str, str]] = Counter()

    def take(outputs: list[Output]) -> None:
        for output in outputs:
            _count(output, counts)
            each(output)

    number, at = 0, BEGINNING_MS
    for number, event in enumerate(events, start=1):
        if event.occurred_at < at:
            raise UsageError(
                f"event {number} ({event.event_id}) is older than the one before it: "
                "sort the file by occurred_at"
            )
        at = event.occurred_at
        take(pipeline.append(event, at))
    if until is not None:
        take(pipeline.advance(until))
    for letter in pipeline.dead_letters:
        counts["dead_letters", letter.cause] += 1

    def of(kind: str) -> dict[str, int]:
        found = [(name, count) for (what, name), count in counts.items() if what == kind]
        return dict(sorted(found, key=lambda item: (-item[1], item[0])))

    return Tally(
        events=number,
        customers=sum(not one.redirect for one in pipeline.decide.states.values()),
        merges=sum(bool(one.redirect) for one in pipeline.decide.states.values()),
        entries=of("entries"),
        exits=of("exits"),
        actions=of("actions"),
        cancels=counts["cancels", ""],
        not_sent=of("not_sent"),
        refused=of("refused"),
        dead_letters=of("dead_letters"),
    )


def _count(output: Output, counts: Counter[tuple[str, str]]) -> None:
    match output.emit.record:
        case Action(kind="send", channel=channel):
            counts["actions", channel] += 1
        case Action():
            counts["cancels", ""] += 1
        case Decision(outcome="entered", journey=journey):
            counts["entries", journey or ""] += 1
        case Decision(outcome="exited", reason=reason):
            counts["exits", reason or ""] += 1
        case Decision(outcome="nothing", reason=reason):
            counts["refused", reason or ""] += 1
        case Decision(outcome=outcome, reason=reason) if outcome in NOT_SENT:
            counts["not_sent", f"{outcome}: {reason}"] += 1
        case _:
            pass
