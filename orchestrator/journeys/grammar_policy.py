"""The grammar of policy.yaml."""

from __future__ import annotations

from orchestrator.journeys.forms import (
    BOOL,
    DAYS,
    DEFERRABLE,
    DUR,
    EXPR,
    HOLDOUT,
    LABEL,
    NAME,
    SPAN,
    WORD,
    on_block,
)
from orchestrator.journeys.shapes import (
    Again,
    Clock,
    Key,
    Keys,
    Many,
    MapOf,
    Number,
    OneOrMany,
    Shape,
    Word,
    Zone,
)

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
        "on_block": Key(on_block(defaults=True), default={}),
        "arbitration": Key(Keys({"window": Key(DUR, default="PT0S")}), default={}),
        "protect": Key(SPAN),
        "spread": Key(DUR, default="PT10M"),
        "max_event_age": Key(SPAN, default="P7D"),
    }
)
