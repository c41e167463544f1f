"""A sink on a real broker and a real SMTP server."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from aiosmtpd.controller import Controller

from orchestrator.ids import receipt_id
from orchestrator.links import Links
from orchestrator.partitioning import partition_for
from orchestrator.sinks.deliver import Deliver

pytestmark = pytest.mark.kafka


class Mailbox:
    """What the SMTP server took; ``answers`` are given first, then 250."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.answers: list[str] = []
        self.tries = 0

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        self.tries += 1
        if self.answers:
            return self.answers.pop(0)
        self.messages.append(message_from_bytes(envelope.content))
        return "250 OK"


class _Controller(Controller):
    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]  # the stock one connects to port 0
        super()._trigger_server()


@pytest.fixture
def mailbox() -> Iterator[tuple[Mailbox, int]]:
    handler = Mailbox()
    controller = _Controller(handler, hostname="127.0.0.1", port=0)
    controller.start()
    yield handler, controller.port
    controller.stop()


@asynccontextmanager
async def delivering(settings: Any, channel: str) -> AsyncIterator[Deliver]:
    worker = Deliver(settings, channel)
    running = asyncio.create_task(worker.run())
    await asyncio.wait(
        {running, asyncio.create_task(worker.ready.wait())}, return_when=asyncio.FIRST_COMPLETED
    )
    try:
        yield worker
    finally:
        worker.stop()
        await running


async def until(true: Callable[[], bool]) -> None:
    """Wait until a condition holds; the suite's own time limit ends what never will."""
    while not await asyncio.to_thread(true):  # noqa: ASYNC110 - another process does it
        await asyncio.sleep(0.05)


async def test_an_action_becomes_a_mail_and_a_receipt(deploy: Any, mailbox: Any) -> None:
    """Text and HTML, Message-ID from the action, receipt with the recipe's event_id."""
    box, port = mailbox
    world = deploy(
        deliver__email__port=port, links__url="https://u.x/", links__secret="a secret of links"
    )
    world.put(world.action(1))
    async with delivering(world.settings, "email"):
        await until(lambda: len(world.receipts()) == 1)
    [mail] = box.messages
    assert mail["Subject"] == "Hello Ada"
    assert mail["To"] == "ada@example.com"
    assert mail["Message-ID"] == "<a00001@example.com>"
    link = mail["List-Unsubscribe"].strip("<>")
    assert link.startswith("https://u.x/v1/unsubscribe/")
    scope = Links("", ["a secret of links"]).scope_of(link.rpartition("/")[2])
    assert scope == ("ada", "a00001", "email", "education")
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert [part.get_content_type() for part in mail.get_payload()] == ["text/plain", "text/html"]
    [event] = [one for one in world.records("events") if hasattr(one, "event_id")]
    assert event.event_id == receipt_id("a00001", "accepted")
    assert event.identities == {"customer": "ada"}
    assert event.properties["action_id"] == "a00001"
    assert [one.state for one in world.records("deliveries", "email")] == ["claimed", "sent"]


async def test_receipts_are_keyed_by_the_customer(deploy: Any, mailbox: Any) -> None:
    """Identify finds a receipt where its only identity says."""
    world = deploy(deliver__email__port=mailbox[1])
    world.put(world.action(1))
    async with delivering(world.settings, "email"):
        await until(lambda: len(world.receipts()) == 1)
    keys = {one.key() for one in world.read(world.topology.name("events"))} - {None}
    assert keys == {b"customer:ada"}


async def test_a_cancel_that_lies_behind_stops_a_send(deploy: Any, mailbox: Any) -> None:
    """The scout has read the cancel before the claim, however many sends lie between."""
    box, port = mailbox
    world = deploy(deliver__email__port=port)
    others = [world.action(n, "ada") for n in range(2, 60)]
    world.put(world.action(1, "ada"), *others, world.action(1, "ada", kind="cancel"))
    async with delivering(world.settings, "email"):
        await until(lambda: len(world.receipts()) == 59)
    assert ("a00001", "message.dropped", "cancel") in world.receipts()
    assert "<a00001@example.com>" not in {one["Message-ID"] for one in box.messages}
    assert len(box.messages) == 58


