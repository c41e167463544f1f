"""A message as JSON by HTTP POST, signed as Standard Webhooks has it.

``webhook-id`` is the action's id: the same for every attempt, so that a receiver that remembers ids
gets each message once. Body: ``{"type": "message.sent", "timestamp": ..., "data": {...}}``. Of the answer
only the status counts, and Retry-After; it is never kept, shown or logged.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from time import time
from typing import Final

import aiohttp
import msgspec

from orchestrator.expressions.instants import format_instant
from orchestrator.sender_settings import WebhookSender as WebhookSettings
from orchestrator.signatures import standard_content, standard_key, standard_signature
from orchestrator.sinks.egress import Guard, GuardedResolver, Refused
from orchestrator.sinks.senders.http import Reply, open_http, post
from orchestrator.sinks.senders.protocol import (
    Accepted,
    Blame,
    Order,
    Rejected,
    TryAgain,
    Unfit,
)

TYPE: Final = "message.sent"
_REDIRECTS: Final = range(300, 400)
_LATER: Final = frozenset({408, 425, 429})
_TOO_FAST: Final = 429
_SERVER_ERROR: Final = 500
_GONE: Final = 410
_encode = msgspec.json.Encoder(order="sorted").encode


class WebhookSender:
    """Posts over kept connections; ``wall`` gives the time of day in epoch ms."""

    def __init__(
        self, settings: WebhookSettings, http: aiohttp.ClientSession, guard: Guard
    ) -> None:
        secrets = [settings.secret, settings.previous_secret]
        self._keys = [standard_key(one.reveal()) for one in secrets if one is not None]
        self._url = settings.url
        self._http = http
        self._guard = guard

    async def send(self, order: Order) -> Accepted:
        """Post the message; see ``Sender``."""
        url = self._url or order.action.address
        if not url:
            raise Unfit("no_address", "neither the settings nor the action name a URL")
        body = body_of(order)
        headers = {
            "Content-Type": "application/json",
            **signed(order.action.action_id, int(time()), body, self._keys),
        }
        try:
            self._guard.check_url(url)
            reply = await post(self._http, url, body, headers)
        except Refused as error:
            raise Unfit("bad_address", str(error)) from error
        except TryAgain as error:
            raise self._placed(error) from error.__cause__
        return self._verdict(reply)

    def _placed(self, error: TryAgain) -> Rejected | TryAgain:
        """Return what a call without an answer means, where each customer may have a receiver."""
        match error.__cause__:
            case aiohttp.ClientConnectorError(os_error=Refused() as refused):
                return Unfit("bad_address", str(refused))
            case aiohttp.InvalidURL() as invalid:
                return Unfit("bad_address", type(invalid).__name__)
            case _:
                return TryAgain(
                    error.reason, str(error), unknown=error.unknown, blame=self._blame(error.blame)
                )

    def _blame(self, blame: Blame) -> Blame:
        """Where each customer has a URL, one receiver's trouble is not the others'."""
        return blame if self._url else "message"

    def _verdict(self, reply: Reply) -> Accepted:
        status = reply.status
        text = f"HTTP {status}"
        if reply.ok:
            return Accepted()
        if status in _REDIRECTS:
            raise Rejected("redirect", f"{text}: redirects are not followed")
        if status in _LATER or status >= _SERVER_ERROR:
            blame: Blame = "pace" if status == _TOO_FAST else "provider"
            raise TryAgain("refused", text, after=reply.after, blame=self._blame(blame))
        if status == _GONE:
            raise Rejected("gone", text, report=None if self._url else "bounced")
        raise Rejected("rejected", text)


@asynccontextmanager
async def open_webhook(settings: WebhookSettings) -> AsyncIterator[WebhookSender]:
    """Yield a sender whose connections are closed at the end.

    Raises:
        SettingsError: A secret is not ``whsec_`` and base64.
    """
    guard = Guard(settings.allow, settings.ports, allow_http=settings.allow_http)
    async with open_http(settings.timeout_s, settings.concurrency, GuardedResolver(guard)) as http:
        yield WebhookSender(settings, http, guard)


def body_of(order: Order) -> bytes:
    """Return the request's body; the same order gives the same bytes."""
    action = order.action
    return _encode(
        {
            "type": TYPE,
            "timestamp": format_instant(action.decided_at),
            "data": {
                "action_id": action.action_id,
                "customer_id": action.customer_id,
                "channel": action.channel,
                "message": action.message,
                "category": action.category,
                "journey": action.journey,
                "step": action.step,
                "address": action.address,
                "fields": dict(order.fields),
            },
        }
    )


def signed(id_: str, timestamp: int, body: bytes, keys: Sequence[bytes]) -> dict[str, str]:
    """Return the three headers of Standard Webhooks; one signature for each key."""
    content = standard_content(id_, str(timestamp), body)
    return {
        "webhook-id": id_,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(standard_signature(key, content) for key in keys),
    }
