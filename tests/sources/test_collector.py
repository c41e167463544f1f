"""The collector on a real broker: what it says it has taken is in Kafka, and nothing else."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from time import time
from typing import Any

import pytest
from aiohttp import ClientOSError, ClientSession
from aiohttp.compression_utils import ZLibDecompressor
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from orchestrator.codec import Codec, open_codec
from orchestrator.kafka.clients import consumer_config, producer_config
from orchestrator.kafka.publishing import CatalogPublisher
from orchestrator.kafka.reading import fetched
from orchestrator.kafka.topics import Topology
from orchestrator.records import CatalogSwitch, Definition, Event, Inbox, InboxMessage
from orchestrator.settings import Settings, load_settings
from orchestrator.sources import metrics
from orchestrator.sources.collector import serve
from orchestrator.sources.tokens import inbox_token
from orchestrator.testing.broker import Broker
from orchestrator.testing.registry import Registry
from tests.ends import ENDS_AT_ONCE, LOOK_S

pytestmark = pytest.mark.kafka

PROFILE = '{"identities":{"also":["email","anonymous_id"],"primary":"customer_id"}}'
CLIENT = {"Authorization": "Basic " + base64.b64encode(b"wk:").decode()}
SERVER = {"Authorization": "Bearer sk"}
SECRET = "0123456789abcdef"


class Site:
    """A collector, a caller, and eyes on the topics."""

    def __init__(self, settings: Settings, http: ClientSession, url: str) -> None:
        self.settings = settings
        self.topology = Topology(settings)
        self.codec: Codec = open_codec(settings)
        self.codec.prepare(self.topology.names("events", "inbox"))
        self.http = http
        self.url = url

    async def post(self, path: str, body: Any, **headers: str) -> tuple[int, dict[str, Any]]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self.http.post(self.url + path, data=data, headers=headers or CLIENT) as answer:
            return answer.status, await answer.json()

    def read(self, logical: Any) -> list[Message]:
        consumer = Consumer(consumer_config(self.settings, "test-reader", **ENDS_AT_ONCE))
        topic = self.topology.name(logical)
        count = self.topology.partitions(logical)
        consumer.assign([TopicPartition(topic, one, 0) for one in range(count)])
        found: list[Message] = []
        ended = set()
        while len(ended) < count:
            for message in fetched(consumer, 1000, LOOK_S):
                if error := message.error():
                    assert error.code() == KafkaError._PARTITION_EOF
                    ended.add(message.partition())
                else:
                    found.append(message)
        consumer.close()
        return found

    async def events(self) -> list[Event]:
        read = await asyncio.to_thread(self.read, "events")
        records = [self.codec.decode(one.value()) for one in read if one.value()]
        return [one for one in records if isinstance(one, Event)]


def make_settings(
    broker: Broker, registry: Registry, prefix: str, path: Path, **flags: Any
) -> Settings:
    return load_settings(
        env={},
        flags={
            "dev": "true",
            "kafka.bootstrap.servers": broker.bootstrap,
            "registry.url": registry.url,
            "topics.prefix": prefix,
            "worker.data_dir": str(path),
            "collector.port": 0,
            "collector.inbox_secret": SECRET,
            "collector": {
                "port": 0,
                "inbox_secret": SECRET,
                "cors_origins": ["https://shop.example"],
                "write_keys": {
                    "wk": {"source": "web"},
                    "sk": {"source": "backend", "scope": "server"},
                },
            },
        }
        | flags,
    )


def apply_profile(settings: Settings) -> None:
    topology, codec = Topology(settings), open_codec(settings)
    codec.prepare(topology.names("events", "timeline", "outcomes", "definitions"))
    publisher = CatalogPublisher(settings, codec)
    publisher.open()
    profile = Definition(kind="profile", name="profile", hash="p1", source=PROFILE)
    switch = CatalogSwitch(catalog="c1", definitions={"profile/profile": "p1"}, status={})
    publisher.publish([profile], switch)


@pytest.fixture
async def site(
    broker: Broker, registry: Registry, prefix: str, tmp_path: Path
) -> AsyncIterator[Site]:
    settings = make_settings(broker, registry, prefix, tmp_path)
    await asyncio.to_thread(Topology(settings).apply)
    await asyncio.to_thread(apply_profile, settings)
    async with serve(settings) as port, ClientSession() as http:
        yield Site(settings, http, f"http://127.0.0.1:{port}")


def track(number: int = 1, **fields: Any) -> dict[str, Any]:
    return {
        "type": "track",
        "event": "Pricing Viewed",
        "userId": "7",
        "messageId": f"m{number}",
    } | fields


async def test_an_accepted_event_is_in_kafka(site: Site) -> None:
    """Once 200 is said, a reader finds it, keyed by the strongest identity."""
    status, said = await site.post("/v1/track", track())
    assert (status, said) == (200, {"success": True})
    [event] = await site.events()
    assert (event.event_id, event.type, event.source) == ("m1", "pricing.viewed", "web")
    [record] = [one for one in site.read("events") if one.key()]
    assert record.key() == b"customer_id:7"
    assert dict(record.headers())["ce_id"] == b"m1"


async def test_the_key_in_the_body(site: Site) -> None:
    """As sendBeacon has to send it."""
    status, _ = await site.post("/v1/track", track(writeKey="wk"), **{"Content-Type": "text/plain"})
    assert status == 200


@pytest.mark.parametrize("headers", [{"X": "1"}, {"Authorization": "Bearer nope"}])
async def test_without_a_known_key_nothing_is_taken(site: Site, headers: dict[str, str]) -> None:
    status, said = await site.post("/v1/batch", {"batch": [track()]}, **headers)
    assert status == 401
    assert not said["success"]
    assert await site.events() == []


async def test_a_gzipped_batch_with_one_bad_message(site: Site) -> None:
    """The others are taken; the bad one is named in the answer and kept with its bytes."""
    bad = {"type": "track", "userId": "7"}
    body = gzip.compress(json.dumps({"batch": [track(1), bad, track(2)], "sentAt": 5}).encode())
    status, said = await site.post("/v1/batch", body, **CLIENT, **{"Content-Encoding": "gzip"})
    assert (status, said["accepted"]) == (200, 2)
    assert [(one["index"], one["cause"]) for one in said["refused"]] == [(1, "bad_message")]
    assert {one.event_id for one in await site.events()} == {"m1", "m2"}
    [dead] = site.read("dead-letters")
    assert json.loads(dead.value()) == bad
    assert dict(dead.headers())["__connect.errors.cause"] == b"bad_message"


async def test_limits(site: Site) -> None:
    """32 KB for an event, 500 KB for a request, unpacked."""
    status, said = await site.post("/v1/track", track(properties={"x": "y" * 33_000}))
    assert (status, said["cause"]) == (400, "too_large")
    bomb = gzip.compress(json.dumps({"batch": [], "x": "y" * 600_000}).encode())
    status, _ = await site.post("/v1/batch", bomb, **CLIENT, **{"Content-Encoding": "gzip"})
    assert status == 413
    assert await site.events() == []


async def test_a_body_that_does_not_come_holds_nobodys_room(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """408, and its bytes are not counted as on their way any more."""
    monkeypatch.setattr("orchestrator.sources.bodies.READ_S", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(site.url.rpartition(":")[2]))
    head = "POST /v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: 400000\r\n\r\n{"
    writer.write(head.encode())
    assert b" 408 " in await reader.readline()
    writer.close()
    monkeypatch.setattr("orchestrator.sources.bodies.MAX_IN_FLIGHT", 20_000)
    status, _ = await site.post("/v1/track", track())
    assert status == 200


async def test_what_is_announced_and_does_not_come_keeps_nobody_out(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room is taken by what has come, also unpacked; who brings more than there is, is sent away."""
    monkeypatch.setattr("orchestrator.sources.bodies.MAX_IN_FLIGHT", 200_000)
    port = int(site.url.rpartition(":")[2])
    head = b"POST /v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: 400000\r\n\r\n{"
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(8)]
    for _, writer in opened:
        writer.write(head)
        await writer.drain()
    status, _ = await site.post("/v1/track", track())
    assert status == 200
    large = json.dumps({"batch": [], "x": "y" * 300_000}).encode()
    for body, coding in ((large, {}), (gzip.compress(large), {"Content-Encoding": "gzip"})):
        async with site.http.post(
            site.url + "/v1/batch", data=body, headers=CLIENT | coding
        ) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
    for _, writer in opened:
        writer.close()


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b'{"batch": [' + b"[" * 100_000, CLIENT, 400),
        (b'{"batch": [{"event": "a.b", "properties": ' + b'{"a":' * 5_000, CLIENT, 400),
        (b"no gzip", CLIENT | {"Content-Encoding": "gzip"}, 400),
        (gzip.compress(b"{}") + b"tail", CLIENT | {"Content-Encoding": "gzip"}, 400),
        (b"{}", {"Authorization": b"Bearer \xff\xfe".decode(errors="surrogateescape")}, 401),
    ],
    ids=["deep", "deep-event", "no-gzip", "tail", "key"],
)
async def test_no_bytes_are_our_error(
    site: Site, body: bytes, headers: dict[str, str], status: int
) -> None:
    """A caller who is told 500 comes again with the same for ever."""
    said, answer = await site.post("/v1/batch", body, **headers)
    assert (said, answer["success"]) == (status, False)


