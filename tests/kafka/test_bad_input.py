"""Bad input on a running deployment: each is reported, nothing else is disturbed, nothing is lost.

One stack serves all tests. After each of them a canary customer of every partition still has to be
decided; at the end the log is run again and must give what was decided.
"""

from __future__ import annotations

import json
import os
import random
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, Producer

from orchestrator.codec import open_codec
from orchestrator.codec.opening import open_registry
from orchestrator.codec.wire import prefix as wire_prefix
from orchestrator.engine.ports import TaskId
from orchestrator.engine.store import Stores
from orchestrator.errors import CouldNotRun
from orchestrator.kafka.clients import producer_config
from orchestrator.kafka.reading import PartitionReader, headers_of
from orchestrator.kafka.topics import Topology
from orchestrator.partitioning import partition_for
from orchestrator.records import Event
from orchestrator.testing.caller import Caller
from orchestrator.testing.observer import Observer
from orchestrator.testing.stack import SERVER_KEY, WRITE_KEY, Stack

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

EXAMPLE = Path(__file__).parents[2] / "deploy" / "example"
AVRO = Path(__file__).parents[2] / "schemas" / "avro"
DAY = 86_400_000
ERRORS = "__connect.errors."
PARTITIONS = 4


def now() -> int:
    return int(time.time() * 1000)


