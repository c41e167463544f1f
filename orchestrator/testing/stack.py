"""A whole deployment on this machine: a real broker, a registry, a mail server, roles as processes.

Demos and end-to-end tests run on it; every role is started by the command that operators use.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import yaml

from orchestrator.errors import CouldNotRun
from orchestrator.settings import Settings, load_settings
from orchestrator.testing.broker import Broker
from orchestrator.testing.mail import MailServer
from orchestrator.testing.ports import free_ports
from orchestrator.testing.reaper import Reaper
from orchestrator.testing.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

WRITE_KEY = "demo-web"
SERVER_KEY = "demo-server"
READY_S = 60.0
STOP_S = 30.0
COMMAND_S = 120.0
TAIL_LINES = 30


@dataclass(slots=True)
class Role:
    """One running process of ours and its log; ``words`` and ``environment`` started it."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    words: tuple[str, ...]
    environment: Mapping[str, str]
    reaper: Reaper

    def tail(self) -> str:
        """Return the last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-TAIL_LINES:])


class Stack:
    """See the module docstring; a context manager.

    Args:
        folders: The workspace, then folders laid over it.
        clock: ``log`` plays recorded or told time, ``broker`` is real time.
        settings: Sections laid over what the stack itself sets.
        broker: A broker that runs already; without it the stack starts one of its own.
        prefix: Of all topics.
        environment: Variables of one command, by its words: each role may log in as another.
    """

    def __init__(
        self,
        *folders: Path,
        clock: Literal["broker", "log"] = "broker",
        settings: Mapping[str, Any] | None = None,
        broker: Broker | None = None,
        prefix: str = "journey",
        environment: Callable[[Sequence[str]], Mapping[str, str]] = lambda _: {},
    ) -> None:
        self._folders = folders
        self._clock = clock
        self._given = dict(settings or {})
        self._broker = broker
        self._prefix = prefix
        self._environment_of = environment
        self._exits = ExitStack()
        self.roles: dict[str, Role] = {}
        self.mail = MailServer()

    def __enter__(self) -> Self:
        with ExitStack() as exits:
            self.home = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="journeys-")))
            broker = self._broker or exits.enter_context(Broker())
            self.registry = registry = exits.enter_context(Registry())
            exits.enter_context(self.mail)
            exits.callback(self._stop_all)
            self.settings_file = self.home / "orchestrator.yaml"
            self._write_settings(broker.bootstrap, registry.url)
            self.settings: Settings = load_settings(self.settings_file, env={})
            self.run("topics", "apply")
            self.run("journeys", "apply", *(str(folder) for folder in self._folders))
            self._exits = exits.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._exits.__exit__(kind, error, traceback)

    @property
    def collector_url(self) -> str:
        """Where events go in by HTTP."""
        return f"http://127.0.0.1:{self.settings.collector.port}"

    @property
    def worker_url(self) -> str:
        """Where the worker answers."""
        return f"http://127.0.0.1:{self.settings.worker.web_port}"

    def run(self, *words: str) -> str:
        """Run one command of ours to its end; return what it printed.

        Raises:
            CouldNotRun: It ended with another code than 0.
        """
        done = subprocess.run(
            self._command(words),
            check=False,
            capture_output=True,
            text=True,
            env=self._environment(words),
            stdin=subprocess.DEVNULL,
            timeout=COMMAND_S,
        )
        if done.returncode:
            said = f"{done.stderr}\n{done.stdout}"
            raise CouldNotRun(f"orchestrator {' '.join(words)}: {said}")
        return done.stdout

    def start(
        self, *words: str, name: str = "", environment: Mapping[str, str] | None = None
    ) -> Role:
        """Start a role, for example ``start("deliver", "email")``, and return at once."""
        name = name or "-".join(words)
        log = self.home / f"{name}.log"
        environment = dict(environment or {})
        with log.open("ab") as sink:
            process = subprocess.Popen(
                self._command(words),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                env=self._environment(words) | environment,
                start_new_session=True,  # a Ctrl-C is for the owner, who then stops the roles
            )
        reaper = Reaper(process.pid)
        role = self.roles[name] = Role(name, process, log, words, environment, reaper)
        return role

    def revive(self) -> list[tuple[str, int]]:
        """Start every role again that has ended, as a supervisor does; return names and exit codes."""
        ended = [(role, role.process.poll()) for role in self.roles.values()]
        revived = [(role, code) for role, code in ended if code is not None]
        for role, _ in revived:
            role.reaper.release()
            self.start(*role.words, name=role.name, environment=role.environment)
        return [(role.name, code) for role, code in revived]

    def start_all(self) -> None:
        """Start worker, collector and one sink for each channel; wait until all are ready."""
        self.start("worker")
        self.start("collect")
        for channel in self.settings.deliver:
            self.start("deliver", channel)
        self.wait_ready("worker", f"{self.worker_url}/readyz")
        self.wait_ready("collect", f"{self.collector_url}/healthz")

    def wait_ready(self, name: str, url: str, timeout: float = READY_S) -> None:
        """Wait until a role answers 200 at ``url``.

        Raises:
            CouldNotRun: It ended, or did not get ready in time; its last lines are in the text.
        """
        role, deadline = self.roles[name], time.monotonic() + timeout
        while time.monotonic() < deadline:
            if role.process.poll() is not None:
                raise CouldNotRun(f"{name} ended with {role.process.returncode}:\n{role.tail()}")
            try:
                with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - our own address
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        raise CouldNotRun(f"{name} is not ready after {timeout:g} s:\n{role.tail()}")

    def last_words(self) -> str:
        """Return the last lines of every role's log: what to read when something did not happen."""
        return "\n".join(f"-- {role.name}\n{role.tail()}" for role in self.roles.values())

    def kill(self, name: str) -> None:
        """Kill -9 a role."""
        role = self.roles.pop(name)
        role.reaper.release()
        role.process.kill()
        role.process.wait()

    def stop(self, name: str) -> int:
        """Ask a role to stop; return its exit code (kills it if it does not)."""
        role = self.roles.pop(name)
        role.process.terminate()
        return _ended(role)

    def _stop_all(self) -> None:
        roles, self.roles = list(self.roles.values()), {}
        for role in roles:
            role.process.terminate()
        for role in roles:
            _ended(role)

    def _command(self, words: Sequence[str]) -> list[str]:
        return [sys.executable, "-m", "orchestrator", "--settings", str(self.settings_file), *words]

    def _environment(self, words: Sequence[str]) -> dict[str, str]:
        # The caller's own ORCHESTRATOR_ variables must not reach into the stack.
        kept = {k: v for k, v in os.environ.items() if not k.startswith("ORCHESTRATOR_")}
        return kept | dict(self._environment_of(words))

    def _write_settings(self, bootstrap: str, registry: str) -> None:
        smtp = {"sender": "smtp", "host": "127.0.0.1", "port": self.mail.port}
        web, collector = free_ports(2)
        settings: dict[str, Any] = {
            "dev": True,
            "kafka": {"bootstrap.servers": bootstrap},
            "registry": {"url": registry, "auto_register": True},
            "topics": {"prefix": self._prefix},
            "clock": {"mode": self._clock},
            "worker": {"data_dir": str(self.home / "state"), "web_port": web},
            "collector": {
                "port": collector,
                "write_keys": {
                    WRITE_KEY: {"source": "web"},
                    SERVER_KEY: {"source": "backend", "scope": "server"},
                },
                "inbox_secret": os.urandom(16).hex(),
            },
            "links": {"url": f"http://127.0.0.1:{collector}", "secret": os.urandom(16).hex()},
            "deliver": {
                "email": smtp,
                "inapp": {"sender": "inapp"},
                "push": {"sender": "log"},
                "sales": {"sender": "log"},
            },
        }
        for section, values in self._given.items():
            # Channels are the workspace's own: ours are not laid under the caller's.
            under = {} if section == "deliver" else settings.get(section, {})
            settings[section] = under | values
        self.settings_file.write_text(yaml.safe_dump(settings))


def _ended(role: Role) -> int:
    process = role.process
    try:
        code = process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
    role.reaper.release()
    return code
