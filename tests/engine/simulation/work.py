"""What is run: a stage, the records it gets, and the naive truth of what must come of them."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml
from simulation.logs import ABORTED, COMMITTED, Transaction
from toys import (
    PlainCodec,
    PlainEnvelope,
    ToyStage,
    Truth,
    event,
    names,
    resolve,
    said,
    switch,
)

from orchestrator.engine.catalogs import CatalogBook
from orchestrator.engine.decoding import Decoder
from orchestrator.engine.outputs import OutputEncoder
from orchestrator.engine.processor import Tools
from orchestrator.engine.states import Room
from orchestrator.errors import DefinitionMissing
from orchestrator.journeys.diagnostics import Mark
from orchestrator.journeys.scenarios import Scenario
from orchestrator.records import Action, CatalogSwitch, Event
from orchestrator.stages.decide import Decide
from orchestrator.stages.protocol import Input
from orchestrator.testing.harness import Harness
from orchestrator.testing.variants import Variants

sys.path.insert(0, str(Path(__file__).parents[2]))
from checker import violations

SOURCE = "timeline"


@dataclass(frozen=True, slots=True)
class Naive:
    """What the naive run gives for one partition."""

    states: dict[bytes, bytes]
    said: Counter
    dead: int


class Work:
    """Toy customers: order-sensitive, so that one lost, repeated or moved input shows up everywhere."""

    codec = PlainCodec()
    scale = 1
    """Milliseconds of log time per millisecond of the simulation."""
    begin = 1_000_000.0
    """Epoch ms."""
    keys = 5

    def stage(self):
        return ToyStage()

    def resolve(self, wanted: CatalogSwitch):
        return resolve(wanted)

    def tools(self, rnd, config) -> Tools:
        envelope = PlainEnvelope()

        def late(wanted: CatalogSwitch):
            if rnd.random() < 0.2:
                raise DefinitionMissing("not here yet")
            return self.resolve(wanted)

        return Tools(
            decoder=Decoder(self.codec),
            encoder=OutputEncoder(self.codec, envelope, names, 1_000_000),
            envelope=envelope,
            book=CatalogBook(late),
            max_state=256 * 1024,
            room=Room(config.cached_bytes),
        )

    def source(self, cluster):
        return Source(cluster, self)

    def record(self, rnd, number: int, now: int, partition: int, broker) -> tuple:
        """Return (key, value) of one more record."""
        del broker
        key = f"p{partition}c{rnd.randrange(self.keys)}".encode()
        kind = rnd.choices(
            [
                "seen",
                "armed",
                "poisoned",
                "wrecked",
                "refused",
                "fat",
                "loud",
                "catalog",
                "garbage",
            ],
            [60, 8, 3, 2, 2, 0.1, 0.1, 2, 1],
        )[0]
        match kind:
            case "catalog":
                name = "k" * rnd.randrange(1, 9)
                return b"catalog", self.codec.encode(switch(name), "")
            case "garbage":
                return key, b"\xff\xff"
            case _:
                made = event(f"toy.{kind}", number, now + rnd.choice([0, 3, 500]))
                return key, self.codec.encode(made, "")

    def truth(self, records) -> Naive:
        found = Truth(self.stage(), self.codec).run(records)
        stage = self.stage()
        return Naive(
            {
                key.encode(): state.due.to_bytes(8, "big") + stage.encode(state)
                for key, state in found.states.items()
            },
            found.decisions,
            found.dead.total(),
        )

    def said(self, topic, record):
        del topic
        return said(self.codec.decode(record.value))

    def partition_of(self, record) -> int:
        return int(record.key[1:2])

    def count_apart(self, outputs: Counter) -> None:
        """Count what has no need of a second run."""


class Source:
    """Appends the input: by plain producers, and by a stage upstream whose transactions stay open."""

    def __init__(self, cluster, work: Work) -> None:
        self.cluster, self.work, self.number = cluster, work, 0
        self.open: Transaction | None = None

    def append(self) -> None:
        rnd, broker = self.cluster.rnd, self.cluster.broker
        if self.open is None and rnd.random() < 0.05:
            self.open = Transaction("upstream", broker.now())
        elif self.open is not None and rnd.random() < 0.3:
            self.close()
        self.number += 1
        partition = rnd.randrange(self.cluster.partitions)
        stamp = self.cluster.broker_clock()
        key, value = self.work.record(rnd, self.number, stamp, partition, broker)
        if key == b"catalog":
            for each in range(self.cluster.partitions):
                broker.logs[SOURCE, each].append(stamp, key, value)
            return
        broker.logs[SOURCE, partition].append(stamp, key, value, transaction=self.open)

    def end(self) -> None:
        """A tick comes last: what the last record armed for its own instant has fired everywhere."""
        self.close()
        for partition in range(self.cluster.partitions):
            log = self.cluster.broker.logs[SOURCE, partition]
            log.append(self.cluster.broker_clock(), None, None)

    def close(self) -> None:
        """End the transaction upstream."""
        found, self.open = self.open, None
        if found is not None:
            aborts = self.cluster.rnd.random() < 0.2
            self.cluster.broker.end(found, ABORTED if aborts else COMMITTED)


CONTACT = Path(__file__).parents[2] / "scenarios" / "contact"
POLICIES = {
    "daily": {"caps": [{"name": "daily", "limit": 1, "per": "day"}]},
    "weekly": {
        "caps": [
            {"name": "weekly", "limit": 3, "per": "week"},
            {"name": "news", "limit": 2, "per": "rolling P3D", "category": "news"},
        ],
        "quiet_hours": [{"name": "night", "from": "21:00", "to": "08:00"}],
    },
}
ENTRIES = "alpha beta gamma monthly receipt short stale either again".split()


@cache
def catalog_of(name: str):
    scenario = Scenario(mark=Mark("", 1, 1), name=name, policy=POLICIES[name])
    return _variants().catalog(scenario)


@cache
def _variants() -> Variants:
    return Variants(CONTACT)


class WholeCodec(PlainCodec):
    """The toys' codec, with actions."""

    def action(self, value: bytes) -> Action | None:
        import msgspec

        name, _, body = value.partition(b"\n")
        return msgspec.json.decode(body, type=Action) if name == b"Action" else None


