"""Inbox tokens: one customer, for a while, unforgeable."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.settings import WriteKey
from orchestrator.sources.access import WriteKeys, key_of_header
from orchestrator.sources.tokens import bearer, inbox_token


@given(st.text(max_size=200).filter(lambda text: text.isprintable()))
def test_a_token_names_its_customer(customer: str) -> None:
    token = inbox_token("secret", customer, 1000)
    assert bearer("secret", token, 999) == (customer, 1000)
    assert bearer("secret", token, 1000) is None
    assert bearer("other", token, 999) is None


@given(st.text(max_size=60))
def test_nonsense_is_no_token(text: str) -> None:
    assert bearer("secret", text, 0) is None


def test_every_flipped_character_breaks_it() -> None:
    token = inbox_token("secret", "ada", 1000)
    for at, char in enumerate(token):
        forged = token[:at] + ("A" if char != "A" else "B") + token[at + 1 :]
        # The last character of each part has bits that base64 ignores: it may name the same bytes.
        if bearer("secret", forged, 0) is not None:
            assert at in {len(token) - 1, token.index(".") - 1}


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("Basic d2s6", "wk"),
        ("Basic d2s6cGFzcw==", "wk"),
        ("basic d2s=", "wk"),
        ("Bearer wk", "wk"),
        ("Bearer ", None),
        ("Basic ???", None),
        ("", None),
        ("Digest x", None),
    ],
)
def test_write_keys_in_headers(header: str, key: str | None) -> None:
    """As Segment's SDKs send them: Basic with the key as user name; Bearer for the others."""
    assert key_of_header(header) == key


def test_write_keys() -> None:
    keys = WriteKeys({"wk": WriteKey(source="web"), "sk": WriteKey(source="b", scope="server")})
    assert keys.origin("nope") is None
    assert keys.origin("") is None
    assert keys.origin(b"\xff\xfe".decode(errors="surrogateescape")) is None  # as headers come
    found = keys.origin("sk")
    assert found is not None
    assert (found.source, found.scope) == ("b", "server")
