"""``python -m tests.chaos.dying_sink SETTINGS CHANNEL POINT NTH``: a sink that ends itself by SIGKILL.

The points are all between which something of a send becomes durable: before and after the transaction
of a claim, before and after the provider's call, before and after the transaction of an outcome.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from orchestrator.settings import load_settings
from orchestrator.sinks import delivery
from orchestrator.sinks.deliver import Deliver
from orchestrator.sinks.ledger import Ledger

POINTS = (
    "before_claim",
    "after_claim",
    "before_call",
    "after_call",
    "before_outcome",
    "after_outcome",
)


class Death:
    """Comes when its point is passed for the n-th time."""

    def __init__(self, point: str, nth: int) -> None:
        self._point = point
        self._left = nth

    def passes(self, point: str) -> None:
        if point == self._point:
            self._left -= 1
            if not self._left:
                os.kill(os.getpid(), signal.SIGKILL)


def install(death: Death) -> None:
    commit, attempt = Ledger.commit, delivery.Deliverer.attempt

    def dying_commit(self: Ledger, entries: Any, writes: Any, position: int) -> None:
        states = {entry.delivery.state for entry in entries if entry.delivery}
        names = [
            name for name, state in (("claim", "claimed"), ("outcome", "sent")) if state in states
        ]
        for name in names:
            death.passes(f"before_{name}")
        commit(self, entries, writes, position)
        for name in names:
            death.passes(f"after_{name}")

    async def dying_attempt(self: delivery.Deliverer, *args: Any) -> Any:
        death.passes("before_call")
        answer = await attempt(self, *args)
        death.passes("after_call")
        return answer

    Ledger.commit = dying_commit  # type: ignore[method-assign]
    delivery.Deliverer.attempt = dying_attempt  # type: ignore[method-assign]


if __name__ == "__main__":
    file, channel, point, nth = sys.argv[1:]
    install(Death(point, int(nth)))
    asyncio.run(Deliver(load_settings(Path(file)), channel).run())
