"""Segment's messages become events: a pure function."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import InputError
from orchestrator.records import Event
from orchestrator.sources.flatten import flatten
from orchestrator.sources.identities import IdentityKinds
from orchestrator.sources.mapping import (
    Clock,
    ForbiddenEvent,
    Origin,
    canonical_type,
    instant,
    parse,
    to_event,
)

KINDS = IdentityKinds("customer_id", ("email", "anonymous_id"))
WEB = Origin("web", "client")
SERVER = Origin("backend", "server")
NOW = 1_700_000_000_000


def event(message: dict[str, Any], origin: Origin = WEB, **clock: Any) -> Event:
    raw = msgspec.json.encode(message)
    return to_event(parse(raw), KINDS, origin, Clock(**({"received": NOW} | clock)))


@pytest.mark.parametrize(
    ("said", "type_"),
    [
        ("pricing.viewed", "pricing.viewed"),
        ("Pricing Viewed", "pricing.viewed"),
        ("Order Item Added", "order_item.added"),
        ("orderCompleted", "order.completed"),
        ("HTTPRequest Failed", "http_request.failed"),
        ("cart_item_removed", "cart_item.removed"),
        ("Signup", "signup.tracked"),
        ("a.b.c_d", "a.b.c_d"),
        ("  ", ""),
    ],
)
def test_track_names(said: str, type_: str) -> None:
    assert canonical_type(said) == type_


@given(st.text())
def test_a_track_name_is_settled_after_one_round(name: str) -> None:
    """What the mapping made of a name, it leaves alone; so do retries through a proxy of ours."""
    once = canonical_type(name)
    if once.isascii():
        assert canonical_type(once) == once


def test_track() -> None:
    got = event(
        {
            "type": "track",
            "event": "Order Completed",
            "userId": 42,
            "anonymousId": "anon",
            "messageId": "m1",
            "properties": {
                "total": 9.5,
                "cart": {"items": [{"sku": "a"}], "size": 1},
                "note": None,
            },
        }
    )
    assert got == Event(
        event_id="m1",
        type="order.completed",
        occurred_at=NOW,
        identities={"customer_id": "42", "anonymous_id": "anon"},
        source="web",
        properties={"total": 9.5, "cart.items": '[{"sku":"a"}]', "cart.size": 1, "note": None},
    )


def test_identify() -> None:
    """Traits are properties of customer.updated; the e-mail address is an identity, normalised."""
    got = event({"type": "identify", "userId": "7", "traits": {"email": " A@B.de ", "plan": None}})
    assert got.type == "customer.updated"
    assert got.identities == {"customer_id": "7", "email": "a@b.de"}
    assert got.properties == {"email": " A@B.de ", "plan": None}


@pytest.mark.parametrize(
    ("message", "type_", "properties"),
    [
        ({"type": "page", "name": "Home", "properties": {"url": "u"}}, "page.viewed",
         {"url": "u", "name": "Home"}),
        ({"type": "screen", "name": "Home"}, "screen.viewed", {"name": "Home"}),
        ({"type": "group", "groupId": "g", "traits": {"size": 3}}, "group.joined",
         {"group_id": "g", "group.size": 3}),
        ({"type": "alias", "previousId": "anon"}, "customer.aliased", {}),
    ],
)  # fmt: skip
def test_other_messages(message: dict[str, Any], type_: str, properties: dict[str, Any]) -> None:
    got = event(message | {"userId": "7"})
    assert (got.type, got.properties) == (type_, properties)


def test_alias_carries_both_ids() -> None:
    got = event({"type": "alias", "userId": "7", "previousId": "anon"})
    assert got.identities == {"customer_id": "7", "anonymous_id": "anon"}


def test_undeclared_kinds_are_left_out() -> None:
    message = {"type": "track", "event": "a.b", "userId": "7", "anonymousId": "x"}
    got = to_event(
        parse(msgspec.json.encode(message)), IdentityKinds("id"), WEB, Clock(received=NOW)
    )
    assert got.identities == {"id": "7"}


def test_the_senders_clock_is_wrong_but_its_intervals_are_right() -> None:
    """occurred_at = received - (sentAt - timestamp), with the batch's sentAt or the message's own."""
    message = {"type": "track", "event": "a.b", "userId": "7", "timestamp": "1999-01-01T00:00:00Z"}
    sent = instant("1999-01-01T00:00:10Z")
    assert event(message, sent_at=sent).occurred_at == NOW - 10_000
    assert (
        event(message | {"sentAt": "1999-01-01T00:00:05Z"}, sent_at=sent).occurred_at == NOW - 5000
    )
    assert event(message).occurred_at == instant("1999-01-01T00:00:00Z")


def test_on_the_log_clock_the_message_says_the_time() -> None:
    message = {"type": "track", "event": "a.b", "userId": "7"}
    got = event(message | {"timestamp": 5000, "sentAt": 9000}, received=None)
    assert got.occurred_at == 5000
    with pytest.raises(InputError, match="timestamp"):
        event(message, received=None)


def test_a_retry_has_the_same_id() -> None:
    """Without messageId the id is made of the content; only the instant of sending may differ."""
    message = {"type": "track", "event": "a.b", "userId": "7", "properties": {"x": 1}}
    first = event(message | {"sentAt": 1})
    assert first.event_id == event(message | {"sentAt": 2}).event_id
    assert first.event_id != event(message | {"properties": {"x": 2}}).event_id
    assert first.event_id != event(message, Origin("app", "client")).event_id


RECEIPT = {
    "type": "track",
    "event": "message.opened",
    "identities": {"customer": "c1"},
    "properties": {"action_id": "a1"},
    "timestamp": 1,
}


def test_receipts_by_http() -> None:
    """A channel service of the team reports with a key of scope server."""
    got = event(RECEIPT, SERVER)
    assert (got.type, got.identities) == ("message.opened", {"customer": "c1"})
    assert KINDS.key(got.identities) == "customer:c1"


@pytest.mark.parametrize(
    "message",
    [
        RECEIPT,
        {"type": "track", "event": "a.b", "identities": {"customer": "c1"}},
        {"type": "track", "event": "message.unsubscribed", "userId": "7"},
        {"type": "track", "event": "Message Opened", "userId": "7"},
        {"type": "track", "event": "consent.granted", "userId": "7"},
        {"type": "track", "event": "Consent Granted", "userId": "7"},
    ],
)
def test_what_a_client_key_may_not_say(message: dict[str, Any]) -> None:
    """The key stands in every page's source: anybody could forge consent and receipts."""
    with pytest.raises(ForbiddenEvent):
        event(message)
    event(message, SERVER)