class DecideWork(Work):
    """The product's decide stage under a policy with caps, quiet hours and consent.

    A simulated second is some hours of log time. Receipts come back, some of them twice.
    """

    codec = WholeCodec()
    scale = 7_000
    begin = 1_772_000_000_000.0
    keys = 3

    def stage(self):
        return Decide()

    def resolve(self, wanted: CatalogSwitch):
        return catalog_of(wanted.catalog)

    def source(self, cluster):
        source = Source(cluster, self)
        for partition in range(cluster.partitions):
            log, at = cluster.broker.logs[SOURCE, partition], cluster.broker_clock()
            value = self.codec.encode(CatalogSwitch(catalog="daily", definitions={}, status={}), "")
            log.append(at, b"catalog", value)
            for number in range(self.keys):
                name = f"p{partition}c{number}"
                told = {"email": f"{name}@example.com", "token": "t", "timezone": "Asia/Kolkata"}
                log.append(at, name.encode(), self._event("customer.updated", f"u{name}", at, told))
        self.last: tuple | None = None
        return source

    def _event(self, kind: str, name: str, at: int, properties=None) -> bytes:
        made = Event(
            event_id=name,
            type=kind,
            occurred_at=at,
            identities={"id": name},
            source="sim",
            properties=properties or {},
        )
        return self.codec.encode(made, "")

    def record(self, rnd, number, now, partition, broker) -> tuple:
        key = f"p{partition}c{rnd.randrange(self.keys)}".encode()
        draw = rnd.random()
        if draw < 0.03:
            name = rnd.choice(sorted(POLICIES))
            found = CatalogSwitch(catalog=name, definitions={}, status={})
            return b"catalog", self.codec.encode(found, "")
        if draw < 0.2:
            return self._receipt(rnd, number, now, partition, broker) or (
                key,
                self._event("order.completed", f"e{number}", now, {"sku": "tea"}),
            )
        if draw < 0.28:
            kind = rnd.choice(["consent.granted", "consent.revoked"])
            about = {"channel": "email", "category": rnd.choice(["news", "tips"])}
            return key, self._event(kind, f"e{number}", now, about)
        if draw < 0.3:
            return key, self._event("account.deleted", f"e{number}", now)
        return key, self._event(f"go.{rnd.choice(ENTRIES)}", f"e{number}", now)

    def _receipt(self, rnd, number, now, partition, broker) -> tuple | None:
        if self.last is not None and self.last[0] == partition and rnd.random() < 0.3:
            return self.last[1]  # the very same once more
        sends = [
            action
            for (topic, _), log in broker.logs.items()
            if ".actions." in topic
            for one in log.committed()[-4:]
            if self.partition_of(one) == partition
            and (action := self.codec.action(one.value)) is not None
            and action.kind == "send"
        ]
        if not sends:
            return None
        action = rnd.choice(sends)
        kind = rnd.choice(["accepted", "accepted", "dropped", "failed", "opened"])
        value = self._event(f"message.{kind}", f"r{number}", now, {"action_id": action.action_id})
        self.last = (partition, (action.customer_id.encode(), value))
        return self.last[1]

    def truth(self, records) -> Naive:
        first, *others = records
        harness = Harness(self.stage(), catalog_of("daily"), first.timestamp)
        left = []
        self.consents: dict[str, list] = {}
        self.stated: dict[tuple, int] = {}
        self.returned: set[str] = set()
        self.policies = {"daily"}
        for one in others:
            at = max(one.timestamp, harness.now)
            if one.key is None:
                left += harness.advance(at)
                continue
            decoded = self.codec.decode(one.value)
            if isinstance(decoded, CatalogSwitch):
                left += harness.switch(self.resolve(decoded), at)
                self.policies.add(decoded.catalog)
                continue
            item = Input(key=one.key.decode(), record=decoded, raw=one.value)
            left += harness.append(item, at)
            self._note(item.key, decoded, at)
        stage = self.stage()
        envelope = Counter(
            (names(e.topic, e.channel), e.key.encode(), self.codec.encode(e.record, ""), at)
            for at, e in left
        )
        states = {
            key.encode(): state.due.to_bytes(8, "big") + stage.encode(state)
            for key, state in harness.states.items()
        }
        return Naive(states, envelope, len(harness.dead_letters))

    def _note(self, key: str, told: Event, at: int) -> None:
        match told.type:
            case "consent.granted" | "consent.revoked":
                granted = told.type == "consent.granted"
                scope = (told.properties["channel"], told.properties["category"])
                if told.occurred_at >= self.stated.get((key, *scope), 0):  # else it came too late
                    self.stated[key, *scope] = told.occurred_at
                    # What left in front of a revocation may bear the same millisecond.
                    self.consents.setdefault(key, []).append((at + (not granted), *scope, granted))
            case "message.dropped" | "message.failed":
                self.returned.add(told.properties["action_id"])
            case _:
                pass

    def said(self, topic, record):
        return topic, record.key, record.value, record.timestamp

    def count_apart(self, outputs: Counter) -> None:
        """Caps, quiet hours and consent, counted from the actions alone."""
        sends: dict[str, list] = {}
        written = yaml.safe_load((CONTACT / "policy.yaml").read_text())
        for topic, _, value, _ in outputs:
            action = self.codec.action(value) if ".actions." in topic else None
            if action is None or action.kind != "send" or action.action_id in self.returned:
                continue
            sends.setdefault(action.customer_id, []).append(
                (action.decided_at, action.message, action.channel, action.category)
            )
        caps = POLICIES["daily"]["caps"]
        if self.policies != {"daily"}:  # none lets more through, however they follow each other
            caps = [{"name": "any", "limit": 7, "per": "week"}]
        for key, each in sends.items():
            policy = written | {"caps": caps}
            broken = list(
                violations(
                    sorted(each), "Asia/Kolkata", policy, _classes(), self.consents.get(key, ())
                )
            )
            if broken:
                raise AssertionError(f"{key}: {broken}")


@cache
def _classes() -> dict[str, str]:
    some = [yaml.safe_load(path.read_text()) for path in CONTACT.glob("messages/*.yaml")]
    return {one["message"]: one.get("class", "promotional") for one in some}
