"""The body of a request, within a time: who dribbles it holds the room of others."""

from __future__ import annotations

import asyncio

from aiohttp import web

READ_S = 30.0


async def read_body(request: web.Request) -> bytes:
    """Return the body, unpacked.

    Raises:
        aiohttp.web.HTTPRequestEntityTooLarge: It is larger than the application takes.
        aiohttp.web.HTTPRequestTimeout: It did not come.
    """
    if request.content.is_eof():  # it came with the headers, as nearly all do
        return await request.read()
    try:
        async with asyncio.timeout(READ_S):
            return await request.read()
    except TimeoutError as error:
        raise web.HTTPRequestTimeout(text="the body did not come in time") from error
