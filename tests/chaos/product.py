# ruff: noqa: E402 - neighbours are importable once their folders are known
"""The product itself under faults: two workers, sinks, a workspace of journeys that last seconds.

What is checked once the load has ended: decisions, actions and states equal the pure stages run once
over the same log (`replay --verify`); caps and consent hold, counted from the actions alone; every
event is on the timeline; each customer's orders are counted once, duplicates and all; every action
has one outcome, and a mail comes twice only where the sink says that it cannot know.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import yaml

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS)]

from checker import violations
from committed import FINAL, OUTCOMES, Log
from confluent_kafka import Producer
from deployment import RECOVERY_S, RUNNING, Violation

from orchestrator.codec import open_codec
from orchestrator.kafka.clients import producer_config
from orchestrator.kafka.reading import PartitionReader, read_partition
from orchestrator.kafka.topics import Topology
from orchestrator.records import Event
from orchestrator.stages.decide import Decide
from orchestrator.testing.ports import free_ports
from orchestrator.testing.stack import Stack

WORKSPACE = Path(__file__).parent / "workspace"
NEXT = Path(__file__).parent / "workspace-next"
CUSTOMERS = 60
PARTITIONS = 8
KINDS = ["order.placed"] * 6 + ["cart.left"] * 8 + ["consent.granted"] * 2 + ["consent.revoked"]
ZONES = ["Europe/Berlin", "America/New_York", "Asia/Tokyo", "UTC"]
RATE = 25
"""Events a second, duplicates not counted."""
DRAIN_S = 400.0


class Product:
    """See the module docstring; what a campaign asks of a deployment."""

    def __init__(self, broker, registry, prefix: str, _folder: Path, seed: int, rate: int) -> None:
        self.broker, self.registry = broker, registry
        self.random = random.Random(seed)
        self.harmed, self.fault, self.sent = 0.0, "the start", 0
        self.exits: Counter[str] = Counter()
        self._rate = rate
        self._quiet = threading.Event()
        self._load = threading.Thread(target=self._send_on, daemon=True)
        self.stack = Stack(
            WORKSPACE,
            broker=broker,
            prefix=prefix,
            settings={
                "registry": {"url": registry.url, "auto_register": True},
                "topics": {"partitions": PARTITIONS},
            },
        )
        self._entered = False
        self._web: dict[str, int] = {}

    # ---------------------------------------------------------------------------- processes

    def scale(self, count: int) -> None:
        """Start everything: ``count`` workers and the sinks."""
        self.stack.__enter__()
        self._entered = True
        self._codec = open_codec(self.stack.settings)
        self.topology = Topology(self.stack.settings)
        self._codec.prepare(self.topology.names("events", "timeline", "decisions", "actions"))
        for slot, port in enumerate(free_ports(count)):
            self._web[f"worker-{slot}"] = port
            self.stack.start(
                *("--set", f"worker.slot={slot}", "--set", f"worker.web_port={port}", "worker"),
                name=f"worker-{slot}",
            )
        for channel in ("email", "push", "inapp", "sales"):
            self.stack.start("deliver", channel)

    @property
    def workers(self) -> list[str]:
        """The workers' names."""
        return sorted(self._web)

    @property
    def logs(self) -> list[Path]:
        """What the roles have said."""
        return sorted(self.stack.home.glob("*.log")) if self._entered else []

    def kill(self, *names: str) -> None:
        """SIGKILL to roles, at once."""
        self.harmed = time.monotonic()
        for name in names:
            self.stack.roles[name].process.kill()
        for name in names:
            self.stack.roles[name].process.wait()

    def revive(self) -> None:
        """Start what has ended, as a supervisor does."""
        for name, code in self.stack.revive():
            self.exits[f"{name} {code}"] += 1

    def wait(self, what: str, condition, patience: float = RECOVERY_S) -> None:
        """Wait, and supervise meanwhile."""
        deadline = time.monotonic() + patience
        while not condition():
            self.revive()
            if time.monotonic() > deadline:
                raise Violation(f"never: {what}; {self.exits}\n{self.stack.last_words()}")
            time.sleep(0.2)

    def healthy(self) -> bool:
        """Whether all workers are ready and together run every partition."""
        bases = [f"http://127.0.0.1:{port}" for port in self._web.values()]
        if any(fetch(f"{base}/readyz")[0] != 200 for base in bases):
            return False
        texts = [fetch(f"{base}/metrics")[1] for base in bases]
        return sum(float(n) for text in texts for n in RUNNING.findall(text)) == 2 * PARTITIONS

    def wait_healthy(self) -> None:
        """Wait until all partitions run, and all sinks."""
        self.revive()
        self.wait("all are ready", self.healthy)

    def wait_progress(self) -> None:
        """Something new is decided while health is green."""
        before = self._decided()
        self.wait("a decision while health is green", lambda: self._decided() > before)

    def _decided(self) -> int:
        topic = self.topology.name("decisions")
        return sum(self._end(topic, number) for number in range(PARTITIONS))

    def _end(self, topic: str, number: int) -> int:
        with PartitionReader(self.stack.settings, topic, number) as reader:
            return reader.bounds()[1]

    def stop_workers(self) -> None:
        """End the workers in order, for good."""
        for name in self.workers:
            if code := self.stack.stop(name):
                raise Violation(f"{name} was to stop and ended with {code}")

    def close(self) -> None:
        """End everything."""
        self._quiet.set()
        if self._load.is_alive():
            self._load.join(60)
        if self._entered:
            self.stack.__exit__(None, None, None)

    # ------------------------------------------------------------------------------- load

    def begin_load(self) -> None:
        """Begin with everybody's consent, then send on."""
        self._load.start()

    def _send_on(self) -> None:
        topic = self.topology.name("events")
        config = producer_config(self.stack.settings, **{"delivery.timeout.ms": 600_000})
        producer, rnd = Producer(config), random.Random(self.random.random())
        number, kept = 0, []

        def send(customer: int, kind: str, **properties) -> None:
            nonlocal number
            number += 1
            item = Event(
                event_id=f"e{number}",
                type=kind,
                occurred_at=int(time.time() * 1000),
                identities={"account_id": f"u{customer}"},
                source="chaos",
                properties=properties,
            )
            value = self._codec.encode(item, topic)
            key = f"account_id:u{customer}".encode()
            producer.produce(topic, value, key)
            kept.append((key, value))

        for one in range(CUSTOMERS):
            traits = {"email": f"u{one}@example.org", "push_token": f"p{one}"}
            send(one, "customer.updated", timezone=rnd.choice(ZONES), **traits)
            send(one, "consent.granted", channel="email", category="news")
        while not self._quiet.wait(1 / self._rate):
            kind, customer = rnd.choice(KINDS), rnd.randrange(CUSTOMERS)
            if rnd.random() < 0.1:
                customer = 0  # a hot one
            if kind.startswith("consent"):
                channel = rnd.choice(["email", "push"])
                send(customer, kind, channel=channel, category="news")
            else:
                send(customer, kind, number=number)
            while rnd.random() < 0.3:  # again, long after its time, out of order
                key, value = kept[-rnd.randrange(1, min(len(kept), 300) + 1)]
                producer.produce(topic, value, key)
            producer.poll(0)
        if producer.flush(600):
            raise Violation("the load could not be delivered")

    def end_load(self) -> None:
        """Send no more."""
        self._quiet.set()
        self._load.join(600)


