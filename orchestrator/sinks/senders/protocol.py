"""What a sender is: one method. Everything around it - claim, retry, receipt - is the worker's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from orchestrator.records import Action, Inbox
from orchestrator.sinks.ledger import Write


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

    ``inbox`` and ``write`` are records that must become visible together with the receipt: they go
    into the same transaction, so that such a message cannot be half sent.
    """

    provider_id: str | None = None
    inbox: Inbox | None = None
    write: Write | None = None


class SendError(Exception):
    """A message did not leave; ``reason`` is a closed word, the text is for operators.

    The text goes into receipts and logs: codes, never a provider's own sentences.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Rejected(SendError):  # noqa: N818 - reads as the provider's verdict
    """The provider will never take this message: no retry.

    ``report`` is what it says about the customer beside the message: the address is no good
    (``bounced``, for good), or its owner has opted out there (``unsubscribed``).
    """

    def __init__(
        self,
        reason: str,
        detail: str,
        *,
        report: Literal["bounced", "unsubscribed"] | None = None,
    ) -> None:
        super().__init__(reason, detail)
        self.report = report


class Unfit(Rejected):
    """It cannot be handed over at all: the provider was not even asked."""


Blame = Literal["message", "provider", "pace", "setup"]
"""Whose fault it is that a message cannot leave now.

- ``message``: this one's alone; others may well leave.
- ``provider``: it is away or broken.
- ``pace``: we are too fast.
- ``setup``: credentials or configuration; until they are mended nothing leaves.
"""


class TryAgain(SendError):  # noqa: N818 - reads as the provider's verdict
    """The provider cannot take it now.

    ``after`` is the provider's own word on when (seconds). ``unknown``: the message may have been
    taken although we heard nothing.
    """

    def __init__(
        self,
        reason: str,
        detail: str,
        *,
        after: float | None = None,
        unknown: bool = False,
        blame: Blame = "provider",
    ) -> None:
        super().__init__(reason, detail)
        self.after = after
        self.unknown = unknown
        self.blame = blame


class Sender(Protocol):
    """Carries messages of one channel to one provider; called concurrently."""

    async def send(self, order: Order) -> Accepted:
        """Hand one message to the provider; return once the provider is responsible for it.

        Raises:
            Rejected: Never.
            TryAgain: Later.
        """
        ...
