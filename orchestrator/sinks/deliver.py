"""The worker of one channel: puts reader, scout, ledgers and sender together and runs them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from random import Random
from time import monotonic, sleep, time

from orchestrator.codec import open_codec
from orchestrator.errors import FencedError, SettingsError, TransactionFailed
from orchestrator.kafka.definitions import DefinitionStore
from orchestrator.kafka.topics import Logical, Topology
from orchestrator.links import open_links
from orchestrator.observability import get_logger, metrics
from orchestrator.observability.pages import serve_pages
from orchestrator.records import Action
from orchestrator.sender_settings import AnySender, InappSender
from orchestrator.settings import Settings
from orchestrator.sinks import metrics as sink_metrics
from orchestrator.sinks.delivery import Deliverer, Policy
from orchestrator.sinks.gate import Gate
from orchestrator.sinks.lanes import Item
from orchestrator.sinks.ledger import Ledger
from orchestrator.sinks.opening import START_S, open_sender
from orchestrator.sinks.partition import PartitionTask, Slots, Tools
from orchestrator.sinks.reader import HEARTBEAT_S, Reader
from orchestrator.sinks.records import Recorder
from orchestrator.sinks.render import Renderer
from orchestrator.sinks.scout import Scout
from orchestrator.sinks.senders.protocol import Sender
from orchestrator.sinks.stuck import StuckCalls

_NEEDS = ("actions", "deliveries", "events", "definitions", "dead-letters")
"""Looked at before the start; senders in the app need the inbox too."""
_WRITES: tuple[Logical, ...] = ("deliveries", "events", "inbox")
_SETUP = frozenset({"credentials", "configuration", "certificate"})
"""Reasons of a closed gate that a new setting mends."""
DRAIN_S = 8.0
"""A rebalance or a stop waits this long for sends in flight; later ones are resolved as unknown."""
OPEN_PAUSE_S = 0.5
QUESTIONS_S = 0.05
"""While the reader's thread waits for something, it looks for questions this often."""
_log = get_logger(__name__)


