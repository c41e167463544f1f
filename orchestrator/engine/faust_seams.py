"""Faust's consumer, bent to the engine's needs. With its siblings the only importer of Faust.

Faust decides who owns a partition and hands over chunks of records; the engine does the rest. Every
override names what it replaces in faust-streaming 0.15.3 and aiokafka 0.14.0; a contract test keeps
the hashes of what is replaced, so that no upgrade goes unnoticed.

=====================  =============================================================================
``EngineThread``       read_committed; fetches wait shortly, or for a portion where much comes; chunks
                       stamped in the fetching thread; own seeks, numbered, so that chunks fetched
                       before a seek are known
``EngineConsumer``     delivers chunks; suspends the engine before a revoke; no bookkeeping of acks
``EngineTransport``    only to name the consumer
=====================  =============================================================================
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Iterable, Mapping
from concurrent.futures import Future as ThreadFuture
from typing import Any, TypeVar

from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, KafkaError
from aiokafka.structs import OffsetAndMetadata
from faust.transport.consumer import ensure_TP
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from mode.utils.futures import notify

from orchestrator.engine.engine import Engine
from orchestrator.engine.faust_leaving import leave_group
from orchestrator.engine.faust_records import use_plain_records
from orchestrator.engine.ports import Chunk, TaskId
from orchestrator.observability import get_logger

FETCH_WAIT_MS = 50
"""Faust's 1.5 s lets a busy partition wait behind an idle one's long poll."""
PORTION_FROM = 16
"""Records of one fetch from which on the next one waits for a portion: fewer, larger ones cost far less."""
PORTION_BYTES, PORTION_MS = 8 * 1024, 10
"""So much, compressed, or what there is after so long."""
FETCH_TIMEOUT_S = 0.2
"""Short: partitions that become active meanwhile must not wait."""
DELIVERY_RECORDS = 500
"""Records of one Faust event."""
SEEK_DEADLINE_S = 30.0
CLAIM_DEADLINE_S = 5.0
COMMIT_DEADLINE_S = 3.0
LAST_WORD_S, LAST_WORD_PAUSE_S = 4.0, 0.1
"""For so long a worker that stops asks a group that rebalances to hear its last positions."""
LEAVE_DEADLINE_S = 3.0
FAUST_LOG = logging.getLogger("faust")
"""Of our subclasses of Faust's services: their comings and goings are not the engine's."""
_T = TypeVar("_T")
_log = get_logger(__name__)


class EngineThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """The thread that fetches. ``chain`` and ``epochs`` belong to it alone, reads excepted."""

    logger = FAUST_LOG
    chain: dict[TopicPartition, int]
    """Where the next chunk of a partition begins."""
    epochs: dict[TopicPartition, int]
    """How often a partition has been sought."""

    @property
    def engine(self) -> Engine:
        """The engine of this app."""
        engine: Engine = self.app.engine
        return engine

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Faust offers no setting for either (drivers/aiokafka.py:571, 615).
        consumer._isolation_level = "read_committed"  # noqa: SLF001
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS  # noqa: SLF001
        use_plain_records()
        return consumer

    async def on_start(self) -> None:
        """Begin without any chain."""
        await super().on_start()
        self.chain, self.epochs = {}, {}

    async def on_partitions_assigned(self, assigned: set[Any], generation_id: int = 0) -> None:
        """Forget the chains; keep aiokafka from prefetching changelogs."""
        self.chain.clear()
        for tp in assigned:
            if self.engine.task_of(tp.topic, tp.partition) is None:
                self._consumer.pause(TopicPartition(tp.topic, tp.partition))
        await super().on_partitions_assigned(assigned, generation_id)

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: set[Any],
        timeout: float | None = None,  # noqa: ASYNC109 - the overridden signature
        max_records: int | None = None,
    ) -> dict[TP, Chunk]:
        fetched = await super()._fetch_records(
            consumer, active_partitions, timeout=timeout, max_records=max_records
        )
        # No await since the records were taken: position, generation and epoch fit them, and what the
        # next fetch waits for is set before its request is made.
        _pace(consumer._fetcher, sum(map(len, fetched.values())))  # noqa: SLF001
        chunks = {}
        assignment = consumer._subscription.subscription.assignment  # noqa: SLF001
        generation = consumer._coordinator.generation  # noqa: SLF001
        for tp, records in fetched.items():
            end = assignment.state_value(tp).position
            begin = self.chain.get(tp, records[0].offset)
            epoch = self.epochs.get(tp, 0)
            chunks[ensure_TP(tp)] = Chunk(
                tp.topic, tp.partition, begin, end, records, generation, epoch
            )
            self.chain[tp] = end
        return chunks

    async def seek_to(self, positions: Mapping[TopicPartition, int]) -> bool:
        """Continue at these positions; False if one of the partitions is not ours."""
        assigned = self._consumer.assignment()
        if not positions.keys() <= assigned:
            return False
        for tp, position in positions.items():
            self._consumer.seek(tp, position)
            self.chain[tp] = position
            self.epochs[tp] = self.epochs.get(tp, 0) + 1
        return True

    def known_end(self, tp: TopicPartition) -> int | None:
        """Return the high watermark as of the last fetch; read from other threads."""
        subscription = self._consumer._subscription.subscription  # noqa: SLF001
        assignment = None if subscription is None else subscription.assignment
        if assignment is None or tp not in assignment.tps:
            return None
        end: int | None = assignment.state_value(tp).highwater
        return end

    async def leave(self) -> None:
        """Leave the group for good."""
        await leave_group(self._consumer)

    async def commit_positions(self, positions: Mapping[TopicPartition, int]) -> None:
        """Commit group offsets: for lag tools, and as the test of membership."""
        offsets = {tp: OffsetAndMetadata(position, "") for tp, position in positions.items()}
        await self._consumer.commit(offsets)


class EngineConsumer(driver.Consumer):  # type: ignore[misc]
    """The consumer that Faust sees; ``GroupReader`` steers it."""

    logger = FAUST_LOG
    _poked: asyncio.Event | None = None

    @property
    def engine(self) -> Engine:
        """The engine of this app."""
        engine: Engine = self.app.engine
        return engine

    @property
    def thread(self) -> EngineThread:
        """The thread that fetches."""
        thread: EngineThread = self._thread
        return thread

    def _new_consumer_thread(self) -> EngineThread:
        return EngineThread(self, loop=self.loop, beacon=self.beacon)

    def fetches(self, tp: TP) -> bool:
        """Whether a partition is being fetched, or waits for its stream to take what was."""
        if not self.flow_active:
            return False
        return tp in self._get_active_partitions() or tp in self._buffered_partitions

    async def in_thread(self, work: Coroutine[Any, Any, _T], deadline: float) -> _T:
        """Run in the fetching thread's loop.

        Not by Faust's ``call_thread``, which is ONE serial queue (mode/threads.py:397): a commit
        that waits for a dead coordinator would keep fetches and seeks waiting too.
        """
        future: ThreadFuture[_T] = asyncio.run_coroutine_threadsafe(work, self._thread.thread_loop)
        return await asyncio.wait_for(asyncio.wrap_future(future), deadline)

    # ------------------------------------------------- positions come from the engine alone

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seek what runs to the engine's positions (drivers: to the group's, or not at all)."""
        positions = {
            partition_of(self.engine, task): core.position
            for task, core in self.engine.running().items()
        }
        await self.in_thread(self._thread.seek_to(positions), SEEK_DEADLINE_S)
        return {ensure_TP(tp): position for tp, position in positions.items()}

    def resume_partitions(self, tps: Iterable[TP]) -> None:
        """Resume, but never a partition whose task is not running yet."""
        super().resume_partitions({tp for tp in tps if self._may_resume(tp)})
        self._poke()

    def _may_resume(self, tp: TP) -> bool:
        task = self.engine.task_of(tp.topic, tp.partition)
        return task is not None and self.engine.ready(task)

    # ------------------------------------------------------- Faust's acks and commits: off

    def ack(self, message: Any) -> bool:
        """Only release the message; no gaps, no committable offsets."""
        if not message.acked:
            message.acked = True
            self._unacked_messages.discard(message)
            notify(self._waiting_for_ack)
        return True

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Tell the group how far this worker has come."""
        del topics, start_new_transaction
        if not self.app.rebalancing and not self.should_stop:
            await self._tell_group()
        return False

    async def _tell_group(self) -> bool:
        """Commit group offsets for lag tools and ``state reset``; a failure means nothing.

        Returns False if the group was in the midst of a rebalance: it may hear in a moment.
        """
        held = {
            partition_of(self.engine, task): slot.checkpointed
            for task, slot in self.engine.slots.items()
            if slot.holds and slot.checkpointed
        }
        ours = self.assignment() if held else set()  # before it has a consumer it holds nothing
        positions = {tp: position for tp, position in held.items() if ensure_TP(tp) in ours}
        if not positions:
            return True
        try:
            await self.in_thread(self._thread.commit_positions(positions), COMMIT_DEADLINE_S)
        except (KafkaError, TimeoutError) as error:
            _log.info("group offsets not committed", why=repr(error))
            return not isinstance(error, CommitFailedError)
        return True

    async def _tell_last(self) -> None:
        """Tell the group where this worker ends: nobody else knows if the changelog is lost.

        Workers that stop one after the other stop in the rebalance that the former one has caused.
        """
        deadline = time.monotonic() + LAST_WORD_S
        told = await self._tell_group()
        while not told and time.monotonic() < deadline:
            await asyncio.sleep(LAST_WORD_PAUSE_S)
            told = await self._tell_group()

    async def verify_all_partitions_active(self) -> None:
        """Off: it reads what ``ack`` no longer keeps. The engine has watchdogs of its own."""

    # ---------------------------------------------------------------------------- rebalance

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Let the engine commit while the group still knows us."""
        self.stop_flow()
        await self.engine.suspend()
        await super().on_partitions_revoked(revoked)

    async def on_stop(self) -> None:
        """Commit, tell the group, close, then leave: whoever else is there takes over at once."""
        await self.engine.suspend()
        await self.engine.settle()
        await self._tell_last()
        await self.engine.close()
        try:
            await self.in_thread(self._thread.leave(), LEAVE_DEADLINE_S)
        except (KafkaError, TimeoutError) as error:
            _log.info("the group waits for the session to expire", why=repr(error))
        await super().on_stop()

    # ----------------------------------------------------------------------------- delivery

    def _poke(self) -> None:
        if self._poked is not None:
            self._poked.set()

    def on_buffer_drop(self, tp: TP) -> None:
        """Wake the fetch loop (stock: it sleeps for a second)."""
        super().on_buffer_drop(tp)
        self._poke()

    def resume_flow(self) -> None:
        """Wake the fetch loop."""
        super().resume_flow()
        self._poke()

    async def _drain_messages(self, fetcher: Any) -> None:
        """Fetch chunks and deliver them, each as one Faust event (consumer.py:1170).

        A stop in the middle of a rebalance cancels it, and Faust would take that for a crash
        (consumer.py:178).
        """
        try:
            await self._fetch_on(fetcher)
        except asyncio.CancelledError:
            if not fetcher._stopped.is_set():  # noqa: SLF001
                raise

    async def _fetch_on(self, fetcher: Any) -> None:
        self._poked = asyncio.Event()
        while not (self._stopped.is_set() or fetcher._stopped.is_set()):  # noqa: SLF001
            await asyncio.sleep(0)
            if not self.flow_active:
                await self.wait(self.can_resume_flow)
                continue
            self._poked.clear()
            active = set(self._get_active_partitions())
            if not active:
                await self.wait_first(self._poked.wait(), timeout=1.0)
                continue
            chunks = await self._thread.getmany(active, FETCH_TIMEOUT_S)
            if self.should_stop:
                continue
            for tp, chunk in chunks.items():
                if not self.flow_active or self.app.consumer_generation_id != chunk.generation:
                    break  # sought again after the rebalance
                for part in split(chunk):
                    await self.wait_first(
                        self.callback(_message(tp, part)), self.suspend_flow.wait()
                    )