async def test_a_bomb_is_not_unpacked(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some KB that unpack to 200 MB: refused, and the rest stays packed, whatever was asked for."""
    unpacked = 0
    decompress = ZLibDecompressor.decompress_sync

    def counting(self: Any, data: Any, max_length: int = 0) -> bytes:
        nonlocal unpacked
        found = decompress(self, data, max_length)
        unpacked += len(found)
        return found

    monkeypatch.setattr(ZLibDecompressor, "decompress_sync", counting)
    bomb = gzip.compress(b" " * 200_000_000)
    for path, status in (("/v1/batch", 413), ("/v1/m", 200), ("/v1/nowhere", 404)):
        headers = CLIENT | {"Content-Encoding": "gzip"}
        with suppress(ClientOSError):  # what is left unread may cost the sender his answer
            async with site.http.post(site.url + path, data=bomb, headers=headers) as answer:
                assert answer.status == status
    large = gzip.compress(b" " * 2_000_000)
    async with site.http.post(site.url + "/v1/batch", data=large, headers=headers) as answer:
        assert answer.status == 413, "an honest mistake is told"
    status, _ = await site.post("/v1/track", track())
    assert status == 200
    assert 0 < unpacked < 30_000_000


async def test_a_number_that_nothing_holds_costs_its_own_event(site: Site) -> None:
    """Its neighbours in the batch are taken."""
    wrong = b'{"type": "track", "event": "a.b", "userId": "7", "properties": {"n": %s}}' % (
        b"9" * 400
    )
    body = b'{"batch": [%s, %s]}' % (wrong, json.dumps(track()).encode())
    status, said = await site.post("/v1/batch", body)
    assert (status, said["accepted"]) == (200, 1)
    assert [one["cause"] for one in said["refused"]] == ["out_of_range"]
    assert [one.value() for one in site.read("dead-letters")] == [wrong]


async def test_what_is_no_http_is_counted_and_not_logged(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """A broken request for an inbox has its token in it."""
    before = metrics.refused.labels("http", "bad_http")._value.get()
    port = int(site.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /v1/inbox/canary nonsense HTTP/9.9.9\r\n\r\n")
    assert b" 400 " in await reader.readline()
    writer.close()
    status, _ = await site.post("/v1/track", b"no gzip", **CLIENT, **{"Content-Encoding": "gzip"})
    assert status == 400
    assert metrics.refused.labels("http", "bad_http")._value.get() > before
    assert "canary" not in caplog.text
    assert "Traceback" not in caplog.text


async def test_what_is_no_json_is_a_dead_letter(site: Site) -> None:
    """Said to the caller, and kept for the operator."""
    status, _ = await site.post("/v1/batch", b"{nonsense")
    assert status == 400
    assert [one.value() for one in site.read("dead-letters")] == [b"{nonsense"]


async def test_a_client_key_cannot_forge_receipts(site: Site) -> None:
    """403, no event and no dead letter; a server key can, and the key is the customer."""
    receipt = {
        "event": "message.opened",
        "identities": {"customer": "c1"},
        "properties": {"action_id": "a1"},
    }
    status, said = await site.post("/v1/track", receipt)
    assert (status, said["cause"]) == (403, "forbidden")
    assert (await site.events(), site.read("dead-letters")) == ([], [])
    status, _ = await site.post("/v1/track", receipt, **SERVER)
    assert status == 200
    [event] = await site.events()
    assert (event.identities, event.properties) == ({"customer": "c1"}, {"action_id": "a1"})
    assert [one.key() for one in site.read("events") if one.key()] == [b"customer:c1"]


async def test_cors(site: Site) -> None:
    """Preflight and answers name an allowed origin, and no other."""
    ask = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    async with site.http.options(site.url + "/v1/track", headers=ask) as answer:
        assert answer.status == 204
        assert answer.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    other = CLIENT | {"Origin": "https://evil.example"}
    async with site.http.post(site.url + "/v1/track", json=track(), headers=other) as answer:
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_health_and_metrics(site: Site) -> None:
    await site.post("/v1/track", track())
    async with site.http.get(site.url + "/healthz") as answer:
        assert answer.status == 200
    async with site.http.get(site.url + "/metrics") as answer:
        assert 'orchestrator_received_total{result="accepted",source="web"}' in await answer.text()


async def test_before_the_first_catalog_callers_are_asked_to_come_again(
    broker: Broker, registry: Registry, prefix: str, tmp_path: Path
) -> None:
    """Without a profile nobody knows whose event it is; from the apply on, without a restart."""
    settings = make_settings(broker, registry, prefix, tmp_path)
    await asyncio.to_thread(Topology(settings).apply)
    async with serve(settings) as port, ClientSession() as http:
        url = f"http://127.0.0.1:{port}/v1/track"
        async with http.post(url, json=track(), headers=CLIENT) as answer:
            assert answer.status == 503
            assert answer.headers["Retry-After"]
        await asyncio.to_thread(apply_profile, settings)
        status = 503
        while status == 503:
            async with http.post(url, json=track(), headers=CLIENT) as answer:
                status = answer.status
        assert status == 200


async def test_when_kafka_does_not_answer_nothing_is_acknowledged(
    registry: Registry, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 with Retry-After; the repetition after the outage is taken."""
    monkeypatch.setattr("orchestrator.sources.producer.DELIVERY_MS", 2000)
    with Broker() as own:
        settings = make_settings(own, registry, prefix, tmp_path)
        await asyncio.to_thread(Topology(settings).apply)
        await asyncio.to_thread(apply_profile, settings)
        async with serve(settings) as port, ClientSession() as http:
            url = f"http://127.0.0.1:{port}/v1/track"
            async with http.post(url, json=track(1), headers=CLIENT) as answer:
                assert answer.status == 200
            await asyncio.to_thread(own.kill)
            async with http.post(url, json=track(2), headers=CLIENT) as answer:
                assert answer.status == 503
                assert answer.headers["Retry-After"]
            await asyncio.to_thread(own.restart)
            status = 503
            while status == 503:
                async with http.post(url, json=track(2), headers=CLIENT) as answer:
                    status = answer.status
            site = Site(settings, http, url)
            assert {one.event_id for one in await site.events()} == {"m1", "m2"}


async def test_the_inbox(site: Site) -> None:
    """Read with a token; a message read for the first time is a receipt, the second time nothing."""
    topic = site.topology.name("inbox")
    inbox = Inbox(
        customer_id="ada",
        messages=[
            InboxMessage(action_id="a2", message="welcome", title="Two", sent_at=2),
            InboxMessage(action_id="a1", message="welcome", title="One", sent_at=1),
        ],
    )
    producer = Producer(producer_config(site.settings))
    producer.produce(topic, site.codec.encode(inbox, topic), b"ada")
    producer.flush()
    token = inbox_token(SECRET, "ada", int(time() * 1000) + 60_000)
    address = f"{site.url}/v1/inbox/{token}"

    async def shown() -> dict[str, Any]:
        async with site.http.get(address) as answer:
            assert answer.status == 200
            return dict(await answer.json())

    while not (got := await shown())["messages"]:  # noqa: ASYNC110 - another process does it
        await asyncio.sleep(0.05)
    assert ([one["title"] for one in got["messages"]], got["unread"]) == (["Two", "One"], 2)
    body = {"action_ids": ["a1"]}
    assert await site.post(f"/v1/inbox/{token}/read", body) == (200, {"read": 1})
    while (await shown())["unread"] == 2:  # noqa: ASYNC110 - the same
        await asyncio.sleep(0.05)
    assert await site.post(f"/v1/inbox/{token}/read", body) == (200, {"read": 0})
    [event] = await site.events()
    assert (event.type, event.properties["action_id"]) == ("message.opened", "a1")
    assert event.identities == {"customer": "ada"}
    forged = f"{site.url}/v1/inbox/{token[:-4]}AAAA"
    for refused in (forged, f"{forged}/stream"):
        async with site.http.get(refused) as answer:
            assert answer.status == 403


async def test_the_inbox_as_a_stream(site: Site) -> None:
    """What it holds at once, then each change; a browser of another origin may read it; it ends."""
    topic = site.topology.name("inbox")
    producer = Producer(producer_config(site.settings))

    def put(*titles: str) -> None:
        messages = [
            InboxMessage(action_id=f"a{number}", message="welcome", title=title, sent_at=number)
            for number, title in enumerate(titles)
        ]
        inbox = Inbox(customer_id="eve", messages=messages)
        producer.produce(topic, site.codec.encode(inbox, topic), b"eve")
        producer.flush()

    def address_for(ms: int) -> str:
        return f"{site.url}/v1/inbox/{inbox_token(SECRET, 'eve', int(time() * 1000) + ms)}"

    address = address_for(600_000)
    headers = {"Accept": "text/event-stream", "Origin": "https://shop.example"}
    async with site.http.get(f"{address}/stream", headers=headers) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        assert answer.headers["Access-Control-Allow-Origin"] == "https://shop.example"

        async def following(titles: list[str], unread: int) -> None:
            """Read until the inbox looks so: changes may be told together, or once too often."""
            async for line in answer.content:
                if line.startswith(b"data: "):
                    said = json.loads(line[6:])
                    if ([one["title"] for one in said["messages"]], said["unread"]) == (
                        titles,
                        unread,
                    ):
                        return
            pytest.fail("the stream ended")

        await following([], 0)
        put("One")
        await following(["One"], 1)
        put("Two", "One")
        await following(["Two", "One"], 2)
        async with site.http.post(f"{address}/read", json={"action_ids": ["a1"]}) as read:
            assert await read.json() == {"read": 1}
        await following(["Two", "One"], 1)
    life, status = 500, 403
    while status == 403:
        life *= 2
        async with site.http.get(f"{address_for(life)}/stream") as answer:
            status = answer.status
            while await answer.content.readline():
                pass  # until the token is over: then the server ends it


async def test_on_the_log_clock_records_carry_the_events_time(
    broker: Broker, registry: Registry, prefix: str, tmp_path: Path
) -> None:
    settings = make_settings(broker, registry, prefix, tmp_path, **{"clock.mode": "log"})
    await asyncio.to_thread(Topology(settings).apply)
    await asyncio.to_thread(apply_profile, settings)
    async with serve(settings) as port, ClientSession() as http:
        site = Site(settings, http, f"http://127.0.0.1:{port}")
        status, _ = await site.post("/v1/track", track(timestamp="2017-01-03T18:00:00Z"))
        assert status == 200
        [record] = [one for one in site.read("events") if one.key()]
        assert record.timestamp()[1] == 1483466400000