class Deliver:
    """One channel's worker. ``run`` until cancelled or ``stop``."""

    def __init__(self, settings: Settings, channel: str) -> None:
        chosen = settings.deliver.get(channel)
        if chosen is None:
            known = ", ".join(sorted(settings.deliver)) or "none"
            raise SettingsError(
                f"channel {channel!r} has no sender: add deliver.{channel} to the settings "
                f"(there: {known})"
            )
        self._settings = settings
        self._channel = channel
        self._sender_settings: AnySender = chosen
        self._codec = open_codec(settings)
        self._links = open_links(settings.links)
        self._chance = Random().random  # noqa: S311 - jitter, no secret
        self._tasks: dict[int, tuple[PartitionTask, asyncio.Task[None]]] = {}
        self._stopping = asyncio.Event()
        self._failure: BaseException | None = None
        self.ready = asyncio.Event()
        """Set when partitions, perhaps none, were assigned for the first time and are open."""

    def stop(self) -> None:
        """Begin a graceful stop; safe from signal handlers."""
        self._stopping.set()

    async def run(self) -> None:
        """Work until ``stop``; whatever the threads or partitions could not cope with is raised."""
        self._loop = asyncio.get_running_loop()
        settings, channel, codec = self._settings, self._channel, self._codec
        topology = Topology(settings)
        room = partial(metrics.free_bytes, Path(settings.worker.data_dir))
        metrics.disk_free_bytes.labels(f"deliver-{channel}").set_function(room)
        async with AsyncExitStack() as stack:
            port = await stack.enter_async_context(
                serve_pages(
                    self._sender_settings.web_host, self._sender_settings.web_port, self._waiting
                )
            )
            inbox = ("inbox",) if isinstance(self._sender_settings, InappSender) else ()
            await asyncio.to_thread(topology.verify, *_NEEDS, *inbox, channel=channel)
            await asyncio.to_thread(codec.prepare, topology.names(*_WRITES))
            store = stack.enter_context(DefinitionStore(settings, codec))
            await asyncio.to_thread(store.wait_until_read, START_S)
            opened = await stack.enter_async_context(open_sender(settings, codec, channel))
            self._make_sender = opened.make
            self._stuck = StuckCalls()
            self._stuck.start()
            stack.callback(self._stuck.stop)
            reader = Reader(settings, codec, channel)
            scout = Scout(settings, codec, reader.topic)
            scout.start()
            stack.push_async_callback(asyncio.to_thread, scout.close)
            self._reader = reader
            self._policy = Policy(self._sender_settings.attempts, self._sender_settings.on_unknown)
            self._gate = gate = Gate(self._sender_settings.rate, monotonic(), self._chance)
            sink_metrics.provider_held.labels(channel).set_function(lambda: float(bool(gate.why)))
            self._tools = Tools(
                channel=channel,
                renderer=Renderer(store.get, self._links),
                recorder=Recorder(settings, codec, self._now, opened.marks),
                scout=scout,
                slots=Slots(self._sender_settings.concurrency),
                gate=gate,
                confirm=reader.confirm,
                resend=self._sender_settings.on_unknown == "resend",
                stale_s=reader.session_s - HEARTBEAT_S,
            )
            reader.start(self, self._reader_failed)
            _log.info(
                "delivering",
                channel=channel,
                sender=type(self._sender_settings).__name__,
                web_port=port,
            )
            await self._stopping.wait()
            await asyncio.to_thread(reader.close)
        if self._failure:
            raise self._failure

    def _waiting(self) -> dict[str, str]:
        if self._stopping.is_set():
            return {"role": "stopping"}
        if not self.ready.is_set():
            return {"group": "partitions are being assigned and opened"}
        # A provider that is away is not a reason to stop a rollout; one that refuses us is.
        why = self._gate.why if self._gate.why in _SETUP else ""
        return {"provider": f"refuses us: {why}"} if why else {}

    def _now(self, action: Action) -> int:
        return action.decided_at if self._settings.clock.mode == "log" else int(time() * 1000)

    # ------------------------------------------------ called from the reader's thread

    def opened(self, partitions: Sequence[int], meanwhile: Callable[[], None]) -> Mapping[int, int]:
        """Fence, read the ledgers, start the tasks; see ``reader.Owner``."""
        if not partitions:  # all are with other members: this one stands by
            self._loop.call_soon_threadsafe(self.ready.set)
            return {}
        with ThreadPoolExecutor(len(partitions), "open") as threads:
            opening = {one: threads.submit(self._open, one) for one in partitions}
            while wait(opening.values(), QUESTIONS_S).not_done:
                meanwhile()
        opened = {partition: one.result() for partition, one in opening.items()}
        for partition, (_, position, _) in opened.items():
            self._tools.scout.add(partition, position)
        self._call(self._begin(opened), meanwhile)
        return {partition: position for partition, (_, position, _) in opened.items()}

    def revoked(
        self, partitions: Sequence[int], meanwhile: Callable[[], None], *, lost: bool
    ) -> None:
        """Drain what is in flight, unless it is lost anyway; see ``reader.Owner``."""
        self._call(self._end(partitions, 0.0 if lost else DRAIN_S), meanwhile)
        for partition in partitions:
            self._tools.scout.remove(partition)

    def feed(self, partition: int, items: Sequence[Item]) -> None:
        """Pass items to their task; see ``reader.Owner``."""
        task, _ = self._tasks[partition]
        self._loop.call_soon_threadsafe(task.feed, items)

    def backlog(self, partition: int) -> int:
        """Return what a task has not finished; see ``reader.Owner``."""
        task, _ = self._tasks[partition]
        return task.backlog

    def _open(self, partition: int) -> tuple[Ledger, int, Sender]:
        ledger = Ledger(
            self._settings,
            self._codec,
            self._channel,
            partition,
            self._reader.membership,
            self._stuck.bounded,
        )
        while True:
            try:
                position = ledger.open()
                return ledger, position, self._make_sender()
            except (FencedError, TransactionFailed) as error:
                _log.warning("cannot open", partition=partition, error=str(error))
                if self._stopping.is_set():
                    raise
                # A broker that is away comes back; a fence here is a rebalance that overtook us.
                sleep(OPEN_PAUSE_S)

    def _call(self, work: Coroutine[None, None, None], meanwhile: Callable[[], None]) -> None:
        called = asyncio.run_coroutine_threadsafe(work, self._loop)
        while wait([called], QUESTIONS_S).not_done:
            meanwhile()
        called.result()

    def _reader_failed(self, error: BaseException) -> None:
        self._loop.call_soon_threadsafe(self._fail, error)

    # --------------------------------------------------------------- on the event loop

    async def _begin(self, opened: Mapping[int, tuple[Ledger, int, Sender]]) -> None:
        for partition, (ledger, position, sender) in opened.items():
            deliverer = Deliverer(
                sender, self._policy, self._gate, self._now, self._chance, self._links
            )
            task = PartitionTask(partition, position, ledger, deliverer, self._tools)
            running = asyncio.create_task(task.run(), name=f"deliver-{self._channel}-{partition}")
            running.add_done_callback(self._task_ended)
            self._tasks[partition] = (task, running)
        self.ready.set()

    async def _end(self, partitions: Sequence[int], patience: float) -> None:
        ending = [self._tasks.pop(one) for one in partitions if one in self._tasks]
        for task, _ in ending:
            task.stop()
        if ending:
            await asyncio.wait([running for _, running in ending], timeout=patience)
        for task, running in ending:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await task.close()

    def _task_ended(self, running: asyncio.Task[None]) -> None:
        if not running.cancelled() and (error := running.exception()):
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error
        self.stop()
