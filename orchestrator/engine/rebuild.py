"""Build one partition's states anew from its log or from a cut and the log since, and put them into its changelog.

What left in front of the last checkpoint is on its topics; so the rerun keeps it to itself, ends at
that very position, and the worker goes on from there: nothing is decided twice, nothing is left out.
The position is the newest that anybody vouches for: the changelog's meta record, or, if that is
lost or older, what the group has committed, which never runs ahead of a checkpoint.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from orchestrator.engine import meta as metas
from orchestrator.engine.config import EngineConfig
from orchestrator.engine.contents import Contents
from orchestrator.engine.cuts import Cut
from orchestrator.engine.engine import StageSpec
from orchestrator.engine.holding import Skips
from orchestrator.engine.meta import Meta
from orchestrator.engine.ports import Changelog, Snapshot, StateWrite, Store, TaskId
from orchestrator.engine.processor import Tools
from orchestrator.engine.rerun import Rerun
from orchestrator.engine.simulated import SimulatedRecord
from orchestrator.engine.store import Stores
from orchestrator.errors import CouldNotRun
from orchestrator.kafka.reading import PartitionReader, headers_of

BATCH = 2_000
"""Records between two writes, and states in a transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What a rebuild has written."""

    position: int
    """Where the worker goes on."""
    records: int
    states: int
    written: int
    """States that differed or were missing."""
    removed: int
    """States that the log does not give."""
    exact: bool
    """The rerun's checkpoint is the former one, byte for byte."""


class Rebuild:
    """One partition of one stage.

    Args:
        task: Which.
        spec: The stage as the worker runs it.
        tools: As the worker's.
        config: As the worker's.
        skips: What operators passed over.
        progress: Told how many records have been run since the last call.
        begin: Where to begin; None = at the log's first record.
    """

    def __init__(
        self,
        task: TaskId,
        spec: StageSpec,
        tools: Tools,
        config: EngineConfig,
        skips: Skips,
        progress: Callable[[int], None] = lambda _: None,
        begin: Cut | None = None,
    ) -> None:
        self._task = task
        self._spec = spec
        self._tools = tools
        self._config = config
        self._skips = skips
        self._progress = progress
        self._begin = begin
        self._records = 0

    def run(
        self,
        open_source: Callable[[], PartitionReader],
        found: Contents,
        position: int,
        changelog: Changelog,
    ) -> Rebuilt:
        """Run the log from its first record to ``position`` and make the changelog say the same.

        Args:
            open_source: Opens the input where the run begins.
            found: What the changelog holds, read after ``changelog`` was fenced.
            position: Where the rerun ends and the worker goes on.
            changelog: Fenced.

        Raises:
            CouldNotRun: The input cannot be read to ``position``.
            FencedError: A worker has taken the partition over meanwhile.
            UnavailableError: Kafka, the registry or a definition is away.
        """
        former = found.meta if found.meta.position == position else Meta()
        with tempfile.TemporaryDirectory(prefix="orchestrator-reset-") as folder:
            stores, exact = Stores(Path(folder)), False
            if found.sound and found.meta.position == position:
                # A checkpoint may lie amid timers that are due together, and amid a sweep: with a
                # sound one at that very place the rerun is brought to it exactly.
                exact = self._build(stores, open_source, position, found)
            if not exact:
                stores.wipe(self._task)
                self._build(stores, open_source, position, None, swept=former.sweep is None)
            store = stores.open(self._task)
            try:
                rerun = metas.decode(store.meta() or b"")
                states = dict(store.items())
            finally:
                store.close()
        if exact:
            rerun.first_ordinal, rerun.catalogs = former.first_ordinal, former.catalogs
            rerun.sweep = former.sweep
        elif rerun.catalogs and former.sweep is None:  # every state has been brought to the newest
            rerun.first_ordinal += len(rerun.catalogs) - 1
            rerun.catalogs, rerun.sweep = rerun.catalogs[-1:], None
        meta = Meta(
            seq=found.highest,
            position=position,
            log_time=rerun.log_time,
            first_ordinal=rerun.first_ordinal,
            catalogs=rerun.catalogs,
            sweep=rerun.sweep,
        )
        wanted = [(key, value) for key, value in states.items() if found.states.get(key) != value]
        over = [key for key in found.states if key not in states]
        if not (exact and not wanted and not over):
            digest = sum(metas.state_hash(key, value) for key, value in states.items())
            meta.digest = metas.add_to_digest(0, digest)
            _write(changelog, meta, [*((key, None) for key in over), *wanted])
        return Rebuilt(
            position=position,
            records=self._records,
            states=len(states),
            written=len(wanted),
            removed=len(over),
            exact=exact,
        )

    def _build(
        self,
        stores: Stores,
        open_source: Callable[[], PartitionReader],
        position: int,
        known: Contents | None,
        *,
        swept: bool = True,
    ) -> bool:
        """Leave states and head in ``stores``; return whether they are those of ``known``."""
        with open_source() as source:
            first, end = source.bounds()
            if not first <= position <= end:
                raise CouldNotRun(
                    f"{self._task}: the state ends at {position}, its input holds {first}..{end}"
                )
            if self._begin is not None:
                _lay_down(stores.open(self._task), self._begin)
            rerun = Rerun(
                self._task,
                self._spec,
                self._tools,
                self._config,
                stores,
                first,
                lambda _output: None,
                self._skips,
            )
            self._records = 0
            try:
                self._feed(rerun, source, position)
                if known is None:
                    if swept:
                        rerun.bring_all()
                    return False
                following = source.peek(source.bounds()[1])
                limit = None
                if following is not None:
                    limit = max(following.timestamp()[1], rerun.log_time)
                return not list(rerun.settle(known.states, limit))
            finally:
                rerun.close()

    def _feed(self, rerun: Rerun, source: PartitionReader, position: int) -> None:
        batch: list[SimulatedRecord] = []
        for message in source.read(position):
            batch.append(
                SimulatedRecord(
                    message.offset() or 0,
                    message.timestamp()[1],
                    message.key(),
                    message.value(),
                    headers_of(message),
                )
            )
            if len(batch) >= BATCH:
                self._pass(rerun, batch, batch[-1].offset + 1)
                batch = []
        self._pass(rerun, batch, position)

    def _pass(self, rerun: Rerun, batch: list[SimulatedRecord], end: int) -> None:
        rerun.feed(batch, end)
        self._records += len(batch)
        self._progress(len(batch))


def _lay_down(store: Store, cut: Cut) -> None:
    """Put a cut into an empty store, and close it."""
    head, states = metas.encode(cut.meta), iter(cut.states.items())
    try:
        while portion := [StateWrite(key, value, 0) for key, value in islice(states, BATCH)]:
            store.write(portion, head)
        store.write([], head)
    finally:
        store.close()


def _write(changelog: Changelog, meta: Meta, states: Iterable[tuple[bytes, bytes | None]]) -> None:
    """Write in portions. Only behind the last of them the digest fits: half of it is refused."""
    rest, repair = iter(states), True
    while (portion := list(islice(rest, BATCH))) or repair:
        checksum = 0
        for key, value in portion:
            checksum = metas.add_to_checksum(checksum, metas.state_hash(key, value))
        meta.seq, meta.count, meta.checksum, meta.repair = (
            meta.seq + 1,
            len(portion),
            checksum,
            repair,
        )
        repair = False
        changelog.commit(Snapshot([StateWrite(k, v, 0) for k, v in portion], [], meta))
