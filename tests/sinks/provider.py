"""A provider of messages that can be made to fail in every way; it counts what it has accepted.

It stands in for all of them: SendGrid's, SES', Twilio's, FCM's and Slack's calls are told apart by their
paths, everything else is a webhook. Faults come from ``faults`` first, then from ``fault``:

- a number: that status, nothing accepted; ``accept_500``: accepted, and 500 nonetheless
- ``hang``: nothing accepted, no answer; ``accept_hang``: accepted, no answer
- ``reset``: the connection ends before; ``accept_reset``: after it was accepted
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

from aiohttp import web

Fault = str | int | None
ANSWERS = {
    "sendgrid": (202, {}),
    "ses": (200, {"MessageId": "ses-1"}),
    "twilio": (201, {"sid": "SM1", "status": "queued"}),
    "fcm": (200, {"name": "projects/p/messages/1"}),
    "slack": (200, {"ok": True, "ts": "1.2"}),
    "token": (200, {"access_token": "ya29", "expires_in": 3600}),
    "webhook": (204, {}),
}


class Provider:
    """See the module docstring. ``dedup``: a repeated id is answered and not accepted again."""

    def __init__(self, *, dedup: bool = False) -> None:
        self.accepted: list[str] = []
        self.requests: list[tuple[str, Mapping[str, str], bytes]] = []
        self.faults: deque[Fault] = deque()
        self.fault: Callable[[str], Fault] = lambda _: None
        self.answer: tuple[int, Any, dict[str, str]] | None = None
        self.dedup = dedup
        self.in_flight = 0
        self.most_in_flight = 0
        self.delay = 0.0
        self.port = 0
        self.began = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def doubles(self) -> int:
        """How many messages arrived more than once, counted by the copies too many."""
        return sum(count - 1 for count in Counter(self.accepted).values())

    async def take(self, request: web.Request) -> web.StreamResponse:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            body = await request.read()
            self.began.set()
            self.requests.append((request.path_qs, dict(request.headers), body))
            return await self._answered(request, body)
        finally:
            self.in_flight -= 1

    async def _answered(self, request: web.Request, body: bytes) -> web.StreamResponse:
        kind = kind_of(request.path)
        if kind == "token":
            return web.json_response(ANSWERS[kind][1])
        if self.answer:
            status, said, headers = self.answer
            return web.json_response(said, status=status, headers=headers)
        id_ = id_of(kind, request.headers, body)
        fault = self.faults.popleft() if self.faults else self.fault(id_)
        if isinstance(fault, int):
            return web.Response(status=fault, headers={"Retry-After": "1"} if fault == 429 else {})
        await asyncio.sleep(self.delay)
        if fault not in {"hang", "reset"} and not (self.dedup and id_ in self.accepted):
            self.accepted.append(id_)
        if fault in {"hang", "accept_hang"}:
            await asyncio.sleep(3600)
        if fault in {"reset", "accept_reset"}:
            assert request.transport is not None
            request.transport.abort()
        status, said = ANSWERS[kind]
        if fault == "accept_500":
            status = 500
        return web.json_response(said, status=status) if said else web.Response(status=status)


def kind_of(path: str) -> str:
    for part, kind in (
        ("/v3/mail/send", "sendgrid"),
        ("/outbound-emails", "ses"),
        ("/Messages.json", "twilio"),
        ("/messages:send", "fcm"),
        ("/chat.postMessage", "slack"),
        ("/token", "token"),
    ):
        if part in path:
            return kind
    return "webhook"


def id_of(kind: str, headers: Mapping[str, str], body: bytes) -> str:
    """The action's id, where each provider would find it."""
    match kind:
        case "sendgrid":
            return str(json.loads(body)["custom_args"]["action_id"])
        case "ses":
            return str(
                {one["Name"]: one["Value"] for one in json.loads(body)["EmailTags"]}["action_id"]
            )
        case "twilio":
            callback = parse_qs(body.decode()).get("StatusCallback", [""])[0]
            return dict(parse_qsl(urlsplit(callback).query)).get("action_id", "?")
        case "fcm":
            return str(json.loads(body)["message"]["data"]["action_id"])
        case "slack":
            return str(json.loads(body)["metadata"]["event_payload"]["action_id"])
        case _:
            return headers.get("webhook-id", "?")


@asynccontextmanager
async def serving(provider: Provider) -> AsyncIterator[Provider]:
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", provider.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", provider.port, backlog=1024).start()
    provider.port = runner.addresses[0][1]
    try:
        yield provider
    finally:
        await runner.cleanup()


async def _main(delay: float) -> None:
    """As a process of its own, for benchmarks: ``GET /stats`` says what was accepted."""
    provider = Provider()
    provider.delay = delay
    seen: list[float] = []

    async def stats(_: web.Request) -> web.Response:
        span = seen[-1] - seen[0] if seen else 0.0
        return web.json_response(
            {"accepted": len(provider.accepted), "doubles": provider.doubles, "span": span}
        )

    async def take(request: web.Request) -> web.StreamResponse:
        answer = await provider.take(request)
        provider.requests.clear()
        seen.append(asyncio.get_running_loop().time())
        return answer

    app = web.Application()
    app.router.add_get("/stats", stats)
    app.router.add_route("POST", "/{rest:.*}", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    print(runner.addresses[0][1], flush=True)  # noqa: T201 - who started it reads the port
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(float(sys.argv[1])))
