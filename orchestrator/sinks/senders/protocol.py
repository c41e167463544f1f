"""What a sender is: one method. Everything around it - claim, retry, receipt - is the worker's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from orchestrator.records import Action, Inbox


@dataclass(frozen=True, slots=True)
class Order:
    """One message, rendered and claimed.

    ``fields`` are the message's fields for this channel (``subject``, ``text``, ``title`` ...);
    ``now`` is the sink's clock in epoch ms, ``attempt`` counts from 1. ``unsubscribe_url`` is for
    List-Unsubscribe (RFC 8058), where links are configured.
    """

    action: Action
    fields: Mapping[str, str]
    now: int
    attempt: int = 1
    unsubscribe_url: str | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider has taken the message over.

    ``inbox`` is a record that must become visible together with the receipt: it goes into the same
    transaction, so that an in-app message cannot be half sent.
    """

    provider_id: str | None = None
    inbox: Inbox | None = None


class SendError(Exception):
    """A message did not leave; ``reason`` is a closed word, the text is for operators."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Rejected(SendError):  # noqa: N818 - reads as the provider's verdict
    """The provider will never take this message: no retry."""


class TryAgain(SendError):  # noqa: N818 - reads as the provider's verdict
    """The provider cannot take it now.

    ``after`` is the provider's own word on when (seconds). ``unknown``: the message may have been
    taken although we heard nothing.
    """

    def __init__(
        self, reason: str, detail: str, *, after: float | None = None, unknown: bool = False
    ) -> None:
        super().__init__(reason, detail)
        self.after = after
        self.unknown = unknown


class Sender(Protocol):
    """Carries messages of one channel to one provider; called concurrently."""

    async def send(self, order: Order) -> Accepted:
        """Hand one message to the provider; return once the provider is responsible for it.

        Raises:
            Rejected: Never.
            TryAgain: Later.
        """
        ...