def fetch(url: str) -> tuple[int, str]:
    """Return (status, text); 0 = nobody answers."""
    try:
        with urlopen(url, timeout=5) as answer:  # noqa: S310 - our own address
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, ""
    except OSError as error:
        return 0, str(error)


def settle(product: Product) -> None:
    """End the load, wait until every action has its outcome, compare.

    Raises:
        Violation: Something is not as it must be.
    """
    product.end_load()
    product.wait_healthy()
    log = Log(product.stack.settings)
    quiet: list[tuple[int, ...]] = []

    def drained() -> bool:
        quiet.append((*_sends(log), product._decided(), _lag(product)))
        time.sleep(3)
        return quiet[-3:] == quiet[-1:] * 3 and quiet[-1][1] == quiet[-1][3] == 0

    product.wait("every action has its outcome", drained, DRAIN_S)
    # Waits go on to end, for minutes after a new catalog, and each may let a message leave: nobody
    # decides while all is compared.
    product.stop_workers()
    product.wait("what left last has its outcome", lambda: _sends(log)[1] == 0, DRAIN_S)
    audit = json.loads(product.stack.run("replay", "--verify", "--output", "json"))
    if not audit["ok"]:
        raise Violation(f"the log gives something else: {audit}")
    events = [one for _, _, one in log.records("events") if isinstance(one, Event)]
    product.sent = len(events)
    _compare_timeline(product)
    _judge_sends(log)
    _count_orders(product, events)
    _judge_ledgers(product, log, events)


