"""The grammar of events.yaml and profile.yaml."""

from __future__ import annotations

from orchestrator.journeys.forms import (
    BOOL,
    EVENT,
    EVENTS_TO_HEAR,
    EXPR,
    IDENTITY,
    KIND,
    PROPERTY,
    SPAN,
    TRAIT,
    TRAIT_PATH,
    TYPE,
    WORD,
)
from orchestrator.journeys.shapes import AnyScalar, ByKey, Key, Keys, Many, MapOf, Number, Shape

EVENTS: Shape = MapOf(EVENT, MapOf(PROPERTY, TYPE))

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
