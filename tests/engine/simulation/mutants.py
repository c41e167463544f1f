"""Known bugs, planted one at a time into the source of the product's own functions.

A mutant names the function, a text in it, and what stands there instead. A text that is not there
exactly once is an error: the function has been rewritten, and so must be the mutant.
"""

from __future__ import annotations

import importlib
import inspect
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutant:
    name: str
    where: str
    """``module:function`` or ``module:Class.function`` below ``orchestrator``."""
    old: str
    new: str
    work: str = "toy"
    seeds: int = 60
    """Within so many it must be found."""


MUTANTS = [
    Mutant(
        "acknowledge before durable",
        "engine.changelog:KafkaChangelog.commit",
        "raise TransactionFailed(_text(error)) from error",
        "return self.bounds()[1]",
    ),
    Mutant(
        "commit before flush",
        "engine.changelog:KafkaChangelog._commit",
        "left = producer.flush(config.transaction_timeout)",
        "left = 0",
    ),
    Mutant(
        "cap read outside the transaction",
        "engine.states:States.get",
        "row = self._dirty.get(key) or self._flushing.get(key) or self._stored(key)",
        "row = self._stored(key)",
        "decide",
    ),
    Mutant(
        "timer after a later event",
        "engine.task:PartitionTask._step_chunk",
        "if timers.earliest <= now:",
        "if timers.earliest <= now and record.key is None:",
    ),
    Mutant(
        "replay that stops at the last stable offset",
        "engine.changelog:Watermarks.__init__",
        '"read_uncommitted"',
        '"read_committed"',
    ),
    Mutant(
        "replay that takes what was aborted",
        "engine.changelog:KafkaChangelog.read",
        '"enable.partition.eof": True,',
        '"enable.partition.eof": True, "isolation.level": "read_uncommitted",',
    ),
    Mutant(
        "double release of a slot",
        "stages.decide.receipts:note",
        "sent.flags |= flag",
        "[setattr(each, 'flags', each.flags | flag) for each in (*turn.customer.sends[-2:], sent)]",
        "decide",
        seeds=400,
    ),
    Mutant(
        "lost catalog sweep",
        "engine.catalogs:Catalogs.write",
        "meta.sweep = self.sweep",
        "meta.sweep = None",
    ),
    Mutant(
        "sweep in front of the switch's checkpoint",
        "engine.catalogs:Catalogs.add",
        'self.sweep, self.sweep_ready = b"", False',
        'self.sweep, self.sweep_ready = b"", True',
    ),
    Mutant(
        "checkpoint without offsets",
        "engine.task:PartitionTask.snapshot",
        "position=self.position,",
        "position=self.meta.position,",
    ),
    Mutant(
        "time moved by the tick that was sent, and again by the one that was read",
        "engine.engine:send_tick",
        "core.tick.sent(mono)",
        "core.tick.sent(mono); core.log_time = max(core.log_time, int(core.clock.now(wall_ms())))",
    ),
    Mutant(
        "tick applied twice",
        "engine.task:PartitionTask._step_chunk",
        "self.log_time = now\n",
        "self.log_time = now if record.key else 2 * now - self.log_time\n",
    ),
    Mutant(
        "state written from a fenced instance",
        "engine.slots:Slot.write",
        "offset = self.changelog.commit(snapshot)",
        "from orchestrator.errors import FencedError\n"
        "        try:\n"
        "            offset = self.changelog.commit(snapshot)\n"
        "        except FencedError:\n"
        "            snapshot.meta.changelog_offset, snapshot.meta.verified = self.known_end, True\n"
        "            self.store.write(snapshot.states, metas.encode(snapshot.meta), snapshot.stale)\n"
        "            raise",
    ),
    Mutant(
        "stale cache after an abort",
        "engine.engine:Engine._after_death",
        "self._reopen(slot.id)",
        "slot.status, slot.core._inflight = Status.SUSPENDED, False\n"
        "                await self._in(self._openings, partial(slot.changelog.fence, lambda: False))\n"
        "                await self._start(slot)",
    ),
    Mutant(
        "failed input that leaves its damage",
        "engine.processor:Processor._attempt",
        "self.states.restore(key, entry, self.catalogs.ordinal)\n            return error",
        "return error",
    ),
    Mutant(
        "gap in the input taken as it is",
        "engine.task:PartitionTask.offer",
        "if chunk.begin > self._queue_end:",
        "if False:",
    ),
    Mutant(
        "uncommitted state evicted",
        "engine.states:States.committed",
        "self._flushing = {}",
        "self._flushing, self._dirty = {}, {}",
    ),
    Mutant(
        "timers of uncommitted states forgotten",
        "engine.states:States.pending_timers",
        "for rows in (self._flushing, self._dirty):",
        "for rows in ():",
    ),
    Mutant(
        "position of the disk, not of the changelog",
        "engine.replay:_replay",
        "if start >= end and (local.verified or not local.seq):",
        "if local.verified:",
    ),
    Mutant(
        "superseded timers of half a replay left in the index",
        "engine.replay:_Writer.finish",
        "if self._index() != armed:\n            self._drop_superseded(meta)",
        "if False:\n            self._drop_superseded(meta)",
        "decide",
        seeds=200,
    ),
]


@contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """Put the bug into the running program, and take it out again."""
    module_name, _, path = mutant.where.partition(":")
    module = importlib.import_module(f"orchestrator.{module_name}")
    owner = module
    *outer, name = path.split(".")
    for each in outer:
        owner = getattr(owner, each)
    sound = inspect.getattr_static(owner, name)
    bare = getattr(sound, "fget", sound)
    source = textwrap.dedent(inspect.getsource(bare))
    old, new = textwrap.dedent(mutant.old), mutant.new
    if outer:  # methods have lost one level
        old, new = old.replace("\n    ", "\n"), new.replace("\n    ", "\n")
    if source.count(old) != 1:
        raise LookupError(f"{mutant.name}: {old!r} is {source.count(old)} times in {mutant.where}")
    found: dict = {}
    code = "from __future__ import annotations\n" + source.replace(old, new)
    exec(compile(code, f"<{mutant.name}>", "exec"), module.__dict__, found)  # noqa: S102 - our own
    setattr(owner, name, found[name])
    try:
        yield
    finally:
        setattr(owner, name, sound)