class World:
    """The stack, an observer, and raw hands on its topics."""

    def __init__(self, stack: Stack, observer: Observer) -> None:
        self.stack, self.observer = stack, observer
        self.topology = Topology(stack.settings)
        self.events = self.topology.name("events")
        self.codec = open_codec(stack.settings)
        self.codec.prepare(self.topology.names("events", "decisions"))
        self.producer = Producer(producer_config(stack.settings))
        self._numbers = count(1)
        dead = self.topology.name("dead-letters")
        self._dead_readers = [
            PartitionReader(stack.settings, dead, partition)
            for partition in range(self.topology.partitions("dead-letters"))
        ]
        self._dead: list[Any] = []

    def close(self) -> None:
        for reader in self._dead_readers:
            reader.__exit__()

    # What goes in.

    def name(self, partition: int | None = None) -> str:
        """A customer nobody has met; with ``partition``: whose events and timeline lie there."""
        while True:
            name = f"c{next(self._numbers)}"
            keys = (f"account_id:{name}", name)
            if partition is None or {partition_for(k.encode(), PARTITIONS) for k in keys} == {
                partition
            }:
                return name

    def event(self, name: str, type_: str = "trial.started", **changes: Any) -> Event:
        fields: dict[str, Any] = {
            "event_id": f"raw-{name}-{type_}",
            "type": type_,
            "occurred_at": now(),
            "identities": {"account_id": name},
            "source": "raw",
        }
        return Event(**(fields | changes))

    def put(self, key: bytes | None, value: bytes | None, **options: Any) -> None:
        """Write a record straight to the events topic, as foreign producers do."""
        self.producer.produce(self.events, value, key, **options)
        assert self.producer.flush(30) == 0

    def put_event(self, event: Event, key: str | None = None, **options: Any) -> None:
        key = key or "account_id:" + event.identities["account_id"]
        self.put(key.encode(), self.codec.encode(event, self.events), **options)

    def post(self, path: str, body: Any, key: str = WRITE_KEY) -> tuple[int, dict[str, Any]]:
        """Call the collector; return status and answer."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        url = f"{self.stack.collector_url}/v1/{path}"
        said_by = {"Authorization": f"Bearer {key}"}
        request = urllib.request.Request(url, data, said_by)  # noqa: S310 - our own address
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - as above
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, json.loads(refused.read())

    def sign_up(self, name: str) -> Caller:
        caller = Caller(self.stack, name)
        caller.identify(now(), name=name, email=f"{name}@example.com", country="DE")
        caller.track(now(), "consent.granted", server=True, channel="email", category="education")
        return caller

    # What comes out.

    def wait_log(self, words: str) -> None:
        """Wait until the worker says so."""
        log = self.stack.roles["worker"].log
        self.observer.wait(f"{words!r} in the worker's log", lambda: words in log.read_text())

    def canary(self, *partitions: int) -> None:
        """New customers in these partitions (all, if none is named) are decided, sent and mailed."""
        names = [self.name(p) for p in partitions or range(PARTITIONS)]
        for name in names:
            self.sign_up(name).track(now(), "trial.started")
        for name in names:
            self.observer.wait_decision("sent", "why-acme", "email", name)

    def dead(self) -> list[Any]:
        """Return every dead letter so far."""
        for reader in self._dead_readers:
            self._dead.extend(reader.read(reader.bounds()[1]))
        return self._dead

    def dead_letter(self, before: int, cause: str, value: bytes | None, key: bytes | None) -> Any:
        """Wait for exactly one dead letter more; it holds the original."""
        self.observer.wait(f"a dead letter {cause}", lambda: len(self.dead()) > before)
        letters = self.dead()
        assert len(letters) == before + 1
        found = [one for one in letters if said(one, "cause") == cause and one.value() == value]
        assert found, [(said(one, "cause"), (one.value() or b"")[:50]) for one in letters]
        letter = found[-1]
        assert letter.key() == key
        assert said(letter, "exception.message")
        return letter


def said(letter: Any, name: str) -> str:
    return dict(headers_of(letter)).get(ERRORS + name, b"").decode()


@pytest.fixture(scope="module")
def world(broker) -> Iterator[World]:
    with Stack(EXAMPLE, EXAMPLE / "demo", prefix="bad-input", broker=broker) as stack:
        stack.start_all()
        with Observer(stack.settings) as observer:
            world = World(stack, observer)
            try:
                world.canary()
                yield world
            finally:
                world.close()


@pytest.fixture(autouse=True)
def nothing_else_is_disturbed(world):
    """Whatever the test did: the customers of every partition are decided as ever."""
    yield
    world.canary()


# ------------------------------------------------------------------------------ over HTTP


@pytest.mark.parametrize(
    ("path", "body", "status", "cause"),
    [
        ("track", b'{"event": "trial.started", "userId": ', 400, "bad_message"),
        ("batch", b"[1, 2", 400, "bad_message"),
        ("track", b"\xff\xfe\x00", 400, "bad_message"),
        ("track", b'{"event": "trial.started"}', 400, "no_identity"),
        ("track", b'{"event": "trial.started", "userId": "anon:cafe"}', 400, "bad_identity"),
        ("track", b'{"event": "x.y", "userId": "%s"}' % (b"u" * 201), 400, "bad_identity"),
        ("track", b'{"event": "x.y", "userId": "u", "timestamp": "soon"}', 400, "bad_time"),
    ],
    ids="broken-json broken-batch no-text no-identity anon-primary long-primary no-time".split(),
)
def test_what_cannot_be_mapped_is_answered_and_kept(world, path, body, status, cause):
    """The caller is told what is wrong; the original bytes are a dead letter."""
    before = len(world.dead())
    code, answer = world.post(path, body)
    assert code == status
    assert answer["success"] is False
    assert answer["message"]
    letter = world.dead_letter(before, cause, body, None)
    assert said(letter, "connector.name") == "collect"


def test_one_bad_event_of_a_batch_does_not_hold_up_the_others(world):
    name, before = world.name(), len(world.dead())
    bad = '{"type": "track", "event": "trial.started"}'
    good = json.dumps({"type": "track", "event": "feature.used", "userId": name})
    status, answer = world.post("batch", f'{{"batch": [{bad}, {good}]}}'.encode())
    assert (status, answer["accepted"]) == (200, 1)
    assert [(one["index"], one["cause"]) for one in answer["refused"]] == [(0, "no_identity")]
    world.dead_letter(before, "no_identity", bad.encode(), None)
    world.observer.wait_event("feature.used", customer=name)


@pytest.mark.parametrize(
    "body",
    [
        {"event": "message.clicked", "userId": "u", "properties": {"action_id": "a"}},
        {"event": "consent.granted", "userId": "u"},
        {"event": "feature.used", "identities": {"customer": "u"}},
    ],
    ids="receipt consent customer".split(),
)
def test_a_public_key_must_not_speak_for_servers(world, body):
    """403; forged receipts and consents reach neither the log nor the dead letters."""
    before = len(world.dead())
    status, answer = world.post("track", body)
    assert (status, answer["cause"]) == (403, "forbidden")
    assert "scope server" in answer["message"]
    assert len(world.dead()) == before


def test_an_unknown_write_key_is_refused(world):
    status, answer = world.post("track", {"event": "x.y", "userId": "u"}, key="stolen")
    assert status == 401
    assert "write key" in answer["message"]


def test_a_body_of_2_mb_is_refused(world):
    body = {"event": "feature.used", "userId": "u", "properties": {"pad": "x" * 2_000_000}}
    status, answer = world.post("track", body)
    assert status == 413
    assert answer["message"]


def test_an_event_type_that_nobody_declared_is_kept_and_starts_nothing(world):
    name, before = world.name(), len(world.dead())
    assert world.post("track", {"event": "Spaceship Launched", "userId": name})[0] == 200
    world.observer.wait_event("spaceship.launched", customer=name)
    world.canary()
    assert len(world.dead()) == before
    assert [one for one in world.observer.decisions if one.customer_id == name] == []


def test_the_future_is_clamped(world):
    """An event from 2099 counts now: it starts the journey, and decides no later race."""
    name = world.name()
    world.sign_up(name)
    began = now()
    body = {"event": "trial.started", "userId": name, "timestamp": "2099-01-01T00:00:00Z"}
    assert world.post("track", body)[0] == 200
    sent = world.observer.wait_decision("sent", "why-acme", customer=name)
    assert began <= sent.decided_at <= now()


def test_the_past_updates_and_starts_nothing(world):
    """Older than max_event_age: an entry is refused with its reason, traits are taken."""
    name = world.name()
    world.sign_up(name)
    world.put_event(world.event(name, occurred_at=now() - 30 * DAY))
    refused = world.observer.wait_decision("nothing", "trial-to-paid", customer=name)
    assert refused.reason == "late"


@pytest.mark.parametrize("at", [-1, 0, 10**15], ids="before-1970 zero year-33658".split())
def test_absurd_times_harm_nobody(world, at):
    name, before = world.name(), len(world.dead())
    world.put_event(world.event(name, "feature.used", occurred_at=at))
    world.observer.wait_event("feature.used", customer=name)
    world.canary()
    assert len(world.dead()) == before


# ------------------------------------------------------- straight to the events topic


def poison(world: World, kind: str) -> tuple[bytes | None, bytes | None]:
    """Return (key, value) of a record that no producer should write."""
    name = world.name(0)
    key, event = f"account_id:{name}".encode(), world.event(name)
    encode = world.codec.encode
    good = encode(event, world.events)
    anon = {"account_id": "anon:" + "0" * 32}
    records: dict[str, tuple[bytes | None, bytes | None]] = {
        "text": (key, b'{"type": "trial.started"}'),
        "empty": (key, b""),
        "truncated": (key, good[:20]),
        "trailing": (key, good + b"more"),
        "garbage": (key, good[:5] + random.Random(1).randbytes(300)),
        "no key": (None, good),
        "key of no text": (b"account_id:\xff\xfe", good),
        "unknown schema": (key, wire_prefix(999_999) + good[5:]),
        "no identity": (key, encode(world.event(name, identities={}), world.events)),
        "anon": (
            b"account_id:anon:" + b"0" * 32,
            encode(world.event(name, identities=anon), world.events),
        ),
        "decision": (key, encode(world.observer.decisions[0], world.topology.name("decisions"))),
    }
    return records[kind]


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("text", "wrong_magic"),
        ("empty", "truncated"),
        ("truncated", "undecodable"),
        ("trailing", "undecodable"),
        ("garbage", "undecodable"),
        ("no key", "no_key"),
        ("key of no text", "stage_error"),
        ("unknown schema", "unknown_schema"),
        ("no identity", "no_identity"),
        ("anon", "bad_identity"),
        ("decision", "undecodable"),
    ],
)
def test_poison_is_a_dead_letter_with_its_original(world, kind, cause):
    """Key, bytes and headers as they were, and where they lay and why."""
    before = len(world.dead())
    key, value = poison(world, kind)
    world.put(key, value, headers=[("trace", b"t1")], partition=0)
    letter = world.dead_letter(before, cause, value, key)
    assert said(letter, "topic") == world.events
    assert said(letter, "partition") == "0"
    assert said(letter, "connector.name") == "identify"
    assert dict(headers_of(letter))["trace"] == b"t1"


def test_a_receipt_for_nobody_is_reported(world):
    before = len(world.dead())
    event = world.event("nobody", "message.opened", identities={"customer": "nobody"})
    world.put_event(event, "customer:nobody")
    value = world.codec.encode(event, world.events)
    letter = world.dead_letter(before, "unknown_customer", value, b"nobody")
    assert said(letter, "connector.name") == "decide"


@pytest.mark.parametrize("size", [1_000_200, 1_048_000, 2_000_000])
def test_an_event_as_large_as_kafka_takes(world, size):
    """Poison near the topics' limit, or far beyond it when unpacked, does not stop its partition."""
    before, name = len(world.dead()), world.name(0)
    key = f"account_id:{name}".encode()
    if size > 1_048_588:  # only compressed
        event = world.event(name, properties={"pad": "x" * size})
        value, cause = world.codec.encode(event, world.events), "oversize"
    else:
        value, cause = b"\x07" + random.Random(2).randbytes(size), "wrong_magic"
    world.put(key, value, partition=0)
    world.dead_letter(before, cause, value, key)


