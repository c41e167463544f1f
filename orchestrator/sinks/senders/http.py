"""What the senders over HTTP share: kept connections, and what an answer - or none - says.

Nothing of an answer but its status, its codes and its Retry-After reaches receipts or logs: providers
quote addresses and content in their texts.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, NamedTuple

import aiohttp
import msgspec

from orchestrator.errors import NO_JSON
from orchestrator.sinks.senders.protocol import Rejected, TryAgain

CONNECT_S: Final = 5.0
MAX_ANSWER: Final = 64 * 1024
"""Of an answer; a longer one costs its connection."""
_OK: Final = range(200, 300)
_NOT_NOW: Final = frozenset({408, 425})
_TOO_FAST: Final = 429
_TOO_LARGE: Final = 413
_NO_ENTRY: Final = frozenset({401, 402, 403, 407})
_NO_SUCH_PLACE: Final = frozenset({404, 405})
_BY_A_PROXY: Final = frozenset({502, 504})
"""Said by what stands before the provider, which may have taken the message meanwhile."""
_SERVER_ERROR: Final = 500
_UNSURE: Final = (aiohttp.ClientError, TimeoutError, OSError)


class Reply(NamedTuple):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether the request was accepted."""
        return self.status in _OK

    def json(self) -> dict[str, Any]:
        """Return the body as a JSON object; an empty one if it is none."""
        try:
            found = msgspec.json.decode(self.body)
        except NO_JSON:
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def after(self) -> float | None:
        """Return the seconds that Retry-After asks for."""
        return retry_after(self.headers.get("Retry-After", ""), datetime.now(UTC))


@asynccontextmanager
async def open_http(
    timeout_s: float, connections: int, resolver: aiohttp.abc.AbstractResolver | None = None
) -> AsyncIterator[aiohttp.ClientSession]:
    """Yield a session that keeps its connections, no cookies, and follows no environment."""
    connector = aiohttp.TCPConnector(
        resolver=resolver, use_dns_cache=resolver is None, limit=connections
    )
    timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=CONNECT_S)
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
    ) as http:
        yield http


async def post(
    http: aiohttp.ClientSession, url: str, data: bytes, headers: Mapping[str, str]
) -> Reply:
    """Post and read the answer; redirects are not followed.

    Raises:
        TryAgain: There is no answer. ``unknown``, if the request may have arrived.
    """
    try:
        async with http.post(
            url,
            data=data,
            headers={"User-Agent": "orchestrator", **headers},
            allow_redirects=False,
        ) as answer:
            body = await _read(answer)
            return Reply(answer.status, answer.headers, body)
    except aiohttp.InvalidURL as error:
        raise TryAgain("configuration", type(error).__name__, blame="setup") from error
    except aiohttp.ClientConnectorCertificateError as error:
        raise TryAgain("certificate", type(error).__name__, blame="setup") from error
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        raise TryAgain("unreachable", type(error).__name__) from error
    except _UNSURE as error:
        # Perhaps behind the last byte of the request: the provider may have it.
        raise TryAgain("connection", type(error).__name__, unknown=True) from error


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    """Read what is there, so that the connection can be used again; close it if that is much."""
    body = bytearray()
    try:
        async for chunk in answer.content.iter_chunked(8192):
            body += chunk
            if len(body) > MAX_ANSWER:
                answer.close()
                break
    except _UNSURE:
        answer.close()  # the status has said what counts
    return bytes(body)


def judge(reply: Reply, detail: str = "") -> None:
    """Return if the message was accepted.

    ``detail`` is the provider's own code, if it has one. Statuses that are a provider's special
    words are to be understood before.

    Raises:
        Rejected: Never.
        TryAgain: Later; ``blame`` says whose fault it is.
    """
    status = reply.status
    text = f"HTTP {status} {detail}".rstrip()
    if reply.ok:
        return
    if status == _TOO_FAST:
        raise TryAgain("throttled", text, after=reply.after, blame="pace")
    if status in _NO_ENTRY:
        raise TryAgain("credentials", text, blame="setup")
    if status in _NO_SUCH_PLACE or status < _OK.stop + 100:
        raise TryAgain("configuration", text, blame="setup")
    if status >= _SERVER_ERROR or status in _NOT_NOW:
        raise TryAgain("refused", text, after=reply.after, unknown=status in _BY_A_PROXY)
    raise Rejected("too_large" if status == _TOO_LARGE else "rejected", text)


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
