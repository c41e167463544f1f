"""``./deploy/dev bench-state``: a large state restored, restarted and fired, by the worker operators run.

The states are those of real customers, one live entry each, multiplied into the changelog by the
engine's own writer. Printed are figures; nothing is asserted but that the numbers of states and
timers come out. Beside a busy machine read CPU seconds, not seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Self
from urllib.request import urlopen

sys.path.insert(0, str(Path(__file__).parent))

import filling
from confluent_kafka import Consumer, Producer

from orchestrator.codec.opening import open_codec
from orchestrator.kafka.clients import consumer_config, producer_config
from orchestrator.kafka.topics import Topology
from orchestrator.testing.stack import Stack

PROBES_S = 0.05
SHOWN = 25
"""Of so many looks one is told."""
WORKSPACE = {
    "profile.yaml": "identities: {primary: id}\ntraits:\n  email: {type: string}\n",
    "policy.yaml": "timezone: Europe/Berlin\nchannels:\n  email: {address: profile.email}\n",
    "events.yaml": "bench.started: {}\nbench.probed: {}\n",
    "messages/hello.yaml": (
        "message: hello\ncategory: service\nclass: promotional\n"
        "channels:\n  email: {subject: hello, text: hello}\n"
    ),
    "journeys/waits.yaml": (
        "journey: waits\nentry: {on: bench.started}\nsteps:\n"
        "  - {id: rest, wait: {for: P30D}}\n"
        "  - {id: again, wait: {for: P30D}}\n"
        "  - {id: hello, send: {message: hello, channel: email}}\n"
    ),
    "journeys/probe.yaml": (
        "journey: probe\nentry: {on: bench.probed, re_entry: always}\nsteps:\n"
        "  - {id: rest, wait: {for: PT1S}}\n"
    ),
}


def main() -> int:
    """Measure all three; 1 if states or timers are missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--timers", type=int, default=200_000)
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--fires", choices=["wait", "send"], default="wait")
    parser.add_argument("--output", choices=["table", "json"], default="table")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        for name, text in WORKSPACE.items():
            (workspace / name).parent.mkdir(exist_ok=True)
            (workspace / name).write_text(text)
        with _stack(workspace, given) as stack:
            rows = _measure(stack, given)
    if given.output == "json":
        print(json.dumps(rows, indent=1))
    else:
        for row in rows:
            print("  ".join(f"{name} {value}" for name, value in row.items()))
    return int(not all(row["complete"] for row in rows))


def _stack(workspace: Path, given: argparse.Namespace) -> Stack:
    topics = {"prefix": "bench", "partitions": given.partitions}
    return Stack(workspace, settings={"topics": topics, "worker": {"assume_accepted": True}})


def _measure(stack: Stack, given: argparse.Namespace) -> list[dict[str, Any]]:
    keys = filling.seeds(stack.settings, given.partitions)
    _started(stack, 300)
    _send(stack, [("bench.started", key) for key in keys])
    _until(lambda: _inputs(stack, "events") >= len(keys), 120)
    time.sleep(2)  # their states leave within a second; what is missing shows below
    stack.stop("worker")
    began = time.monotonic()
    filled = filling.fill(stack.settings, given.customers)
    _say(
        f"{filled.states} states, {filled.bytes / filled.states:.0f} bytes each: "
        f"{time.monotonic() - began:.0f} s to write"
    )
    rows = []
    shutil.rmtree(stack.settings.worker.data_dir)
    rows.append(_opened(stack, "restore from an empty disk", filled.states))
    stack.stop("worker")
    rows.append(_opened(stack, "warm restart", filled.states))
    stack.stop("worker")
    rows.append(_fired(stack, given))
    return rows


def _opened(stack: Stack, name: str, states: int) -> dict[str, Any]:
    seconds = _started(stack, 900)
    pid = stack.roles["worker"].process.pid
    row = {
        "what": name,
        "states": states,
        "ready_s": round(seconds, 1),
        "cpu_s": round(_cpu(pid), 1),
        "rss_mb": _memory(pid, "VmRSS"),
        "peak_rss_mb": _memory(pid, "VmHWM"),
        "disk_mb": _size(Path(stack.settings.worker.data_dir)),
        "complete": _metric(stack, 'orchestrator_partitions{stage="decide",status="running"}') > 0,
    }
    _say(json.dumps(row))
    return row


