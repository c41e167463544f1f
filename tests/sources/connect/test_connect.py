"""`connect` on a real broker and registry: what is committed is in Kafka, nothing is passed over."""

from __future__ import annotations

import asyncio
import json
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from fastavro import parse_schema, schemaless_writer

from orchestrator import cli
from orchestrator.codec import open_registry
from orchestrator.codec.wire import prefix as framed
from orchestrator.ids import event_id
from orchestrator.partitioning import partition_for
from orchestrator.settings import Settings, load_settings
from orchestrator.testing.broker import Broker
from orchestrator.testing.ports import free_ports
from orchestrator.testing.registry import Registry
from tests.sources.connect.lab import Lab, connected

pytestmark = pytest.mark.kafka

INVOICES = """\
source: billing
topic: TOPIC-invoices
format: avro
events:
  - if: record.status == "paid" && kafka.type == "billing.Invoice"
    type: invoice.paid
    id: record.invoice_id
    identities: {user_id: record.customer}
    properties: {amount: record.total / 100.0}
"""
CLICKS = """\
source: web
topic: [TOPIC-clicks, TOPIC-taps]
format: json
events:
  - {type: page.viewed, identities: {user_id: key.value}, properties: {page: record.page, by: 'header["x-by"]'}}
"""
ORDERS = """\
source: shop
topic: TOPIC-orders
format: cloudevents
events:
  - {type: order.placed, if: 'header["ce_type"] == "order"', identities: {email: record.mail}}
"""
USERS = """\
source: crm
topic: TOPIC-users
format: debezium
events:
  - {type: customer.updated, identities: {user_id: string(record.id)}, properties: {plan: record.plan}}
  - {type: account.deleted, if: 'change.op == "d"', identities: {user_id: string(key.id)}}
"""
INVOICE = {
    "type": "record",
    "name": "billing.Invoice",
    "fields": [
        {"name": "invoice_id", "type": "string"},
        {"name": "status", "type": "string"},
        {"name": "customer", "type": "string"},
        {"name": "total", "type": "long"},
    ],
}
NEWER = {**INVOICE, "fields": [*INVOICE["fields"], {"name": "note", "type": "string", "default": ""}]}  # fmt: skip
OTHER = {"type": "record", "name": "billing.Refund", "fields": []}


@pytest.fixture
def lab(settings: Settings, tmp_path: Path) -> Lab:
    return Lab(settings, tmp_path)


def invoice(settings: Settings, schema: dict[str, Any], subject: str, **fields: Any) -> bytes:
    """An Avro value whose schema is registered under ``subject``."""
    number = open_registry(settings.registry).register(subject, json.dumps(schema))
    out = BytesIO()
    out.write(framed(number))
    value = {"invoice_id": "in_1", "status": "paid", "customer": "7", "total": 1990, "note": ""}
    schemaless_writer(out, parse_schema(schema), value | fields)
    return out.getvalue()


def letter(message: Any) -> dict[str, str]:
    return {
        name.removeprefix("__connect.errors."): value.decode() for name, value in message.headers()
    }


async def test_records_of_every_format_become_events(lab: Lab) -> None:
    """Three subject strategies, any key, any partitioner; the events lie where their keys say."""
    lab.create("invoices", "clicks", "taps", "orders", "users")
    lab.apply(INVOICES, CLICKS, ORDERS, USERS)
    topic, settings = lab.name("invoices"), lab.settings
    lab.write("invoices", invoice(settings, INVOICE, f"{topic}-value"), b"\x00\x00odd")
    by_record = invoice(settings, NEWER, f"{topic}-billing.Invoice", invoice_id="in_2")
    lab.write("invoices", by_record)
    lab.write("invoices", invoice(settings, INVOICE, "billing.Invoice", invoice_id="in_3"))
    lab.write("invoices", invoice(settings, INVOICE, f"{topic}-value", status="open"))
    lab.write("invoices", invoice(settings, OTHER, "billing.Refund"))
    lab.write("clicks", {"page": "/pricing"}, b"8", {"X-By": "app"})
    lab.write("taps", {"page": "/home"}, b"9")
    data = {"mail": " Ada@Example.com"}
    attributes = {"specversion": "1.0", "id": "e1", "source": "/shop", "type": "order"}
    binary = {f"ce_{name}": value for name, value in attributes.items()}
    structured = {"content-type": "application/cloudevents+json"}
    lab.write("orders", data, headers=binary)
    lab.write("orders", attributes | {"id": "e2", "data": data}, headers=structured)
    source = {"ts_ms": 1_772_352_000_000, "lsn": 1}
    row = {"id": 5, "plan": "pro"}
    lab.write("users", {"op": "r", "after": row, "source": source}, b'{"id": 5}', partition=0)
    lab.write("users", {"op": "d", "before": row, "source": source}, b'{"id": 5}', partition=0)
    lab.write("users", None, b'{"id": 5}', partition=0)
    lab.written()
    async with connected(lab.settings):
        await lab.consumed("invoices", "clicks", "taps", "orders", "users")
    found = {(one.source, one.type, *one.identities.values()) for one in lab.events()}
    assert found == {
        ("billing", "invoice.paid", "7"),
        ("web", "page.viewed", "8"),
        ("web", "page.viewed", "9"),
        ("shop", "order.placed", "ada@example.com"),
        ("crm", "customer.updated", "5"),
        ("crm", "account.deleted", "5"),
    }
    paid = [one for one in lab.events() if one.source == "billing"]
    assert sorted(one.event_id for one in paid) == ["in_1", "in_2", "in_3"]
    assert {one.properties["amount"] for one in paid} == {19.9}
    [viewed] = [one for one in lab.events() if "by" in one.properties]
    assert viewed.properties == {"page": "/pricing", "by": "app"}
    assert lab.dead_letters() == []
    count = lab.topology.partitions("events")
    for message in lab.messages():
        assert message.partition() == partition_for(message.key(), count)
        history = ("backfill", b"true") in message.headers()
        assert history == (dict(message.headers())["ce_type"] == b"customer.updated")


