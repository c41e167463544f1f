"""Calls of Kafka's client that never come back, and what is done about them.

librdkafka 2.16 has been seen to keep ``send_offsets_to_transaction`` for ever, whatever its timeout,
when a broker was killed in the middle of it. Nothing in the process can take such a call back, and
its partition would stand still in silence: so the process ends, and its successor asks the ledger.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from orchestrator.errors import FatalError
from orchestrator.observability.ending import EXIT_FATAL, end_now

LOOKS: Final = 120
"""Half as long again as all timeouts of one transaction together."""
REMEDY: Final = (
    "its supervisor starts it again; what was claimed without an outcome is resolved by on_unknown"
)


class StuckCalls(threading.Thread):
    """Looks at running calls once a second; ``stuck`` hears of one that does not end.

    It counts looks, not time: after a freeze of the whole process a call gets its chance.
    """

    def __init__(
        self,
        stuck: Callable[[str], None] | None = None,
        looks: int = LOOKS,
        look_s: float = 1.0,
    ) -> None:
        super().__init__(name="stuck-calls", daemon=True)
        self._stuck = stuck or _end
        self._looks = looks
        self._look_s = look_s
        self._running: dict[object, list[int]] = {}
        self._over = threading.Event()

    @contextmanager
    def bounded(self) -> Iterator[None]:
        """Watch over what happens inside."""
        token = object()
        self._running[token] = [0]
        try:
            yield
        finally:
            del self._running[token]

    def run(self) -> None:
        """Look until ``stop``."""
        while not self._over.wait(self._look_s):
            for seen in list(self._running.values()):
                seen[0] += 1
                if seen[0] == self._looks:
                    self._stuck(f"a call of Kafka's client has not ended after {self._looks} looks")

    def stop(self) -> None:
        """Look no more."""
        self._over.set()


def _end(why: str) -> None:
    end_now(FatalError(why), EXIT_FATAL, REMEDY)
