"""A real single-node Apache Kafka: started, health-checked and stopped, with nothing installed by hand.

::

    with Broker() as broker:
        producer = Producer({"bootstrap.servers": broker.bootstrap})

Several run side by side, each on its own free ports and in its own folder. Topics are never
created by mere use, as on most clusters in production. ``python -m orchestrator.testing.broker``
runs one in the foreground and prints its address.
"""

from __future__ import annotations

import base64
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from orchestrator.errors import BrokerUnavailable, CouldNotRun
from orchestrator.testing.jars import java, kafka_classpath
from orchestrator.testing.ports import free_ports
from orchestrator.testing.reaper import Reaper

START_SECONDS = 90.0
"""A start takes about 4 s; a loaded machine with two cores may need many times that."""
STOP_SECONDS = 30.0
START_ATTEMPTS = 3
"""A port that was free may be taken before the broker binds it."""
TAIL_LINES = 40
QUICK_START = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""For tests: little memory, and ready in half the time. Under load it stands still for a twentieth of
a second every other second, to collect."""
AS_DEPLOYED = (
    "-server -Xms1g -Xmx1g -XX:+UseG1GC -XX:MaxGCPauseMillis=20 "
    "-XX:InitiatingHeapOccupancyPercent=35 -XX:+ExplicitGCInvokesConcurrent"
).split()
"""What Kafka's own start scripts give: for figures."""
LOGGING = (
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
)


