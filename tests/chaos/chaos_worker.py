"""A worker of the toy stages that can be told where to die or to freeze.

The file that ``CHAOS_ARM`` names holds ``POINT:N:SIGNAL``: the worker sends itself SIGNAL (KILL or
STOP) the N-th time that it comes by POINT; the file goes when that happens. It may appear at any time.
Points of the engine: begun, produced, flushed, committed, stored (of a checkpoint), fenced, replaying,
replayed (of an opening), suspended, assigned (of a rebalance); of the stages: apply, fire, switch.

``CHAOS_SKEW`` = seconds: what this process asks of its clock, or stamps by it, is off by so much.
(libfaketime makes librdkafka's waits hang, so it is done inside.)

An event ``toy.deadly`` and the timer of a ``toy.doomed`` kill the process, as a crash in a library would.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

from confluent_kafka import Producer
from toys import Forwarder, ToyStage, resolve

from orchestrator.cli import worker
from orchestrator.codec.opening import open_codec
from orchestrator.engine import changelog, ticks
from orchestrator.engine.assembly import build_app
from orchestrator.engine.host import die, serve
from orchestrator.kafka.topics import Topology
from orchestrator.observability import configure_logging
from orchestrator.settings import load_settings

CHECKPOINT = ("begun", "produced", "flushed", "committed", "stored")
OPENING = ("fenced", "replaying", "replayed")
REBALANCE = ("suspended", "assigned")
STAGE = ("apply", "fire", "switch")
POINTS = CHECKPOINT + OPENING + REBALANCE + STAGE
DOOMED = 98
"""The step of a state whose timer kills."""


class Points:
    """Counts how often the wanted point is passed, from whatever thread."""

    def __init__(self, file: str) -> None:
        self._file = Path(file) if file else None
        self._lock = threading.Lock()
        self._passed = 0

    def __call__(self, point: str) -> None:
        if self._file is None or not self._file.exists():
            return
        with self._lock:
            try:
                where, wanted, name = self._file.read_text().split(":")
            except (FileNotFoundError, ValueError):  # just gone, or just being written
                return
            if point != where:
                return
            self._passed += 1
            if self._passed >= int(wanted):
                self._passed = 0
                self._file.unlink()
                os.kill(os.getpid(), signal.Signals[f"SIG{name}"])


class Watched(ToyStage):
    """The toy stage with points of its own, and mortal; it decides the same."""

    def __init__(self, points: Points) -> None:
        super().__init__()
        self._points = points

    def apply(self, key, state, item, now, catalog):
        self._points("apply")
        if item.record.type == "toy.deadly":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().apply(key, state, item, now, catalog)

    def fire(self, key, state, now, catalog):
        self._points("fire")
        if state.step == DOOMED:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().fire(key, state, now, catalog)

    def switch(self, *args):
        self._points("switch")
        return super().switch(*args)


def skew(seconds: float) -> None:
    """Let the clock be off."""
    real = time.time
    time.time = lambda: real() + seconds

    class Skewed(Producer):
        def produce(self, *args, timestamp=0, **kwargs):
            super().produce(*args, timestamp=timestamp or int(time.time() * 1000), **kwargs)

    changelog.Producer = ticks.Producer = Skewed


def main() -> None:
    skew(float(os.environ.get("CHAOS_SKEW", "0")))
    settings = load_settings()
    configure_logging(settings)
    # The waiting of the product's own worker: an absent broker or registry is no reason to end.
    worker._wait_for_broker(settings)
    codec = open_codec(settings)
    worker._prepare(codec, Topology(settings))
    points = Points(os.environ.get("CHAOS_ARM", ""))
    stages = (Forwarder(), Watched(points))
    serve(lambda: build_app(settings, stages, codec, resolve, on_fatal=die, on_point=points))


if __name__ == "__main__":
    main()
