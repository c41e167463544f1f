"""One claimed action, one call of the provider, and what follows from the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Literal

from orchestrator.links import Links
from orchestrator.observability import get_logger
from orchestrator.records import Action, Inbox
from orchestrator.sinks import metrics
from orchestrator.sinks.gate import Gate
from orchestrator.sinks.ledger import Write
from orchestrator.sinks.pacing import retry_delay
from orchestrator.sinks.senders.protocol import (
    Accepted,
    Order,
    Rejected,
    Sender,
    TryAgain,
    Unfit,
)

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an action ended.

    ``attempts``: how often the provider was asked. ``report``: what else it said of the customer.
    ``maybe_twice``: sent, but of an earlier call nobody knows whether it had sent it already.
    """

    state: Literal["sent", "dropped", "failed", "unknown"]
    reason: str | None = None
    attempts: int = 0
    detail: str | None = None
    inbox: Inbox | None = None
    write: Write | None = None
    report: Literal["bounced", "unsubscribed"] | None = None
    maybe_twice: bool = False


@dataclass(slots=True)
class Tries:
    """What was tried with an action so far.

    ``counted`` leaves out what was not the message's fault. ``maybe_sent``: after one of them nobody
    knows whether the provider has it.
    """

    asked: int = 0
    counted: int = 0
    maybe_sent: bool = False


@dataclass(frozen=True, slots=True)
class Again:
    """The action is to be tried again after ``delay`` seconds."""

    delay: float


@dataclass(frozen=True, slots=True)
class Policy:
    """How a channel treats its provider."""

    attempts: int
    on_unknown: Literal["resend", "give_up"]


class Deliverer:
    """Sends claimed actions of one channel; many at a time.

    ``now`` is the sink's clock for an action: the wall clock, or, on the log clock, decided_at.
    ``chance`` draws from [0, 1).
    """

    def __init__(
        self,
        sender: Sender,
        policy: Policy,
        gate: Gate,
        now: Callable[[Action], int],
        chance: Callable[[], float],
        links: Links | None = None,
    ) -> None:
        self._sender = sender
        self._policy = policy
        self._gate = gate
        self._now = now
        self._chance = chance
        self._links = links

    def invalid(self, action: Action, tries: Tries | None, *, cancelled: bool) -> Outcome | None:
        """Return why an action must not be sent any more, if so.

        A sink cannot tell expiry from the next quiet hours: ``expires_at`` is the earlier of both,
        and ``window`` makes the engine decide anew, which finds out.
        """
        tries = tries or Tries()
        late = action.expires_at is not None and self._now(action) >= action.expires_at
        if not cancelled and not late:
            return None
        if tries.maybe_sent:
            return Outcome("unknown", "unknown", tries.asked)
        return Outcome("dropped", "cancel" if cancelled else "window", tries.asked)

    async def attempt(
        self, action: Action, fields: Mapping[str, str], tries: Tries
    ) -> Outcome | Again:
        """Ask the provider once; ``tries`` is brought up to date."""
        tries.asked += 1
        url = None if self._links is None else self._links.unsubscribe(action)
        order = Order(action, fields, self._now(action), tries.asked, url)
        said = "error"
        started = monotonic()
        try:
            accepted = await self._sender.send(order)
            said = "accepted"
            return self._sent(accepted, tries)
        except Rejected as error:
            said = "rejected"
            if isinstance(error, Unfit):
                self._gate.unused()
            else:
                self._gate.answered()
            return Outcome("failed", error.reason, tries.asked, str(error), report=error.report)
        except TryAgain as error:
            said = "again"
            return self._again(action, error, tries)
        except Exception as error:  # noqa: BLE001 - a sender's bug must not stop its channel
            self._gate.unused()
            _log.error("a sender failed", channel=action.channel, error=type(error).__name__)
            return Outcome("failed", "error", tries.asked, type(error).__name__)
        except asyncio.CancelledError:
            self._gate.unused()
            raise
        finally:
            metrics.send_seconds.labels(action.channel, said).observe(monotonic() - started)

    def _sent(self, accepted: Accepted, tries: Tries) -> Outcome:
        self._gate.answered()
        return Outcome(
            "sent",
            None,
            tries.asked,
            accepted.provider_id,
            accepted.inbox,
            accepted.write,
            maybe_twice=tries.maybe_sent,
        )

    def _again(self, action: Action, error: TryAgain, tries: Tries) -> Outcome | Again:
        now, before = monotonic(), self._gate.why
        counts = self._gate.refused(error, now)
        if self._gate.why and not before:
            _log.warning(
                "the provider is held off",
                channel=action.channel,
                reason=error.reason,
                detail=str(error),
            )
        if error.unknown:
            metrics.unknown.labels(action.channel, self._policy.on_unknown).inc()
        tries.counted += counts
        tries.maybe_sent = tries.maybe_sent or error.unknown
        last = tries.counted >= self._policy.attempts
        if tries.maybe_sent and (last or self._policy.on_unknown == "give_up"):
            return Outcome("unknown", "unknown", tries.asked, str(error))
        if last:
            return Outcome("failed", error.reason, tries.asked, str(error))
        after = error.after if error.blame == "message" else None
        return Again(retry_delay(max(1, tries.counted), after, self._chance()))
