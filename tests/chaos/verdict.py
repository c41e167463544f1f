"""What is checked once the load has ended and everything is applied.

- the timeline holds every event that was sent, once, byte for byte;
- decisions, dead letters and states equal, as multisets, a single-process replay of the timeline
  that shares no code with the engine;
- each worker's RocksDB holds exactly what the changelog holds, timers included;
- every poisoned record has its dead letter, and nothing else of the load has one.
"""

from __future__ import annotations

import signal
import time
from collections import Counter

from deployment import Deployment, Violation

from orchestrator.engine import meta as metas
from orchestrator.engine.host import EXIT_STOP_DEADLINE
from orchestrator.engine.ports import TaskId
from orchestrator.engine.store import StoreCorrupt, Stores
from orchestrator.observability.ending import EXIT_FATAL

BY_HAND = "chaos"
"""A header that marks records which are no events of the load."""
DRAIN_S = 600.0
KNOWN_EXITS = {0, -signal.SIGKILL, EXIT_FATAL, EXIT_STOP_DEADLINE}


def settle(deployment: Deployment) -> None:
    """End the load, wait until all is applied, stop the workers, compare.

    Raises:
        Violation: Something is not as it must be.
    """
    deployment.end_load()
    events = deployment.read(deployment.topology.name("events"))
    sent = [r for each in events.values() for r in each if is_load(r)]
    deployment.sent = len(sent)
    deployment.wait_healthy()
    deployment.wait("everything is applied", lambda: _looks_drained(deployment), DRAIN_S)
    deployment.end_in_order()
    if strange := set(deployment.exits) - KNOWN_EXITS:
        raise Violation(f"workers ended with {strange}: no such end is documented")
    _compare_timeline(deployment, sent)
    try:
        deployment.check()
    except AssertionError as error:
        raise Violation(f"decisions or states differ: {str(error)[:2000]}") from error
    _compare_letters(deployment, events)
    _compare_disks(deployment)


def _looks_drained(deployment: Deployment) -> bool:
    time.sleep(2)  # it reads everything: not more often than need be
    return drained(deployment)


def is_load(record) -> bool:
    """Whether a record is an event of the load."""
    return record.key not in {None, b"catalog"} and BY_HAND not in dict(record.headers)


def drained(deployment: Deployment) -> bool:
    """Whether both stages have read all there is, and no timer is left."""
    for logical, table in (("events", "identities"), ("timeline", "customers")):
        records = deployment.read(deployment.topology.name(logical))
        ends = {p: r[-1].offset + 1 for p, r in records.items() if r}
        for partition, (states, meta) in deployment.changelog(table).items():
            if meta.position < ends.get(partition, 0) or meta.sweep is not None:
                return False
            if any(any(value[:8]) for value in states.values() if value):
                return False
    return True


def _compare_timeline(deployment: Deployment, sent: list) -> None:
    timeline = deployment.read(deployment.topology.name("timeline")).values()
    there = Counter(r.value for each in timeline for r in each if is_load(r))
    wanted = Counter(r.value for r in sent)
    if there != wanted:
        raise Violation(
            f"events and timeline differ: {(wanted - there).total()} lost, "
            f"{(there - wanted).total()} over"
        )


def _compare_letters(deployment: Deployment, events: dict[int, list]) -> None:
    """Of identify: exactly the records that were poisoned. Those of decide are the replay's."""
    poisoned = Counter(
        (partition, record.offset)
        for partition, records in events.items()
        for record in records
        if dict(record.headers).get(BY_HAND) == b"poison"
    )
    found = Counter(
        (letter.from_partition, letter.from_offset)
        for letter in deployment.letters()
        if letter.stage == "identify"
    )
    if found != poisoned:
        raise Violation(
            f"dead letters of events: missing {poisoned - found}, over {found - poisoned}"
        )


def _compare_disks(deployment: Deployment) -> None:
    """The newest copy of every partition on any disk equals the changelog."""
    for stage, table in (("identify", "identities"), ("decide", "customers")):
        for partition, (states, meta) in deployment.changelog(table).items():
            _compare_disk(deployment, TaskId(stage, partition), states, meta)


def _compare_disk(deployment: Deployment, task: TaskId, states, meta: metas.Meta) -> None:
    newest = None
    for folder in sorted((deployment.folder / "state").glob("slot-*")):
        if not (folder / str(task)).exists():
            continue
        try:
            store = Stores(folder).open(task)
        except StoreCorrupt:  # of a former owner: whoever opens it builds it anew
            continue
        raw = store.meta()
        if raw and metas.decode(raw).seq == meta.seq and store.intact:
            newest = folder
            held, timers = dict(store.items()), list(store.timers(b""))
            armed = sorted(v[:8] + k for k, v in states.items() if any(v[:8]))
            if held != states:
                raise Violation(f"{task} in {folder} is not what the changelog holds")
            if not set(armed) <= set(timers):
                raise Violation(f"{task} in {folder}: timers are missing in the index")
        store.close()
    if newest is None and meta.seq:
        raise Violation(f"{task}: no disk holds transaction {meta.seq}")
