"""Faust's tables as read-only faces over the engine's states, and its recovery switched off.

A table per stage keeps what is good in Faust: the sticky assignor that co-partitions a stage's input
with its changelog, the router that knows who owns a customer, and ``table[key]``. Stock recovery
hangs on transaction markers; here it only tells the engine what is assigned.
"""

from __future__ import annotations

import asyncio
from typing import Any

from faust.stores.base import Store
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery

from orchestrator.engine.engine import Engine
from orchestrator.engine.faust_seams import FAUST_LOG
from orchestrator.engine.ports import TaskId
from orchestrator.partitioning import partition_for


class EngineRecovery(Recovery):  # type: ignore[misc]
    """Hands every assignment to the engine (tables/recovery.py:79)."""

    logger = FAUST_LOG

    def need_recovery(self) -> bool:
        """Never: the engine replays its changelogs itself."""
        return False

    async def _build_highwaters(self, *_: Any, **__: Any) -> None: ...

    async def _build_offsets(self, *_: Any, **__: Any) -> None: ...

    async def _seek_offsets(self, *_: Any, **__: Any) -> None: ...

    def flush_buffers(self) -> None:
        """Nothing is buffered here."""

    async def on_recovery_completed(self, generation_id: int = 0) -> None:
        """Take over what is assigned; runs beside heartbeats, cancelled by the next rebalance."""
        engine: Engine = self.app.engine
        tasks = {engine.task_of(tp.topic, tp.partition) for tp in self.app.consumer.assignment()}
        try:
            await engine.assign(task for task in tasks if task is not None)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            # Faust would drop it (tables/recovery.py:640).
            self.app.engine_failed(error)
            raise
        await super().on_recovery_completed(generation_id)


class EngineTableManager(TableManager):  # type: ignore[misc]
    """Only to name the recovery (tables/manager.py:119)."""

    logger = FAUST_LOG
    _recovery: EngineRecovery | None

    @property
    def recovery(self) -> EngineRecovery:
        """Recovery service used by this table manager."""
        if self._recovery is None:
            self._recovery = EngineRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery


class EngineStore(Store):  # type: ignore[misc]
    """Reads the states of one stage; writing is the stage's alone."""

    logger = FAUST_LOG

    def _state(self, key: bytes) -> Any:
        engine: Engine = self.app.engine
        for name, spec in engine.stages.items():
            if spec.stage.table != self.table_name:
                continue
            task = TaskId(name, partition_for(key, spec.partitions))
            core = engine.running().get(task)
            if core is not None:
                return core.processor.states.peek(key.decode())
        return None

    def __getitem__(self, key: bytes) -> Any:
        state = self._state(key)
        if state is None:
            raise KeyError(key)
        return state

    def get(self, key: bytes, default: Any = None) -> Any:
        """Return the state of a key that this worker owns."""
        state = self._state(key)
        return default if state is None else state

    def __contains__(self, key: object) -> bool:
        return isinstance(key, bytes) and self._state(key) is not None

    def __setitem__(self, key: bytes, value: Any) -> None:
        raise TypeError("states are written by their stage alone")

    def __delitem__(self, key: bytes) -> None:
        raise TypeError("states are written by their stage alone")

    def persisted_offset(self, tp: Any) -> None:
        """None: Faust keeps no offsets here."""

    def apply_changelog_batch(self, *_: Any, **__: Any) -> None:
        """Refuse: the engine replays its changelogs itself."""
        raise TypeError("the engine replays its changelogs itself")

    def reset_state(self) -> None:
        """Refuse: a changelog must never be left without its state."""
        raise TypeError("run `orchestrator state reset --local`")

    async def backup_partition(self, *_: Any, **__: Any) -> None:
        """Refuse: the changelog is the backup."""
        raise TypeError("the changelog is the backup")

    def restore_backup(self, *_: Any, **__: Any) -> None:
        """Refuse: the changelog is the backup."""
        raise TypeError("the changelog is the backup")