def _fired(stack: Stack, given: argparse.Namespace) -> dict[str, Any]:
    """Let many timers of one minute come due while events go on."""
    due = int(time.time() * 1000) + 1_000 * max(30, given.customers // 10_000)
    armed = filling.arm(stack.settings, given.timers, due, given.fires)
    _started(stack, 900)
    pid = stack.roles["worker"].process.pid
    before = _inputs(stack, "timers")
    with _Probes(stack) as probes:
        while time.time() * 1000 < due:
            time.sleep(0.2)
        quiet, cpu = len(probes.seconds), _cpu(pid)
        late = max(0.0, time.time() - due / 1000)
        samples = [(time.monotonic(), before)]
        while samples[-1][1] - before < armed and time.time() * 1000 < due + 600_000:
            time.sleep(0.2)
            samples.append((time.monotonic(), _inputs(stack, "timers")))
            if len(samples) % SHOWN == 0:
                _say(
                    f"  {samples[-1][0] - samples[0][0]:.0f} s: {samples[-1][1] - before:.0f} fired, "
                    f"{_cpu(pid) - cpu:.1f} s of CPU"
                )
        cpu = _cpu(pid) - cpu
        time.sleep(1)
        burst = sorted(probes.seconds[quiet:])
    fired = samples[-1][1] - before
    log = stack.roles["worker"].log.read_text(errors="replace")
    _say("\n".join(line for line in log.splitlines() if "warning" in line or "error" in line))
    moving = [s for s in samples if before + armed * 0.05 <= s[1] <= before + armed * 0.95]
    span = moving[-1][0] - moving[0][0] if len(moving) > 1 else 0.0
    rate = (moving[-1][1] - moving[0][1]) / span if span else 0.0
    row = {
        "what": f"timers of one instant ({given.fires})",
        "timers": armed,
        "fired": int(fired),
        "per_s": round(rate),
        "per_cpu_s": round(fired / max(cpu, 0.01)),
        "last_late_s": round(late + samples[-1][0] - samples[0][0], 1),
        "largest_transaction": _largest(stack),
        "events_meanwhile": len(burst),
        "event_p50_ms": round(1000 * burst[len(burst) // 2]) if burst else None,
        "event_max_ms": round(1000 * burst[-1]) if burst else None,
        "rss_mb": _memory(pid, "VmRSS"),
        "complete": fired >= armed,
    }
    _say(json.dumps(row))
    return row


class _Probes:
    """Sends an event every so often, and notes how long its decision took to be visible."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.seconds: list[float] = []
        self._over = threading.Event()
        self._sent: dict[str, float] = {}
        self._threads = [threading.Thread(target=t, daemon=True) for t in (self._send, self._read)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _send(self) -> None:
        topology, codec = Topology(self.stack.settings), open_codec(self.stack.settings)
        timeline = topology.name("timeline")
        codec.prepare({timeline: "timeline"})
        producer = Producer(producer_config(self.stack.settings))
        number = 0
        while not self._over.wait(PROBES_S):
            number += 1
            key = f"probe{number}"
            self._sent[key] = time.monotonic()
            event = filling.event("bench.probed", key)
            producer.produce(timeline, codec.encode(event, timeline), key.encode())
            producer.poll(0)
        producer.flush(30)

    def _read(self) -> None:
        topology, codec = Topology(self.stack.settings), open_codec(self.stack.settings)
        codec.prepare({topology.name("decisions"): "decisions"})
        config = consumer_config(self.stack.settings, "bench-probes")
        consumer = Consumer(config | {"auto.offset.reset": "latest"})
        consumer.subscribe([topology.name("decisions")])
        while not self._over.is_set():
            for message in consumer.consume(1_000, 0.1):
                if message.error() or not (message.key() or b"").startswith(b"probe"):
                    continue
                sent = self._sent.pop(message.key().decode(), None)
                if sent is not None:
                    self.seconds.append(time.monotonic() - sent)
        consumer.close()


def _started(stack: Stack, patience: float) -> float:
    began = time.monotonic()
    stack.start("worker")
    stack.wait_ready("worker", f"{stack.worker_url}/readyz", patience)
    return time.monotonic() - began


def _send(stack: Stack, events: list[tuple[str, str]]) -> None:
    topology, codec = Topology(stack.settings), open_codec(stack.settings)
    timeline = topology.name("timeline")
    codec.prepare({timeline: "timeline"})
    producer = Producer(producer_config(stack.settings))
    for kind, key in events:
        value = codec.encode(filling.event(kind, key), timeline)
        producer.produce(timeline, value, key.encode())
    producer.flush(60)


def _until(condition: Any, patience: float) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("nothing moves")
        time.sleep(0.2)


def _page(stack: Stack) -> list[str]:
    with urlopen(f"{stack.worker_url}/metrics", timeout=60) as answer:  # noqa: S310 - our own
        return answer.read().decode().splitlines()


def _metric(stack: Stack, start: str) -> float:
    found = [line for line in _page(stack) if line.startswith(start)]
    return sum(float(line.split()[-1]) for line in found)


def _inputs(stack: Stack, kind: str) -> float:
    return _metric(stack, f'orchestrator_inputs_total{{kind="{kind}",stage="decide"}}')


def _largest(stack: Stack) -> str:
    """Return the smallest bound below which all transactions stay, in records."""
    lines = [
        line
        for line in _page(stack)
        if line.startswith("orchestrator_transaction_records_bucket") and 'stage="decide"' in line
    ]
    counts = [(line.split('le="')[1].split('"')[0], float(line.split()[-1])) for line in lines]
    return next((f"<= {bound}" for bound, count in counts if count >= counts[-1][1]), "")


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith(name))


def _size(folder: Path) -> int:
    return sum(each.stat().st_size for each in folder.rglob("*") if each.is_file()) // 2**20


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
