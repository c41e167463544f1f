"""The bodies of requests: within a time, within the room there is, unpacked.

What is counted is what has come, not what was announced: whoever opens many connections and lets
nothing follow keeps nobody out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from aiohttp import web

from orchestrator.sources import metrics

MAX_IN_FLIGHT = 64 * 1024 * 1024
"""Bytes of requests that are being read or wait for Kafka; beyond it callers are sent away."""
REQUEST_BYTES = 16 * 1024
"""What a request costs beside its body: its connection, its headers, its record on the way."""
READ_S = 30.0
MAX_DRAINED: Final = 4 * 1024 * 1024
DRAIN_S: Final = 1.0
RETRY_AFTER_S: Final = "1"


class Share:
    """The bytes that one request holds."""

    __slots__ = ("_room", "size")

    def __init__(self, room: Room) -> None:
        self._room = room
        self.size = 0

    def grow(self, size: int) -> None:
        """Hold more.

        Raises:
            aiohttp.web.HTTPTooManyRequests: There is no more room; it says when to come again.
        """
        self._room.take(size)
        self.size += size


HELD: Final = web.RequestKey("held", Share)


class Room:
    """How many bytes all requests of this process may hold at a time."""

    def __init__(self) -> None:
        self._held = 0

    @contextmanager
    def enter(self, request: web.Request) -> Iterator[None]:
        """Count a request in while it lasts.

        Raises:
            aiohttp.web.HTTPTooManyRequests: As ``Share.grow``.
        """
        share = request[HELD] = Share(self)
        share.grow(REQUEST_BYTES)
        try:
            yield
        finally:
            self._held -= share.size

    def take(self, size: int) -> None:
        """See ``Share.grow``."""
        if self._held + size > MAX_IN_FLIGHT:
            raise web.HTTPTooManyRequests(headers={"Retry-After": RETRY_AFTER_S})
        self._held += size
        metrics.in_flight_bytes.set(self._held)


async def read_body(request: web.Request) -> bytes:
    """Return the body, unpacked.

    Raises:
        aiohttp.web.HTTPBadRequest: It is not packed as its header says.
        aiohttp.web.HTTPRequestEntityTooLarge: It is larger than the application takes.
        aiohttp.web.HTTPRequestTimeout: It did not come.
        aiohttp.web.HTTPTooManyRequests: As ``Share.grow``.
    """
    try:
        if request.content.is_eof():  # it came with the headers, as nearly all do
            return await _collected(request)
        async with asyncio.timeout(READ_S):
            return await _collected(request)
    except TimeoutError as error:
        raise web.HTTPRequestTimeout(text="the body did not come in time") from error
    except web.RequestPayloadError as error:
        raise web.HTTPBadRequest(text="the body cannot be unpacked") from error


async def abandon(request: web.Request) -> bool:
    """Leave the rest of a packed body packed, and return whether it was: then the connection is over.

    A few KB of it may unpack to gigabytes.
    The server would read on, so that whoever still sends gets his answer. So do we, but for no more
    than an honest mistake takes.
    """
    content = request.content
    if "Content-Encoding" not in request.headers or content.is_eof():
        return False
    left = MAX_DRAINED
    with suppress(TimeoutError, web.RequestPayloadError):
        async with asyncio.timeout(DRAIN_S):
            while left > 0 and (chunk := await content.readany()):
                left -= len(chunk)
    if content.is_eof():
        return False
    content.set_exception(web.RequestPayloadError("left unread"))
    return True


async def _collected(request: web.Request) -> bytes:
    share, most = request[HELD], request.client_max_size
    body = bytearray()
    while chunk := await request.content.readany():
        if len(body) + len(chunk) > most:
            raise web.HTTPRequestEntityTooLarge(most)
        share.grow(len(chunk))
        body += chunk
    return bytes(body)
