"""The collector under load while it and its broker are killed or stand still: an answer is a promise."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector

from orchestrator.testing.broker import Broker
from orchestrator.testing.stack import WRITE_KEY, Stack
from tests.sources.connect.lab import Lab

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

CALLERS = 6
PATIENCE_S = 60.0
RESTART_S = 240.0
"""A killed broker reads its logs anew, beside the load."""
ROOM_MB = 512
"""What the collector may grow by while Kafka stands still: 64 MiB of requests, some times over."""
MESSAGE_BYTES = 20_200
BATCH_BYTES = 480_000
FILES = {
    "profile.yaml": "identities: {primary: user_id}\n",
    "policy.yaml": "timezone: UTC\n",
}


@pytest.fixture(scope="module")
def own() -> Iterator[Broker]:
    """A broker that may be killed."""
    with Broker() as running:
        yield running


@pytest.fixture(scope="module")
def stack(own: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("workspace")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    with Stack(folder, broker=own) as running:
        start(running)
        yield running


@pytest.fixture(scope="module")
def lab(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(stack.settings, tmp_path_factory.mktemp("lab"))


def start(stack: Stack) -> None:
    stack.start("collect")
    stack.wait_ready("collect", f"{stack.collector_url}/readyz")


class Caller(threading.Thread):
    """Sends batches one after the other; what is not acknowledged is sent again, as SDKs do."""

    def __init__(self, stack: Stack, number: int) -> None:
        super().__init__(daemon=True)
        self.acknowledged: set[str] = set()
        self.refused = 0
        self._port = stack.settings.collector.port
        self._number = number
        self._quiet = threading.Event()

    def run(self) -> None:
        count = 0
        while not self._quiet.is_set():
            ids = [f"{self._number}-{count}-{part}" for part in range(1 + count % 4)]
            while not self._taken(ids):
                self.refused += 1
                time.sleep(0.2)  # as SDKs do: whoever hammers keeps the broker from coming back
            self.acknowledged.update(ids)
            count += 1

    def finish(self) -> None:
        self._quiet.set()
        self.join(PATIENCE_S)
        assert not self.is_alive()

    def _taken(self, ids: list[str]) -> bool:
        batch = [{"type": "track", "event": "a.b", "userId": "7", "messageId": one} for one in ids]
        body = json.dumps({"batch": batch, "writeKey": WRITE_KEY})
        line = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_S)
        try:
            line.request("POST", "/v1/batch", body)
            answer = line.getresponse()
            said = answer.read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            line.close()
        if answer.status == 200:
            assert json.loads(said)["accepted"] == len(ids)
            return True
        assert answer.status in {429, 503}, said
        assert int(answer.headers["Retry-After"]) >= 1
        return False


def test_what_was_acknowledged_outlives_the_collector_and_the_broker(
    own: Broker, stack: Stack, lab: Lab
) -> None:
    """Both killed with -9, in turns, in the middle of a load: every acknowledged event is in Kafka."""
    callers = [Caller(stack, number) for number in range(CALLERS)]
    for caller in callers:
        caller.start()

    def goes_on() -> None:
        """Wait until each has had more acknowledged."""
        before = [len(caller.acknowledged) for caller in callers]
        lab.until(
            lambda: all(
                len(caller.acknowledged) > count + 20
                for caller, count in zip(callers, before, strict=True)
            ),
            stack.last_words,
        )

    goes_on()
    stack.kill("collect")
    start(stack)
    goes_on()
    own.kill()
    own.start(RESTART_S)
    goes_on()
    stack.kill("collect")
    own.kill()
    own.start(RESTART_S)
    start(stack)
    goes_on()
    for caller in callers:
        caller.finish()
    acknowledged = set().union(*(caller.acknowledged for caller in callers))
    assert acknowledged <= {one.event_id for one in lab.events()}
    assert sum(caller.refused for caller in callers) > 0, "the faults were felt"


def peak_mb(pid: int) -> float:
    """The most memory that a process had at a time."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def batch(name: str, size: int) -> bytes:
    """A batch of that many bytes, unpacked."""
    message = {"type": "track", "event": "a.b", "userId": "7", "properties": {"x": "y" * 20_000}}
    messages = [message | {"messageId": f"{name}-{n}"} for n in range(size // MESSAGE_BYTES)]
    return json.dumps({"batch": messages, "writeKey": WRITE_KEY}).encode()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    while not condition():  # noqa: ASYNC110 - another process brings it about
        await asyncio.sleep(0.05)


async def test_callers_are_sent_away_before_memory_grows(
    own: Broker, stack: Stack, lab: Lab
) -> None:
    """While Kafka stands still 300 callers push 150 MB, again and again: 429, and a bounded process.

    Half of them pack it: a few KB of gzip count as what they become.
    """
    pid = stack.roles["collect"].process.pid
    before = peak_mb(pid)
    taken: set[str] = set()
    statuses: dict[bool, set[int]] = {False: set(), True: set()}
    going = True
    url = f"{stack.collector_url}/v1/batch"

    async def push(number: int, http: ClientSession) -> None:
        packed = bool(number % 2)
        body = batch(f"push{number}", BATCH_BYTES)
        sent = await asyncio.to_thread(gzip.compress, body, 1) if packed else body
        headers = {"Content-Encoding": "gzip"} if packed else {}
        while going:
            try:
                async with http.post(url, data=sent, headers=headers) as answer:
                    statuses[packed].add(answer.status)
                    if answer.status == 200:
                        taken.update(
                            f"push{number}-{n}" for n in range(BATCH_BYTES // MESSAGE_BYTES)
                        )
                        return
                    assert int(answer.headers["Retry-After"]) >= 1
            except (ClientError, TimeoutError):
                pass  # sent away while it was still sending
            await asyncio.sleep(0.1)

    limits = {"connector": TCPConnector(limit=0), "timeout": ClientTimeout(total=PATIENCE_S)}
    async with ClientSession(**limits) as http:
        os.kill(own.pid, signal.SIGSTOP)
        try:
            pushing = [asyncio.create_task(push(number, http)) for number in range(300)]
            await until(lambda: all(429 in seen for seen in statuses.values()))
            # Whoever is sent away comes again: what is pushed until the first are told that Kafka
            # does not answer is far beyond what the process may hold.
            await until(lambda: any(503 in seen for seen in statuses.values()))
        finally:
            os.kill(own.pid, signal.SIGCONT)
        await until(lambda: bool(taken))
        going = False
        await asyncio.gather(*pushing)
    grown = peak_mb(pid) - before
    assert grown < ROOM_MB, f"{grown:.0f} MB more"
    known = {one.event_id for one in await asyncio.to_thread(lab.events)}
    assert taken <= known
