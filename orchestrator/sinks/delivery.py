"""One claimed action until its outcome: render, validity at the last moment, retries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from time import monotonic
from typing import Literal

from orchestrator.links import Links
from orchestrator.observability import get_logger
from orchestrator.records import Action, Inbox
from orchestrator.sinks import metrics
from orchestrator.sinks.pacing import TokenBucket, retry_delay
from orchestrator.sinks.senders.protocol import Order, Rejected, Sender, TryAgain

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an action ended - or did not, at a graceful stop.

    ``released``: the provider does not have it, so the claim is taken back. ``claimed``: it may have
    it, so the claim stands and the next owner resolves it as after a crash.
    """

    state: Literal["sent", "dropped", "failed", "unknown", "released", "claimed"]
    reason: str | None = None
    attempts: int = 0
    detail: str | None = None
    inbox: Inbox | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """How a channel treats its provider."""

    attempts: int
    on_unknown: Literal["resend", "give_up"]


class Deliverer:
    """Sends claimed actions of one channel; many at a time.

    ``now`` is the sink's clock for an action: the wall clock, or, on the log clock, decided_at.
    """

    def __init__(
        self,
        sender: Sender,
        policy: Policy,
        bucket: TokenBucket,
        now: Callable[[Action], int],
        random: Random,
        links: Links | None = None,
    ) -> None:
        self._sender = sender
        self._policy = policy
        self._bucket = bucket
        self._now = now
        self._random = random
        self._links = links
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Wake those that wait to try again: they end, released or with their claim standing."""
        self._stopping.set()

    def invalid(self, action: Action, *, cancelled: bool) -> Outcome | None:
        """Return why an action must not be sent any more, if so.

        A sink cannot tell expiry from the next quiet hours: ``expires_at`` is the earlier of both,
        and ``window`` makes the engine decide anew, which finds out.
        """
        if cancelled:
            return Outcome("dropped", "cancel")
        if action.expires_at is not None and self._now(action) >= action.expires_at:
            return Outcome("dropped", "window")
        return None

    async def deliver(
        self, action: Action, fields: Mapping[str, str], cancelled: Callable[[], bool]
    ) -> Outcome:
        """Send one action, as often as it takes."""
        attempt, maybe_sent = 0, False
        while True:
            if ended := self.invalid(action, cancelled=cancelled()):
                if maybe_sent:
                    return Outcome("unknown", "unknown", attempt)
                return Outcome(ended.state, ended.reason, attempt)
            attempt += 1
            await self._pace()
            answer = await self._attempt(action, fields, attempt)
            if isinstance(answer, Outcome):
                return answer
            maybe_sent = maybe_sent or answer.unknown
            if ended := self._given_up(answer, attempt, maybe_sent=maybe_sent):
                return ended
            delay = retry_delay(attempt, answer.after, self._random.random())
            if await self._stopped_within(delay):
                return Outcome("claimed" if maybe_sent else "released", "stopped", attempt)

    async def _attempt(
        self, action: Action, fields: Mapping[str, str], attempt: int
    ) -> Outcome | TryAgain:
        url = None if self._links is None else self._links.unsubscribe(action)
        order = Order(action, fields, self._now(action), attempt, url)
        answer: Outcome | TryAgain
        said = "error"
        started = monotonic()
        try:
            accepted = await self._sender.send(order)
            said = "accepted"
            answer = Outcome("sent", None, attempt, accepted.provider_id, accepted.inbox)
        except Rejected as error:
            said = "rejected"
            answer = Outcome("failed", error.reason, attempt, str(error))
        except TryAgain as error:
            said = "again"
            answer = error
        except Exception as error:  # noqa: BLE001 - a sender's bug must not stop its channel
            _log.error("a sender failed", channel=action.channel, error=type(error).__name__)
            answer = Outcome("failed", "error", attempt, type(error).__name__)
        metrics.send_seconds.labels(action.channel, said).observe(monotonic() - started)
        return answer

    def _given_up(self, error: TryAgain, attempt: int, *, maybe_sent: bool) -> Outcome | None:
        last = attempt >= self._policy.attempts
        if maybe_sent and (last or self._policy.on_unknown == "give_up"):
            return Outcome("unknown", "unknown", attempt, str(error))
        return Outcome("failed", error.reason, attempt, str(error)) if last else None

    async def _pace(self) -> None:
        if wait := self._bucket.take(monotonic()):
            await asyncio.sleep(wait)

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return False
        return True
