"""The private seams of Faust and aiokafka are as they were when the engine was fitted to them.

A failing hash means: a new version changed what we override or rely on. The message says what the
engine assumes there. Read the difference, adapt ``engine/faust_*.py`` if need be, run the Kafka and
chaos tests, then record the new hash.
"""

from __future__ import annotations

import ast
import asyncio
import hashlib
import inspect
import textwrap
from importlib.metadata import version
from types import SimpleNamespace

import aiokafka
import aiokafka.consumer.fetcher
import aiokafka.consumer.group_coordinator
import faust
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
from faust.assignor.partition_assignor import PartitionAssignor
from faust.transport.drivers import aiokafka as driver
from faust.types import ConsumerMessage

from orchestrator.engine import faust_seams, host
from orchestrator.engine.faust_records import PlainRecords
from orchestrator.engine.faust_tables import EngineRecovery, EngineStore, EngineTableManager
from orchestrator.engine.ports import Chunk
from orchestrator.engine.simulated import SimulatedRecord

_Thread = driver.AIOKafkaConsumerThread
_Consumer = faust.transport.consumer.Consumer
_Delegate = faust.transport.consumer.ThreadDelegateConsumer
_Recovery = faust.tables.recovery.Recovery
_Manager = faust.tables.manager.TableManager
_Coordinator = aiokafka.consumer.group_coordinator.GroupCoordinator
_Fetcher = aiokafka.consumer.fetcher

