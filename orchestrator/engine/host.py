"""The process that carries the engine: a Faust app, a worker with deadlines, pages.

Mode's Worker starts and stops the app. Added here: a watchdog *thread* (a blocked loop ignores
SIGTERM while heartbeats go on in another thread, so nobody would take over), a deadline for the
stop (with a hanging broker Faust took 41 s), and SIGUSR2, on which Faust opens a debugger, ignored.
Crash-only makes all of that safe: whatever is not committed is read again.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import threading
from collections.abc import AsyncIterable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

import faust
from faust.stores import STORES
from mode.worker import Worker

from orchestrator.engine.engine import Engine
from orchestrator.engine.faust_login import faust_credentials
from orchestrator.engine.faust_pages import add_pages
from orchestrator.engine.faust_seams import FAUST_LOG, EngineTransport, GroupReader
from orchestrator.engine.faust_tables import EngineTableManager
from orchestrator.engine.memory import LargePages
from orchestrator.engine.ports import Chunk
from orchestrator.errors import FatalError
from orchestrator.observability import get_logger
from orchestrator.observability.ending import EXIT_FATAL, end_now

SESSION_S: Final = 10.0
HEARTBEAT_S: Final = 0.3
"""A member hears of a rebalance by its heartbeat, and all stand still until the last one has."""
REBALANCE_S: Final = 30.0
INFORMATION_S: Final = 5.0
"""Between two commits of group offsets."""
BUFFERED_CHUNKS: Final = 16
LOOP_DEADLINE_S: Final = 15
STOP_DEADLINE_S: Final = 10.0
YOUNG_OBJECTS: Final = 400_000
"""Net new objects between two collections. Python's 700 are made by a hundred records, 50,000 by one fetch,
100,000 by what waits in queues behind a backlog, and each collection would walk all of that: 30 ms.
What the hot path makes has no cycles (59 objects were found in 500,000 events): the collector is there
for a few futures and tracebacks per fetch; should they all be such, tens of megabytes wait for it."""
OLD_COLLECTIONS: Final = 10, 100
"""Young collections to one of the middle generation, and of these to a full one, which walks every state
in memory; it finds next to nothing, since what lives so long dies by its last reference."""
NO_PAGES_PORT: Final = 1
"""Faust wants one even where it opens none."""
AFTERWARDS: Final = (
    "its supervisor starts it again, and it goes on at its last checkpoint: nothing is lost. If it "
    "ends again and again, see that entry in deploy/README.md"
)
"""What applies to every end, beside what the error itself says."""
EXIT_STOP_DEADLINE: Final = 75
_log = get_logger(__name__)


class EngineApp(faust.App):  # type: ignore[misc]
    """The stream app: groups, assignment, agents, tables, web; the engine does the work."""

    logger = FAUST_LOG
    engine: Engine
    reader: GroupReader

    _running: asyncio.Future[None] | None = None
    _watchdog: LoopWatchdog | None = None
    _pages: LargePages | None = None

    async def on_start(self) -> None:
        """Start the engine (``@app.task`` would run only after the first assignment)."""
        await super().on_start()
        self._running = asyncio.ensure_future(self.engine.run())
        self._running.add_done_callback(self._ended)
        self._watchdog = LoopWatchdog(lambda: self.engine.turned)
        self._watchdog.start()
        self._pages = LargePages()
        self._pages.start()
        settle_collector()

    async def on_shutdown(self) -> None:
        """End the engine's loop; its tasks were closed with the consumer."""
        if self._watchdog is not None:
            self._watchdog.stop()
        if self._pages is not None:
            self._pages.stop()
        if self._running is not None:
            self._running.cancel()
        await super().on_shutdown()

    def _on_rebalance_when_stopped(self) -> None:
        """Keep the connection, which Faust would close here: the consumer has last words to say.

        It is stopping, and leaves the group by itself, once its positions are told.
        """

    def engine_failed(self, error: BaseException) -> None:
        """End the process: nothing may go on beside a broken engine."""
        die(error)

    def _ended(self, running: asyncio.Future[None]) -> None:
        if not running.cancelled() and (error := running.exception()) is not None:
            die(error)