FINALS = [[state] for state in sorted(FINAL)]


def _sends(log: Log) -> tuple[int, int]:
    """Return how many sends there are, and how many of them have no outcome."""
    ledgers = _ledgers(log)
    sends = [action for _, _, action in log.records("actions") if action.kind == "send"]
    return len(sends), sum(ledgers[one.action_id][-1:] not in FINALS for one in sends)


def _ledgers(log: Log) -> dict[str, list[str]]:
    ledgers: dict[str, list[str]] = defaultdict(list)
    for _, key, delivery in log.records("deliveries"):
        ledgers[key].append(delivery.state)
    return ledgers


def _lag(product: Product) -> int:
    total = 0
    for port in product._web.values():
        text = fetch(f"http://127.0.0.1:{port}/metrics")[1]
        lines = [
            x for x in text.splitlines() if x.startswith("orchestrator_partition_lag_records{")
        ]
        total += sum(int(float(line.rsplit(" ", 1)[1])) for line in lines)
    return total


def _compare_timeline(product: Product) -> None:
    """Every event of the load is on the timeline, as often as it was sent, byte for byte."""
    found = {}
    for logical in ("events", "timeline"):
        found[logical] = Counter(
            m.value()
            for number in range(PARTITIONS)
            for m in read_partition(product.stack.settings, product.topology.name(logical), number)
            if m.value() is not None and b"chaos" in m.value() and (m.key() or b"") != b"catalog"
        )
    lost, over = found["events"] - found["timeline"], found["timeline"] - found["events"]
    if lost or over:
        raise Violation(f"events and timeline: {lost.total()} lost, {over.total()} over")


def _judge_sends(log: Log) -> None:
    """Caps and consent from what reached a provider alone, by code that knows nothing of ours.

    What was dropped (cancelled, too late) or has failed gives its place under a cap back.
    """
    policy = yaml.safe_load((WORKSPACE / "policy.yaml").read_text())
    messages = [yaml.safe_load(file.read_text()) for file in (WORKSPACE / "messages").iterdir()]
    classes = {one["message"]: one.get("class", "promotional") for one in messages}
    sends, consents, zones = defaultdict(list), defaultdict(list), {}
    ledgers = _ledgers(log)
    for _, customer, action in log.records("actions"):
        if action.kind == "send" and ledgers[action.action_id][-1] in {"sent", "unknown"}:
            sends[customer].append(
                (action.decided_at, action.message, action.channel, action.category)
            )
    newest: dict[tuple, int] = {}
    for at, customer, event in log.timed("timeline"):
        if not isinstance(event, Event):
            continue
        told = event.properties
        if event.type == "customer.updated":
            zones[customer] = told["timezone"]
        if event.type not in {"consent.granted", "consent.revoked"}:
            continue
        scope = (customer, told["channel"], told["category"])
        if event.occurred_at < newest.get(scope, 0):
            continue  # came too late to count
        newest[scope] = event.occurred_at
        granted = event.type == "consent.granted"
        # What is due in the very millisecond comes before it.
        consents[customer].append((at + (not granted), told["channel"], told["category"], granted))
    broken = [
        f"{customer}: {what}"
        for customer, done in sends.items()
        for what in violations(
            sorted(done), zones[customer], policy, classes, consents.get(customer, ())
        )
    ]
    if broken:
        life = "\n".join(_life(log, ledgers, broken[0].partition(":")[0]))
        raise Violation(f"caps or consent broken: {broken[:5]}\n{life}")


