# ruff: noqa: E402 - neighbours are importable once their folders are known
"""A deployment that is broken on purpose: workers under a supervisor, a load that never stops.

Two stages run, identify's place taken by one that forwards, decide's by an order-sensitive toy.
``verdict`` says what is checked once the load has ended.
"""

from __future__ import annotations

import random
import re
import shutil
import signal
import subprocess
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

from orchestrator.disk import DAMAGED
from orchestrator.engine.host import EXIT_STOP_DEADLINE
from orchestrator.kafka import dead_letters
from orchestrator.kafka.clients import producer_config
from orchestrator.partitioning import partition_for

KEYS = 200
KINDS = ["toy.seen"] * 40 + ["toy.armed"] * 2 + ["toy.poisoned", "toy.wrecked"]
RECOVERY_S = 180.0
"""Patience, not a bar: on a busy machine everything takes longer."""
STAGES = 2
ENDINGS = 5
"""Attempts to end all workers in order: on a busy machine one may not do it in time."""
RUNNING = re.compile(r'^orchestrator_partitions\{.*status="running".*\} (\S+)', re.MULTILINE)


class Violation(AssertionError):  # noqa: N818 - what it is called
    """The deployment broke a promise."""


class Deployment(Lab):
    """See the module docstring; ``close`` ends what it started."""

    def __init__(self, broker, registry, prefix: str, folder: Path, seed: int, rate: int) -> None:
        super().__init__(broker, registry, prefix, folder, partitions=8)
        self.script = Path(__file__).parent / "chaos_worker.py"
        self.broker = broker
        self.registry = registry
        self.random = random.Random(seed)
        self.workers: dict[int, subprocess.Popen] = {}
        self.exits: Counter[int] = Counter()
        self.harmed = 0.0
        """When the fault struck (monotonic)."""
        self.fault = "the start"
        """Its name."""
        self.canary_keys = self._a_key_each()
        self.producer = Producer(producer_config(self.settings, **{"delivery.timeout.ms": 600_000}))
        """For input by hand beside the load; of the main thread."""
        self._rate = rate
        self._number = 0
        self._numbers = threading.Lock()
        self._load = threading.Thread(target=self._send_on, daemon=True)
        self._quiet = threading.Event()
        self._mounted: list[Path] = []

    # ---------------------------------------------------------------------------- workers

    def scale(self, count: int) -> None:
        """Run workers 0..count-1, no others."""
        for slot in sorted(set(self.workers) - set(range(count))):
            self.end(slot, signal.SIGTERM)
        for slot in range(count):
            if slot not in self.workers:
                self.launch(slot)

    def launch(self, slot: int, **environment: str) -> subprocess.Popen:
        """Start a worker."""
        process = self.start(slot, CHAOS_ARM=str(self._arm_file(slot)), **environment)
        self.workers[slot] = process
        self._running.remove(process)
        return process

    @property
    def logs(self) -> list[Path]:
        """What the workers have said."""
        return sorted(self.folder.glob("**/worker*.log"))

    def arm(self, slot: int, point: str, hits: int, how: str = "KILL") -> None:
        """Let a worker, running or yet to start, meet its fault at a point."""
        draft = self._arm_file(slot).with_suffix(".draft")
        draft.write_text(f"{point}:{hits}:{how}")
        draft.rename(self._arm_file(slot))

    def disarm(self, slot: int) -> None:
        """Whatever has not happened by now shall not happen."""
        self._arm_file(slot).unlink(missing_ok=True)

    def _arm_file(self, slot: int) -> Path:
        return self.folder / f"arm-{slot}"

    def end(self, slot: int, how: signal.Signals) -> int:
        """Send a signal and wait for the end; return the exit code."""
        process = self.workers.pop(slot)
        self.harmed = time.monotonic()
        process.send_signal(how)
        try:
            code = process.wait(60)
        except subprocess.TimeoutExpired as error:
            process.kill()
            process.wait()
            raise Violation(f"worker {slot} did not end on {how.name}") from error
        self.exits[code] += 1
        return code

    def end_in_order(self) -> None:
        """End all workers in order: what they leave on their disks is judged.

        Again if one had to break off, and once if a copy turned out damaged only while it was closed.
        """
        for attempt in range(ENDINGS):
            ends = {slot: self.end(slot, signal.SIGTERM) for slot in list(self.workers)}
            if not set(ends.values()) <= {0, EXIT_STOP_DEADLINE}:
                raise Violation(f"workers ended with {ends} on SIGTERM")
            damaged = any(self.folder.glob(f"state/slot-*/*/{DAMAGED}"))
            if not any(ends.values()) and (attempt or not damaged):
                return
            for slot in ends:
                self.launch(slot)
            self.wait_healthy()
        raise Violation(f"no end in order in {ENDINGS} attempts")

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
            time.sleep(0.25)

    def healthy(self) -> bool:
        """Whether every worker says that it is ready, and together they run every partition."""
        if any(self.get("/readyz", slot)[0] != 200 for slot in self.workers):
            return False
        return sum(map(self.owns, self.workers)) == STAGES * self.partitions

    def owns(self, slot: int) -> int:
        """Return how many tasks a worker runs."""
        return sum(int(float(n)) for n in RUNNING.findall(self.get("/metrics", slot)[1]))

    def wait_healthy(self) -> None:
        """Wait until all partitions run."""
        self.wait("all are ready", self.healthy)

    def wait_progress(self) -> None:
        """While health is green no partition may stand still: one event through each of them."""
        wanted = {key: self.inject([("toy.seen", key)]) for key in self.canary_keys}
        self.producer.flush(RECOVERY_S)

        def arrived() -> bool:
            for key, number in list(wanted.items()):
                for slot in self.workers:
                    status, text = self.get(f"/customers/{key}", slot, **_ALONE)
                    found = re.search(r'"last":\s*(\d+)', text) if status == 200 else None
                    if found and int(found[1]) >= number:
                        del wanted[key]
                        break
                else:
                    return False
            return True

        self.wait(f"progress in every partition while health is green ({wanted})", arrived)

    def _a_key_each(self) -> list[str]:
        found: dict[int, str] = {}
        number = 0
        while len(found) < self.partitions:
            key = f"canary{number}"
            found.setdefault(partition_for(key.encode(), self.partitions), key)
            number += 1
        return list(found.values())

    def close(self) -> None:
        """End everything."""
        self._quiet.set()
        if self._load.is_alive():
            self._load.join(60)
        for process in self._started:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait()
        self.workers.clear()
        for mounted in self._mounted:
            subprocess.run(["umount", "-l", mounted], check=False, capture_output=True)

    # ------------------------------------------------------------------------------- load

    def begin_load(self) -> None:
        """Send events, a few a moment, until ``end_load``."""
        self._load.start()

    def end_load(self) -> None:
        """Send no more."""
        self._quiet.set()
        self._load.join(600)
        if self.producer.flush(RECOVERY_S):
            raise Violation("the input could not be delivered")

    def number(self) -> int:
        """Return the next event's number."""
        with self._numbers:
            self._number += 1
            return self._number

    def inject(self, kinds: list[tuple[str, str]]) -> int:
        """Send events (type, customer) beside the load; return the number of the last."""
        topic, number = self.topology.name("events"), 0
        for kind, key in kinds:
            number = self.number()
            value = self.codec.encode(event(kind, number, customer=key), topic)
            self.producer.produce(topic, value, key.encode())
        self.producer.poll(0)
        return number

    def _send_on(self) -> None:
        topic = self.topology.name("events")
        producer = Producer(producer_config(self.settings, **{"delivery.timeout.ms": 600_000}))
        rnd = random.Random(self.random.random())
        started, sent = time.monotonic(), 0
        while not self._quiet.wait(0.05):
            due = int((time.monotonic() - started) * self._rate)
            while sent < due:
                key = f"c{rnd.randrange(KEYS)}"
                if rnd.random() < 0.1:
                    key = "c0"  # a hot one
                item = event(rnd.choice(KINDS), self.number(), customer=key)
                producer.produce(topic, self.codec.encode(item, topic), key.encode())
                sent += 1
            producer.poll(0)
        if producer.flush(600):
            raise Violation("the load could not be delivered")

    def switch_catalog(self, name: str = "") -> None:
        """A new catalog in the middle of everything."""
        self.switch(switch(name or "k" * self.random.randrange(1, 9)))

    # ----------------------------------------------------------------------------- output

    def letters(self) -> list[dead_letters.DeadLetter]:
        """Return all dead letters."""
        return [
            dead_letters.read(partition, r.offset, r.timestamp, r.key, r.value, r.headers)
            for partition, records in self.read(self.topology.name("dead-letters")).items()
            for r in records
        ]

    def dead(self) -> int:
        """Return how many dead letters decide's toy has left."""
        return sum(letter.stage == "decide" for letter in self.letters())

    # ------------------------------------------------------------------------------ disks

    def disk(self, slot: int) -> Path:
        """Return where a worker keeps its state."""
        return self.folder / "state" / f"slot-{slot}"

    def wipe(self, slot: int) -> None:
        """Take a worker's disk away."""
        shutil.rmtree(self.disk(slot), ignore_errors=True)

    def mount_small(self, slot: int, megabytes: int) -> bool:
        """Give a stopped worker a small disk of its own, empty; False where that is not allowed."""
        disk = self.disk(slot)
        if disk not in self._mounted:
            self.wipe(slot)
            disk.mkdir(parents=True)
            mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "chaos", str(disk)]
            if subprocess.run(mount, check=False, capture_output=True).returncode:
                return False
            self._mounted.append(disk)
        return True


_ALONE = {"X-Forwarded-By-Worker": "1"}