SEAMS = {  # name: (what, hash of its source, what the engine assumes of it)
    "Thread._create_worker_consumer": (
        _Thread._create_worker_consumer,
        "c2701bfc3e6f",
        "isolation level and fetch wait are attributes that may be set afterwards",
    ),
    "Thread.on_start": (
        _Thread.on_start,
        "38b4e8bd1e10",
        "it creates and starts the one consumer of the fetching thread",
    ),
    "Thread._fetch_records": (
        _Thread._fetch_records,
        "39a2c6c79fc1",
        "between taking records and returning them there is no await",
    ),
    "Thread.getmany": (
        _Thread.getmany,
        "26fc5fc9f3b6",
        "fetches run in the fetching thread, one after the other",
    ),
    "faust.transport.consumer.ConsumerThread.on_partitions_assigned": (
        faust.transport.consumer.ConsumerThread.on_partitions_assigned,
        "e59e8dda4372",
        "it passes the assignment on, and returns when that is done",
    ),
    "driver.Consumer._new_consumer_thread": (
        driver.Consumer._new_consumer_thread,
        "0870ec53dea7",
        "it makes the thread and nothing else",
    ),
    "driver.Consumer.on_stop": (
        driver.Consumer.on_stop,
        "173f86b366f3",
        "it stops the fetching after the callers' work is done",
    ),
    "Delegate.seek_to_committed": (
        _Delegate.seek_to_committed,
        "f1d483b861b0",
        "a rebalance asks it where to go on",
    ),
    "Consumer._drain_messages": (
        _Consumer._drain_messages,
        "44a2500309e8",
        "it is the whole fetch loop; flow_active, suspend_flow and can_resume_flow steer it",
    ),
    "faust.transport.consumer.Fetcher._fetcher": (
        faust.transport.consumer.Fetcher._fetcher,
        "68f894f0b577",
        "what is cancelled while the app rebalances counts as a crash",
    ),
    "Consumer.resume_partitions": (
        _Consumer.resume_partitions,
        "afe6b7c02a41",
        "it moves partitions from paused to active",
    ),
    "Consumer.pause_partitions": (
        _Consumer.pause_partitions,
        "27a1c94bdacd",
        "it moves partitions from active to paused",
    ),
    "Consumer._get_active_partitions": (
        _Consumer._get_active_partitions,
        "b24897f3c7af",
        "what is fetched: assigned and not paused",
    ),
    "Consumer.ack": (
        _Consumer.ack,
        "5fcf41cf4515",
        "its gaps and offsets are kept for Faust's commits alone",
    ),
    "Consumer.commit": (
        _Consumer.commit,
        "a354437baaa0",
        "called in intervals and at the stop; nobody acts on its answer",
    ),
    "Consumer.verify_all_partitions_active": (
        _Consumer.verify_all_partitions_active,
        "4e0e46f5c297",
        "it only warns about what ack would have noted",
    ),
    "Consumer.on_partitions_revoked": (
        _Consumer.on_partitions_revoked,
        "d04b7ae72c6f",
        "the group waits for it",
    ),
    "Consumer.on_buffer_drop": (
        _Consumer.on_buffer_drop,
        "4b57e8a418d5",
        "called when a stream has taken an event out of a full buffer",
    ),
    "Consumer.resume_flow": (
        _Consumer.resume_flow,
        "db59630f25b5",
        "it ends the standstill of the fetch loop",
    ),
    "Recovery.need_recovery": (
        _Recovery.need_recovery,
        "fd1dc345b5d5",
        "False: Faust reads no changelog",
    ),
    "Recovery._build_highwaters": (
        _Recovery._build_highwaters,
        "91b4cc0d3724",
        "only Faust's own recovery needs it",
    ),
    "Recovery._build_offsets": (
        _Recovery._build_offsets,
        "27eec86be06c",
        "only Faust's own recovery needs it",
    ),
    "Recovery._seek_offsets": (
        _Recovery._seek_offsets,
        "19598ca63d94",
        "only Faust's own recovery needs it",
    ),
    "Recovery.flush_buffers": (
        _Recovery.flush_buffers,
        "6fa9c17f1071",
        "only Faust's own recovery needs it",
    ),
    "Recovery.on_recovery_completed": (
        _Recovery.on_recovery_completed,
        "6ef567acf072",
        "it resumes the streams; called once for an assignment",
    ),
    "Recovery.on_rebalance": (
        _Recovery.on_rebalance,
        "aa4d997a1795",
        "it starts the recovery of an assignment",
    ),
    "Recovery._restart_recovery": (
        _Recovery._restart_recovery,
        "6bd8a8558a2d",
        "it calls on_recovery_completed though nothing needs recovery",
    ),
    "Manager.recovery": (
        _Manager.recovery.fget,
        "f0bf5de78b4c",
        "Faust finds the recovery only here",
    ),
    "faust.stores.base.Store.persisted_offset": (
        faust.stores.base.Store.persisted_offset,
        "73f86712cc3b",
        "None: Faust has no offset of its own",
    ),
    "Fetcher.PartitionRecords": (
        _Fetcher.PartitionRecords,
        "94aa0da0dbec",
        "each record is wrapped by _consumer_record alone",
    ),
    "Fetcher.FetchResult": (
        _Fetcher.FetchResult,
        "d7db13f06de8",
        "of a record it reads the offset alone",
    ),
    "Coordinator.close": (
        _Coordinator.close,
        "f30d83108945",
        "a static member sends no LeaveGroup",
    ),
    "Coordinator._send_req": (
        _Coordinator._send_req,
        "fa4b12e914ce",
        "it asks the coordinator and raises what that answers",
    ),
    "Coordinator._on_join_prepare": (
        _Coordinator._on_join_prepare,
        "4d9524afc0ee",
        "the revoke callback is awaited while heartbeats go on",
    ),
    "Coordinator._on_join_complete": (
        _Coordinator._on_join_complete,
        "0b0b3d204b40",
        "the assigned callback is awaited, without heartbeats",
    ),
    "mode.threads.QueueServiceThread.call_thread": (
        mode.threads.QueueServiceThread.call_thread,
        "479edda75b54",
        "it is one serial queue",
    ),
    "mode.worker.Worker._schedule_shutdown": (
        mode.worker.Worker._schedule_shutdown,
        "1a6a5dfc88c2",
        "a signal begins the stop there",
    ),
    "mode.worker.Worker._on_sigint": (
        mode.worker.Worker._on_sigint,
        "25334ac514b2",
        "SIGINT begins the stop there",
    ),
    "mode.worker.Worker._on_sigusr2": (
        mode.worker.Worker._on_sigusr2,
        "82a9df91cebb",
        "it opens a debugger",
    ),
    "faust.App.on_start": (
        faust.App.on_start,
        "480d70c6c72d",
        "it runs before the first assignment",
    ),
    "faust.App._on_rebalance_when_stopped": (
        faust.App._on_rebalance_when_stopped,
        "1b172d9af8ff",
        "it only closes the client, under a consumer that is about to leave the group",
    ),
    "GroupCoordinator.commit_offsets": (
        aiokafka.consumer.group_coordinator.GroupCoordinator.commit_offsets,
        "5cbe31af28d6",
        "CommitFailedError says that the group rebalances, and nothing else",
    ),
    "PartitionAssignor.changelog_distribution": (
        PartitionAssignor.changelog_distribution.fset,
        "c13e0132bb9a",
        "the addresses of all members lie in _tps_url",
    ),
}


def digest(function: object) -> str:
    function = getattr(function, "fun", function)  # mode wraps background tasks
    return hashlib.sha256(inspect.getsource(function).encode()).hexdigest()[:12]


