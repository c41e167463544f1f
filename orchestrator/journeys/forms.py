"""Forms that several parts of the grammar share: names, durations, blocks, presets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from orchestrator.journeys.shapes import (
    NOTHING,
    Boolean,
    DurationText,
    Expr,
    Field,
    Key,
    Keys,
    OneOrMany,
    Percent,
    Text,
    Word,
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


HEAR = {"on": Key(EVENTS_TO_HEAR), "when": Key(EXPR)}
HOLDOUT = Keys({"share": Key(Percent(), required=True), "salt": Key(LABEL, required=True)})

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


def on_block(*, defaults: bool) -> Keys:
    """Return what may be said of each block; only the policy has defaults."""
    return Keys(
        {
            block: Key(
                DEFERRABLE if usual == "defer" else FINAL, default=usual if defaults else NOTHING
            )
            for block, usual in BLOCKS.items()
        },
        what="blocks of a send, such as {cap: skip}",
    )