async def test_order_per_customer(deploy: Any, mailbox: Any) -> None:
    """Messages of one customer leave in the order in which they were decided."""
    box, port = mailbox
    world = deploy(deliver__email__port=port)
    world.put(*[world.action(n, f"c{n % 5}") for n in range(100)])
    async with delivering(world.settings, "email"):
        await until(lambda: len(box.messages) == 100)
    for customer in range(5):
        ids = [
            one["X-Action-Id"] for one in box.messages if one["To"] == f"c{customer}@example.com"
        ]
        assert ids == sorted(ids)


async def test_what_is_too_late_is_dropped(deploy: Any, mailbox: Any) -> None:
    """Past expires_at nothing is sent; the engine hears ``window`` and decides anew."""
    box, port = mailbox
    world = deploy(deliver__email__port=port)
    world.put(world.action(1, expires_at=1), world.action(2))
    async with delivering(world.settings, "email"):
        await until(lambda: len(world.receipts()) == 2)
    assert world.receipts()[0] == ("a00001", "message.dropped", "window")
    assert len(box.messages) == 1


async def test_a_template_that_fails_is_a_failed_receipt(deploy: Any, mailbox: Any) -> None:
    """Undefined is an error, and the next message is not held up by it."""
    world = deploy(deliver__email__port=mailbox[1])
    world.put(world.action(1, content={}), world.action(2))
    async with delivering(world.settings, "email"):
        await until(lambda: len(world.receipts()) == 2)
    assert set(world.receipts()) == {
        ("a00001", "message.failed", "template"),
        ("a00002", "message.accepted", None),
    }


async def test_transient_refusals_are_tried_again_permanent_ones_are_not(
    deploy: Any, mailbox: Any
) -> None:
    """4xx is repeated, 5xx is not."""
    box, port = mailbox
    world = deploy(deliver__email__port=port)
    box.answers = ["451 later"]
    world.put(world.action(1))
    async with delivering(world.settings, "email"):
        await until(lambda: len(world.receipts()) == 1)
        box.answers = ["550 no such user"]
        world.put(world.action(2))
        await until(lambda: len(world.receipts()) == 2)
    assert box.tries == 3
    assert world.receipts() == [
        ("a00001", "message.accepted", None),
        ("a00002", "message.failed", "rejected"),
    ]


async def test_bytes_that_are_no_action_become_dead_letters(deploy: Any, mailbox: Any) -> None:
    """Original key and bytes, cause and place; the next action is sent."""
    world = deploy(deliver__email__port=mailbox[1])
    topic = world.topology.name("actions", "email")
    world.producer.produce(topic, b"nonsense", b"ada", headers=[("x", b"1")])
    world.put(world.action(1))
    async with delivering(world.settings, "email"):
        await until(lambda: len(world.receipts()) == 1)
    [dead] = world.read(world.topology.name("dead-letters"))
    headers = dict(dead.headers())
    assert (dead.key(), dead.value(), headers["x"]) == (b"ada", b"nonsense", b"1")
    assert headers["__connect.errors.topic"] == topic.encode()
    assert headers["__connect.errors.offset"] == b"0"


async def test_a_restarted_sink_sends_nothing_twice(deploy: Any, mailbox: Any) -> None:
    """What has an outcome is passed over, also with a lost disk."""
    box, port = mailbox
    world = deploy(deliver__email__port=port)
    world.put(world.action(1))
    async with delivering(world.settings, "email"):
        await until(lambda: len(world.receipts()) == 1)
    again = deploy(deliver__email__port=port, worker__data_dir=world.settings.worker.data_dir + "2")
    again.put(world.action(1), world.action(2))
    async with delivering(again.settings, "email"):
        await until(lambda: len(again.receipts()) == 2)
    assert [one["X-Action-Id"] for one in box.messages] == ["a00001", "a00002"]


