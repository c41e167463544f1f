# ruff: noqa: E402 - neighbours are importable once their folders are known
"""A deployment that is broken on purpose: workers under a supervisor, a load that never stops.

Two stages run, identify's place taken by one that forwards, decide's by an order-sensitive toy. What
is checked, once the load has ended and all is applied:

- the timeline holds every event that was sent, once, byte for byte;
- decisions, dead letters and states equal, as multisets, a single-process replay of the timeline
  that shares no code with the engine;
- each worker's RocksDB holds exactly what the changelog holds, timers included;
- the transactions on each changelog follow one another without a gap.
"""

from __future__ import annotations

import random
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS / "kafka"), str(TESTS / "engine")]

from confluent_kafka import Producer
from engine_lab import Lab
from toys import event, switch

from orchestrator.engine import meta as metas
from orchestrator.engine.ports import TaskId
from orchestrator.engine.store import Stores
from orchestrator.kafka.clients import producer_config

KEYS = 200
KINDS = ["toy.seen"] * 40 + ["toy.armed"] * 2 + ["toy.poisoned", "toy.wrecked"]
RECOVERY_S = 120.0


class Violation(AssertionError):  # noqa: N818 - what it is called
    """The deployment broke a promise."""


class Deployment(Lab):
    """See the module docstring; ``close`` ends what it started."""

    def __init__(self, broker, registry, prefix: str, folder: Path, seed: int, rate: int) -> None:
        super().__init__(broker, registry, prefix, folder, partitions=8)
        self.script = Path(__file__).parent / "chaos_worker.py"
        self.random = random.Random(seed)
        self.workers: dict[int, object] = {}
        self.exits: Counter[int] = Counter()
        self._frozen: set[int] = set()
        self._rate = rate
        self._number = 0
        self._load = threading.Thread(target=self._send_on, daemon=True)
        self._quiet = threading.Event()

    # ---------------------------------------------------------------------------- workers

    def scale(self, count: int) -> None:
        """Run workers 0..count-1, no others."""
        for slot in sorted(set(self.workers) - set(range(count))):
            self.end(slot, signal.SIGTERM)
        for slot in range(count):
            if slot not in self.workers:
                self.launch(slot)

    def launch(self, slot: int, at: str = "") -> None:
        """Start a worker; ``at`` = POINT:N:SIGNAL."""
        self.workers[slot] = self.start(slot, CHAOS_AT=at)
        self._running.remove(self.workers[slot])

    def end(self, slot: int, how: signal.Signals) -> None:
        """Send a signal and wait for the end."""
        process = self.workers.pop(slot)
        process.send_signal(how)
        try:
            self.exits[process.wait(30)] += 1
        except Exception as error:
            process.kill()
            process.wait()
            raise Violation(f"worker {slot} did not end on {how.name}") from error

    def supervise(self) -> None:
        """Start what has died again, as a supervisor does."""
        for slot, process in list(self.workers.items()):
            if process.poll() is not None:
                self.exits[process.returncode] += 1
                self.launch(slot)

    def stopped(self, slot: int) -> bool:
        """Whether a worker is frozen."""
        try:
            text = Path(f"/proc/{self.workers[slot].pid}/stat").read_text()
        except OSError:
            return False
        return text.rsplit(")", 1)[1].split()[0] == "T"

    def wait(self, what: str, condition, patience: float = RECOVERY_S) -> None:
        deadline = time.monotonic() + patience
        while not condition():
            self.supervise()
            if time.monotonic() > deadline:
                logs = "\n".join(f"--- {s}\n{self.log(s)[-5000:]}" for s in self._ports)
                raise Violation(f"never: {what}; exits {dict(self.exits)}\n{logs}")
            time.sleep(0.2)

    def healthy(self) -> bool:
        """Whether every worker says that it is ready."""
        return all(self.get("/readyz", slot)[0] == 200 for slot in self.workers)

    def wait_healthy(self) -> None:
        """Wait until every worker is ready."""
        self.wait("all are ready", self.healthy)

    def close(self) -> None:
        """End everything."""
        self._quiet.set()
        if self._load.is_alive():
            self._load.join(60)
        for process in self.workers.values():
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()
        self.workers.clear()

    # ------------------------------------------------------------------------------- load

    def begin_load(self) -> None:
        """Send events, a few a moment, until ``settle``."""
        self._load.start()

    def _send_on(self) -> None:
        topic = self.topology.name("events")
        producer = Producer(producer_config(self.settings, **{"delivery.timeout.ms": 300_000}))
        rnd = random.Random(self.random.random())
        started = time.monotonic()
        while not self._quiet.wait(0.05):
            due = int((time.monotonic() - started) * self._rate)
            while self._number < due:
                key = f"c{rnd.randrange(KEYS)}"
                if rnd.random() < 0.1:
                    key = "c0"  # a hot one
                item = event(rnd.choice(KINDS), self._number, customer=key)
                producer.produce(topic, self.codec.encode(item, topic), key.encode())
                self._number += 1
            producer.poll(0)
        if producer.flush(300):
            raise Violation("the load could not be delivered")

    def switch_catalog(self) -> None:
        """A new catalog in the middle of everything."""
        self.switch(switch("k" * self.random.randrange(1, 9)))

    # ------------------------------------------------------------------------------ verdict

    def settle(self) -> None:
        """End the load, wait until all is applied, stop the workers, compare.

        Raises:
            Violation: Something is not as it must be.
        """
        self._quiet.set()
        self._load.join(300)
        events = self.topology.name("events")
        sent = [r for each in self.read(events).values() for r in each if r.key != b"catalog"]
        self.sent = len(sent)
        self.wait_healthy()
        self.wait("everything is applied", self.drained, 240.0)
        for slot in list(self.workers):
            self.end(slot, signal.SIGTERM)
        timeline = self.read(self.topology.name("timeline")).values()
        there = Counter(
            r.value for each in timeline for r in each if r.key not in {None, b"catalog"}
        )
        wanted = Counter(r.value for r in sent)
        if there != wanted:
            raise Violation(
                f"events and timeline differ: {(wanted - there).total()} lost, "
                f"{(there - wanted).total()} over"
            )
        try:
            self.check()
        except AssertionError as error:
            raise Violation(
                f"decisions, dead letters or states differ: {str(error)[:2000]}"
            ) from error
        self._compare_disks()

    def _compare_disks(self) -> None:
        """The newest copy of every partition on any disk equals the changelog."""
        for stage, table in (("identify", "identities"), ("decide", "customers")):
            for partition, (states, meta) in self.changelog(table).items():
                self._compare_disk(TaskId(stage, partition), states, meta)

    def _compare_disk(self, task: TaskId, states: dict[bytes, bytes], meta: metas.Meta) -> None:
        newest = None
        for folder in sorted((self.folder / "state").glob("slot-*")):
            if not (folder / str(task)).exists():
                continue
            store = Stores(folder).open(task)
            raw = store.meta()
            if raw and metas.decode(raw).seq == meta.seq:
                newest = folder
                held, timers = dict(store.items()), list(store.timers(b""))
                armed = sorted(v[:8] + k for k, v in states.items() if any(v[:8]))
                if held != states:
                    raise Violation(f"{task} in {folder} is not what the changelog holds")
                if not set(armed) <= set(timers):
                    raise Violation(f"{task} in {folder}: timers are missing in the index")
            store.close()
        if newest is None and meta.seq:
            raise Violation(f"{task}: no disk holds transaction {meta.seq}")

    def wipe(self, slot: int) -> None:
        """Take a worker's disk away."""
        shutil.rmtree(self.folder / "state" / f"slot-{slot}", ignore_errors=True)

    def damage(self, slot: int) -> str:
        """Break a file of a worker's RocksDB; return what was done."""
        folder = self.folder / "state" / f"slot-{slot}"
        stores = [p for p in folder.glob("*-*") if p.is_dir()]
        if not stores:
            return "nothing there"
        store = self.random.choice(stores)
        files = [
            p
            for p in store.iterdir()
            if p.is_file()
            and p.stat().st_size
            and (p.suffix in {".sst", ".log"} or p.name.startswith(("MANIFEST", "CURRENT")))
        ]
        if not files:
            return "nothing there"
        victim = self.random.choice(files)
        match self.random.randrange(3):
            case 0:
                data = bytearray(victim.read_bytes())
                at = self.random.randrange(len(data))
                data[at] ^= 0xFF
                victim.write_bytes(data)
                return f"flipped byte {at} of {store.name}/{victim.name}"
            case 1:
                size = self.random.randrange(victim.stat().st_size)
                with victim.open("r+b") as file:
                    file.truncate(size)
                return f"cut {store.name}/{victim.name} to {size}"
            case _:
                victim.unlink()
                return f"removed {store.name}/{victim.name}"
