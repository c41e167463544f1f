"""The records on the topics, one struct for each schema in ``schemas/avro`` (same names, same fields).

Timestamps are epoch milliseconds (UTC). ``Value`` is what a property may hold. A record is told
apart by its writer schema's full name, ``journey.NAME``.

Records are plain data, never part of a cycle: the garbage collector need not look at them (``gc``).
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Value = bool | int | float | str | None

ActionKind = Literal["send", "cancel", "unknown"]
"""``unknown`` is what a reader makes of a newer writer's kind; nobody sends it."""
DecisionOutcome = Literal[
    "sent",
    "deferred",
    "suppressed",
    "lost",
    "held_out",
    "expired",
    "cancelled",
    "entered",
    "advanced",
    "exited",
    "nothing",
    "unknown",
]
"""``unknown`` is what a reader makes of a newer writer's outcome."""

DeliveryState = Literal["claimed", "sent", "dropped", "failed", "unknown"]
JourneyStatus = Literal["live", "paused", "draining", "stopped"]

REASONS = frozenset(
    "not_live condition obsolete already_sent suppression no_consent no_address no_content "
    "channel_paused holdout quiet_hours gap cap protected arbitration expired window exit goal "
    "interrupted merged completed stopped loop_limit max_life past_date error not_eligible "
    "re_entry already_live no_key late paused exit_true cascade".split()
)
"""Every reason that a decision may carry."""


class Event(Struct, kw_only=True, gc=False):
    """Something a customer did, or something that happened to them."""

    event_id: str
    type: str
    occurred_at: int
    identities: dict[str, str]
    source: str
    properties: dict[str, Value] = {}


class Link(Struct, kw_only=True, gc=False):
    """Identities ``a`` and ``b`` (``kind:value``) were seen together. Key: ``b``."""

    a: str
    b: str
    customer_id: str
    first_seen: int
    caused_by: str


class Merge(Struct, kw_only=True, gc=False):
    """``loser`` and ``winner`` are one customer. Key: loser."""

    merge_id: str
    loser: str
    winner: str
    caused_by: str
    first_seen: int = 0
    """When the winner was first seen: part of its rank, should the loser have gone elsewhere."""


class Absorb(Struct, kw_only=True, gc=False):
    """The loser's state travels to the winner. Key: winner."""

    merge_id: str
    loser: str
    state: bytes
    state_version: int


class Forget(Struct, kw_only=True, gc=False):
    """A person asked to be erased: everything under these ids goes.

    Key: a row of the identities, or ``customer:ID``; on the timeline the customer id.
    """

    order_id: str
    customer_ids: list[str]
    """The customer, and all who were merged into them."""


class Tick(Struct, gc=False):
    """Time has come this far; the record's log time is all it says."""


class CatalogSwitch(Struct, kw_only=True, gc=False):
    """Schema ``journey.Catalog``: these definitions take effect here."""

    catalog: str
    definitions: dict[str, str]
    status: dict[str, str]


class Model(Struct, kw_only=True, gc=False):
    """A learner's parameters take effect here."""

    decision_point: str
    version: str
    parameters: bytes


class Outcome(Struct, kw_only=True, gc=False):
    """What became of one choice, or its absence at the horizon."""

    decision_id: str
    decision_point: str
    eligible: list[str]
    option: str
    context: dict[str, Value] = {}
    propensity: float
    model_version: str | None = None
    reward: float
    settled_at: int


class Definition(Struct, kw_only=True, gc=False):
    """One checked definition; ``source`` is canonical JSON and ``hash`` its SHA-256."""

    kind: str
    name: str
    hash: str
    source: str


class Skip(Struct, kw_only=True, gc=False):
    """An operator's order to pass over one input: a record, or a timer that is due in front of it."""

    partition: int
    offset: int
    reason: str
    timer: str | None = None
    """Whose timer; None = the record itself."""
    due: int | None = None


class Action(Struct, kw_only=True, gc=False):
    """An order to a channel: send a message, or cancel an earlier action."""

    action_id: str
    kind: ActionKind = "send"
    customer_id: str
    channel: str
    message: str
    template: str
    content: dict[str, Value] = {}
    address: str | None = None
    journey: str
    journey_version: str
    entry_id: str
    step: str
    decision_id: str
    category: str
    priority: int
    decided_at: int
    expires_at: int | None = None
    caused_by: str
    trace: str | None = None


class Candidate(Struct, kw_only=True, gc=False):
    """One channel, option or competitor that a decision considered."""

    name: str
    outcome: str
    reason: str | None = None
    rule: str | None = None
    until: int | None = None
    score: float | None = None


class Decision(Struct, kw_only=True, gc=False):
    """What was decided and why."""

    decision_id: str
    customer_id: str
    outcome: DecisionOutcome
    reason: str | None = None
    rule: str | None = None
    rule_values: dict[str, Value] = {}
    candidates: list[Candidate] = []
    journey: str | None = None
    journey_version: str | None = None
    entry_id: str | None = None
    step: str | None = None
    message: str | None = None
    channel: str | None = None
    action_id: str | None = None
    until: int | None = None
    caused_by: str
    decided_at: int
    catalog: str
    propensity: float | None = None
    model_version: str | None = None
    trace: str | None = None


class Delivery(Struct, kw_only=True, gc=False):
    """One line of a sink's ledger."""

    action_id: str
    state: DeliveryState
    at: int
    attempts: int = 0
    detail: str | None = None


class InboxMessage(Struct, kw_only=True, gc=False):
    """One message in a customer's in-app inbox."""

    action_id: str
    message: str
    title: str = ""
    body: str = ""
    link: str | None = None
    sent_at: int
    expires_at: int | None = None
    read_at: int | None = None


class Inbox(Struct, kw_only=True, gc=False):
    """A customer's in-app inbox, newest first, at most 50. Key: customer_id."""

    customer_id: str
    messages: list[InboxMessage] = []


RECEIPT_TYPES = frozenset(
    f"message.{status}"
    for status in (
        "accepted delivered bounced opened clicked complained unsubscribed dropped failed".split()
    )
)
"""The event types by which sinks and providers report; identity ``customer``, property action_id."""

Record = (
    Event
    | Link
    | Merge
    | Absorb
    | Forget
    | Tick
    | CatalogSwitch
    | Model
    | Outcome
    | Definition
    | Skip
    | Action
    | Decision
    | Delivery
    | Inbox
)
