"""One partition of a sink: claims in one transaction, outcomes in a later one, nothing in between.

A turn of ``run`` takes the answers that have come in and the actions that may be claimed now, writes
them in one transaction (group commit: at high rates it grows by itself), and only then starts the
sends of the new claims. So a crash leaves claims without outcome, and each is resolved by the
channel's ``on_unknown``; nothing is sent without a claim, and no outcome is lost.

One claim is for one call of the provider. What has to be tried again gives its claim back, unless the
provider may have it, and waits unclaimed: its turn comes with a new look at validity and cancels and
with a new transaction, which a sink that the group has forgotten cannot commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, ParamSpec, TypeVar

from orchestrator.errors import DefinitionMissing, FencedError, TransactionFailed
from orchestrator.observability import get_logger
from orchestrator.records import Action
from orchestrator.sinks import metrics
from orchestrator.sinks.delivery import Again, Deliverer, Outcome, Tries
from orchestrator.sinks.gate import Gate
from orchestrator.sinks.lanes import Item, Lanes
from orchestrator.sinks.ledger import Entry, Ledger, Write
from orchestrator.sinks.records import Recorder
from orchestrator.sinks.render import Renderer, TemplateFailed
from orchestrator.sinks.scout import Scout

LAZY_S = 1.0
"""A position that moved by cancels alone is committed this late."""
SCOUT_PAUSE_S = 0.05
DEFINITION_PAUSE_S = 1.0
LOOK_S = 5.0
"""Behind a closed gate: between two looks for what is too late or cancelled."""
GROUP_S = 0.05
"""At a limited rate claims are made for so long a time at once: fewer transactions."""
MEMBERSHIP_PAUSE_S = 0.5
P = ParamSpec("P")
T = TypeVar("T")
_log = get_logger(__name__)


class Slots:
    """How many messages of all partitions of a process are between claim and outcome at a time.

    That is the most of which a crash leaves open whether they were sent.
    """

    def __init__(self, count: int) -> None:
        self.free = count
        self.waiting: set[Callable[[], None]] = set()

    def release(self, count: int) -> None:
        """Give some back and wake who waits."""
        self.free += count
        waiting, self.waiting = self.waiting, set()
        for wake in waiting:
            wake()


@dataclass(slots=True)
class _Batch:
    """What one transaction will hold, and the sends that follow it."""

    entries: list[Entry] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    sends: list[tuple[Item, Action, Mapping[str, str]]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Tools:
    """What all partitions of a channel share."""

    channel: str
    renderer: Renderer
    recorder: Recorder
    scout: Scout
    slots: Slots
    gate: Gate
    confirm: Callable[[int, int], Future[bool]]
    """Asks whether the group still counts us in: (partition, position)."""
    resend: bool
    """``on_unknown``: whether a claim without outcome is sent again."""
    stale_s: float
    """Older than this a claim is not used: the group may have given the partition away."""


class PartitionTask:
    """Runs on the event loop; the ledger's blocking calls go to threads."""

    def __init__(
        self, partition: int, position: int, ledger: Ledger, deliverer: Deliverer, tools: Tools
    ) -> None:
        self.partition = partition
        self._ledger = ledger
        self._deliverer = deliverer
        self._tools = tools
        self._lanes = Lanes(position)
        self._committed = position
        self._committed_at = monotonic()
        self._answers: list[tuple[Item, Action, Outcome | Again]] = []
        self._tries: dict[int, Tries] = {}
        self._looked_at = monotonic()
        self._sending: set[asyncio.Task[None]] = set()
        self._held = 0
        self._wake = asyncio.Event()
        self._io: asyncio.Task[Any] | None = None
        self._stopping = False
        self._backlog = metrics.backlog.labels(tools.channel, str(partition))

    @property
    def backlog(self) -> int:
        """Items read and not finished; read by the consumer's thread to pause the partition."""
        return len(self._lanes)

    def feed(self, items: Sequence[Item]) -> None:
        """Take what was read, in order."""
        for item in items:
            if item.action and item.action.kind == "cancel":
                self._lanes.pass_over(item.offset)  # the scout has it
            else:
                self._lanes.add(item)
        self._backlog.set(len(self._lanes))
        self._wake.set()

    async def run(self) -> None:
        """Work until ``stop`` has drained what was in flight."""
        while not (self._stopping and not self._sending and not self._answers):
            await self._turn()
            await self._rest()
        await self._turn()

    def stop(self) -> None:
        """Claim nothing more; ``run`` ends when every call of the provider has come back."""
        self._stopping = True
        self._wake.set()

    async def close(self) -> None:
        """Give up what is still in flight: its claims stand."""
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)
        self._release(self._held)
        if self._io is not None:
            # A thread cannot be cancelled: the ledger is closed behind its last call.
            await asyncio.wait([self._io])
        await asyncio.to_thread(self._ledger.close)

    # --------------------------------------------------------------------------- turns

    async def _rest(self) -> None:
        try:
            await asyncio.wait_for(self._wake.wait(), LAZY_S)
        except TimeoutError:
            return
        self._wake.clear()

    async def _turn(self) -> None:
        batch = _Batch()
        answers, self._answers = self._answers, []
        for item, action, answer in answers:
            if isinstance(answer, Outcome):
                self._record(batch, item, action, answer)
            else:
                self._postpone(batch, item, action, answer)
        if not self._stopping:
            self._fill(batch)
        position = self._lanes.position
        lazy = position > self._committed and monotonic() - self._committed_at > LAZY_S
        began = monotonic()
        if batch.entries or batch.writes or lazy:
            await self._commit(batch, position)
        self._release(len(answers))
        for item, action, fields in batch.sends:
            self._send(self._deliver(item, action, fields, began))
        self._backlog.set(len(self._lanes))

    def _fill(self, batch: _Batch) -> None:
        slots = self._tools.slots
        while slots.free:
            if not self._tools.scout.is_fresh(self.partition):
                self._wake_in(SCOUT_PAUSE_S)
                return
            item = self._lanes.take()
            if item is None:
                return
            action = item.action
            if action is None or self._is_settled(batch, item, action):
                self._bury(batch, item)
                continue
            if wait := self._tools.gate.enter(monotonic()):
                self._lanes.untake(item)
                self._settle_all(batch)
                self._wake_in(min(max(wait, GROUP_S), LOOK_S))
                return
            self._claim(batch, item, action)
        slots.waiting.add(self._wake.set)

    def _bury(self, batch: _Batch, item: Item) -> None:
        """Write the dead letter of an item that is no action; others are settled already."""
        if item.action is None:
            if item.dead_letter:
                batch.writes.append(item.dead_letter)
            self._lanes.finish(item)

    def _settle_all(self, batch: _Batch) -> None:
        """While the gate is closed: what is too late or cancelled does not wait for it to open."""
        if monotonic() - self._looked_at < LOOK_S:
            return
        self._looked_at = monotonic()
        for _ in range(self._lanes.ready):
            item = self._lanes.take()
            if item and (item.action is None or self._is_settled(batch, item, item.action)):
                self._bury(batch, item)
            elif item:
                self._lanes.put_back(item)

    def _is_settled(self, batch: _Batch, item: Item, action: Action) -> bool:
        """Bring an action to its end if that takes no call of the provider."""
        known, tries = self._ledger.get(action.action_id), self._tries.get(item.offset)
        if known and known.state != "claimed":
            self._tries.pop(item.offset, None)
            self._lanes.finish(item)  # read again after a crash: it has its outcome
            return True
        if known and tries is None:
            tries = self._tries[item.offset] = Tries(asked=known.attempts, maybe_sent=True)
            if not self._resend(action):
                self._record(batch, item, action, Outcome("unknown", "unknown", known.attempts))
                return True
        cancelled = self._tools.scout.is_cancelled(self.partition, action.action_id)
        ended = self._deliverer.invalid(action, tries, cancelled=cancelled)
        if ended:
            self._record(batch, item, action, ended)
        return ended is not None

    def _resend(self, action: Action) -> bool:
        """A claim without outcome: an earlier owner died in the middle. Never silently."""
        resolution = "resend" if self._tools.resend else "give_up"
        metrics.unknown.labels(self._tools.channel, resolution).inc()
        _log.warning(
            "claimed without outcome",
            channel=self._tools.channel,
            action_id=action.action_id,
            customer_id=action.customer_id,
            resolution=resolution,
        )
        return self._tools.resend

    def _claim(self, batch: _Batch, item: Item, action: Action) -> None:
        tries = self._tries.setdefault(item.offset, Tries())
        try:
            fields = self._tools.renderer.render(action)
        except TemplateFailed as error:
            self._tools.gate.unused()
            _log.error("a message cannot be rendered", message=action.message, why=str(error))
            ended = Outcome("failed", "template", tries.asked, str(error))
            self._record(batch, item, action, ended)
            return
        except DefinitionMissing as missing:
            self._tools.gate.unused()
            _log.warning("a definition is awaited", definition=action.template, why=str(missing))
            self._offer_again(item, DEFINITION_PAUSE_S)
            return
        batch.entries.append(self._tools.recorder.claim(action, tries.asked + 1))
        batch.sends.append((item, action, fields))
        self._tools.slots.free -= 1
        self._held += 1

    def _postpone(self, batch: _Batch, item: Item, action: Action, again: Again) -> None:
        if not self._tries[item.offset].maybe_sent:
            batch.entries.append(self._tools.recorder.release(action))
        self._offer_again(item, again.delay)

    def _offer_again(self, item: Item, delay: float) -> None:
        def offer() -> None:
            self._lanes.put_back(item)
            self._wake.set()

        asyncio.get_running_loop().call_later(delay, offer)

    def _wake_in(self, delay: float) -> None:
        asyncio.get_running_loop().call_later(delay, self._wake.set)

    def _record(self, batch: _Batch, item: Item, action: Action, outcome: Outcome) -> None:
        batch.entries.append(self._tools.recorder.line(action, outcome))
        batch.writes.extend(self._tools.recorder.writes(action, outcome))
        self._tries.pop(item.offset, None)
        self._lanes.finish(item)
        metrics.outcomes.labels(self._tools.channel, outcome.state, outcome.reason or "").inc()

    # --------------------------------------------------------------------------- sends

    def _send(self, delivering: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(delivering)
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _deliver(
        self, item: Item, action: Action, fields: Mapping[str, str], claimed_at: float
    ) -> None:
        tries = self._tries[item.offset]
        answer: Outcome | Again
        try:
            if monotonic() - claimed_at > self._tools.stale_s:
                # The process stood still; whether the claim is still ours, the next one will say.
                self._tools.gate.unused()
                tries.asked += 1  # no two claims of an action are alike
                answer = Again(0.0)
            else:
                answer = await self._deliverer.attempt(action, fields, tries)
            self._answers.append((item, action, answer))
        finally:
            self._wake.set()

    def _release(self, count: int) -> None:
        self._held -= count
        if count:
            self._tools.slots.release(count)

    # -------------------------------------------------------------------- transactions

    async def _commit(self, batch: _Batch, position: int) -> None:
        """Write the batch; after an error, find out whether it was written, and go on."""
        written = False
        while not written:
            try:
                with metrics.transaction_seconds.labels(self._tools.channel).time():
                    await self._in_thread(
                        self._ledger.commit, batch.entries, batch.writes, position
                    )
                written = True
            except (FencedError, TransactionFailed) as error:
                _log.warning(
                    "transaction failed", partition=self.partition, error=str(error) or repr(error)
                )
                written = await self._reopen(batch, position)
        self._committed, self._committed_at = position, monotonic()
        self._tools.scout.forget(self.partition, position - 1)

    async def _reopen(self, batch: _Batch, position: int) -> bool:
        """Open the ledger anew and return whether the batch is in it; all of it, or nothing."""
        while True:
            if await asyncio.wrap_future(self._tools.confirm(self.partition, self._committed)):
                try:
                    found = await self._in_thread(self._ledger.open)
                except (FencedError, TransactionFailed) as error:
                    _log.warning("cannot open", partition=self.partition, error=str(error))
                else:
                    return self._is_written(batch, found, position)
            await asyncio.sleep(MEMBERSHIP_PAUSE_S)

    async def _in_thread(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        self._io = io = asyncio.create_task(asyncio.to_thread(call, *args, **kwargs))
        return await asyncio.shield(io)

    def _is_written(self, batch: _Batch, found: int, position: int) -> bool:
        if found == position > self._committed:
            return True
        for entry in batch.entries:
            if entry.delivery:
                known = self._ledger.get(entry.action_id)
                return (
                    known is not None
                    and known.state == entry.delivery.state
                    and known.attempts == entry.delivery.attempts
                )
        return False
