"""Signed links: who, on which message, unforgeable; each kind for its purpose alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import SettingsError
from orchestrator.links import Links, Scope, open_links
from orchestrator.records import Action
from orchestrator.settings import load_settings

texts = st.text(max_size=40)


def action(**changes: str) -> Action:
    fields: dict[str, Any] = {
        "customer_id": "ada",
        "action_id": "a1",
        "channel": "email",
        "category": "news",
    }
    return Action(
        message="m", template="h", journey="j", journey_version="v", entry_id="e", step="s",
        decision_id="d", priority=1, decided_at=0, caused_by="x", **(fields | changes),
    )  # fmt: skip


def token(url: str) -> str:
    return url.rpartition("/")[2]


@given(texts, texts, texts)
def test_a_link_names_its_message(customer: str, channel: str, category: str) -> None:
    """Whatever stands in the names: none of them can be read as part of another."""
    links = Links("https://news.example.com/", ["s"])
    url = links.unsubscribe(action(customer_id=customer, channel=channel, category=category))
    assert url.startswith("https://news.example.com/v1/unsubscribe/")
    assert links.scope_of(token(url)) == Scope(customer, "a1", channel, category)
    assert links.customer_of(token(links.preferences(customer))) == customer


def test_a_token_is_good_for_its_purpose_alone() -> None:
    links = Links("https://x", ["s"])
    assert links.customer_of(token(links.unsubscribe(action()))) is None
    assert links.scope_of(token(links.preferences("ada"))) is None


def test_earlier_secrets_still_verify_and_others_do_not() -> None:
    """A mail of last year works after the secret was changed; a stranger's token never does."""
    url = Links("https://x", ["old"]).unsubscribe(action())
    assert Links("https://x", ["new", "old"]).scope_of(token(url)) is not None
    assert Links("https://x", ["new"]).scope_of(token(url)) is None


@given(st.text(max_size=60))
def test_nonsense_is_no_token(text: str) -> None:
    links = Links("https://x", ["s"])
    assert links.scope_of(text) is None
    assert links.customer_of(text) is None


def test_every_flipped_character_breaks_it() -> None:
    links = Links("https://x", ["s"])
    good = token(links.unsubscribe(action()))
    for at, char in enumerate(good):
        forged = good[:at] + ("A" if char != "A" else "B") + good[at + 1 :]
        # The last character of each part has bits that base64 ignores: it may name the same bytes.
        if links.scope_of(forged) is not None:
            assert at in {len(good) - 1, good.index(".") - 1}


def test_settings() -> None:
    """No secret: no links. A secret without an address is a mistake, and the secret never shows."""
    assert open_links(load_settings(env={}).links) is None
    flags = {"links.secret": "hush", "links.url": "https://x"}
    with pytest.raises(SettingsError, match=r"links\.url is not"):
        open_links(load_settings(env={}, flags={"links.secret": "hush"}).links)
    settings = load_settings(env={}, flags=flags).links
    assert open_links(settings) is not None
    assert "hush" not in repr(settings)
