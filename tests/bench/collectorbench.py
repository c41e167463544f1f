"""What one request of one event costs the collector, and how long callers wait for Kafka's word.

``python tests/bench/collectorbench.py`` starts a real broker, ``orchestrator collect`` as its own
process, and a caller in a third. Two phases, each over kept connections:

- saturated: every connection asks again as soon as it is answered: requests per second, and per
  second of the collector's CPU (all its threads), which a busy machine does not change much.
- paced: requests leave on a fixed schedule, answered or not, and a wait counts from the instant at
  which the request was due, so that a stall is seen by all whom it kept waiting.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections import deque
from pathlib import Path

import uvloop

from orchestrator.kafka.topics import Topology
from orchestrator.settings import load_settings
from orchestrator.testing.broker import Broker
from orchestrator.testing.ports import free_ports
from orchestrator.testing.registry import Registry

sys.path.insert(0, str(Path(__file__).parents[2]))
KEY = base64.b64encode(b"wk:").decode()


def request(number: int, port: int) -> bytes:
    """Return one call of an SDK: headers as the Node library sends them, a usual event."""
    body = json.dumps(
        {
            "event": "Pricing Viewed",
            "userId": f"user-{number % 50_000}",
            "anonymousId": f"anon-{number % 50_000}",
            "messageId": f"node-next-{number}-{uuid.uuid4()}",
            "timestamp": "2026-03-01T09:00:00.000Z",
            "sentAt": "2026-03-01T09:00:00.100Z",
            "properties": {"plan": "business", "price": 49.5, "seats": 12, "page": {"path": "/p"}},
            "context": {"library": {"name": "analytics.js", "version": "4.1"}, "ip": "10.0.0.7"},
        }
    ).encode()
    head = (
        f"POST /v1/track HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Basic {KEY}\r\n"
        "Content-Type: application/json\r\nUser-Agent: analytics-node/2.1\r\nAccept: */*\r\n"
        f"Connection: keep-alive\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Connection(asyncio.Protocol):
    """One kept connection; answers come in the order of the requests."""

    def __init__(self, answered) -> None:
        self._answered = answered
        self._buffer = b""
        self.waiting: deque[float] = deque()
        self.transport: asyncio.Transport

    def connection_made(self, transport) -> None:
        self.transport = transport

    def ask(self, data: bytes, due: float) -> None:
        self.waiting.append(due)
        self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._buffer) < end + 4 + length:
                return
            self._buffer = self._buffer[end + 4 + length :]
            self._answered(self, self.waiting.popleft(), head.split(b" ", 2)[1] == b"200")


class Caller:
    """Calls for ``seconds`` and keeps the waits."""

    def __init__(self, port: int, seconds: float) -> None:
        self.port = port
        self.seconds = seconds
        self.waits: list[float] = []
        self.failed = 0
        self.sent = 0
        self.again = False
        self.done = asyncio.Event()
        self.open = 0

    def answered(self, connection: Connection, due: float, fine: bool) -> None:
        now = time.perf_counter()
        self.waits.append(now - due)
        self.failed += not fine
        self.open -= 1
        if self.again and now < self.until:
            self.ask(connection, now)
        elif not self.open:
            self.done.set()

    def ask(self, connection: Connection, due: float) -> None:
        self.sent += 1
        self.open += 1
        connection.ask(request(self.sent, self.port), due)

    async def run(self, connections: int, rate: float) -> None:
        loop = asyncio.get_running_loop()
        made = [
            (
                await loop.create_connection(
                    lambda: Connection(self.answered), "127.0.0.1", self.port
                )
            )
            for _ in range(connections)
        ]
        protocols = [protocol for _, protocol in made]
        self.began = time.perf_counter()
        self.until = self.began + self.seconds
        self.again = not rate
        if rate:
            total = int(rate * self.seconds)
            for number in range(total):
                due = self.began + number / rate
                if (ahead := due - time.perf_counter()) > 0:
                    await asyncio.sleep(ahead)
                free = (one for one in protocols if not one.waiting)
                self.ask(next(free, protocols[number % connections]), due)
                if number % 20 == 0:
                    await asyncio.sleep(0)
        else:
            for protocol in protocols:
                self.ask(protocol, time.perf_counter())
        self.done.clear()
        if self.open:
            await self.done.wait()
        self.took = time.perf_counter() - self.began
        for transport, _ in made:
            transport.close()


def call(port: int, seconds: float, connections: int, rate: float) -> dict[str, float]:
    """Run in the caller's process; return what it saw."""

    async def main() -> dict[str, float]:
        caller = Caller(port, seconds)
        await caller.run(connections, rate)
        waits = sorted(caller.waits)

        def percentile(share: float) -> float:
            return round(waits[min(int(len(waits) * share), len(waits) - 1)] * 1000, 2)

        return {
            "requests": len(waits),
            "not_200": caller.failed,
            "per_second": round(len(waits) / caller.took, 1),
            "p50_ms": percentile(0.5),
            "p90_ms": percentile(0.9),
            "p99_ms": percentile(0.99),
            "p999_ms": percentile(0.999),
            "max_ms": percentile(1.0),
        }

    return uvloop.run(main())