def test_a_null_says_nothing() -> None:
    """Clients written by hand send the fields that they do not have."""
    fields = ("messageId", "properties", "traits", "context", "identities", "timestamp", "name")
    nulls = dict.fromkeys(fields)
    found = event({"type": "track", "event": "a.b", "userId": "7", **nulls})
    assert (found.type, found.properties, found.occurred_at) == ("a.b", {}, NOW)
    assert event({"type": "identify", "userId": "7", "event": None, **nulls}).properties == {}
    page = event({"type": "page", "userId": "7", **nulls})
    assert (page.type, page.properties, page.identities) == (
        "page.viewed",
        {},
        {"customer_id": "7"},
    )


def test_anybody_may_revoke_consent() -> None:
    event({"type": "track", "event": "consent.revoked", "userId": "7"})


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        ({"type": "nonsense", "userId": "7"}, "bad_message"),
        ({"type": "track", "userId": "7"}, "bad_message"),
        ({"type": "group", "userId": "7"}, "bad_message"),
        ({"type": "track", "event": "a.b", "userId": "7", "timestamp": "yesterday"}, "bad_time"),
        ({"type": "track", "event": "a.b", "userId": "7", "timestamp": 10**17}, "bad_time"),
        ({"type": "track", "event": "a.b", "properties": []}, "bad_message"),
    ],
)
def test_what_cannot_be_mapped(message: dict[str, Any], cause: str) -> None:
    with pytest.raises(InputError) as caught:
        event(message)
    assert caught.value.cause == cause


@pytest.mark.parametrize(
    ("identities", "key"),
    [
        ({"email": "A@b.de", "customer_id": "7"}, "customer_id:7"),
        ({"email": " A@b.de"}, "email:a@b.de"),
        ({"anonymous_id": "x", "email": "e" * 201}, "anonymous_id:x"),
        ({"customer": "c", "customer_id": "7"}, "customer:c"),
    ],
)
def test_strongest_identity(identities: dict[str, str], key: str) -> None:
    assert KINDS.key(identities) == key


@pytest.mark.parametrize(
    ("identities", "cause"),
    [
        ({}, "no_identity"),
        ({"phone": "1"}, "no_identity"),
        ({"email": "  "}, "no_identity"),
        ({"customer_id": "anon:1"}, "bad_identity"),
        ({"customer_id": "x" * 201, "email": "a@b.de"}, "bad_identity"),
    ],
)
def test_no_key(identities: dict[str, str], cause: str) -> None:
    with pytest.raises(InputError) as caught:
        KINDS.key(identities)
    assert caught.value.cause == cause


def test_kinds_come_from_canonical_json() -> None:
    source = '{"identities":{"also":["email"],"primary":"household_id"}}'
    assert IdentityKinds.of_profile(source) == IdentityKinds("household_id", ("email",))
    assert IdentityKinds.of_profile("{}").primary == "customer_id"


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
nested = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)


@given(st.dictionaries(st.text(), nested))
def test_flat_properties_are_scalars(value: dict[str, Any]) -> None:
    """Whatever comes in, an Event can hold what comes out."""
    for name, flat in flatten(value).items():
        assert isinstance(name, str)
        assert flat is None or isinstance(flat, bool | int | float | str)
        if isinstance(flat, int):
            assert -(2**63) <= flat < 2**63


def test_too_deep() -> None:
    deep: dict[str, Any] = {}
    for _ in range(40):
        deep = {"a": deep}
    with pytest.raises(InputError, match="deeper"):
        flatten(deep)


@pytest.mark.parametrize(
    "body",
    [b'{"type": "track", "properties": ' + b'{"a":' * 5_000, b"[" * 100_000, b"\xff", b"{"],
    ids=["deep", "arrays", "bytes", "cut"],
)
def test_what_no_decoder_copes_with_is_no_message(body: bytes) -> None:
    """Nesting without end ends a decoder by another error than broken JSON does."""
    with pytest.raises(InputError) as caught:
        parse(body)
    assert caught.value.cause == "bad_message"


def test_a_number_beyond_every_double_is_refused() -> None:
    """JSON can write it; what 64 bits cannot hold is a double, and this is none."""
    assert flatten({"n": 10**300}) == {"n": 1e300}
    with pytest.raises(InputError, match=r"a\.n") as caught:
        flatten({"a": {"n": -(10**400)}})
    assert caught.value.cause == "out_of_range"
