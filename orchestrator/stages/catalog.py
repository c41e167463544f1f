"""The compiled catalog: all live definitions, checked, immutable, ready to run.

``journeys`` builds it from YAML or from the definitions topic; stages only read it. Expressions are
compiled closures. Durations are ``Duration`` (calendar weeks and days, elapsed milliseconds), except
where the design says that a day is 24 h: those are plain milliseconds (``_ms``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator.expressions import Expression
    from orchestrator.expressions.durations import Duration
    from orchestrator.records import JourneyStatus, Value

ValueType = Literal["string", "boolean", "long", "double", "timestamp"]
TraitType = ValueType | Literal["any"]
"""``any``: taken from events that ``events.yaml`` does not declare; kept as it comes."""
TraitKind = Literal[
    "plain", "last", "first", "min", "max", "count", "sum", "up", "set", "score", "expr"
]
MessageClass = Literal["promotional", "transactional", "mandatory"]
OnBlock = Literal["defer", "skip", "exit"]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAY_MS = 86_400_000


# ------------------------------------------------------------------------------------- profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Identities:
    """How customers are told apart; strength of a kind = primary, then the order of ``also``."""

    primary: str = "customer_id"
    also: tuple[str, ...] = ()
    block: frozenset[str] = frozenset()
    join_limit: int = 8
    merge_known: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Trait:
    """One trait. ``on`` = the event types that feed it (``up``'s counterpart is ``down``).

    ``take`` None with last and first = the event's occurred_at (type timestamp). ``type`` of a set
    is that of its elements. ``take``, ``condition`` and ``by`` read the event alone, so that late
    and backfilled events give the same value as punctual ones.
    """

    name: str
    kind: TraitKind
    type: TraitType
    default: Value = None
    on: tuple[str, ...] = ()
    down: str | None = None
    take: Expression | None = None
    condition: Expression | None = None
    by: Expression | None = None
    window_ms: int | None = None
    limit: int = 64
    scores: Mapping[str, float] = field(default_factory=dict)
    half_life_ms: int | None = None
    expression: Expression | None = None
    as_kept: bool = field(init=False, repr=False, compare=False, default=False)
    """Derived: whether its state is the value itself."""

    def __post_init__(self) -> None:
        """See ``as_kept``."""
        object.__setattr__(self, "as_kept", self.kind in {"plain", "last", "first", "min", "max"})


@dataclass(frozen=True, slots=True, kw_only=True)
class LifecycleRule:
    """One lifecycle name; ``condition`` None = the last, always true."""

    name: str
    condition: Expression | None


# -------------------------------------------------------------------------------------- policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """Where a message can go. ``address`` None: in-app or internal without one."""

    name: str
    address: Expression | None = None
    audience: Literal["customer", "internal"] = "customer"
    needs_consent: bool = True
    paused: bool = False

    @property
    def internal(self) -> bool:
        """Outside consent, holdout, suppression, quiet hours, gap, caps and arbitration."""
        return self.audience == "internal"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuietHours:
    """Minutes after midnight; ``start`` > ``end`` crosses midnight; days name the start's day."""

    name: str
    start: int
    end: int
    channels: frozenset[str] = frozenset()
    days: frozenset[Weekday] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """A frequency cap; scopes are ANDed, empty = everything external."""

    name: str
    limit: int
    per: Literal["day", "week", "month", "rolling"]
    rolling: Duration | None = None
    channels: frozenset[str] = frozenset()
    categories: frozenset[str] = frozenset()
    message: str | None = None
    about: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    """Hold messages back while a condition is true."""

    name: str
    condition: Expression
    channels: frozenset[str] = frozenset()
    categories: frozenset[str] = frozenset()
    messages: frozenset[str] = frozenset()
    then: OnBlock = "defer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdout:
    """``share`` in hundredths of a percent, 0..10000: bucket < share is control."""

    share: int
    salt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The contract with every customer. ``gap`` has the key ``any`` and channel names."""

    timezone: str = "UTC"
    channels: Mapping[str, Channel] = field(default_factory=dict)
    consent_default: Mapping[str, Literal["opt_in", "opt_out"]] = field(default_factory=dict)
    quiet_hours: tuple[QuietHours, ...] = ()
    caps: tuple[Cap, ...] = ()
    gap: Mapping[str, Duration] = field(default_factory=dict)
    suppress: tuple[Suppression, ...] = ()
    holdout: Holdout | None = None
    on_block: Mapping[str, OnBlock] = field(default_factory=dict)
    arbitration_window: Duration | None = None
    protect: Duration | None = None
    spread_ms: int = 600_000
    max_event_age_ms: int = 7 * DAY_MS
    derived: dict[str, Any] = field(init=False, repr=False, compare=False, default_factory=dict)
    """What a stage works out from all this, once; it lives as long as the policy."""


# ------------------------------------------------------------------------------------ messages


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message; ``content`` gives, for each channel, the expressions its template refers to.

    ``content[CHANNEL]`` maps a template variable (``profile.name``, ``entry.cart_id``) to the
    expression that yields it; the values travel in the action. ``definition`` is the hash by which
    a sink finds the template.
    """

    name: str
    category: str
    definition: str
    class_: MessageClass = "promotional"
    obeys_caps: bool = True
    counts_to_caps: bool = True
    obeys_quiet_hours: bool = True
    cancel_on_exit: bool = True
    about: str | None = None
    obsolete_if: Expression | None = None
    expires: Duration
    repeat: Literal["never", "always"] | Duration = "never"
    content: Mapping[str, Mapping[str, Expression]] = field(default_factory=dict)


# ------------------------------------------------------------------------------------ journeys


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """One thing to listen for: event types (``on``) or a watched condition (``when``).

    ``of`` narrows a receipt to the actions of one send step; ``then`` is a step id, None = the
    step's own ``then``.
    """

    on: tuple[str, ...] = ()
    when: Expression | None = None
    condition: Expression | None = None
    of: str | None = None
    then: str | None = None
    again: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryRule:
    """How a customer gets in: exactly one of ``on``, ``when``, ``absence_of``."""

    on: tuple[str, ...] = ()
    when: Expression | None = None
    absence_of: str | None = None
    absence_for: Duration | None = None
    condition: Expression | None = None
    key: Expression | None = None
    re_entry: Literal["never", "always"] | Duration = "never"
    existing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """The outcome that counts."""

    pattern: Pattern
    within: Duration | None = None
    value: Expression | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Send ``message`` on the first of ``channels`` that is allowed now."""

    message: str
    channels: tuple[str, ...]
    again: bool = False
    value: Expression | None = None
    on_block: Mapping[str, OnBlock] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Exactly one of: ``duration``; ``next_time`` (minutes after midnight); ``until``."""

    duration: Duration | None = None
    next_time: int | None = None
    weekdays: frozenset[Weekday] = frozenset()
    until: Expression | None = None
    plus: Duration | None = None
    minus: Duration | None = None
    at: int | None = None
    if_past: Literal["continue", "exit"] = "continue"


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitFor:
    """``first``: the first match wins; ``best``: the highest rank with a hit at the timeout."""

    mode: Literal["first", "best"]
    patterns: tuple[Pattern, ...]
    timeout: Duration
    since: Literal["step", "entry"] = "step"
    restart: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchArm:
    """``condition`` None = the default arm."""

    condition: Expression | None
    then: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """The first arm that is true; none = the step's ``then``."""

    arms: tuple[BranchArm, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitArm:
    """``share`` in hundredths of a percent."""

    name: str
    share: int
    then: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Sticky experiment."""

    arms: tuple[SplitArm, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option of a learned choice."""

    name: str
    send: Send
    condition: Expression | None = None
    cost: float = 0.0
    then: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choose:
    """A choice between options: as long as nothing learns, the first eligible one in the list.

    The decision says so (rule ``first_eligible``, propensity 1). ``context``, ``outcome``, ``explore``
    and the options' ``cost`` are checked and kept for the learner; until then they decide nothing.
    """

    decision: str
    among: tuple[Option, ...]
    context: tuple[Expression, ...] = ()
    outcome: Goal | None = None
    explore: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SetTraits:
    """Set plain traits."""

    values: Mapping[str, Expression]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """The entry ends, reason ``stopped``."""


Do = Send | Wait | WaitFor | Branch | Split | Choose | SetTraits | Stop


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """``then`` None = after the last: the entry ends, reason ``completed``; always resolved."""

    id: str
    do: Do
    then: str | None
    condition: Expression | None = None
    was: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Journey:
    """One version of one journey; ``version`` is the content hash of its definition."""

    name: str
    version: str
    entry: EntryRule
    steps: Mapping[str, Step]
    first: str
    goal: Goal | None = None
    exits: tuple[Pattern, ...] = ()
    interrupts: tuple[Pattern, ...] = ()
    in_flight: Literal["pin", "follow"] = "pin"
    priority: int = 50
    value: Expression | None = None
    max_life: Duration
    holdout: Holdout | None = None
    listens: frozenset[str] = field(init=False, repr=False, compare=False, default=frozenset())
    """Derived: the event types that may move, end or be remembered by an entry."""
    watches: bool = field(init=False, repr=False, compare=False, default=False)
    """Derived: whether it has a condition (``when``) or a wait that follows what it reads."""
    timed: bool = field(init=False, repr=False, compare=False, default=False)
    """Derived: whether time alone may make one of these conditions true."""

    def __post_init__(self) -> None:
        """Index what an entry can react to, so that all other events cost it nothing."""
        patterns = [*self.exits, *self.interrupts]
        if self.goal is not None:
            patterns.append(self.goal.pattern)
        types: set[str] = set()
        watches = timed = False
        for step in self.steps.values():
            if isinstance(step.do, WaitFor):
                patterns.extend(step.do.patterns)
                types.update(step.do.restart)
            elif isinstance(step.do, Wait):
                watches = watches or step.do.until is not None
        for pattern in patterns:
            types.update(pattern.on)
            watches = watches or pattern.when is not None
            timed = timed or (pattern.when is not None and pattern.when.watch is not None)
        object.__setattr__(self, "listens", frozenset(types))
        object.__setattr__(self, "watches", watches)
        object.__setattr__(self, "timed", timed)


# ------------------------------------------------------------------------------------- catalog


def _no_pinned(name: str, version: str) -> Journey | None:
    del name, version
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """All live definitions. ``pinned`` finds an earlier version of a journey by its hash.

    ``counts`` and ``lasts`` are what live expressions ask by ``count(type, window)`` and
    ``last(type)``, so that the profile keeps exactly those. ``entries_by_event`` is the index that
    makes unrelated journeys free: event type -> names of the journeys that it may start, in order of
    name (one that is not live refuses and says so). ``absences_by_event`` does the same for
    ``absence``, ``entries_when`` has those with ``when``; both leave out what drains or is stopped.
    """

    hash: str = ""
    identities: Identities = field(default_factory=Identities)
    events: Mapping[str, Mapping[str, ValueType]] | None = None
    timezone_trait: str | None = None
    traits: Mapping[str, Trait] = field(default_factory=dict)
    lifecycle: tuple[LifecycleRule, ...] = ()
    policy: Policy = field(default_factory=Policy)
    messages: Mapping[str, Message] = field(default_factory=dict)
    journeys: Mapping[str, Journey] = field(default_factory=dict)
    status: Mapping[str, JourneyStatus] = field(default_factory=dict)
    pinned: Callable[[str, str], Journey | None] = field(default=_no_pinned, compare=False)
    counts: frozenset[tuple[str, int]] = frozenset()
    lasts: frozenset[str] = frozenset()
    entries_by_event: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    entries_when: tuple[str, ...] = ()
    absences_by_event: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    traits_by_event: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Event type -> traits that it feeds, ``down`` included; plain traits are not listed."""
    derived: dict[str, Any] = field(init=False, repr=False, compare=False, default_factory=dict)
    """What a stage works out from all this, once; it lives as long as the catalog."""

    def journey(self, name: str, version: str) -> Journey | None:
        """Return the live definition if it is this version, else the pinned one."""
        live = self.journeys.get(name)
        if live is not None and live.version == version:
            return live
        return self.pinned(name, version)


EMPTY = Catalog()
