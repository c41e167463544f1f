"""Segment's own SDKs pointed at the collector: what they send arrives, and they know its answers."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from segment.analytics.client import Client

from orchestrator.kafka.topics import Topology
from orchestrator.records import Event
from orchestrator.sources.collector import serve
from orchestrator.testing.broker import Broker
from orchestrator.testing.registry import Registry
from tests.node import node_project
from tests.sources.test_collector import CLIENT, Site, apply_profile, make_settings

pytestmark = pytest.mark.kafka


@pytest.fixture
async def site(
    broker: Broker, registry: Registry, prefix: str, tmp_path: Path
) -> AsyncIterator[Site]:
    settings = make_settings(broker, registry, prefix, tmp_path)
    await asyncio.to_thread(Topology(settings).apply)
    await asyncio.to_thread(apply_profile, settings)
    async with serve(settings) as port, ClientSession() as http:
        yield Site(settings, http, f"http://127.0.0.1:{port}")


def told(events: list[Event]) -> list[tuple[str, dict[str, str], dict[str, Any]]]:
    """Type, identities, properties, in one order."""
    return sorted(((one.type, one.identities, dict(one.properties)) for one in events), key=repr)


EXPECTED = sorted(
    [
        (
            "customer.updated",
            {"customer_id": "7", "anonymous_id": "an-1", "email": "a@x.io"},
            {"plan": "pro", "address.city": "Bonn", "email": "A@x.io"},
        ),
        ("order.completed", {"customer_id": "7"}, {"total": 9.5}),
        ("pricing.viewed", {"anonymous_id": "an-1"}, {}),
        ("page.viewed", {"customer_id": "7"}, {"path": "/", "name": "Home", "category": "Docs"}),
        ("screen.viewed", {"customer_id": "7"}, {"name": "Start"}),
        ("group.joined", {"customer_id": "7"}, {"group_id": "acme", "group.seats": 5}),
        ("customer.aliased", {"customer_id": "7", "anonymous_id": "an-0"}, {}),
    ],
    key=repr,
)


# ---------------------------------------------------------------------------------- Python


def speak(client: Client) -> None:
    """Every call that the SDK has, once."""
    traits = {"plan": "pro", "address": {"city": "Bonn"}, "email": "A@x.io"}
    client.identify("7", traits, anonymous_id="an-1")
    client.track("7", "Order Completed", {"total": 9.5})
    client.track(event="Pricing Viewed", anonymous_id="an-1")
    client.page("7", "Docs", "Home", {"path": "/"})
    client.screen("7", name="Start")
    client.group("7", "acme", {"seats": 5})
    client.alias("an-0", "7")


@pytest.mark.parametrize("gzip", [False, True], ids=["plain", "gzip"])
async def test_the_python_sdk(site: Site, gzip: bool) -> None:
    """Nothing fails at its side, everything is there at ours, each under the SDK's own messageId."""
    failed: list[Any] = []
    client = Client(
        "wk", host=site.url, gzip=gzip, upload_size=3, on_error=lambda *why: failed.append(why)
    )
    await asyncio.to_thread(speak, client)
    await asyncio.to_thread(client.shutdown)
    assert failed == []
    events = await site.events()
    assert told(events) == EXPECTED
    assert len({one.event_id for one in events}) == len(events)


async def test_the_python_sdk_waits_until_it_is_taken(
    broker: Broker, registry: Registry, prefix: str, tmp_path: Path
) -> None:
    """503 before the first catalog: it comes again by itself, and loses nothing."""
    settings = make_settings(broker, registry, prefix, tmp_path)
    await asyncio.to_thread(Topology(settings).apply)
    failed: list[Any] = []
    async with serve(settings) as port, ClientSession() as http:
        site = Site(settings, http, f"http://127.0.0.1:{port}")
        client = Client("wk", host=site.url, on_error=lambda *why: failed.append(why))
        client.track("7", "Order Completed", {"total": 9.5})
        refused = 'status="503"'
        page = ""
        while refused not in page:
            async with http.get(site.url + "/metrics") as answer:
                page = await answer.text()
        await asyncio.to_thread(apply_profile, settings)
        await asyncio.to_thread(client.shutdown)
        events = await site.events()
    assert failed == []
    assert [one.type for one in events] == ["order.completed"]


async def test_the_python_sdk_is_told_of_a_wrong_key(site: Site) -> None:
    """It gives up at once and says why."""
    failed: list[Any] = []
    client = Client("nobody", host=site.url, on_error=lambda error, _: failed.append(error))
    client.track("7", "Order Completed")
    await asyncio.to_thread(client.shutdown)
    [error] = failed
    assert (error.status, error.code) == (401, "unauthorized")
    assert "write key" in error.message


# ------------------------------------------------------------------------------------ Node


async def test_the_node_sdk(site: Site) -> None:
    """The same customers, the same events; what was told with a time keeps it."""
    sdk = await asyncio.to_thread(node_project, Path(__file__).parent / "segment")
    speaking = await asyncio.create_subprocess_exec(
        "node", "speak.js", site.url, cwd=sdk, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    said, complaints = await speaking.communicate()
    assert speaking.returncode == 0, complaints.decode()
    assert json.loads(said) == []
    events = await site.events()
    assert told(events) == EXPECTED
    [order] = [one for one in events if one.type == "order.completed"]
    # The sender's clock is wrong, its intervals are right: told back from when it was received.
    assert abs(order.occurred_at - 1_772_352_000_000) < 600_000


# ----------------------------------------------------------------------------- the browser


async def test_the_paths_of_the_browsers_sdk(site: Site) -> None:
    """One letter for each kind, `b` for batches; its measurements of itself are let go."""
    kinds = {"t": "track", "i": "identify", "p": "page", "s": "screen", "g": "group", "a": "alias"}
    for number, (letter, kind) in enumerate(kinds.items()):
        message = {
            "type": kind,
            "userId": "7",
            "event": "Order Completed",
            "groupId": "acme",
            "previousId": "an-0",
            "messageId": f"m{number}",
            "writeKey": "wk",
        }
        body = json.dumps(message).encode()
        status, _ = await site.post(f"/v1/{letter}", body, **{"Content-Type": "text/plain"})
        assert status == 200, letter
    status, said = await site.post("/v1/b", {"writeKey": "wk", "batch": [message | {"messageId": "b"}]})  # fmt: skip
    assert (status, said["accepted"]) == (200, 1)
    assert (await site.post("/v1/m", {"series": []}, **{"Content-Type": "text/plain"}))[0] == 200
    events = await site.events()
    assert {one.event_id for one in events} == {"m0", "m1", "m2", "m3", "m4", "m5", "b"}
    assert len({one.type for one in events}) == 6


async def test_a_browser_may_say_how_often_it_tried(site: Site) -> None:
    """Whatever headers an SDK of today or tomorrow asks for; and it may read when to come again."""
    ask = {
        "Origin": "https://shop.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,x-retry-count",
    }
    async with site.http.options(site.url + "/v1/t", headers=ask) as answer:
        assert answer.status == 204
        allowed = answer.headers["Access-Control-Allow-Headers"]
        assert allowed == ask["Access-Control-Request-Headers"]
    headers = CLIENT | {"Origin": "https://shop.example"}
    async with site.http.post(site.url + "/v1/t", data=b"{", headers=headers) as answer:
        assert answer.headers["Access-Control-Expose-Headers"] == "Retry-After"
