"""An event loop without clock, sockets and threads: somebody outside turns it, step by step."""

from __future__ import annotations

import asyncio
import contextlib
from asyncio import events
from concurrent.futures import Executor

from simulation.logs import Crash


class _NoSelector:
    def select(self, _timeout):
        return []


class SimLoop(asyncio.BaseEventLoop):
    """One process's loop.

    ``run_in_executor`` runs the work on the loop itself, after a drawn delay, as a whole.

    Args:
        rnd: Draws delays.
        now: Monotonic seconds.
    """

    def __init__(self, rnd, now) -> None:
        super().__init__()
        self._selector = _NoSelector()
        self._rnd, self._now = rnd, now
        self.crashed = False
        self._all: list[asyncio.Task] = []
        self._pooled: list[asyncio.Future] = []
        self.set_task_factory(self._task)

    def _task(self, loop, coroutine, **more):
        task = asyncio.Task(coroutine, loop=loop, **more)
        task._log_destroy_pending = False
        self._all.append(task)
        return task

    def time(self) -> float:
        return self._now()

    def _process_events(self, _events) -> None:
        return

    def _write_to_self(self) -> None:
        return

    @property
    def due(self) -> float:
        """When it wants to be turned."""
        if self._ready:
            return 0.0
        return self._scheduled[0].when() if self._scheduled else float("inf")

    def turn(self) -> None:
        """Run what is ready. It stays the running loop until another one is turned."""
        if events._get_running_loop() is not self:
            events._set_running_loop(self)
        self._run_once()

    def run_in_executor(self, executor, func, *args):
        del executor
        future = self.create_future()
        self._pooled.append(future)

        def work() -> None:
            if self.crashed:
                return
            try:
                result = func(*args)
            except Crash:
                self.crashed = True
            except Exception as error:  # noqa: BLE001 - as a thread would keep it
                if not future.cancelled():
                    future.set_exception(error)
            else:
                if not future.cancelled():
                    future.set_result(result)

        self.call_later(
            self._rnd.choice([0.0, 0.0, 0.0, 0.002, 0.002, 0.03, 0.03, 0.2, 0.2, 1.0]), work
        )
        return future

    def die(self) -> None:
        """Forget everything at once, as a killed process does."""
        self.crashed = True
        for task in self._all:
            if task.done():
                if not task.cancelled():
                    task.exception()
                continue
            for _ in range(5):
                try:
                    task.get_coro().close()
                except RuntimeError:  # it wanted to wait for something while it was closed
                    continue
                break
        for future in self._pooled:
            if future.done() and not future.cancelled():
                future.exception()
        self._ready.clear()
        self._scheduled.clear()
        with contextlib.suppress(RuntimeError):
            self.close()


def leave_loops() -> None:
    """No loop is running any more."""
    events._set_running_loop(None)


class NoThreads(Executor):
    """Stands for the engine's pools."""

    def __init__(self, *_, **__) -> None:
        return
