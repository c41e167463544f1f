"""The pages by which a role is watched: ``/livez``, ``/readyz``, ``/metrics``.

- ``/livez`` answers 200 while the event loop turns. A supervisor restarts a role that does not.
- ``/readyz`` answers 200 when the role does its work, else 503; its body names what is waited for. It
  is for rollouts and load balancers, not a reason for a restart: what is waited for is usually
  elsewhere.

The worker has the same pages on Faust's own server (``engine/faust_pages.py``).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from aiohttp import web

from orchestrator.observability.metrics import CONTENT_TYPE, exposition

Waiting = Callable[[], Mapping[str, str]]
"""What keeps a role from its work, by name; empty = ready."""
UNREADY = 503


def pages(waiting: Waiting) -> list[web.RouteDef]:
    """Return the routes of a role."""

    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        missing = dict(waiting())
        return web.json_response(
            {"ready": not missing, "waiting": missing}, status=UNREADY if missing else 200
        )

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=exposition(), headers={"Content-Type": CONTENT_TYPE})

    return [web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", metrics)]


@asynccontextmanager
async def serve_pages(host: str, port: int, waiting: Waiting) -> AsyncIterator[int]:
    """Serve the pages of a role that has no other; yield the port (for port 0: which one)."""
    app = web.Application()
    app.add_routes(pages(waiting))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