def test_2_mb_that_cannot_be_compressed_never_enter_kafka(world):
    """The broker refuses them, and the producer hears of it."""
    told: list[KafkaError | None] = []
    world.producer.produce(
        world.events,
        os.urandom(2_000_000),
        b"account_id:big",
        on_delivery=lambda error, _: told.append(error),
    )
    world.producer.flush(30)
    assert [error.code() for error in told if error] == [KafkaError.MSG_SIZE_TOO_LARGE]


def test_a_foreign_partitioner_costs_a_detour_and_nothing_else(world):
    """Each event on each wrong partition: decided once, on the right one."""
    names = [world.name() for _ in range(PARTITIONS)]
    for name in names:
        world.sign_up(name)
        world.observer.wait_event("consent.granted", customer=name)
    for name in names:
        right = partition_for(f"account_id:{name}".encode(), PARTITIONS)
        for wrong in {*range(PARTITIONS)} - {right}:
            world.put_event(world.event(name), partition=wrong)
    for name in names:
        world.observer.wait_event("trial.started", 3, customer=name)
        world.observer.wait_decision("sent", "why-acme", customer=name)
    world.canary()
    for name in names:
        sent = [d for d in world.observer.decisions if (d.customer_id, d.outcome) == (name, "sent")]
        assert len([d for d in sent if d.channel == "email" and d.step == "day1"]) == 1