class Broker:
    """One broker process with its folder; a context manager.

    Args:
        properties: Server properties beside, or instead of, the ones of ``_server_properties``.
        listeners: Further listeners, name -> security protocol (``{"SASL": "SASL_PLAINTEXT"}``);
            ``address(name)`` tells where each listens.
        folder: Where configuration, data and log lie, and stay; by default a temporary folder
            that goes with the broker.
        jvm: Options of its Java.
    """

    def __init__(
        self,
        properties: Mapping[str, str] | None = None,
        *,
        listeners: Mapping[str, str] | None = None,
        folder: Path | None = None,
        jvm: Sequence[str] = QUICK_START,
    ) -> None:
        self._jvm = jvm
        self._properties = dict(properties or {})
        self._listeners = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", **(listeners or {})}
        self._keep = folder is not None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="orchestrator-broker-"))
        self._ports: dict[str, int] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._reaper: Reaper | None = None

    # Where it is.

    @property
    def bootstrap(self) -> str:
        """``host:port`` for ``bootstrap.servers``; stays the same over a restart."""
        return self.address("PLAINTEXT")

    def address(self, listener: str) -> str:
        """Return ``host:port`` of one listener.

        Raises:
            BrokerUnavailable: The broker was never started.
        """
        if listener not in self._ports:
            raise BrokerUnavailable("the broker was not started")
        return f"127.0.0.1:{self._ports[listener]}"

    @property
    def pid(self) -> int:
        """The broker's process, for faults such as SIGSTOP.

        Raises:
            BrokerUnavailable: The broker does not run.
        """
        if self._process is None:
            raise BrokerUnavailable("the broker does not run")
        return self._process.pid

    @property
    def log_file(self) -> Path:
        """What the broker printed, over all its restarts."""
        return self.folder / "broker.log"

    def log_tail(self, lines: int = TAIL_LINES) -> str:
        """Return the last lines of the log."""
        if not self.log_file.exists():
            return ""
        text = self.log_file.read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    # Its life.

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start(self, timeout: float = START_SECONDS) -> None:
        """Start and wait until it answers; formats the folder the first time.

        Raises:
            CouldNotRun: It ended or did not answer in time; the text holds the tail of its log.
        """
        if self._process is not None:
            return
        formatted = bool(self._ports)
        for attempt in range(1, START_ATTEMPTS + 1):
            if not formatted:
                self._prepare()
            self._launch()
            try:
                self._await_ready(timeout)
            except CouldNotRun:
                taken = "BindException" in self.log_tail() and not formatted
                self.kill()
                if not taken or attempt == START_ATTEMPTS:
                    raise
            else:
                return

    def stop(self, timeout: float = STOP_SECONDS) -> None:
        """Stop in good order; killed if that takes too long. The data stay."""
        self._end(signal.SIGTERM, timeout)

    def kill(self) -> None:
        """Kill it (SIGKILL), as a crash would. The data stay."""
        self._end(signal.SIGKILL, STOP_SECONDS)

    def restart(self) -> None:
        """Stop in good order, start on the same ports with the same data."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop for good; a temporary folder goes."""
        if self._keep:
            self.stop()
        else:
            self.kill()
            shutil.rmtree(self.folder, ignore_errors=True)

    # How it is done.

    def _prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self.folder / "data", ignore_errors=True)
        self._ports = dict(zip(self._listeners, free_ports(len(self._listeners)), strict=True))
        lines = [f"{name}={value}" for name, value in self._server_properties().items()]
        (self.folder / "server.properties").write_text("\n".join(lines) + "\n", encoding="utf-8")
        # Without dashes: a leading one would be taken for an option.
        cluster = (
            base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")
        )
        command = self._java("kafka.tools.StorageTool", "format", "-t", cluster, "-c")
        done = subprocess.run(
            [*command, str(self.folder / "server.properties")],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise CouldNotRun(f"cannot format the broker's folder:\n{done.stdout}{done.stderr}")

    def _server_properties(self) -> dict[str, str]:
        def joined(form: str) -> list[str]:
            return [
                form.format(name=name, protocol=protocol, port=self._ports[name])
                for name, protocol in self._listeners.items()
            ]

        listening = joined("{name}://127.0.0.1:{port}")
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{self._ports['CONTROLLER']}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "listeners": ",".join(listening),
            "advertised.listeners": ",".join(
                entry for entry in listening if not entry.startswith("CONTROLLER:")
            ),
            "listener.security.protocol.map": ",".join(joined("{name}:{protocol}")),
            "log.dirs": str(self.folder / "data"),
            "auto.create.topics.enable": "false",
            "group.initial.rebalance.delay.ms": "0",
            # One node, and few internal partitions: the first use of each is much quicker.
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "4",
            # After a crash the controller waits so long for the former incarnation (default 9 s).
            "broker.session.timeout.ms": "4000",
            "broker.heartbeat.interval.ms": "1000",
            "log.cleaner.dedupe.buffer.size": str(32 * 1024 * 1024),
            **self._properties,
        }

    def _java(self, *arguments: str) -> list[str]:
        return [str(java()), *self._jvm, *LOGGING, "-cp", kafka_classpath(), *arguments]

    def _launch(self) -> None:
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self._java("kafka.Kafka", str(self.folder / "server.properties")),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                start_new_session=True,  # a Ctrl-C is for the owner, who then stops the broker
            )
        self._reaper = Reaper(self._process.pid)

    def _await_ready(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        port = self._ports["PLAINTEXT"]
        while not _listens(port):  # cheaper than a client that logs each refusal
            self._check_alive(deadline)
            time.sleep(0.05)
        client = AdminClient(
            {"bootstrap.servers": self.bootstrap, "log_level": 0, "reconnect.backoff.max.ms": 200}
        )
        while True:
            try:
                if client.list_topics(timeout=2).brokers:
                    return
            except KafkaException:
                pass
            self._check_alive(deadline)

    def _check_alive(self, deadline: float) -> None:
        if self._process is None or self._process.poll() is not None:
            raise CouldNotRun(f"the broker ended while it started:\n{self.log_tail()}")
        if time.monotonic() > deadline:
            raise CouldNotRun(f"the broker did not answer in time:\n{self.log_tail()}")

    def _end(self, how: signal.Signals, timeout: float) -> None:
        process, reaper = self._process, self._reaper
        self._process = self._reaper = None
        if reaper is not None:
            reaper.release()
        if process is None:
            return
        if how is signal.SIGTERM:
            process.terminate()
            try:
                process.wait(timeout)
            except subprocess.TimeoutExpired:
                process.kill()
        else:
            process.kill()
        process.wait(timeout)


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def main() -> None:
    """Run one broker until SIGINT or SIGTERM; its address is the first line of output."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with Broker() as broker:
        print(broker.bootstrap, flush=True)  # noqa: T201 - the address is this program's output
        ended.wait()


if __name__ == "__main__":
    main()