def test_the_pinned_versions_are_installed():
    """The hashes below stand for exactly these."""
    assert version("faust-streaming") == "0.15.3"
    assert version("mode-streaming") == "0.7.1"
    assert version("aiokafka") == "0.14.0"


@pytest.mark.parametrize("name", SEAMS)
def test_what_we_rely_on_has_not_changed(name):
    """Source hash of every method that a seam replaces, calls by ``super``, or builds upon."""
    what, known, assumed = SEAMS[name]
    found = digest(what)
    assert found == known, f"{name} has changed (now {found}). The engine assumes: {assumed}"


OURS = (
    (faust_seams.EngineThread, {"engine", "seek_to", "known_end", "leave", "commit_positions"}),
    (
        faust_seams.EngineConsumer,
        {
            "engine",
            "thread",
            "fetches",
            "in_thread",
            "_may_resume",
            "_poke",
            "_tell_group",
            "_tell_last",
            "_fetch_on",
        },
    ),
    (EngineRecovery, set()),
    (EngineTableManager, set()),
    (EngineStore, {"_state"}),
    (host.EngineApp, {"engine_failed", "_ended"}),
    (host.Host, set()),
    (PlainRecords, set()),
)


@pytest.mark.parametrize(("ours", "own"), OURS, ids=lambda each: getattr(each, "__name__", ""))
def test_every_override_overrides_something_that_is_watched(ours, own):
    """A method that Faust renames would no longer be called, and nobody would hear of it."""
    watched = {inspect.getsource(getattr(what, "fun", what)) for what, _, _ in SEAMS.values()}
    plain = {"__init__", "__getitem__", "__setitem__", "__delitem__", "__contains__", "get"}
    for name, method in vars(ours).items():
        if name in own or not (callable(method) or isinstance(method, property)):
            continue
        base = next((each for each in ours.__mro__[1:] if name in vars(each)), None)
        assert base is not None, f"{ours.__name__}.{name} replaces nothing any more"
        replaced = vars(base)[name]
        replaced = getattr(replaced, "fget", replaced)
        whole = base is aiokafka.consumer.fetcher.PartitionRecords
        if name in plain or whole or getattr(replaced, "__isabstractmethod__", False):
            continue
        if _is_empty(replaced):
            continue
        source = inspect.getsource(getattr(replaced, "fun", replaced))
        assert source in watched, f"{ours.__name__}.{name}: its hash is missing in SEAMS"


def _is_empty(function: object) -> bool:
    """Whether it is a hook that does nothing by itself."""
    body = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0].body
    return all(isinstance(each, ast.Expr | ast.Pass) for each in body)


def test_an_event_of_faust_is_made_by_place():
    """The fields of a message, in the order in which the fetch loop gives them."""
    wanted = "topic partition offset timestamp timestamp_type headers key value checksum"
    places = list(inspect.signature(ConsumerMessage.__init__).parameters)[1:13]
    assert " ".join(places) == f"{wanted} serialized_key_size serialized_value_size tp"


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


def test_what_a_fetch_waits_for_is_read_as_each_request_is_made():
    """The engine changes both between two fetches."""
    source = inspect.getsource(_Fetcher.Fetcher._get_actions_per_node)
    assert "self._fetch_max_wait_ms,\n" in source
    assert "self._fetch_min_bytes,\n" in source


def test_a_fetch_waits_for_a_portion_where_much_comes():
    """One that brought little is followed by one that waits for a single record: nobody waits longer."""
    fetcher = SimpleNamespace()
    faust_seams._pace(fetcher, faust_seams.PORTION_FROM)
    assert vars(fetcher) == {"_fetch_min_bytes": 8192, "_fetch_max_wait_ms": 10}
    faust_seams._pace(fetcher, faust_seams.PORTION_FROM - 1)
    assert vars(fetcher) == {"_fetch_min_bytes": 1, "_fetch_max_wait_ms": 50}


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


@pytest.mark.parametrize("stopped", [True, False])
async def test_a_stop_in_the_middle_of_a_rebalance_is_no_crash(stopped):
    """Faust ends with code 1 and a traceback if its fetcher is cancelled then; else it must hear of it."""

    class Waiting(faust_seams.EngineConsumer):
        def __init__(self):
            """Nothing of Faust's."""

        async def _fetch_on(self, _):
            await asyncio.sleep(60)

    fetcher = SimpleNamespace(_stopped=asyncio.Event())
    drain = asyncio.ensure_future(Waiting()._drain_messages(fetcher))
    await asyncio.sleep(0)
    if stopped:
        fetcher._stopped.set()
    drain.cancel()
    await asyncio.wait([drain])
    assert drain.cancelled() is not stopped
