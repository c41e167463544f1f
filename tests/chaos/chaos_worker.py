"""A worker of the toy stages that can be told where to die or to freeze.

``CHAOS_AT=POINT:N:SIGNAL`` sends itself SIGNAL (KILL or STOP) the N-th time that it comes by POINT.
Points of the engine: begun, produced, flushed, committed, stored (of a checkpoint), fenced, replayed
(of an opening), suspended, assigned (of a rebalance); of the stages: apply, fire, switch.
"""

from __future__ import annotations

import os
import signal
import threading

from toys import Forwarder, ToyStage, resolve

from orchestrator.codec.opening import open_codec
from orchestrator.engine.assembly import build_app
from orchestrator.engine.host import die, serve
from orchestrator.kafka.topics import Topology
from orchestrator.observability import configure_logging
from orchestrator.settings import load_settings

POINTS = (
    "begun",
    "produced",
    "flushed",
    "committed",
    "stored",
    "fenced",
    "replayed",
    "suspended",
    "assigned",
    "apply",
    "fire",
    "switch",
)


class Points:
    """Counts how often the wanted point is passed, from whatever thread."""

    def __init__(self, spec: str) -> None:
        self._where, left, name = (spec or "::").split(":")
        self._left = int(left or 0)
        self._signal = signal.Signals[f"SIG{name or 'KILL'}"]
        self._lock = threading.Lock()

    def __call__(self, point: str) -> None:
        if point != self._where:
            return
        with self._lock:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), self._signal)


class Watched(ToyStage):
    """The toy stage with points of its own; it decides the same."""

    def __init__(self, points: Points) -> None:
        super().__init__()
        self._points = points

    def apply(self, *args):
        self._points("apply")
        return super().apply(*args)

    def fire(self, *args):
        self._points("fire")
        return super().fire(*args)

    def switch(self, *args):
        self._points("switch")
        return super().switch(*args)


def main() -> None:
    settings = load_settings()
    configure_logging(settings)
    codec = open_codec(settings)
    codec.prepare({spec.name: spec.logical for spec in Topology(settings).specs()})
    points = Points(os.environ.get("CHAOS_AT", ""))
    stages = (Forwarder(), Watched(points))
    serve(lambda: build_app(settings, stages, codec, resolve, on_fatal=die, on_point=points))


if __name__ == "__main__":
    main()
