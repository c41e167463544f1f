"""The live demo: everything on this machine, in real time, with simulated customers."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack
from threading import Event as Flag
from typing import TYPE_CHECKING, Final, Self

from orchestrator.cli.demo.population import Population
from orchestrator.cli.demo.view import Figures
from orchestrator.errors import CouldNotRun
from orchestrator.testing.observer import Observer
from orchestrator.testing.stack import SERVER_KEY, WRITE_KEY, Stack
from orchestrator.testing.window import Window

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

    from orchestrator.cli.demo.view import View

SEED: Final = 20260302
LOOK_S: Final = 0.1
LOOP_S: Final = 5.0
"""A role that ends again so soon after its start is not started at once: something is wrong."""
STOPPED_BY: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopping:
    """Signals as a wish to stop; a context manager of the main thread.

    While something starts, a signal interrupts it (KeyboardInterrupt); once ``patient``, it only
    sets ``flag``. Whatever comes after the first is ignored: everything is being stopped already.
    """

    def __init__(self) -> None:
        self.flag = Flag()
        self.patient = False

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._heard) for number in STOPPED_BY}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _heard(self, _number: int, _frame: FrameType | None) -> None:
        if self.flag.is_set():
            return
        self.flag.set()
        if not self.patient:
            raise KeyboardInterrupt


def play(workspace: Path, view: View, seconds: float | None) -> None:
    """Start everything, show it for ``seconds`` (None: until a signal comes), stop everything.

    Raises:
        CouldNotRun: Something does not start, or ends over and over.
    """
    with Stopping() as stopping:
        try:
            view.note("starting a real Kafka, a schema registry, a mail server and all roles ...")
            with view, Stack(workspace, workspace / "demo") as stack:
                stack.start_all()
                stopping.patient = True
                Demo(stack, view).run(stopping.flag, seconds)
        except KeyboardInterrupt:
            pass
    view.note("everything is stopped")


class Demo:
    """A running deployment with its customers and its supervisor."""

    def __init__(self, stack: Stack, view: View, seed: int = SEED) -> None:
        self._stack = stack
        self._view = view
        self._population = Population(stack, seed)
        self._revived: dict[str, float] = {}

    def run(self, stop: Flag, seconds: float | None) -> None:
        """Show what is decided until it is time.

        Raises:
            CouldNotRun: A role ends over and over, or the customers cannot go on.
        """
        began = time.monotonic()
        with ExitStack() as exits:
            observer = exits.enter_context(Observer(self._stack.settings, frozenset({"decisions"})))
            window = exits.enter_context(Window(self._stack))
            self._view.opened(self._addresses(window))
            exits.enter_context(self._population)
            while not stop.is_set() and (seconds is None or time.monotonic() - began < seconds):
                self._supervise()
                observer.poll(LOOK_S)
                for decision in observer.decisions:
                    self._view.decision(decision)
                observer.decisions.clear()
                self._view.turn(self._figures(began))
                if self._population.failure:
                    raise CouldNotRun(str(self._population.failure))
            self._view.turn(self._figures(began), last=True)

    def _addresses(self, window: Window) -> dict[str, str]:
        stack = self._stack
        return {
            "kafka": str(stack.settings.kafka["bootstrap.servers"]),
            "collector": stack.collector_url,
            "write_key": WRITE_KEY,
            "server_key": SERVER_KEY,
            "worker": stack.worker_url,
            "inbox": f"{window.url}/inbox",
            "mail": f"{window.url}/mail",
            "settings": str(stack.settings_file),
        }

    def _figures(self, began: float) -> Figures:
        people = self._population
        return Figures(
            seconds=time.monotonic() - began,
            people=people.about,
            told=people.told,
            mails=self._stack.mail.count,
        )

    def _supervise(self) -> None:
        """Start again what has ended, as Kubernetes or systemd would."""
        for name, code in self._stack.revive():
            now, before = time.monotonic(), self._revived.get(name)
            if before is not None and now - before < LOOP_S and code > 0:
                raise CouldNotRun(f"{name} ends over and over:\n{self._stack.roles[name].tail()}")
            self._revived[name] = now
            how = f"by signal {-code}" if code < 0 else f"with code {code}"
            self._view.note(
                f"{name} ended {how}: started again; it goes on where its last commit was"
            )
