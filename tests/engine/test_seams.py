"""The private seams of Faust and aiokafka are as they were when the engine was fitted to them.

A failing hash means: a new version changed what we override or rely on. Read the difference, adapt
``engine/faust_*.py`` if need be, run the Kafka and chaos tests, then record the new hash.
"""

from __future__ import annotations

import hashlib
import inspect
from importlib.metadata import version

import aiokafka
import aiokafka.consumer.fetcher
import aiokafka.consumer.group_coordinator
import faust.stores.base
import faust.tables.manager
import faust.tables.recovery
import faust.transport.consumer
import mode.threads
import mode.worker
import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED
from aiokafka.consumer.subscription_state import Assignment, TopicPartitionState
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from faust.transport.drivers import aiokafka as driver

from orchestrator.engine import faust_seams
from orchestrator.engine.faust_records import PlainRecords
from orchestrator.engine.faust_tables import EngineRecovery, EngineTableManager
from orchestrator.engine.ports import Chunk
from orchestrator.engine.simulated import SimulatedRecord

OVERRIDDEN = {
    "thread.create_worker_consumer": driver.AIOKafkaConsumerThread._create_worker_consumer,
    "thread.on_start": driver.AIOKafkaConsumerThread.on_start,
    "thread.fetch_records": driver.AIOKafkaConsumerThread._fetch_records,
    "thread.on_partitions_assigned": faust.transport.consumer.ConsumerThread.on_partitions_assigned,
    "consumer.drain_messages": faust.transport.consumer.Consumer._drain_messages,
    "consumer.ack": faust.transport.consumer.Consumer.ack,
    "consumer.commit": faust.transport.consumer.Consumer.commit,
    "consumer.on_partitions_revoked": faust.transport.consumer.Consumer.on_partitions_revoked,
    "consumer.on_stop": faust.transport.consumer.Consumer.on_stop,
    "consumer.on_buffer_drop": faust.transport.consumer.Consumer.on_buffer_drop,
    "consumer.resume_flow": faust.transport.consumer.Consumer.resume_flow,
    "consumer.resume_partitions": faust.transport.consumer.Consumer.resume_partitions,
    "consumer.seek_to_committed": faust.transport.consumer.ThreadDelegateConsumer.seek_to_committed,
    "consumer.new_thread": driver.Consumer._new_consumer_thread,
    "recovery.on_recovery_completed": faust.tables.recovery.Recovery.on_recovery_completed,
    "recovery.on_rebalance": faust.tables.recovery.Recovery.on_rebalance,
    "recovery.restart": faust.tables.recovery.Recovery._restart_recovery,
    "manager.recovery": faust.tables.manager.TableManager.recovery.fget,
    "fetcher.partition_records": aiokafka.consumer.fetcher.PartitionRecords,
    "fetcher.fetch_result": aiokafka.consumer.fetcher.FetchResult,
    "coordinator.close": aiokafka.consumer.group_coordinator.GroupCoordinator.close,
    "coordinator.send_req": aiokafka.consumer.group_coordinator.GroupCoordinator._send_req,
    "threads.call_thread": mode.threads.QueueServiceThread.call_thread,
    "worker.schedule_shutdown": mode.worker.Worker._schedule_shutdown,
    "worker.on_sigusr2": mode.worker.Worker._on_sigusr2,
}

HASHES = {
    "thread.create_worker_consumer": "c2701bfc3e6f",
    "thread.on_start": "38b4e8bd1e10",
    "thread.fetch_records": "39a2c6c79fc1",
    "thread.on_partitions_assigned": "e59e8dda4372",
    "consumer.drain_messages": "44a2500309e8",
    "consumer.ack": "5fcf41cf4515",
    "consumer.commit": "a354437baaa0",
    "consumer.on_partitions_revoked": "d04b7ae72c6f",
    "consumer.on_stop": "45b1d2210ce2",
    "consumer.on_buffer_drop": "4b57e8a418d5",
    "consumer.resume_flow": "db59630f25b5",
    "consumer.resume_partitions": "afe6b7c02a41",
    "consumer.seek_to_committed": "f1d483b861b0",
    "consumer.new_thread": "0870ec53dea7",
    "recovery.on_recovery_completed": "6ef567acf072",
    "recovery.on_rebalance": "aa4d997a1795",
    "recovery.restart": "6bd8a8558a2d",
    "manager.recovery": "f0bf5de78b4c",
    "fetcher.partition_records": "94aa0da0dbec",
    "fetcher.fetch_result": "d7db13f06de8",
    "coordinator.close": "f30d83108945",
    "coordinator.send_req": "fa4b12e914ce",
    "threads.call_thread": "479edda75b54",
    "worker.schedule_shutdown": "1a6a5dfc88c2",
    "worker.on_sigusr2": "82a9df91cebb",
}


