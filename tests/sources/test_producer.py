"""A Kafka client that has failed for good: nothing is acknowledged, and the process ends."""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientSession
from confluent_kafka import Producer

from orchestrator.errors import FatalError
from orchestrator.kafka.topics import Topology
from orchestrator.sources import collector
from orchestrator.sources.producer import EventProducer
from orchestrator.testing.broker import Broker
from orchestrator.testing.ports import free_ports
from orchestrator.testing.registry import Registry
from tests.sources.test_collector import CLIENT, apply_profile, make_settings, track

pytestmark = pytest.mark.kafka
OUT_OF_ORDER = 45


def break_for_good(producer: Producer) -> None:
    """Let librdkafka raise a fatal error, by the function that it has for tests."""
    maps = Path("/proc/self/maps").read_text().split()
    library = ctypes.CDLL(next(path for path in maps if "/librdkafka-" in path))
    # The client's handle is the first field behind the head of every Python object.
    handle = ctypes.c_void_p.from_address(id(producer) + object.__basicsize__).value
    library.rd_kafka_test_fatal_error.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p]
    library.rd_kafka_test_fatal_error(handle, OUT_OF_ORDER, b"lost count")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Callable[[], EventProducer]:
    """The producer that the collector has made."""
    producers: list[EventProducer] = []

    def make(settings: object) -> EventProducer:
        producers.append(EventProducer(settings))
        return producers[-1]

    monkeypatch.setattr(collector, "EventProducer", make)
    return lambda: producers[-1]


async def test_a_fatal_client_acknowledges_nothing_and_ends_the_process(
    broker: Broker,
    registry: Registry,
    prefix: str,
    tmp_path: Path,
    made: Callable[[], EventProducer],
) -> None:
    """Requests get 503 with Retry-After; ``run`` raises what the command line turns into exit 70."""
    settings = make_settings(broker, registry, prefix, tmp_path)
    await asyncio.to_thread(Topology(settings).apply)
    await asyncio.to_thread(apply_profile, settings)
    async with collector.serve(settings) as port, ClientSession() as http:
        url = f"http://127.0.0.1:{port}/v1/track"
        async with http.post(url, json=track(), headers=CLIENT) as answer:
            assert answer.status == 200
        break_for_good(made()._producer)
        for _ in range(2):  # first by produce() itself, then because it is known
            async with http.post(url, json=track(2), headers=CLIENT) as answer:
                assert answer.status == 503
                assert answer.headers["Retry-After"]
        with pytest.raises(FatalError, match="lost count"):
            await made().failure()

    [port] = free_ports(1)
    settings = make_settings(broker, registry, prefix, tmp_path, collector={"port": port})
    running = asyncio.create_task(collector.run(settings, asyncio.Event()))
    url = f"http://127.0.0.1:{port}/healthz"
    async with ClientSession() as http:
        up = False
        while not up and not running.done():
            try:
                async with http.get(url) as answer:
                    up = answer.status == 200
            except ClientError:
                await asyncio.sleep(0.02)
    break_for_good(made()._producer)
    with pytest.raises(FatalError, match="lost count"):
        await running