def yardstick() -> float:
    """Return the CPU-ms of a fixed piece of work: on a busy machine everything costs more of it."""
    text = request(1, 80)
    began = time.process_time()
    for _ in range(2_000):
        json.loads(text[text.index(b"{") :])
    return (time.process_time() - began) * 1000


def cpu(pid: int) -> dict[str, float]:
    """Return CPU seconds of a process, and of its main thread."""
    ticks = os.sysconf("SC_CLK_TCK")

    def used(path: Path) -> float:
        fields = path.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / ticks

    return {
        "all": used(Path(f"/proc/{pid}/stat")),
        "main": used(Path(f"/proc/{pid}/task/{pid}/stat")),
    }


def measure(pid: int, port: int, seconds: float, connections: int, rate: float) -> dict[str, float]:
    """Return the caller's figures and what the collector's CPU did meanwhile."""
    words = [
        sys.executable,
        __file__,
        "--call",
        str(port),
        str(seconds),
        str(connections),
        str(rate),
    ]
    before, idle = cpu(pid), yardstick()
    said = subprocess.run(words, check=True, capture_output=True).stdout
    after = cpu(pid)
    found = json.loads(said)
    used = after["all"] - before["all"]
    return {
        **found,
        "yardstick_ms": round((idle + yardstick()) / 2, 1),
        "cpu_ms_per_request": round(used / found["requests"] * 1000, 4),
        "main_thread_cpu_ms": round((after["main"] - before["main"]) / found["requests"] * 1000, 4),
        "per_cpu_second": round(found["requests"] / used, 1),
    }


def await_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    """Return when the collector serves.

    Raises:
        SystemExit: It ended.
    """
    while process.poll() is None:
        try:
            with urllib.request.urlopen(url):  # noqa: S310 - our own
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the collector ended")


def main() -> None:
    """Run both phases and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--rate", type=float, default=2000, help="of the paced phase")
    parser.add_argument("--core", help="the collector alone runs on this core (taskset)")
    parser.add_argument(
        "--profile", metavar="FILE", help="pyinstrument-free: cProfile of the collector"
    )
    parser.add_argument("--call", nargs=4, type=float, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.call:
        port, seconds, connections, rate = given.call
        print(json.dumps(call(int(port), seconds, int(connections), rate)))
        return
    with tempfile.TemporaryDirectory() as home, Broker() as broker, Registry() as registry:
        [port] = free_ports(1)
        sections = {
            "dev": True,
            "kafka": {"bootstrap.servers": broker.bootstrap},
            "registry": {"url": registry.url},
            "topics": {"prefix": "bench"},
            "log": {"level": "warning"},
            "collector": {"port": port, "write_keys": {"wk": {"source": "web"}}},
        }
        file = Path(home, "orchestrator.yaml")
        file.write_text(json.dumps(sections))
        settings = load_settings(file, env={})
        Topology(settings).apply()
        from tests.sources.test_collector import apply_profile

        apply_profile(settings)
        starter = ["-m", "orchestrator"]
        if given.profile:
            starter = ["-m", "cProfile", "-o", given.profile, *starter]
        words = [sys.executable, *starter, "--settings", str(file), "collect"]
        if given.core:
            words = ["taskset", "-c", given.core, *words]
        process = subprocess.Popen(words)
        try:
            await_ready(f"http://127.0.0.1:{port}/healthz", process)
            call_words = (process.pid, port)
            measure(*call_words, min(given.seconds, 3), given.connections, 0)  # warm
            saturated = measure(*call_words, given.seconds, given.connections, 0)
            print(json.dumps({"saturated": saturated}, indent=2), flush=True)
            paced = measure(*call_words, given.seconds, given.connections, given.rate)
            print(json.dumps({"paced": paced}, indent=2), flush=True)
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