# ------------------------------------------------------------- what the roles stand on


def test_without_the_registry_nothing_is_discarded(world):
    """A schema not met before while the registry is away: that partition waits, all others go on."""
    name, before = world.name(2), len(world.dead())
    world.sign_up(name)
    world.observer.wait_event("consent.granted", customer=name)
    schema = json.loads((AVRO / "Event.avsc").read_text())
    schema["fields"].append({"name": "shop", "type": "string", "default": ""})
    registry = open_registry(world.stack.settings.registry)
    number = registry.register(f"{world.events}-journey.Event", json.dumps(schema))
    value = world.codec.encode(world.event(name), world.events)
    world.stack.registry.down = True
    try:
        world.put(f"account_id:{name}".encode(), wire_prefix(number) + value[5:] + b"\x02x")
        world.canary(0, 1, 3)  # and the collector goes on, too
        world.wait_log("registry")
        assert [d for d in world.observer.decisions if d.customer_id == name] == []
        assert len(world.dead()) == before
    finally:
        world.stack.registry.down = False
    world.observer.wait_decision("sent", "why-acme", customer=name)
    assert len(world.dead()) == before


def test_a_broken_catalog_is_refused_whole(world, tmp_path):
    """`apply` names what is wrong and changes nothing; the last good catalog decides on."""
    (tmp_path / "policy.yaml").write_text("timezone: Europe/Berlin\ncaps: [{name: a, limit: 0}]\n")
    catalog = world.observer.decisions[-1].catalog
    with pytest.raises(CouldNotRun, match=r"policy\.yaml:2"):
        world.stack.run("journeys", "apply", str(EXAMPLE), str(tmp_path))
    world.canary()
    assert world.observer.decisions[-1].catalog == catalog


