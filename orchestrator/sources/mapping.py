"""Segment's tracking messages -> Events. Pure: bytes in, events out, the clock is an argument.

==========  =====================  ================================================================
message     event type             properties
==========  =====================  ================================================================
track       the name, see below    ``properties``, flattened
identify    customer.updated       ``traits``, flattened
page        page.viewed            ``properties`` and ``name``, ``category``
screen      screen.viewed          the same
group       group.joined           ``group_id`` and ``traits`` under ``group.``
alias       customer.aliased       none; both ids are identities
==========  =====================  ================================================================

Identities: userId -> the profile's primary kind; anonymousId (of an alias: previousId) ->
anonymous_id; traits.email, also in ``context``, -> email; each only if profile.yaml declares it. One
field is ours: ``identities`` (kind -> value) for callers that know more ids, and, with a write key of
scope ``server``, for receipts, which name the ``customer``.

A track name that is ``noun.verb_past`` already stays as it is; else its words become lower snake with
a dot before the last: ``Pricing Viewed`` is pricing.viewed, ``orderItemAdded`` is order_item.added;
a single word has no verb and becomes ``WORD.tracked``.

occurred_at = received - (sentAt - timestamp): the sender's clock is wrong, its intervals are right.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

import msgspec
from msgspec import Struct, field

from orchestrator.errors import NO_JSON, InputError
from orchestrator.identities import CUSTOMER, normalise
from orchestrator.ids import event_id
from orchestrator.records import Event
from orchestrator.sources.flatten import flatten
from orchestrator.sources.identities import IdentityKinds

Kind = Literal["track", "identify", "page", "screen", "group", "alias"]
Scope = Literal["client", "server"]

ANONYMOUS = "anonymous_id"
EMAIL = "email"
_CANONICAL = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
_WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[0-9]+|[^\W\d_a-zA-Z]+")
_SERVER_TYPES = frozenset({"consent.granted"})
FIRST_MS, LAST_MS = -62_135_596_800_000, 253_402_300_799_999
"""Epoch ms of the years 1 to 9999, as ISO 8601 has them."""


class ForbiddenEvent(InputError):  # noqa: N818 - reads as a verdict
    """A write key that anybody can read in a page's source must not say this."""

    cause = "forbidden"


class Message(Struct, rename="camel"):
    """One tracking message; what is not named here is not kept. A null says nothing, as in JavaScript."""

    type: str = ""
    event: str | None = ""
    name: str | None = None
    category: str | None = None
    user_id: str | int | None = None
    anonymous_id: str | int | None = None
    previous_id: str | int | None = None
    group_id: str | int | None = None
    message_id: str | None = ""
    timestamp: str | int | None = None
    sent_at: str | int | None = None
    traits: dict[str, Any] | None = field(default_factory=dict)
    properties: dict[str, Any] | None = field(default_factory=dict)
    context: dict[str, Any] | None = field(default_factory=dict)
    identities: dict[str, str] | None = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Origin:
    """Who speaks: what the write key stands for."""

    source: str
    scope: Scope


@dataclass(frozen=True, slots=True)
class Clock:
    """When it was said: instants in epoch ms.

    ``received`` None is the log clock mode: the request's own times are taken as they are.
    """

    received: int | None
    sent_at: int | None = None


_decoder = msgspec.json.Decoder(Message)
_sorted = msgspec.json.Encoder(order="sorted")


def parse(raw: bytes | msgspec.Raw, kind: Kind | None = None) -> Message:
    """Return one message; ``kind`` is given by the path of a single request.

    Raises:
        InputError: Not JSON, or fields of the wrong type.
    """
    try:
        message = _decoder.decode(raw)
    except NO_JSON as error:
        raise InputError(f"no tracking message: {error}", "bad_message") from error
    if kind:
        message.type = kind
    return message