# ---------------------------------------------------------------------------------- crashes


def write_settings(path: Path, world: Any, **email: Any) -> Path:
    settings = world.settings
    file = path / "orchestrator.yaml"
    file.write_text(
        yaml.safe_dump(
            {
                "dev": True,
                "kafka": {
                    "bootstrap.servers": settings.kafka["bootstrap.servers"],
                    "session.timeout.ms": 6000,
                },
                "registry": {"url": settings.registry.url},
                "topics": {"prefix": settings.topics.prefix},
                "worker": {"data_dir": settings.worker.data_dir},
                "deliver": {
                    "email": {"sender": "smtp", **email},
                    "inapp": {"sender": "inapp"},
                    "sales": {"sender": "log"},
                },
            }
        )
    )
    return file


@asynccontextmanager
async def process(file: Path, channel: str) -> AsyncIterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "orchestrator", "--settings", str(file), "deliver", channel]
    running = await asyncio.to_thread(subprocess.Popen, command)
    try:
        yield running
    finally:
        with suppress(ProcessLookupError):
            os.kill(running.pid, signal.SIGKILL)
        await asyncio.to_thread(running.wait)


@asynccontextmanager
async def hanging_server() -> AsyncIterator[tuple[int, asyncio.Event]]:
    """Takes connections and never says a word."""
    met = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        met.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], met
    finally:
        server.close()


async def test_silence_stalls_no_partition(deploy: Any, mailbox: Any) -> None:
    """One action on each of many partitions, then nothing: the scout is up to date on them all.

    Asking for the ends through the consumer's own connection once took half a second for each
    partition of a silent topic, longer in sum than a sample may be old.
    """
    box, port = mailbox
    world = deploy(deliver__email__port=port, topics__partitions=12)
    customers = {partition_for(f"c{n}".encode(), 12): f"c{n}" for n in range(200)}
    async with delivering(world.settings, "email"):
        await asyncio.sleep(3)  # of silence: the consumer's long polls take their full time
        world.put(*[world.action(n, name) for n, name in customers.items()])
        await until(lambda: len(box.messages) == 12)
    assert {one["X-Action-Id"] for one in box.messages} == {f"a{n:05}" for n in range(12)}


@pytest.mark.parametrize("on_unknown", ["resend", "give_up"])
async def test_killed_between_claim_and_send(
    deploy: Any, mailbox: Any, tmp_path: Path, on_unknown: str
) -> None:
    """Kill -9 with the claim committed: resent under the same Message-ID, or reported as unknown."""
    box, port = mailbox
    world = deploy()
    world.put(world.action(1))
    async with hanging_server() as (silent, met):
        file = write_settings(tmp_path, world, port=silent, on_unknown=on_unknown)
        async with process(file, "email"):
            await met.wait()
    assert [one.state for one in world.records("deliveries", "email")] == ["claimed"]
    again = deploy(deliver__email__port=port, deliver__email__on_unknown=on_unknown)
    async with delivering(again.settings, "email"):
        await until(lambda: len(world.receipts()) == 1)
    if on_unknown == "resend":
        assert [one["Message-ID"] for one in box.messages] == ["<a00001@example.com>"]
        assert world.receipts() == [("a00001", "message.accepted", None)]
    else:
        assert box.messages == []
        assert world.receipts() == [("a00001", "message.failed", "unknown")]


async def test_a_graceful_stop_releases_what_the_provider_does_not_have(
    deploy: Any, mailbox: Any
) -> None:
    """SIGTERM in a pause between two tries: the claim is taken back, nothing counts as unknown."""
    box, port = mailbox
    world = deploy(deliver__email__port=port, deliver__email__attempts=100)
    box.answers = ["451 later"] * 30
    world.put(world.action(1))
    async with delivering(world.settings, "email"):
        await until(lambda: box.tries >= 4)
    assert world.receipts() == []
    last = world.read(world.topology.name("deliveries", "email"))[-1]
    assert last.value() is None
    box.answers = []
    async with delivering(world.settings, "email"):
        await until(lambda: len(world.receipts()) == 1)
    assert len(box.messages) == 1