def settle_collector() -> None:
    """Let Python's cyclic collector look at what is new, and seldom.

    What has been imported and compiled by now stays: no collection needs to look at it again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, *OLD_COLLECTIONS)


def create_app(
    engine: Engine,
    *,
    app_id: str,
    brokers: list[str],
    credentials: Mapping[str, Any],
    data_dir: Path,
    instance: str,
    web: tuple[str, int] | None,
) -> EngineApp:
    """Return the app of ``engine``.

    Args:
        engine: Its ``reader`` is set here.
        app_id: Consumer group, and first part of the changelogs' names.
        brokers: ``host:port`` each.
        credentials: As ``aiokafka_credentials`` returns them.
        data_dir: For what Faust itself keeps.
        instance: Static member id: a restart does not move partitions.
        web: Host and port of the pages; None = no pages.
    """
    for chatty in ("faust", "mode", "aiokafka"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    STORES.aliases["engine"] = "orchestrator.engine.faust_tables:EngineStore"
    partitions = max(spec.partitions for spec in engine.stages.values())
    app = EngineApp(
        app_id,
        broker=[f"kafka://{broker}" for broker in brokers],
        broker_credentials=faust_credentials(credentials),
        store="engine://",
        datadir=str(data_dir),
        autodiscover=False,
        TableManager=EngineTableManager,
        topic_allow_declare=False,
        topic_disable_leader=True,
        topic_partitions=partitions,
        table_standby_replicas=0,
        recovery_consistency_check=False,
        consumer_group_instance_id=instance,
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=SESSION_S,
        broker_heartbeat_interval=HEARTBEAT_S,
        broker_rebalance_timeout=REBALANCE_S,
        # Faust's default of 90 s let a dead coordinator hang everything for 43 s.
        broker_request_timeout=SESSION_S + 2,
        broker_commit_interval=INFORMATION_S,
        broker_commit_every=10**9,
        broker_check_crcs=False,
        stream_buffer_maxsize=BUFFERED_CHUNKS,
        stream_wait_empty=False,
        web_enabled=web is not None,
        web_bind=web[0] if web else "127.0.0.1",
        web_host=_reachable(web[0]) if web else "127.0.0.1",
        web_port=web[1] if web else NO_PAGES_PORT,
        # Everyone's state for the asking: never.
        web_tables_enabled=False,
        web_router_enabled=False,
    )
    app.transport = EngineTransport(app.conf.broker_consumer, app)
    app.engine, app.reader = engine, GroupReader(app)
    engine.reader = app.reader
    for name, spec in engine.stages.items():
        topic = app.topic(
            spec.source,
            key_type=bytes,
            value_type=bytes,
            key_serializer="raw",
            value_serializer="raw",
        )
        app.Table(spec.stage.table, key_type=bytes, value_type=bytes, partitions=spec.partitions)
        app.agent(topic, name=name)(_delivery(app))
    if web is not None:
        add_pages(app, engine)
    return app


def _reachable(bound: str) -> str:
    """Return under which host other workers reach a page that is bound to ``bound``."""
    if bound not in {"0.0.0.0", "::", ""}:  # noqa: S104 - compared, not bound
        return bound
    try:
        return socket.gethostbyname(socket.gethostname())  # a container's own address
    except OSError:
        return socket.gethostname()


def _delivery(app: EngineApp) -> Callable[[AsyncIterable[Chunk]], Any]:
    async def deliver(chunks: AsyncIterable[Chunk]) -> None:
        async for chunk in chunks:
            try:
                if app.reader.current(chunk):
                    app.engine.offer(chunk)
            except Exception as error:  # noqa: BLE001 - Faust would acknowledge and go on
                die(error)

    return deliver


class Host(Worker):  # type: ignore[misc]
    """Mode's Worker with our signals and deadlines; logging is the caller's."""

    logger = FAUST_LOG

    def __init__(self, app: EngineApp, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(app, loop=loop, override_logging=False, redirect_stdouts=False, quiet=True)
        self._stopping = False

    def _on_sigint(self) -> None:
        self._schedule_shutdown(signal.SIGINT)

    def _on_sigusr2(self) -> None:
        _log.info("SIGUSR2 is ignored")

    def _schedule_shutdown(self, signal: signal.Signals) -> None:
        if self._stopping:
            die(SystemExit("second signal"), EXIT_STOP_DEADLINE)
        self._stopping = True
        timer = threading.Timer(
            STOP_DEADLINE_S, die, (SystemExit("stop deadline"), EXIT_STOP_DEADLINE)
        )
        timer.daemon = True
        timer.start()
        super()._schedule_shutdown(signal)


def serve(make_app: Callable[[], EngineApp]) -> NoReturn:
    """Run the app that ``make_app`` builds inside the loop's policy; ends the process."""
    import uvloop

    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    host = Host(make_app(), loop)
    try:
        host.execute_from_commandline()
    except asyncio.CancelledError as error:  # as a crash's reason; mode itself lets it through
        die(error)
    except SystemExit as end:
        if end.code:  # a service of Faust's has crashed: its error is what mode ended for
            die(end.__context__ or end)
    raise SystemExit(0)


class LoopWatchdog(threading.Thread):
    """Ends the process when the event loop has not turned for ``LOOP_DEADLINE_S`` looks.

    It counts looks, not time: after a freeze of the whole process the loop gets its chance.
    """

    def __init__(self, turned: Callable[[], float], look_s: float = 1.0) -> None:
        super().__init__(name="loop-watchdog", daemon=True)
        self._turned = turned
        self._look_s = look_s
        self._over = threading.Event()

    def run(self) -> None:
        """Look once a second."""
        last, same = self._turned(), 0
        while not self._over.wait(self._look_s):
            now = self._turned()
            same = same + 1 if now == last else 0
            last = now
            if same >= LOOP_DEADLINE_S:
                die(FatalError(f"the event loop has not turned for {LOOP_DEADLINE_S} s"))

    def stop(self) -> None:
        """Look no more."""
        self._over.set()


def die(error: BaseException, code: int | None = None) -> NoReturn:
    """End the process at once; a supervisor starts it again."""
    if code is None:
        code = error.exit_code if isinstance(error, FatalError) else EXIT_FATAL
    end_now(error, code, AFTERWARDS)
