"""The grammar of messages/*.yaml and journeys/*.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from orchestrator.journeys.forms import (
    BOOL,
    DAYS,
    DUR,
    EVENT,
    EVENTS_TO_HEAR,
    EXPR,
    FIELD,
    HEAR,
    HOLDOUT,
    LABEL,
    NAME,
    PRESETS,
    SPAN,
    TRAIT,
    WORD,
    on_block,
)
from orchestrator.journeys.shapes import (
    Again,
    Boolean,
    Clock,
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
)


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

_SEND = Keys(
    {
        "message": Key(WORD, required=True),
        "channel": Key(OneOrMany(NAME), required=True),
        "again": Key(BOOL, default=False),
        "value": Key(EXPR),
        "on_block": Key(on_block(defaults=False), default={}),
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
_ELSEWHERE = {
    "event": "write on: TYPE",
    "trigger": "write on: TYPE",
    "condition": "write if: or when:",
    "goto": "write then: STEP",
}
_PATTERNS = Many(
    Keys(
        {**HEAR, "of": Key(NAME, beside=("on",)), "if": Key(EXPR), "then": Key(NAME)},
        one_of=("on", "when"),
        elsewhere=_ELSEWHERE,
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
        "exit": "write stop: true",
        "end": "write stop: true",
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
                elsewhere=_ELSEWHERE,
            ),
            required=True,
        ),
        "goal": Key(
            Keys(
                {**HEAR, "if": Key(EXPR), "within": Key(SPAN), "value": Key(EXPR)},
                one_of=("on", "when"),
                elsewhere=_ELSEWHERE,
            )
        ),
        "exit": Key(
            Many(Keys({**HEAR, "if": Key(EXPR)}, one_of=("on", "when"), elsewhere=_ELSEWHERE)),
            default=[],
        ),
        "interrupts": Key(
            Many(
                Keys(
                    {
                        "on": Key(EVENTS_TO_HEAR, required=True),
                        "if": Key(EXPR),
                        "then": Key(NAME, required=True),
                        "again": Key(BOOL, default=False),
                    },
                    elsewhere={
                        **_ELSEWHERE,
                        "when": "write on: TYPE, what interrupts is an event; a condition may stand in exit",
                    },
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
