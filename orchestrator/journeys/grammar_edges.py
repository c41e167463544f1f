"""The grammar of sources/*.yaml, and that of tests/*.yaml for editors."""

from __future__ import annotations

from orchestrator.journeys.forms import (
    BOOL,
    DUR,
    EVENT,
    EXPR,
    KIND,
    LABEL,
    NAME,
    PROPERTY,
    TRAIT,
    WORD,
)
from orchestrator.journeys.shapes import (
    AnyScalar,
    Anything,
    Instant,
    Key,
    Keys,
    Many,
    MapOf,
    OneOrMany,
    Shape,
    Text,
    Word,
    Zone,
)

_FILES = ("file", "files")
_LOOKUP = Text("a lookup's name: letters, digits and _", r"[A-Za-z_][A-Za-z0-9_]*")
_PROVIDERS = tuple(
    "github hmac hubspot intercom salesforce sendgrid ses shopify slack standard stripe twilio "
    "zendesk".split()
)
"""Whose webhooks the collector can verify; a test holds them against it."""
SOURCE: Shape = Keys(
    {
        "source": Key(WORD, required=True),
        "topic": Key(OneOrMany(Text("a topic"))),
        "webhook": Key(Word(_PROVIDERS)),
        "file": Key(OneOrMany(Text("a file pattern"))),
        "files": Key(OneOrMany(Text("a file pattern"))),
        "format": Key(
            Word(("csv", "ndjson", "json", "avro", "parquet", "cloudevents", "debezium"))
        ),
        "delimiter": Key(Text("one character", r"[^\r\n\"]", 1), beside=_FILES),
        "zone": Key(Zone()),
        "lookup": Key(
            MapOf(
                _LOOKUP,
                Keys(
                    {
                        "file": Key(Text("a file"), required=True),
                        "key": Key(Text("a column"), required=True),
                        "on": Key(EXPR, required=True),
                    }
                ),
            ),
            beside=_FILES,
        ),
        "group_by": Key(OneOrMany(EXPR), beside=_FILES),
        "events": Key(
            Many(
                Keys(
                    {
                        "if": Key(EXPR),
                        "type": Key(EVENT, required=True),
                        "id": Key(EXPR),
                        "occurred_at": Key(EXPR),
                        "identities": Key(MapOf(KIND, EXPR, least=1), required=True),
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