def to_event(message: Message, kinds: IdentityKinds, origin: Origin, clock: Clock) -> Event:
    """Return the event of one message.

    Raises:
        ForbiddenEvent: A client write key said what only a server may say.
        InputError: The message cannot be mapped; the cause is a closed word.
    """
    type_, properties = _content(message)
    event = Event(
        event_id=message.message_id or _derived_id(message, origin),
        type=type_,
        occurred_at=_occurred_at(message, clock),
        identities=_identities(message, kinds),
        source=origin.source,
        properties=flatten(properties),
    )
    if origin.scope != "server":
        _refuse_privileged(event)
    return event


@lru_cache(maxsize=1_024)  # a site says the same few names again and again
def canonical_type(name: str) -> str:
    """Return the event type of a track name; empty if it has no letter or digit."""
    if _CANONICAL.fullmatch(name):
        return name
    words = [word.lower() for word in _WORDS.findall(name)]
    if len(words) == 1:
        return f"{words[0]}.tracked"
    return ".".join(("_".join(words[:-1]), words[-1])) if words else ""


def _content(message: Message) -> tuple[str, dict[str, Any]]:
    match message.type:
        case "track":
            if type_ := canonical_type(message.event or ""):
                return type_, message.properties or {}
            raise InputError("track needs the name of an event", "bad_message")
        case "identify":
            return "customer.updated", message.traits or {}
        case "page" | "screen":
            named = {"name": message.name, "category": message.category}
            kept = {key: value for key, value in named.items() if value is not None}
            return f"{message.type}.viewed", {**(message.properties or {}), **kept}
        case "group":
            if message.group_id is None:
                raise InputError("group needs groupId", "bad_message")
            return "group.joined", {
                "group_id": str(message.group_id),
                "group": message.traits or {},
            }
        case "alias":
            return "customer.aliased", {}
        case _:
            raise InputError(f"unknown message type {message.type!r}", "bad_message")


def _identities(message: Message, kinds: IdentityKinds) -> dict[str, str]:
    context = (message.context or {}).get("traits")
    traits = {**(context if isinstance(context, dict) else {}), **(message.traits or {})}
    anonymous = message.previous_id if message.type == "alias" else None
    said: dict[str, Any] = {
        kinds.primary: message.user_id,
        ANONYMOUS: message.anonymous_id if anonymous is None else anonymous,
        # A group's traits are the company's: its e-mail address is nobody's identity.
        EMAIL: None if message.type == "group" else traits.get("email"),
        **(message.identities or {}),
    }
    return {
        kind: text
        for kind, value in said.items()
        if (kinds.declares(kind) or kind == CUSTOMER)
        and isinstance(value, str | int)
        and (text := normalise(kind, str(value)))
    }


def _derived_id(message: Message, origin: Origin) -> str:
    # A retry repeats everything but the instant of sending.
    parts = msgspec.to_builtins(message)
    del parts["sentAt"]
    return event_id(origin.source, _sorted.encode(parts).decode())


def _occurred_at(message: Message, clock: Clock) -> int:
    said = instant(message.timestamp)
    if clock.received is None:
        if said is None:
            raise InputError("on the log clock a message needs its timestamp", "no_time")
        return said
    if said is None:
        return clock.received
    sent = instant(message.sent_at) or clock.sent_at
    return said if sent is None else clock.received - (sent - said)


def instant(value: str | int | None) -> int | None:
    """Return epoch ms of ISO 8601 (without offset: UTC, as the SDKs mean it) or epoch ms.

    Raises:
        InputError: Neither.
    """
    if value is None:
        return None
    if isinstance(value, int):
        if not FIRST_MS <= value <= LAST_MS:
            raise InputError(f"{value} is no instant in epoch ms", "bad_time")
        return value
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            moment = datetime.fromisoformat(value + "+00:00")
        return round(moment.timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        raise InputError(f"{value!r} is no instant", "bad_time") from error


def _refuse_privileged(event: Event) -> None:
    if CUSTOMER in event.identities:
        raise ForbiddenEvent("identity kind `customer` needs a write key of scope server")
    if event.type.startswith("message.") or event.type in _SERVER_TYPES:
        raise ForbiddenEvent(f"{event.type} needs a write key of scope server")