async def test_partitions_move_between_sinks_without_doubles(deploy: Any, mailbox: Any) -> None:
    """A second sink joins, the first leaves in the middle: each message once."""
    box, port = mailbox
    world = deploy(deliver__email__port=port)
    world.put(*[world.action(n, f"c{n % 40}") for n in range(300)])
    async with delivering(world.settings, "email") as first:
        await until(lambda: len(box.messages) > 20)
        second = deploy(
            deliver__email__port=port, worker__data_dir=world.settings.worker.data_dir + "2"
        )
        async with delivering(second.settings, "email"):
            second.put(*[world.action(n, f"c{n % 40}") for n in range(300, 600)])
            await until(lambda: len(box.messages) > 400)
            first.stop()
            await until(lambda: len(world.receipts()) == 600)
    ids = [one["X-Action-Id"] for one in box.messages]
    assert sorted(ids) == [f"a{n:05}" for n in range(600)]


# --------------------------------------------------------------------------------- channels


async def test_inapp_messages_lie_in_the_inbox(deploy: Any) -> None:
    """Newest first, at most once each, in the transaction of the receipt."""
    world = deploy()
    world.put(*[world.action(n, channel="inapp", address=None) for n in (1, 2)])
    async with delivering(world.settings, "inapp"):
        await until(lambda: len(world.receipts()) == 2)
    world.put(world.action(3, channel="inapp", address=None))
    async with delivering(world.settings, "inapp"):
        await until(lambda: len(world.receipts()) == 3)
    last = world.records("inbox")[-1]
    assert [one.action_id for one in last.messages] == ["a00003", "a00002", "a00001"]
    assert (last.messages[0].title, last.messages[0].link) == ("Hello Ada", "/start")


async def test_the_log_clock_judges_by_decided_at(deploy: Any, mailbox: Any) -> None:
    """Years ago is not too late there; receipts carry the action's time."""
    box, port = mailbox
    world = deploy(deliver__email__port=port, clock__mode="log")
    world.put(world.action(1, decided_at=1_000_000, expires_at=1_000_001))
    async with delivering(world.settings, "email"):
        await until(lambda: len(world.receipts()) == 1)
    assert len(box.messages) == 1
    events = world.read(world.topology.name("events"))
    assert events[-1].timestamp()[1] == 1_000_000
    [event] = [one for one in world.records("events") if hasattr(one, "event_id")]
    assert event.occurred_at == 1_000_000


async def test_an_action_becomes_a_signed_post(deploy: Any, aiohttp_port: Any) -> None:
    """Through ledger and receipts as on every channel; a 503 is tried again under the same id."""
    got, port = aiohttp_port
    world = deploy(
        deliver={
            "sales": {
                "sender": "webhook",
                "url": f"http://127.0.0.1:{port}/",
                "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                "allow_http": True,
                "allow": ["127.0.0.0/8"],
                "ports": [port],
            }
        }
    )
    world.put(world.action(1, channel="sales"))
    async with delivering(world.settings, "sales"):
        await until(lambda: len(world.receipts()) == 1)
    assert world.receipts() == [("a00001", "message.accepted", None)]
    assert [one["webhook-id"] for one in got] == ["a00001"] * 2
    states = [one.state for one in world.records("deliveries", "sales")]
    assert states == ["claimed", "claimed", "sent"]
    [event] = [one for one in world.records("events") if hasattr(one, "event_id")]
    assert event.properties["attempts"] == 2


@pytest.fixture
async def aiohttp_port() -> AsyncIterator[tuple[list[Any], int]]:
    """A receiver that is not ready at first."""
    got: list[Any] = []

    async def take(request: web.Request) -> web.Response:
        got.append(request.headers)
        return web.Response(status=503 if len(got) == 1 else 204, headers={"Retry-After": "0"})

    app = web.Application()
    app.router.add_post("/", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield got, runner.addresses[0][1]
    await runner.cleanup()
