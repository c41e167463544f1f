"""The grammar of 2-semantics 2.1, word for word. Everything about keys, forms and defaults is here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from orchestrator.journeys.shapes import (
    NOTHING,
    Again,
    AnyScalar,
    Anything,
    Boolean,
    ByKey,
    Clock,
    DurationText,
    Expr,
    Field,
    Instant,
    Key,
    Keys,
    Many,
    MapOf,
    Number,
    OneOrMany,
    Percent,
    Shape,
    Text,
    Until,
    Word,
    Zone,
)

NAME = Text(
    "a name: a letter, then at most 62 letters, digits and -, lower case", r"[a-z][a-z0-9-]{0,62}"
)
LABEL = Text("a name of at most 63 characters", r"\S(.{0,61}\S)?")
WORD = Text("a name: a letter, then letters, digits, _ and -, lower case", r"[a-z][a-z0-9_-]{0,62}")
EVENT = Text(
    "an event type such as pricing.viewed: lower case, with a dot",
    r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+",
)
TRAIT = Text(
    "a trait's name: letters, digits and _", r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*"
)
PROPERTY = Text("a property's name")
KIND = Text("a kind of identity: lower-case letters, digits and _", r"[a-z][a-z0-9_]{0,62}")
IDENTITY = Text("kind:value, such as email:test@example.com", r"[a-z][a-z0-9_]{0,62}:.+")
TRAIT_PATH = Text(
    "a trait, such as profile.timezone",
    r"profile\.[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*",
)
FIELD = Field("a text", r"(?s).*", 262_144)
TYPE = Word(("string", "boolean", "long", "double", "timestamp"))
DAYS = Word(("mon", "tue", "wed", "thu", "fri", "sat", "sun"))
DUR = DurationText()
SPAN = DurationText(positive=True)
EXPR = Expr()
BOOL = Boolean()
EVENTS_TO_HEAR = OneOrMany(EVENT)
DEFERRABLE = Word(("defer", "skip", "exit"))
FINAL = Word(("skip", "exit"))

BLOCKS: Final = {
    "quiet_hours": "defer",
    "gap": "defer",
    "cap": "defer",
    "arbitration": "defer",
    "protected": "defer",
    "suppression": "defer",
    "consent": "skip",
    "address": "skip",
    "holdout": "skip",
    "already_sent": "skip",
    "obsolete": "skip",
}
"""Blocks of a send, and what they do unless told otherwise."""
PRESETS: Final[Mapping[str, Mapping[str, bool]]] = {
    "promotional": {
        "obeys_caps": True,
        "counts_to_caps": True,
        "obeys_quiet_hours": True,
        "cancel_on_exit": True,
    },
    "transactional": {
        "obeys_caps": False,
        "counts_to_caps": False,
        "obeys_quiet_hours": True,
        "cancel_on_exit": False,
    },
    "mandatory": {
        "obeys_caps": False,
        "counts_to_caps": False,
        "obeys_quiet_hours": False,
        "cancel_on_exit": False,
    },
}
"""The table of 2.6."""


def _on_block(*, defaults: bool) -> Keys:
    return Keys(
        {
            block: Key(
                DEFERRABLE if usual == "defer" else FINAL, default=usual if defaults else NOTHING
            )
            for block, usual in BLOCKS.items()
        },
        what="blocks of a send, such as {cap: skip}",
    )


HOLDOUT = Keys({"share": Key(Percent(), required=True), "salt": Key(LABEL, required=True)})

EVENTS: Shape = MapOf(EVENT, MapOf(PROPERTY, TYPE))

# -------------------------------------------------------------------------------------- profile

_CONDITION = {"if": Key(EXPR)}
_TRAIT_TYPE = {"type": Key(TYPE)}
_WINDOW = {"window": Key(SPAN)}
_TAKE = {"take": Key(EXPR, required=True)}


def _fold(name: str, *, take: bool) -> Keys:
    return Keys(
        {
            name: Key(EVENTS_TO_HEAR, required=True),
            "take": Key(EXPR, required=take),
            **_CONDITION,
            **_TRAIT_TYPE,
        }
    )


TRAIT_SHAPE = ByKey(
    {
        "last": _fold("last", take=False),
        "first": _fold("first", take=False),
        "min": _fold("min", take=True),
        "max": _fold("max", take=True),
        "count": Keys({"count": Key(EVENTS_TO_HEAR, required=True), **_CONDITION, **_WINDOW}),
        "sum": Keys({"sum": Key(EVENTS_TO_HEAR, required=True), **_TAKE, **_CONDITION, **_WINDOW}),
        "up": Keys(
            {"up": Key(EVENT, required=True), "down": Key(EVENT, required=True), "by": Key(EXPR)}
        ),
        "set": Keys(
            {
                "set": Key(EVENTS_TO_HEAR, required=True),
                **_TAKE,
                "limit": Key(Number(1, 256, whole=True), default=64),
            }
        ),
        "score": Keys(
            {
                "score": Key(MapOf(EVENT, Number(), least=1), required=True),
                "half_life": Key(SPAN, required=True),
            }
        ),
        "expr": Keys({"expr": Key(EXPR, required=True), **_TRAIT_TYPE}),
        "type": Keys({"type": Key(TYPE, required=True), "default": Key(AnyScalar())}),
    },
    "a trait",
)
PROFILE: Shape = Keys(
    {
        "identities": Key(
            Keys(
                {
                    "primary": Key(KIND, required=True),
                    "also": Key(Many(KIND), default=[]),
                    "block": Key(Many(IDENTITY), default=[]),
                    "join_limit": Key(Number(1, 64, whole=True), default=8),
                    "merge_known": Key(BOOL, default=False),
                }
            )
        ),
        "timezone": Key(TRAIT_PATH),
        "traits": Key(MapOf(TRAIT, TRAIT_SHAPE), default={}),
        "lifecycle": Key(
            Many(Keys({"name": Key(WORD, required=True), "if": Key(EXPR)})), default=[]
        ),
    }
)

# --------------------------------------------------------------------------------------- policy

CHANNELS = OneOrMany(WORD)
POLICY: Shape = Keys(
    {
        "timezone": Key(Zone(), required=True),
        "channels": Key(
            MapOf(
                NAME,
                Keys(
                    {
                        "address": Key(EXPR),
                        "audience": Key(Word(("customer", "internal")), default="customer"),
                        "needs_consent": Key(
                            BOOL, preset=lambda channel: channel.get("audience") != "internal"
                        ),
                        "paused": Key(BOOL, default=False),
                    }
                ),
            ),
            default={},
        ),
        "consent": Key(
            Keys({"default": Key(MapOf(WORD, Word(("opt_in", "opt_out"))), required=True)})
        ),
        "quiet_hours": Key(
            Many(
                Keys(
                    {
                        "name": Key(LABEL, required=True),
                        "channels": Key(CHANNELS),
                        "days": Key(OneOrMany(DAYS)),
                        "from": Key(Clock(), required=True),
                        "to": Key(Clock(), required=True),
                    }
                )
            ),
            default=[],
        ),
        "caps": Key(
            Many(
                Keys(
                    {
                        "name": Key(LABEL, required=True),
                        "limit": Key(Number(whole=True), required=True),
                        "per": Key(Again(("day", "week", "month"), "rolling"), required=True),
                        "channel": Key(WORD),
                        "channels": Key(CHANNELS),
                        "category": Key(WORD),
                        "categories": Key(OneOrMany(WORD)),
                        "message": Key(WORD),
                        "about": Key(LABEL),
                    }
                )
            ),
            default=[],
        ),
        "gap": Key(MapOf(WORD, DUR), default={}),
        "suppress": Key(
            Many(
                Keys(
                    {
                        "name": Key(LABEL, required=True),
                        "if": Key(EXPR, required=True),
                        "channels": Key(CHANNELS),
                        "categories": Key(OneOrMany(WORD)),
                        "messages": Key(OneOrMany(WORD)),
                        "then": Key(DEFERRABLE, default="defer"),
                    }
                )
            ),
            default=[],
        ),
        "holdout": Key(HOLDOUT),
        "on_block": Key(_on_block(defaults=True), default={}),
        "arbitration": Key(Keys({"window": Key(DUR, default="PT0S")}), default={}),
        "protect": Key(SPAN),
        "spread": Key(DUR, default="PT10M"),
        "max_event_age": Key(SPAN, default="P7D"),
    }
)

# ------------------------------------------------------------------------------------- messages


def _preset(name: str) -> Any:
    return lambda message: PRESETS[message.get("class", "promotional")][name]


MESSAGE: Shape = Keys(
    {
        "message": Key(WORD, required=True),
        "category": Key(WORD, required=True),
        "class": Key(Word(tuple(PRESETS)), default="promotional"),
        "obeys_caps": Key(BOOL, preset=_preset("obeys_caps")),
        "counts_to_caps": Key(BOOL, preset=_preset("counts_to_caps")),
        "obeys_quiet_hours": Key(BOOL, preset=_preset("obeys_quiet_hours")),
        "cancel_on_exit": Key(BOOL, preset=_preset("cancel_on_exit")),
        "about": Key(LABEL),
        "obsolete_if": Key(EXPR),
        "expires": Key(SPAN, default="P7D"),
        "repeat": Key(
            Again(),
            preset=lambda message: (
                "never" if message.get("class", "promotional") == "promotional" else "always"
            ),
        ),
        "channels": Key(MapOf(NAME, MapOf(Text("the name of a field"), FIELD)), required=True),
    }
)

# ------------------------------------------------------------------------------------- journeys

HEAR = {"on": Key(EVENTS_TO_HEAR), "when": Key(EXPR)}
_SEND = Keys(
    {
        "message": Key(WORD, required=True),
        "channel": Key(OneOrMany(NAME), required=True),
        "again": Key(BOOL, default=False),
        "value": Key(EXPR),
        "on_block": Key(_on_block(defaults=False), default={}),
    }
)
_WAIT = Keys(
    {
        "for": Key(DUR),
        "until": Key(Until()),
        "weekdays": Key(OneOrMany(DAYS), beside=("until",)),
        "plus": Key(DUR, beside=("until",)),
        "minus": Key(DUR, beside=("until",)),
        "at": Key(Clock(), beside=("until",)),
        "if_past": Key(Word(("continue", "exit")), default="continue", beside=("until",)),
    },
    one_of=("for", "until"),
)
_PATTERNS = Many(
    Keys(
        {**HEAR, "of": Key(NAME, beside=("on",)), "if": Key(EXPR), "then": Key(NAME)},
        one_of=("on", "when"),
    ),
    least=1,
)
_WAIT_FOR = Keys(
    {
        "first": Key(_PATTERNS),
        "best": Key(_PATTERNS),
        "since": Key(Word(("step", "entry")), default="step"),
        "restart": Key(OneOrMany(EVENT)),
        "timeout": Key(DUR, required=True),
    },
    one_of=("first", "best"),
)
_OUTCOME = Keys(
    {
        "on": Key(EVENTS_TO_HEAR, required=True),
        "if": Key(EXPR),
        "within": Key(SPAN, required=True),
        "value": Key(EXPR),
    }
)
_CHOOSE = Keys(
    {
        "decision": Key(NAME, required=True),
        "among": Key(
            Many(
                Keys(
                    {
                        "name": Key(LABEL, required=True),
                        "send": Key(_SEND, required=True),
                        "if": Key(EXPR),
                        "cost": Key(Number(), default=0),
                        "then": Key(NAME),
                    }
                ),
                least=1,
            ),
            required=True,
        ),
        "context": Key(Many(EXPR), default=[]),
        "outcome": Key(_OUTCOME, required=True),
        "explore": Key(Percent(), default=0),
    }
)
DOING: Final[Mapping[str, Shape]] = {
    "send": _SEND,
    "wait": _WAIT,
    "wait_for": _WAIT_FOR,
    "branch": Many(Keys({"if": Key(EXPR), "then": Key(NAME, required=True)}), least=1),
    "split": Many(
        Keys(
            {
                "name": Key(LABEL, required=True),
                "share": Key(Percent(), required=True),
                "then": Key(NAME),
            }
        ),
        least=2,
    ),
    "choose": _CHOOSE,
    "set": MapOf(TRAIT, EXPR, least=1),
    "stop": Boolean(),
}
"""What a step may do."""
STEP = Keys(
    {
        "id": Key(NAME, required=True),
        "if": Key(EXPR),
        "then": Key(NAME),
        "was": Key(NAME),
        **{word: Key(shape) for word, shape in DOING.items()},
    },
    one_of=tuple(DOING),
    what="the keys of a step",
    elsewhere={
        "delay": "write wait: {for: ...}",
        "goto": "write then: STEP",
        "next": "write then: STEP",
        "condition": "write if: or branch:",
        "message": "write send: {message: ..., channel: ...}",
    },
)
JOURNEY: Shape = Keys(
    {
        "journey": Key(NAME, required=True),
        "entry": Key(
            Keys(
                {
                    **HEAR,
                    "absence": Key(
                        Keys({"of": Key(EVENT, required=True), "for": Key(SPAN, required=True)})
                    ),
                    "if": Key(EXPR),
                    "key": Key(EXPR, beside=("on",)),
                    "re_entry": Key(Again(), default="never"),
                    "existing": Key(BOOL, default=False, beside=("when", "absence")),
                },
                one_of=("on", "when", "absence"),
            ),
            required=True,
        ),
        "goal": Key(
            Keys(
                {**HEAR, "if": Key(EXPR), "within": Key(SPAN), "value": Key(EXPR)},
                one_of=("on", "when"),
            )
        ),
        "exit": Key(Many(Keys({**HEAR, "if": Key(EXPR)}, one_of=("on", "when"))), default=[]),
        "interrupts": Key(
            Many(
                Keys(
                    {
                        "on": Key(EVENTS_TO_HEAR, required=True),
                        "if": Key(EXPR),
                        "then": Key(NAME, required=True),
                        "again": Key(BOOL, default=False),
                    }
                )
            ),
            default=[],
        ),
        "in_flight": Key(Word(("pin", "follow")), default="pin"),
        "priority": Key(Number(0, 100, whole=True), default=50),
        "value": Key(EXPR, default="1"),
        "max_life": Key(SPAN, default="P365D"),
        "holdout": Key(HOLDOUT),
        "steps": Key(Many(STEP, least=1), required=True),
    }
)

# --------------------------------------------------------------------------------------- sources

SOURCE: Shape = Keys(
    {
        "source": Key(WORD, required=True),
        "topic": Key(OneOrMany(Text("a topic"))),
        "webhook": Key(WORD),
        "file": Key(OneOrMany(Text("a file pattern"))),
        "files": Key(OneOrMany(Text("a file pattern"))),
        "format": Key(WORD),
        "delimiter": Key(Text("one character", r"(?s).", 1)),
        "zone": Key(Zone()),
        "lookup": Key(
            MapOf(
                TRAIT,
                Keys(
                    {
                        "file": Key(Text("a file"), required=True),
                        "key": Key(Text("a column"), required=True),
                        "on": Key(EXPR, required=True),
                    }
                ),
            )
        ),
        "group_by": Key(OneOrMany(EXPR)),
        "events": Key(
            Many(
                Keys(
                    {
                        "if": Key(EXPR),
                        "type": Key(Text("an event type"), required=True),
                        "id": Key(EXPR),
                        "occurred_at": Key(EXPR),
                        "identities": Key(MapOf(KIND, EXPR)),
                        "properties": Key(MapOf(PROPERTY, EXPR)),
                    }
                ),
                least=1,
            ),
            required=True,
        ),
    },
    one_of=("topic", "webhook", "file", "files"),
)

# ----------------------------------------------------------------------------------------- tests

_PROPERTIES = MapOf(PROPERTY, Anything())  # null too: it clears a trait
_CUSTOMER = Keys(
    {
        "id": Key(Text("a customer's id")),
        "identities": Key(MapOf(KIND, AnyScalar())),
        "profile": Key(MapOf(TRAIT, Anything())),
        "consent": Key(MapOf(WORD, OneOrMany(WORD))),
        "holdout": Key(BOOL, default=False),
    }
)
_EXPECTED = Many(
    Keys(
        {
            **{
                word: Key(WORD)
                for word in "sent deferred suppressed lost held_out expired cancelled entered exited nothing".split()
            },
            **{
                word: Key(AnyScalar())
                for word in "channel step journey key customer at until reason rule winner version".split()
            },
        },
        one_of=tuple(
            "sent deferred suppressed lost held_out expired cancelled entered exited nothing".split()
        ),
    )
)
TEST: Shape = Many(
    Keys(
        {
            "name": Key(Text("a sentence"), required=True),
            "journeys": Key(Many(NAME)),
            "policy": Key(Anything()),
            "sink": Key(Word(("accepts", "silent")), default="accepts"),
            "choose": Key(MapOf(NAME, LABEL)),
            "customer": Key(_CUSTOMER),
            "customers": Key(Many(_CUSTOMER, least=1)),
            "script": Key(
                Many(
                    Keys(
                        {
                            "at": Key(Instant()),
                            "after": Key(DUR),
                            "customer": Key(Text("a customer's id")),
                            "event": Key(EVENT),
                            "properties": Key(_PROPERTIES, beside=("event",)),
                            "id": Key(Text("an event's id"), beside=("event",)),
                            "occurred_at": Key(Instant(), beside=("event",)),
                            "identities": Key(MapOf(KIND, AnyScalar()), beside=("event",)),
                            "backfill": Key(BOOL, default=False, beside=("event",)),
                            "receipt": Key(
                                Keys(
                                    {
                                        "of": Key(NAME, required=True),
                                        "status": Key(WORD, required=True),
                                        "journey": Key(NAME),
                                        "key": Key(AnyScalar()),
                                        "properties": Key(_PROPERTIES),
                                    }
                                )
                            ),
                            "apply": Key(Text("a folder")),
                            "expect": Key(_EXPECTED),
                            "includes": Key(_EXPECTED),
                        },
                        one_of=("at", "after"),
                    ),
                    least=1,
                ),
                required=True,
            ),
        }
    )
)

KINDS: Final[Mapping[str, Shape]] = {
    "events": EVENTS,
    "profile": PROFILE,
    "policy": POLICY,
    "source": SOURCE,
    "message": MESSAGE,
    "journey": JOURNEY,
    "test": TEST,
}