def digest(function: object) -> str:
    function = getattr(function, "fun", function)  # mode wraps background tasks
    return hashlib.sha256(inspect.getsource(function).encode()).hexdigest()[:12]


def test_the_pinned_versions_are_installed():
    """The hashes below stand for exactly these."""
    assert version("faust-streaming") == "0.15.3"
    assert version("mode-streaming") == "0.7.1"
    assert version("aiokafka") == "0.14.0"


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_what_we_override_has_not_changed(name):
    """Source hash of every method that a seam replaces or calls by ``super``."""
    assert digest(OVERRIDDEN[name]) == HASHES[name]


def test_the_private_names_exist():
    """What the seams touch without overriding it."""
    parameters = inspect.signature(aiokafka.AIOKafkaConsumer.__init__).parameters
    assert {"isolation_level", "fetch_max_wait_ms"} <= parameters.keys()
    source = inspect.getsource(aiokafka.AIOKafkaConsumer)
    for name in ("self._isolation_level", "self._fetch_max_wait_ms", "self._coordinator"):
        assert name in source
    assert "position" in dir(TopicPartitionState)
    assert "state_value" in dir(Assignment)
    store = faust.stores.base.Store
    assert {"backup_partition", "restore_backup"} <= store.__abstractmethods__ or hasattr(
        store, "backup_partition"
    )


def test_isolation_and_fetch_wait_are_read_when_the_consumer_starts():
    """They are set after construction: aiokafka must not have used them before ``start``."""
    source = inspect.getsource(aiokafka.AIOKafkaConsumer.start)
    assert "isolation_level=self._isolation_level" in source
    assert "fetch_max_wait_ms=self._fetch_max_wait_ms" in source


def test_plain_records_have_what_the_engine_asks_for():
    """The C reader's own records, also of a batch that somebody else has written."""
    builder = DefaultRecordBatchBuilder(2, 0, 1, -1, -1, -1, 10_000)
    builder.append(0, 1_234, b"k", b"v", [("h", b"x")])
    builder.append(1, 1_235, None, None, [])
    records = MemoryRecords(bytes(builder.build()))
    tp = TopicPartition("t", 0)
    found = list(PlainRecords(tp, records, None, 0, None, None, False, READ_COMMITTED))
    seen = [(r.offset, r.timestamp, r.key, r.value, list(r.headers)) for r in found]
    assert seen == [(0, 1_234, b"k", b"v", [("h", b"x")]), (1, 1_235, None, None, [])]


def test_a_chunk_is_split_without_gaps():
    """Every portion says where it begins and ends; the last reaches the reader's position."""
    records = [SimulatedRecord(n * 3, n, b"k", b"v") for n in range(1_201)]
    chunk = Chunk("t", 1, 0, 3_700, records, generation=4, epoch=2)
    parts = faust_seams.split(chunk)
    assert [len(part.records) for part in parts] == [500, 500, 201]
    assert [part.begin for part in parts] == [0, parts[0].end, parts[1].end]
    assert (parts[-1].end, parts[0].end) == (3_700, 499 * 3 + 1)
    assert {(part.generation, part.epoch) for part in parts} == {(4, 2)}


def test_the_seams_are_ours():
    """Transport, thread and recovery are found where Faust looks for them."""
    assert faust_seams.EngineTransport.Consumer is faust_seams.EngineConsumer
    assert EngineTableManager.recovery.fget is not None
    assert not EngineRecovery.need_recovery(None)
