"""A sink on a real broker whose provider is slow, away, or says no; each end is one that an operator reads.

Kill -9, SIGSTOP and a broker that goes away: ``tests/chaos/sink_faults.py``.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from orchestrator.errors import SettingsError
from orchestrator.kafka.clients import admin_config
from orchestrator.sinks.deliver import Deliver
from tests.sinks.provider import Provider, serving
from tests.sinks.test_deliver import delivering, until

pytestmark = pytest.mark.kafka


def mail(provider: Provider, **changes: Any) -> dict[str, Any]:
    return {
        "email": {
            "sender": "sendgrid",
            "api_key": "SG.x",
            "from_address": "a@acme.com",
            "url": provider.url,
            **changes,
        }
    }


def events(world: Any) -> list[Any]:
    return [one for one in world.records("events") if type(one).__name__ == "Event"]


async def test_too_fast_is_waited_out_and_costs_no_try(deploy: Any) -> None:
    """429 with Retry-After to the first twenty calls, and one try for each message: all arrive once."""
    async with serving(Provider()) as provider:
        provider.faults.extend([429] * 20)
        world = deploy(deliver=mail(provider, attempts=1, concurrency=10))
        world.put(*[world.action(n, f"c{n}") for n in range(30)])
        async with delivering(world.settings, "email"):
            await until(lambda: len(world.receipts()) == 30)
        assert sorted(provider.accepted) == [f"a{n:05}" for n in range(30)]
        assert {type_ for _, type_, _ in world.receipts()} == {"message.accepted"}


async def test_an_outage_costs_no_message(deploy: Any) -> None:
    """Behind the closed gate nothing is claimed; what is cancelled or too late there is dropped.

    Wrong credentials are an outage, too, one that ``/readyz`` tells from the others.
    """
    async with serving(Provider()) as provider:
        provider.answer = (401, {"errors": []}, {})
        world = deploy(deliver=mail(provider, attempts=2))
        world.put(*[world.action(n, f"c{n}") for n in range(1, 6)])
        async with delivering(world.settings, "email") as sink:
            await until(lambda: sink._gate.why == "credentials")
            assert "credentials" in sink._waiting()["provider"]
            world.put(
                world.action(7, "late", expires_at=world.action(0).decided_at + 1_000),
                world.action(2, "c2", kind="cancel"),
            )
            await until(lambda: len(world.receipts()) == 2)
            assert sorted(world.receipts()) == [
                ("a00002", "message.dropped", "cancel"),
                ("a00007", "message.dropped", "window"),
            ]
            provider.answer = None
            await until(lambda: len(world.receipts()) == 6)
            assert sink._waiting() == {}
        assert sorted(provider.accepted) == ["a00001", "a00003", "a00004", "a00005"]


async def test_ends_that_an_operator_understands(deploy: Any) -> None:
    """A bounce says so for the address; an unknown end says so; each with the provider's code."""
    async with serving(Provider()) as provider:
        world = deploy(deliver=mail(provider))
        async with delivering(world.settings, "email"):
            field = "personalizations.0.to.0.email"
            provider.answer = (400, {"errors": [{"field": field, "message": "x"}]}, {})
            world.put(world.action(1))
            await until(lambda: len(world.receipts()) == 2)
            provider.answer = None
            provider.faults.append("accept_reset")
            world.put(world.action(2))
            await until(lambda: len(world.receipts()) == 3)
        found = {(one.properties["action_id"], one.type): one.properties for one in events(world)}
        assert found["a00001", "message.bounced"]["hard"] is True
        failed = found["a00001", "message.failed"]
        assert failed["reason"] == "bad_address"
        assert failed["error"] == "HTTP 400 personalizations.to"
        unknown = found["a00002", "message.failed"]
        assert (unknown["reason"], unknown["attempts"]) == ("unknown", 1)
        assert unknown["error"] == "ServerDisconnectedError"
        states = [one.state for one in world.records("deliveries", "email")]
        assert states == ["claimed", "failed", "claimed", "unknown"]
        assert "@" not in json.dumps([one.properties for one in events(world)])


async def test_rendered_messages_on_a_topic_of_ones_own(deploy: Any, prefix: str) -> None:
    """``sender: kafka``: exactly one record, in the receipt's transaction; the topic is looked at first."""
    topic = f"own-{prefix}"
    section = {"sales": {"sender": "kafka", "topic": topic}}
    world = deploy(deliver=section)
    with pytest.raises(SettingsError, match="does not exist"):
        await Deliver(world.settings, "sales").run()
    admin = AdminClient(admin_config(world.settings))
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result()
    world.put(world.action(1, channel="sales"))
    async with delivering(world.settings, "sales"):
        await until(lambda: len(world.receipts()) == 1)
    [message] = await asyncio.to_thread(world.read, topic)
    assert message.key() == b"ada"
    assert dict(message.headers())["ce_id"] == b"a00001"
    said = json.loads(message.value())
    assert (said["data"]["action_id"], said["data"]["fields"]) == (
        "a00001",
        {"text": "call Ada"},
    )
    own = deploy(deliver={"sales": {"sender": "kafka", "topic": world.topology.name("events")}})
    with pytest.raises(SettingsError, match="engine's own"):
        await Deliver(own.settings, "sales").run()
