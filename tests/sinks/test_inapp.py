"""The in-app sender by itself: what an inbox holds, and that it always fits into a record."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.records import Inbox, InboxMessage
from orchestrator.sinks.senders.inapp import (
    INBOX_LIMIT,
    MAX_CHARS,
    MAX_MESSAGE_CHARS,
    InappSender,
    with_message,
)
from orchestrator.sinks.senders.kafka import MAX_BYTES, KafkaSender
from orchestrator.sinks.senders.protocol import Unfit
from tests.sinks.test_providers import order


def sent(number: int, body: str = "x"):
    return order({"title": "t", "body": body}, action_id=f"a{number}")


@settings(max_examples=30)
@given(st.lists(st.integers(0, MAX_MESSAGE_CHARS - 10), min_size=1, max_size=70))
def test_the_newest_messages_that_fit_are_kept(sizes: list[int]):
    """Newest first, at most fifty, at most so many characters, and never without the newest."""
    inbox = Inbox(customer_id="ada")
    for number, size in enumerate(sizes):
        inbox = with_message(inbox, sent(number, "x" * size))
        kept = [one.action_id for one in inbox.messages]
        assert kept == [f"a{number - back}" for back in range(len(kept))]
        assert 1 <= len(kept) <= INBOX_LIMIT
        assert sum(len(one.title) + len(one.body) for one in inbox.messages) <= MAX_CHARS


def test_a_message_is_there_once():
    inbox = with_message(Inbox(customer_id="ada"), sent(1))
    assert with_message(inbox, sent(1)) is inbox


async def test_what_is_too_large_fails_alone():
    """It would else fail the transaction of its partition for ever."""
    with pytest.raises(Unfit) as caught:
        await InappSender(lambda _: None).send(sent(1, "x" * MAX_MESSAGE_CHARS))
    assert caught.value.reason == "too_large"
    with pytest.raises(Unfit) as caught:
        await KafkaSender("own", "app").send(sent(1, "ä" * (MAX_BYTES // 2)))
    assert caught.value.reason == "too_large"


async def test_what_was_written_and_not_yet_read_back_is_kept():
    """Two in a row before the topic shows the first; then a read mark that came meanwhile."""
    seen: list[Inbox | None] = [None]
    sender = InappSender(lambda _: seen[0])
    first = (await sender.send(sent(1))).inbox
    second = (await sender.send(sent(2))).inbox
    assert first
    assert second
    assert [one.action_id for one in second.messages] == ["a2", "a1"]
    read = InboxMessage(action_id="a1", message="welcome", sent_at=1, read_at=5)
    seen[0] = Inbox(customer_id="ada", messages=[read])
    third = (await sender.send(sent(3))).inbox
    assert third
    assert {one.action_id: one.read_at for one in third.messages} == {
        "a3": None,
        "a2": None,
        "a1": 5,
    }
    seen[0] = third
    fourth = (await sender.send(sent(4))).inbox
    assert fourth
    assert len(fourth.messages) == 4


async def test_a_removed_inbox_is_not_brought_back_from_memory():
    """The customer was forgotten; what this writer had put there before must not return."""
    removals = [0]
    sender = InappSender(lambda _: None, lambda _: removals[0])
    await sender.send(sent(1))
    removals[0] = 1
    anew = (await sender.send(sent(2))).inbox
    more = (await sender.send(sent(3))).inbox
    assert anew
    assert more
    assert [one.action_id for one in anew.messages] == ["a2"]
    assert [one.action_id for one in more.messages] == ["a3", "a2"]