def _pace(fetcher: Any, fetched: int) -> None:
    """Choose what the next fetch waits for: where much comes, for a portion; else for one record."""
    much = fetched >= PORTION_FROM
    fetcher._fetch_min_bytes = PORTION_BYTES if much else 1  # noqa: SLF001
    fetcher._fetch_max_wait_ms = PORTION_MS if much else FETCH_WAIT_MS  # noqa: SLF001


def split(chunk: Chunk) -> list[Chunk]:
    """Return the chunk in portions that leave no gaps."""
    parts, begin, count = [], chunk.begin, len(chunk.records)
    for at in range(0, count, DELIVERY_RECORDS):
        records = chunk.records[at : at + DELIVERY_RECORDS]
        end = chunk.end if at + DELIVERY_RECORDS >= count else records[-1].offset + 1
        parts.append(
            Chunk(
                chunk.topic,
                chunk.partition,
                begin,
                end,
                records,
                chunk.generation,
                chunk.epoch,
            )
        )
        begin = end
    return parts


def _message(tp: TP, chunk: Chunk) -> ConsumerMessage:
    return ConsumerMessage(
        tp.topic,
        tp.partition,
        chunk.end - 1,
        chunk.records[-1].timestamp / 1000,
        0,
        None,
        b"",
        chunk,
        None,
        0,
        0,
        tp,
        generation_id=chunk.generation,
    )


