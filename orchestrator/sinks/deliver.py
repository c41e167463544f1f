"""The worker of one channel: puts reader, scout, ledgers and sender together and runs them.

The only place of this package that knows which sender a channel has.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random
from time import monotonic, sleep, time

from orchestrator.codec import Codec, open_codec
from orchestrator.errors import FencedError, SettingsError, TransactionFailed
from orchestrator.kafka.definitions import DefinitionStore
from orchestrator.kafka.inbox import InboxTable
from orchestrator.kafka.topics import Logical, Topology
from orchestrator.links import open_links
from orchestrator.observability import get_logger, metrics
from orchestrator.observability.pages import serve_pages
from orchestrator.records import Action
from orchestrator.settings import (
    AnySender,
    InappSender,
    LogSender,
    Settings,
    SmtpSender,
    WebhookSender,
)
from orchestrator.sinks.delivery import Deliverer, Policy
from orchestrator.sinks.lanes import Item
from orchestrator.sinks.ledger import Ledger
from orchestrator.sinks.pacing import TokenBucket
from orchestrator.sinks.partition import PartitionTask, Slots, Tools
from orchestrator.sinks.reader import Reader
from orchestrator.sinks.records import Recorder
from orchestrator.sinks.render import Renderer
from orchestrator.sinks.scout import Scout
from orchestrator.sinks.senders.inapp import InappSender as Inapp
from orchestrator.sinks.senders.log import LogSender as Log
from orchestrator.sinks.senders.protocol import Sender
from orchestrator.sinks.senders.smtp import open_smtp
from orchestrator.sinks.senders.webhook import open_webhook

_NEEDS = ("actions", "deliveries", "events", "definitions", "dead-letters")
"""Looked at before the start; senders in the app need the inbox too."""
_WRITES: tuple[Logical, ...] = ("deliveries", "events", "inbox")
DRAIN_S = 8.0
"""A rebalance or a stop waits this long for sends in flight; later ones are resolved as unknown."""
START_S = 60.0
OPEN_PAUSE_S = 0.5
_log = get_logger(__name__)

SenderFactory = Callable[[], Sender]
"""Called at each opening of a partition, in a thread, after its former owner was fenced."""


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
            self._make_sender, marks = await stack.enter_async_context(
                self._senders(settings, codec)
            )
            reader = Reader(settings, codec, channel)
            scout = Scout(settings, codec, reader.topic)
            scout.start()
            stack.push_async_callback(asyncio.to_thread, scout.close)
            self._reader = reader
            self._policy = Policy(self._sender_settings.attempts, self._sender_settings.on_unknown)
            self._bucket = TokenBucket(self._sender_settings.rate, monotonic())
            self._tools = Tools(
                channel=channel,
                renderer=Renderer(store.get, self._links),
                recorder=Recorder(settings, codec, self._now, marks),
                scout=scout,
                slots=Slots(self._sender_settings.concurrency),
                confirm=reader.confirm,
                resend=self._sender_settings.on_unknown == "resend",
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
        return {} if self.ready.is_set() else {"group": "partitions are being assigned and opened"}

    def _now(self, action: Action) -> int:
        return action.decided_at if self._settings.clock.mode == "log" else int(time() * 1000)

    @asynccontextmanager
    async def _senders(
        self, settings: Settings, codec: Codec
    ) -> AsyncIterator[tuple[SenderFactory, Callable[[str], Sequence[str]]]]:
        match self._sender_settings:
            case SmtpSender() as smtp:
                async with open_smtp(smtp) as sender:
                    yield (lambda: sender), _no_marks
            case LogSender():
                yield Log, _no_marks
            case WebhookSender() as webhook:
                async with open_webhook(webhook) as poster:
                    yield (lambda: poster), _no_marks
            case InappSender():
                table = await asyncio.to_thread(InboxTable(settings, codec).start)
                try:
                    yield (lambda: _inapp(table)), table.marks
                finally:
                    await asyncio.to_thread(table.close)

    # ------------------------------------------------ called from the reader's thread

    def opened(self, partitions: Sequence[int]) -> Mapping[int, int]:
        """Fence, read the ledgers, start the tasks; see ``reader.Owner``."""
        if not partitions:  # all are with other members: this one stands by
            self._loop.call_soon_threadsafe(self.ready.set)
            return {}
        with ThreadPoolExecutor(len(partitions), "open") as threads:
            opened = dict(zip(partitions, threads.map(self._open, partitions), strict=True))
        for partition, (_, position, _) in opened.items():
            self._tools.scout.add(partition, position)
        self._call(self._begin(opened))
        return {partition: position for partition, (_, position, _) in opened.items()}

    def revoked(self, partitions: Sequence[int], *, lost: bool) -> None:
        """Drain what is in flight, unless it is lost anyway; see ``reader.Owner``."""
        self._call(self._end(partitions, 0.0 if lost else DRAIN_S))
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
            self._settings, self._codec, self._channel, partition, self._reader.membership
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

    def _call(self, work: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _reader_failed(self, error: BaseException) -> None:
        self._loop.call_soon_threadsafe(self._fail, error)

    # --------------------------------------------------------------- on the event loop

    async def _begin(self, opened: Mapping[int, tuple[Ledger, int, Sender]]) -> None:
        for partition, (ledger, position, sender) in opened.items():
            chance = Random()  # noqa: S311 - jitter, no secret
            deliverer = Deliverer(
                sender, self._policy, self._bucket, self._now, chance, self._links
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


def _no_marks(customer_id: str) -> Sequence[str]:  # noqa: ARG001 - stands where marks are asked for
    return ()


def _inapp(table: InboxTable) -> Sender:
    # The former owner's last inboxes must be in sight before the first one is written here.
    if not table.catch_up(START_S):
        raise TransactionFailed("the inbox topic cannot be read to its end")
    return Inapp(table.get)