async def test_what_cannot_be_mapped_is_a_dead_letter(lab: Lab) -> None:
    """With cause, place, original key, bytes and headers; the records behind it go on."""
    lab.create("clicks", "taps", partitions=1)
    lab.apply(CLICKS)
    large = {"page": "x" * 300_000}
    for value, key in ((b"{", b"a"), ({"page": 1}, None), (large, b"b"), ({"page": "/"}, b"c")):
        lab.write("clicks", value, key, {"trace": "t1"})
    lab.written()
    async with connected(lab.settings):
        await lab.consumed("clicks", "taps")
    [event] = lab.events()
    assert event.identities == {"user_id": "c"}
    letters = sorted(lab.dead_letters(), key=lambda one: letter(one)["offset"])
    assert [letter(one)["cause"] for one in letters] == ["bad_record", "no_identity", "too_large"]
    first = letters[0]
    assert (first.key(), first.value()) == (b"a", b"{")
    assert ("trace", b"t1") in first.headers()
    said = letter(first)
    assert (said["topic"], said["partition"], said["offset"]) == (lab.name("clicks"), "0", "0")
    assert said["stage"] == "connect"
    assert said["exception.message"].startswith("source web: no JSON")
    assert json.loads(letters[2].value()) == large


async def test_a_dead_letter_is_mapped_again(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """After the mapping was mended: as the event that it would have been, with its id and time."""
    lab.create("clicks", "taps", partitions=1)
    lab.apply(CLICKS)
    lab.write("clicks", {"page": "/", "who": "ada"})
    lab.write("clicks", {"page": "/"})
    lab.write("taps", b"{", b"a")
    lab.written()
    async with connected(lab.settings):
        await lab.consumed("clicks", "taps")
    assert lab.events() == []
    lab.apply(CLICKS.replace("key.value", "record.who").replace(", TOPIC-taps", ""))

    def replayed(cause: str) -> dict[str, Any]:
        settings = lab.settings
        given = {
            "dev": "true",
            "kafka.bootstrap.servers": settings.kafka["bootstrap.servers"],
            "registry.url": settings.registry.url,
            "topics.prefix": settings.topics.prefix,
        }
        words = [part for pair in given.items() for part in ("--set", "=".join(pair))]
        capsys.readouterr()
        assert cli.run([*words, "dlq", "replay", "--cause", cause, "--output", "json"]) == 1
        return json.loads(capsys.readouterr().out)

    for _ in range(2):
        said = await asyncio.to_thread(replayed, "no_identity")
        assert len(said["replayed"]) == 1
        assert list(said["refused"].values()) == [
            "a mapping in force still refuses it; see its message"
        ]
    said = await asyncio.to_thread(replayed, "bad_record")
    assert list(said["refused"].values()) == [f"no mapping in force reads {lab.name('taps')}"]
    topic = lab.name("clicks")
    at = lab.read(topic)[0].timestamp()[1]
    first, second = lab.events()
    assert first == second
    assert first.event_id == event_id("web", topic, "0", "0", str(at))
    assert (first.occurred_at, first.identities) == (at, {"user_id": "ada"})


async def test_one_mapping_s_refusal_is_not_the_other_s(lab: Lab) -> None:
    """Two mappings of one topic: each takes or refuses a record for itself."""
    lab.create("clicks", "taps", partitions=1)
    second = CLICKS.replace("source: web", "source: mail").replace("{user_id: key.value}", "{email: record.mail}")  # fmt: skip
    lab.apply(CLICKS, second)
    lab.write("clicks", {"page": "/"}, b"c")
    lab.written()
    async with connected(lab.settings):
        await lab.consumed("clicks")
    assert [one.source for one in lab.events()] == ["web"]
    assert [letter(one)["cause"] for one in lab.dead_letters()] == ["no_identity"]


def waiting(port: int) -> dict[str, str]:
    """What the role says it waits for; empty = ready."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as page:
            return json.load(page)["waiting"]
    except OSError as error:
        if getattr(error, "code", 0) != 503:
            return {"role": "not there yet"}
        with error:
            return json.load(error)["waiting"]


async def test_without_the_registry_a_partition_waits_and_nothing_is_discarded(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    """Records in front of and behind the unknown schema arrive, each once; other topics go on."""
    (port,) = free_ports(1)
    with Registry() as own:
        flags = {"kafka.bootstrap.servers": broker.bootstrap, "registry.url": own.url}
        flags |= {"dev": "true", "topics.prefix": prefix, "connect.web_port": str(port)}
        settings = load_settings(env={}, flags=flags | {"registry.timeout_ms": "500"})
        lab = Lab(settings, tmp_path)
        lab.create("invoices", "clicks", "taps", partitions=1)
        lab.apply(INVOICES, CLICKS)
        first = [invoice(settings, INVOICE, "one", invoice_id=f"a{n}") for n in range(5)]
        then = [invoice(settings, NEWER, "two", invoice_id=f"b{n}") for n in range(5)]
        for value in first:
            lab.write("invoices", value)
        lab.written()
        async with connected(settings):
            await lab.consumed("invoices")
            await asyncio.to_thread(lab.until, lambda: waiting(port) == {})
            own.down = True
            for one, other in zip(then, first, strict=True):
                lab.write("invoices", one)
                lab.write("invoices", other.replace(b"\x04a", b"\x04c"))
                lab.write("clicks", {"page": "/"}, b"c")
            lab.written()
            await lab.consumed("clicks")
            said = {f"{lab.name('invoices')}-0", "registry"}
            await asyncio.to_thread(lab.until, lambda: said <= waiting(port).keys())
            assert lab.left("invoices") == 10
            own.down = False
            await lab.consumed("invoices")
            await asyncio.to_thread(lab.until, lambda: waiting(port) == {})
        paid = sorted(one.event_id for one in lab.events() if one.source == "billing")
        assert paid == sorted(f"{kind}{n}" for kind in "abc" for n in range(5))
        assert lab.dead_letters() == []


async def test_mappings_and_topics_may_come_later(
    broker: Broker, registry: Registry, prefix: str, tmp_path: Path
) -> None:
    """No catalog, no topic, our own topic: said by /readyz; a catalog takes effect without restart."""
    (port,) = free_ports(1)
    flags = {"kafka.bootstrap.servers": broker.bootstrap, "registry.url": registry.url}
    flags |= {"dev": "true", "topics.prefix": prefix, "connect.web_port": str(port)}
    flags["kafka.topic.metadata.refresh.interval.ms"] = "500"
    lab = Lab(load_settings(env={}, flags=flags), tmp_path)
    lab.create("clicks", partitions=1)

    said: dict[str, str] = {}

    async def says(*names: str) -> dict[str, str]:
        def matches() -> bool:
            nonlocal said
            said = waiting(port)
            return said.keys() == set(names)

        await asyncio.to_thread(lab.until, matches, lambda: said)
        return said

    async with connected(lab.settings):
        await says("catalog")
        await asyncio.to_thread(lab.apply, CLICKS)
        lab.write("clicks", {"page": "/"}, b"1")
        lab.written()
        await says(f"topic {lab.name('taps')}")
        await lab.consumed("clicks")
        lab.create("taps", partitions=1)
        lab.write("taps", {"page": "/"}, b"2")
        lab.written()
        await says()
        await lab.consumed("taps")
        loop = CLICKS.replace("web", "loop").replace("TOPIC-clicks", lab.topology.name("events"))
        await asyncio.to_thread(lab.apply, loop)
        assert "own topic" in (await says("source loop"))["source loop"]
    assert sorted(one.identities["user_id"] for one in lab.events()) == ["1", "2"]
