"""One deployment of the toy stages on a real broker: topics, workers, input, and the truth."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

ENGINE = Path(__file__).parents[1] / "engine"
sys.path.insert(0, str(ENGINE))

from toys import ToyStage, Truth, said  # noqa: E402 - lies beside the other tests

from orchestrator.codec.opening import open_codec  # noqa: E402
from orchestrator.engine import meta as metas  # noqa: E402
from orchestrator.engine.simulated import SimulatedRecord  # noqa: E402
from orchestrator.kafka.clients import admin_config, consumer_config, producer_config  # noqa: E402
from orchestrator.kafka.reading import fetched  # noqa: E402
from orchestrator.kafka.topics import Topology  # noqa: E402
from orchestrator.records import CatalogSwitch, Event  # noqa: E402
from orchestrator.settings import Settings, load_settings  # noqa: E402
from orchestrator.testing.ports import free_ports  # noqa: E402
from tests.ends import ENDS_AT_ONCE, LOOK_S  # noqa: E402

PATIENCE_S = 90.0
"""For what must come, on a busy machine; never a measure of speed."""


class Lab:
    """See the module docstring. ``folder`` holds the workers' disks and logs."""

    def __init__(
        self, broker, registry, prefix: str, folder: Path, partitions: int = 4, **env: str
    ) -> None:
        self.folder = folder
        self.script = ENGINE / "toy_worker.py"
        self._env = {
            "ORCHESTRATOR_DEV": "true",
            "ORCHESTRATOR_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap,
            "ORCHESTRATOR_REGISTRY__URL": registry.url,
            "ORCHESTRATOR_TOPICS__PREFIX": prefix,
            "ORCHESTRATOR_TOPICS__PARTITIONS": str(partitions),
            "ORCHESTRATOR_LOG__FORMAT": "json",
            **env,
        }
        self.settings: Settings = load_settings(env=self._env)
        self.topology = Topology(self.settings)
        self.topology.apply()
        self.codec = open_codec(self.settings)
        self.codec.prepare({spec.name: spec.logical for spec in self.topology.specs()})
        self.partitions = self.topology.partitions("timeline")
        self.sent = 0
        self._ports: dict[int, int] = {}
        self._running: list[subprocess.Popen] = []
        self._started: list[subprocess.Popen] = []

    # ------------------------------------------------------------------------------- input

    def send(self, events: list[Event], *, logical: str = "events") -> None:
        topic = self.topology.name(logical)
        producer = Producer(producer_config(self.settings))
        for event in events:
            key = event.identities["customer_id"].encode()
            producer.produce(topic, self.codec.encode(event, topic), key)
            while len(producer) > 50_000:
                producer.poll(0.1)
        assert producer.flush(PATIENCE_S) == 0
        self.sent += len(events)

    def drive(self, steps: list[tuple[int, Event | None]]) -> None:
        """Clock mode ``log``: append events at told times; None is a tick on the timeline."""
        producer = Producer(producer_config(self.settings))
        events, timeline = self.topology.name("events"), self.topology.name("timeline")
        for at, event in steps:
            if event is None:
                assert producer.flush(PATIENCE_S) == 0
                self.wait("all before the tick is there", self.arrived)
                producer.produce(timeline, partition=0, timestamp=at)
                continue
            key = event.identities["customer_id"].encode()
            producer.produce(events, self.codec.encode(event, events), key, timestamp=at)
            self.sent += 1
        assert producer.flush(PATIENCE_S) == 0

    def arrived(self) -> bool:
        """Whether every event that was sent has been forwarded to the timeline."""
        records = self.read(self.topology.name("timeline")).values()
        forwarded = [r for each in records for r in each if r.key not in {None, b"catalog"}]
        return len(forwarded) >= self.sent

    def switch(self, switch: CatalogSwitch) -> None:
        producer = Producer(producer_config(self.settings))
        for logical in ("events", "timeline"):
            topic = self.topology.name(logical)
            value = self.codec.encode(switch, topic)
            for partition in range(self.partitions):
                producer.produce(topic, value, b"catalog", partition)
        assert producer.flush(PATIENCE_S) == 0

    # ----------------------------------------------------------------------------- workers

    @contextmanager
    def worker(self, slot: int = 0, **env: str):
        process = self.start(slot, **env)
        try:
            yield process
        finally:
            self.stop(process)

    def start(self, slot: int = 0, **env: str) -> subprocess.Popen:
        self._ports.setdefault(slot, free_ports(1)[0])
        log = (self.folder / f"worker-{slot}.log").open("ab")
        process = subprocess.Popen(
            [sys.executable, str(self.script)],
            env={
                **os.environ,
                **self._env,
                "ORCHESTRATOR_WORKER__SLOT": str(slot),
                "ORCHESTRATOR_WORKER__DATA_DIR": str(self.folder / "state"),
                "ORCHESTRATOR_WORKER__WEB_PORT": str(self._ports[slot]),
                "PYTHONPATH": f"{ENGINE.parents[1]}:{ENGINE}",
                **env,
            },
            stdout=log,
            stderr=log,
        )
        log.close()
        self._running.append(process)
        self._started.append(process)
        return process

    def may_end(self, process: subprocess.Popen) -> None:
        """From here on the end of this worker is no failure of the test."""
        self._running.remove(process)

    def kill_all(self) -> None:
        """Leave no process behind, whatever became of the test."""
        for process in self._started:
            process.kill()
            process.wait()

    def stop(self, process: subprocess.Popen, how: signal.Signals = signal.SIGTERM) -> int:
        if process in self._running:
            self._running.remove(process)
        if process.poll() is None:
            process.send_signal(how)
        try:
            return process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait(30)

    def log(self, slot: int = 0) -> str:
        return (self.folder / f"worker-{slot}.log").read_text(errors="replace")

    def get(self, path: str, slot: int = 0, **headers: str) -> tuple[int, str]:
        request = Request(f"http://127.0.0.1:{self._ports[slot]}{path}", headers=headers)
        try:
            with urlopen(request, timeout=5) as answer:  # noqa: S310 - our own address
                return answer.status, answer.read().decode()
        except HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def wait(self, what: str, condition) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            ended = [process.returncode for process in self._running if process.poll()]
            if ended or time.monotonic() > deadline:
                logs = "\n".join(
                    f"--- worker {slot}\n{self.log(slot)[-6000:]}" for slot in self._ports
                )
                raise AssertionError(f"never: {what}; ended: {ended}\n{logs}")
            time.sleep(0.1)

    def wait_ready(self, slot: int = 0) -> None:
        self.wait(f"worker {slot} ready", lambda: self.get("/readyz", slot)[0] == 200)

    def wait_drained(self) -> None:
        """Wait until everything is applied, no timer is left, and every sweep is through."""
        self.wait("everything is applied", self.drained)

    def drained(self) -> bool:
        timeline = self.topology.name("timeline")
        if not self.arrived():
            return False
        ends = {p: records[-1].offset + 1 for p, records in self.read(timeline).items() if records}
        for partition, (states, meta) in self.changelog("customers").items():
            if meta.position < ends.get(partition, 0) or meta.sweep is not None:
                return False
            if any(any(value[:8]) for value in states.values()):
                return False
        return True

    # ------------------------------------------------------------------------------ output

    def read(self, topic: str, isolation: str = "read_committed") -> dict[int, list]:
        """Return all records of a topic, by partition."""
        consumer = Consumer(
            consumer_config(
                self.settings,
                "lab",
                **ENDS_AT_ONCE,
                **{"isolation.level": isolation},
            )
        )
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        consumer.assign([TopicPartition(topic, p, 0) for p in partitions])
        found: dict[int, list] = {p: [] for p in partitions}
        at_end: set[int] = set()
        while len(at_end) < len(partitions):
            for message in fetched(consumer, 10_000, LOOK_S):
                if message.error() is None:
                    found[message.partition()].append(
                        SimulatedRecord(
                            message.offset(),
                            message.timestamp()[1],
                            message.key(),
                            message.value(),
                            tuple(message.headers() or ()),
                        )
                    )
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    at_end.add(message.partition())
        consumer.close()
        return found

    def changelog(self, table: str) -> dict[int, tuple[dict[bytes, bytes], metas.Meta]]:
        """Return states and last meta record of a table, by partition."""
        result = {}
        for partition, records in self.read(self.topology.changelog(table)).items():
            states = {r.key: r.value for r in records}
            meta = states.pop(metas.META_KEY, None)
            result[partition] = (states, metas.decode(meta) if meta else metas.Meta())
        return result

    def decisions(self) -> Counter:
        found: Counter = Counter()
        for records in self.read(self.topology.name("decisions")).values():
            found.update(said(self.codec.decode(record.value)) for record in records)
        return found

    def dead(self) -> int:
        return sum(map(len, self.read(self.topology.name("dead-letters")).values()))

    def check(self) -> Counter:
        """Compare decisions, dead letters and states with the naive replay of the timeline."""
        wanted: Counter = Counter()
        dead = 0
        states: dict[bytes, bytes] = {}
        stage = ToyStage()
        for records in self.read(self.topology.name("timeline")).values():
            truth = Truth(stage, self.codec).run(records)
            wanted += truth.decisions
            dead += truth.dead.total()
            states |= {
                key.encode(): state.due.to_bytes(8, "big") + stage.encode(state)
                for key, state in truth.states.items()
            }
        got = self.decisions()
        missing, beyond = wanted - got, got - wanted
        assert not missing + beyond, f"decided once, each: {missing=!s:.900} {beyond=!s:.900}"
        assert self.dead() == dead
        found = {k: v for kept, _ in self.changelog("customers").values() for k, v in kept.items()}
        assert found == states
        return got

    def owned(self, customers: list[str], slot: int = 0) -> set[str]:
        """Return which of these customers the worker answers for by itself."""
        alone = {"X-Forwarded-By-Worker": "1"}
        return {c for c in customers if self.get(f"/customers/{c}", slot, **alone)[0] == 200}

    def members(self) -> int:
        """Return how many members the workers' group has."""
        return len(self.instances())

    def instances(self) -> list[str]:
        """Return the static ids of the workers' group's members."""
        admin = AdminClient(admin_config(self.settings))
        group = self.settings.app.id
        members = admin.describe_consumer_groups([group])[group].result(30).members
        return [member.group_instance_id for member in members]

    def customer(self, customer: str, slot: int = 0) -> dict:
        return json.loads(self.get(f"/customers/{customer}", slot)[1])