def stores(world: World) -> Stores:
    return Stores(Path(world.stack.settings.worker.data_dir) / "slot-0")


def restart(world: World) -> None:
    world.stack.start("worker")
    world.stack.wait_ready("worker", f"{world.stack.worker_url}/readyz")


def test_a_damaged_local_state_is_rebuilt(world):
    """Files that RocksDB cannot read are wiped; the changelog has everything."""
    name = world.name(1)
    world.sign_up(name).track(now(), "trial.started")
    world.observer.wait_decision("sent", "why-acme", customer=name)
    world.stack.stop("worker")
    folder = Path(world.stack.settings.worker.data_dir) / "slot-0" / "decide-1"
    for file in folder.glob("MANIFEST-*"):
        file.write_bytes(b"not a manifest")
    restart(world)
    assert "local state is rebuilt" in world.stack.roles["worker"].log.read_text()
    assert name in world.stack.run("customer", "show", name)


def test_a_state_of_a_newer_version_pauses_its_partition(world):
    """Nothing is guessed and nothing skipped: the worker says that it must be upgraded."""
    name, before = world.name(3), len(world.dead())
    caller = world.sign_up(name)
    world.observer.wait_event("consent.granted", customer=name)
    world.canary(3)
    world.stack.stop("worker")
    store = stores(world).open(TaskId("decide", 3))
    value = store.get(name.encode())
    assert value is not None
    newer = value[:8] + b"\xc8" + value[9:]
    store.write([(name.encode(), newer, int.from_bytes(value[:8], "big"))], store.meta() or b"")
    store.close()
    world.stack.start("worker")
    caller.track(now(), "trial.started")
    world.canary(0, 1, 2)
    world.wait_log("upgrade this worker")
    assert [d for d in world.observer.decisions if d.customer_id == name] == []
    # The upgrade: here, a copy of the state that this version can read.
    world.stack.stop("worker")
    stores(world).wipe(TaskId("decide", 3))
    restart(world)
    world.observer.wait_decision("sent", "why-acme", customer=name)
    assert len(world.dead()) == before


def test_in_the_end_the_log_gives_what_was_decided(world):
    """All of the above in one log: run again, it gives every decision, action and state."""
    audit = json.loads(world.stack.run("replay", "--verify", "--output", "json"))
    assert audit["ok"], audit


def test_the_dead_letters_can_be_listed(world):
    """What was refused above is there for the operator, by cause."""
    listed = world.stack.run("dlq", "list")
    for cause in ("unknown_schema", "bad_identity", "oversize"):
        assert cause in listed
    assert SERVER_KEY not in listed