def partition_of(engine: Engine, task: TaskId) -> TopicPartition:
    """Return the input partition of a task."""
    return TopicPartition(engine.source_of(task), task.partition)


class GroupReader:
    """The engine's ``Reader``: the consumer group by way of Faust's consumer."""

    def __init__(self, app: Any) -> None:
        self._app = app

    @property
    def _consumer(self) -> EngineConsumer:
        consumer: EngineConsumer = self._app.consumer
        return consumer

    def _tp(self, task: TaskId) -> tuple[TopicPartition, TP]:
        tp = partition_of(self._app.engine, task)
        return tp, ensure_TP(tp)

    async def seek(self, task: TaskId, position: int) -> bool:
        """Continue at ``position``; False: the partition is no longer ours."""
        tp, faust_tp = self._tp(task)
        consumer = self._consumer
        if faust_tp not in consumer.assignment():
            return False
        return await consumer.in_thread(consumer.thread.seek_to({tp: position}), SEEK_DEADLINE_S)

    def pause(self, task: TaskId) -> None:
        """Fetch no more of it for now."""
        self._consumer.pause_partitions({self._tp(task)[1]})

    def resume(self, task: TaskId) -> None:
        """Fetch it again."""
        self._consumer.resume_partitions({self._tp(task)[1]})

    def active(self, task: TaskId) -> bool:
        """Whether it is being fetched, or waits for its stream to take what was."""
        return self._consumer.fetches(self._tp(task)[1])

    async def still_ours(self, task: TaskId, position: int) -> bool:
        """Ask the group by a commit with the current generation."""
        tp, faust_tp = self._tp(task)
        consumer = self._consumer
        if self._app.rebalancing or faust_tp not in consumer.assignment():
            return False
        try:
            await consumer.in_thread(
                consumer.thread.commit_positions({tp: position}), CLAIM_DEADLINE_S
            )
        except (KafkaError, TimeoutError) as error:
            _log.info("not the owner", task=str(task), why=repr(error))
            return False
        return True

    def end(self, task: TaskId) -> int | None:
        """Return the input's end as of the last fetch; it also counts what is not committed yet."""
        return self._consumer.thread.known_end(self._tp(task)[0])

    def current(self, chunk: Chunk) -> bool:
        """Whether no seek has overtaken the chunk."""
        epochs = self._consumer.thread.epochs
        return chunk.epoch == epochs.get(TopicPartition(chunk.topic, chunk.partition), 0)


class EngineTransport(driver.Transport):  # type: ignore[misc]
    """Faust's transport with our consumer."""

    Consumer = EngineConsumer