def _life(log: Log, ledgers: dict[str, list[str]], customer: str) -> list[str]:
    """Tell what was decided for one customer, what became of it, and what was reported of it."""
    lines = [
        (one.decided_at, f"{one.outcome} {one.message} {one.channel} {one.reason} {one.action_id}")
        for _, key, one in log.records("decisions")
        if key == customer
    ]
    for at, key, one in log.timed("timeline"):
        if key == customer and isinstance(one, Event):
            lines.append((at, f"{one.type} {one.event_id} {one.properties}"))
    for _, key, one in log.records("actions"):
        if key == customer and one.kind == "send":
            states = ledgers[one.action_id]
            lines.append((one.decided_at, f"action {one.action_id} {one.channel}: {states}"))
    return [f"{at} {what}" for at, what in sorted(lines)]


def _count_orders(product: Product, events: list[Event]) -> None:
    """A trait counts every event once, however often and late it came."""
    wanted: dict[str, set[str]] = defaultdict(set)
    for event in events:
        if event.type == "order.placed":
            wanted[event.identities["account_id"]].add(event.event_id)
    stage, found = Decide(), {}
    topic = product.topology.changelog("customers")
    for number in range(PARTITIONS):
        for message in read_partition(product.stack.settings, topic, number):
            key, value = message.key() or b"", message.value()
            if key.startswith(b"u") and value:
                profile = stage.decode(value[8:]).profile
                if "orders" in profile.traits:  # not everybody has ordered by the end
                    found[key.decode()] = profile.traits["orders"].value
    counts = {customer: len(ids) for customer, ids in wanted.items()}
    if found != counts:
        raise Violation(f"orders counted {found} instead of {counts}")


def _judge_ledgers(product: Product, log: Log, events: list[Event]) -> None:
    decisions = [one for _, _, one in log.records("decisions")]
    sends = {a.action_id: a for _, _, a in log.records("actions") if a.kind == "send"}
    ledgers = _ledgers(log)
    twice = [n for n, k in Counter(one.decision_id for one in decisions).items() if k > 1]
    if twice:
        raise Violation(f"decided twice: {twice[:5]}")
    if Counter(one.action_id for one in decisions if one.outcome == "sent") != Counter(
        sends.keys()
    ):
        raise Violation("actions and their decisions differ")
    receipts = Counter(e.properties["action_id"] for e in events if e.type in OUTCOMES)
    if receipts != Counter(ledgers.keys()):
        raise Violation(f"receipts: {list((receipts - Counter(ledgers.keys())).items())[:5]} over")
    mails = Counter(str(mail["X-Action-Id"]) for mail in product.stack.mail.messages)
    unknown = {name for name, states in ledgers.items() if states.count("claimed") > 1}
    doubled = {name for name, count in mails.items() if count > 1}
    sent = {n for n, a in sends.items() if a.channel == "email" and ledgers[n][-1:] == ["sent"]}
    if not doubled <= unknown:
        raise Violation(f"mailed twice without a word: {sorted(doubled - unknown)[:5]}")
    if not sent <= mails.keys():
        raise Violation(f"said to be sent, and never arrived: {sorted(sent - mails.keys())[:5]}")
