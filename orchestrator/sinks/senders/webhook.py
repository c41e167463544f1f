"""A message as JSON by HTTP POST, signed as Standard Webhooks has it.

``webhook-id`` is the action's id: the same for every attempt, so that a receiver that remembers ids
gets each message once. Body: ``{"type": "message.sent", "timestamp": ..., "data": {...}}``. Of the answer
only the status counts, and Retry-After; it is never kept, shown or logged.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from time import time
from typing import Final

import aiohttp
import msgspec

from orchestrator.expressions.instants import format_instant
from orchestrator.settings import WebhookSender as WebhookSettings
from orchestrator.signatures import standard_content, standard_key, standard_signature
from orchestrator.sinks.egress import Guard, GuardedResolver, Refused
from orchestrator.sinks.senders.protocol import Accepted, Order, Rejected, TryAgain

TYPE: Final = "message.sent"
CONNECT_S: Final = 5.0
MAX_ANSWER: Final = 64 * 1024
"""Of an answer; a longer one costs its connection."""
_OK: Final = range(200, 300)
_REDIRECTS: Final = range(300, 400)
_LATER: Final = frozenset({408, 425, 429})
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
            raise Rejected("no_address", "neither the settings nor the action name a URL")
        body = body_of(order)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "orchestrator",
            **signed(order.action.action_id, int(time()), body, self._keys),
        }
        try:
            self._guard.check_url(url)
            async with self._http.post(
                url, data=body, headers=headers, allow_redirects=False
            ) as answer:
                await self._finish(answer)
                return _verdict(answer)
        except Refused as error:
            raise Rejected("bad_address", str(error)) from error
        except aiohttp.ClientConnectorCertificateError as error:
            raise TryAgain("certificate", type(error).__name__) from error
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, Refused):
                raise Rejected("bad_address", str(error.os_error)) from error
            raise TryAgain("unreachable", type(error).__name__) from error
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
            raise Rejected("bad_address", type(error).__name__) from error
        except aiohttp.ConnectionTimeoutError as error:
            raise TryAgain("unreachable", type(error).__name__) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # Perhaps behind the last byte of the request: the receiver may have it.
            raise TryAgain("connection", type(error).__name__, unknown=True) from error

    @staticmethod
    async def _finish(answer: aiohttp.ClientResponse) -> None:
        """Read what is there, so that the connection can be used again; close it if that is much."""
        left = MAX_ANSWER
        async for chunk in answer.content.iter_chunked(8192):
            left -= len(chunk)
            if left < 0:
                answer.close()
                return


@asynccontextmanager
async def open_webhook(settings: WebhookSettings) -> AsyncIterator[WebhookSender]:
    """Yield a sender whose connections are closed at the end.

    Raises:
        SettingsError: A secret is not ``whsec_`` and base64.
    """
    guard = Guard(settings.allow, settings.ports, allow_http=settings.allow_http)
    connector = aiohttp.TCPConnector(
        resolver=GuardedResolver(guard), use_dns_cache=False, limit=settings.concurrency
    )
    timeout = aiohttp.ClientTimeout(total=settings.timeout_s, sock_connect=CONNECT_S)
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
    ) as http:
        yield WebhookSender(settings, http, guard)
        await asyncio.sleep(0)  # let closed connections go before the loop does


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


def _verdict(answer: aiohttp.ClientResponse) -> Accepted:
    status = answer.status
    if status in _OK:
        return Accepted()
    if status in _REDIRECTS:
        raise Rejected("redirect", f"HTTP {status}: redirects are not followed")
    if status in _LATER or status >= _SERVER_ERROR:
        after = retry_after(answer.headers.get("Retry-After", ""), datetime.now(UTC))
        raise TryAgain("refused", f"HTTP {status}", after=after)
    raise Rejected("gone" if status == _GONE else "rejected", f"HTTP {status}")


def retry_after(text: str, now: datetime) -> float | None:
    """Return the seconds that a Retry-After asks for: a number of them, or a date."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    if at.tzinfo is None:
        return None
    return max(0.0, (at - now).total_seconds())
