"""A worker with the toy stages, for the tests on a real broker: settings come by the environment.

``TOY_FREEZE=POINT:N`` stops the process (SIGSTOP) at the N-th time that a commit reaches POINT.
``TOY_BLOCK=1`` blocks the event loop for ever at the first event.
``TOY_DEADLY=1`` lets an event ``toy.deadly`` kill the process.
"""

from __future__ import annotations

import os
import signal
import time

from toys import Forwarder, ToyStage, resolve

from orchestrator.codec.opening import open_codec
from orchestrator.engine.assembly import build_app
from orchestrator.engine.host import die, serve
from orchestrator.kafka.topics import Topology
from orchestrator.observability import configure_logging
from orchestrator.settings import load_settings


class Blocking(ToyStage):
    """A stage that never returns."""

    def apply(self, *_):
        time.sleep(3_600)


class Mortal(ToyStage):
    """A stage that one kind of event kills, as a crash in a library would."""

    def apply(self, key, state, item, now, catalog):
        if item.record.type == "toy.deadly":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().apply(key, state, item, now, catalog)


def stage() -> ToyStage:
    if os.environ.get("TOY_BLOCK"):
        return Blocking()
    return Mortal() if os.environ.get("TOY_DEADLY") else ToyStage()


def main() -> None:
    settings = load_settings()
    configure_logging(settings)
    codec = open_codec(settings)
    codec.prepare({spec.name: spec.logical for spec in Topology(settings).specs()})
    where, _, left = os.environ.get("TOY_FREEZE", "").partition(":")
    hits = int(left or 0)

    def on_point(point: str) -> None:
        nonlocal hits
        if point == where:
            hits -= 1
            if hits == 0:
                os.kill(os.getpid(), signal.SIGSTOP)

    serve(
        lambda: build_app(
            settings,
            (Forwarder(), stage()),
            codec,
            resolve,
            on_fatal=die,
            on_point=on_point,
        )
    )


if __name__ == "__main__":
    main()
