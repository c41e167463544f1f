"""The in-app inbox over HTTP: read it with a token, mark messages as read.

``GET /v1/inbox/TOKEN`` -> ``{"messages": [...], "unread": 2}``, newest first.
``GET /v1/inbox/TOKEN/stream``: the same as server-sent events ``inbox``, at once and at each change, until
the token ends; ``new EventSource(url)`` in a browser.
``POST /v1/inbox/TOKEN/read`` with ``{"action_ids": [...]}`` (none = all) -> ``{"read": 1}``; each
message read for the first time is an event ``message.opened``. On the log clock the request brings
its own ``timestamp``.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

import msgspec
from aiohttp import web
from msgspec import Struct

from orchestrator.codec import Codec, headers_for
from orchestrator.errors import NO_JSON, InputError
from orchestrator.identities import CUSTOMER
from orchestrator.ids import receipt_id
from orchestrator.kafka.inbox import InboxTable, mark_key
from orchestrator.kafka.topics import Topology
from orchestrator.partitioning import partition_for
from orchestrator.records import Event, Inbox, InboxMessage
from orchestrator.sources.mapping import instant
from orchestrator.sources.producer import EventProducer, Outgoing
from orchestrator.sources.tokens import bearer

SOURCE = "inbox"
SHARED: Final = web.RequestKey("shared", dict[str, str])
"""Where a request keeps the headers that let its browser read the answer."""
PING_S: Final = 15.0
"""Silence is broken this often: proxies end connections on which nothing moves."""
WRITE_S: Final = 30.0
MAX_STREAMS: Final = 5_000
"""Of one process; about 10 KB each."""
MAX_OF_ONE: Final = 20
"""Of one customer: his tabs and devices, and not all there is."""
STREAM: Final = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
}


class _Read(Struct):
    action_ids: list[str] | None = None
    timestamp: str | int | None = None


_read_decoder = msgspec.json.Decoder(_Read)


class Streams:
    """The streams that are open. Each is told when the process stops: it would never end by itself."""

    def __init__(self) -> None:
        self._open: set[asyncio.Event] = set()
        self._of: Counter[str] = Counter()
        self.closing = False

    @contextmanager
    def enter(self, customer_id: str, wake: asyncio.Event) -> Iterator[None]:
        """Count a stream in while it lasts.

        Raises:
            HTTPServiceUnavailable: There are too many.
            HTTPTooManyRequests: This customer has too many.
        """
        if self._of[customer_id] >= MAX_OF_ONE:
            raise web.HTTPTooManyRequests(
                text="too many streams of this inbox are open", headers={"Retry-After": "5"}
            )
        if len(self._open) >= MAX_STREAMS:
            raise web.HTTPServiceUnavailable(
                text="too many streams are open here", headers={"Retry-After": "5"}
            )
        self._open.add(wake)
        self._of[customer_id] += 1
        try:
            yield
        finally:
            self._open.discard(wake)
            self._of[customer_id] -= 1
            if not self._of[customer_id]:
                del self._of[customer_id]

    async def close(self, _: web.Application | None = None) -> None:
        """End all of them."""
        self.closing = True
        for wake in self._open:
            wake.set()


class InboxApi:
    """Handlers for one deployment. ``wall`` gives the time of day in epoch ms."""

    def __init__(
        self,
        topology: Topology,
        codec: Codec,
        table: InboxTable,
        producer: EventProducer,
        secret: str,
        wall: Callable[[], int],
    ) -> None:
        self._events = topology.name("events")
        self._inbox = topology.name("inbox")
        self._partitions = topology.partitions("inbox")
        self._log_clock = topology.log_clock
        self._app = topology.settings.app.id
        self._codec = codec
        self._table = table
        self._producer = producer
        self._secret = secret
        self._wall = wall
        self._streams = Streams()

    @property
    def close(self) -> Callable[[web.Application], Awaitable[None]]:
        """Ends the streams; for the application's ``on_shutdown``."""
        return self._streams.close

    async def show(self, request: web.Request) -> web.Response:
        """``GET /v1/inbox/TOKEN``."""
        customer_id, _ = self._bearer(request)
        return _answer(self._shown(customer_id))

    def routes(self) -> list[web.RouteDef]:
        """Return the inbox's routes."""
        return [
            web.get("/v1/inbox/{token}", self.show),
            web.get("/v1/inbox/{token}/stream", self.stream),
            web.post("/v1/inbox/{token}/read", self.read),
        ]

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """``GET /v1/inbox/TOKEN/stream``."""
        customer_id, until = self._bearer(request)
        loop, changed = asyncio.get_running_loop(), asyncio.Event()
        with (
            self._streams.enter(customer_id, changed),
            self._table.watching(customer_id, lambda: loop.call_soon_threadsafe(changed.set)),
        ):
            response = web.StreamResponse(headers={**STREAM, **request.get(SHARED, {})})
            await response.prepare(request)
            changed.set()
            while (left := (until - self._wall()) / 1000) > 0 and not self._streams.closing:
                await _until_set(changed, min(left, PING_S))
                quiet = not changed.is_set()
                changed.clear()
                said = b": \n\n" if quiet else _event(self._shown(customer_id))
                try:
                    async with asyncio.timeout(WRITE_S):
                        await response.write(said)
                except (ConnectionError, TimeoutError):
                    break  # gone, or it reads nothing: EventSource comes again by itself
        return response

    async def read(self, request: web.Request) -> web.Response:
        """``POST /v1/inbox/TOKEN/read``."""
        customer_id, _ = self._bearer(request)
        inbox = self._inbox_of(customer_id)
        try:
            said = _read_decoder.decode(await request.read() or b"{}")
            at = self._at(said)
        except (*NO_JSON, InputError) as error:
            raise web.HTTPBadRequest(text=str(error)) from error
        wanted = said.action_ids
        fresh = [
            one
            for one in inbox.messages
            if one.read_at is None and (wanted is None or one.action_id in wanted)
        ]
        await self._producer.send([*self._opened(inbox, fresh, at), *self._marks(inbox, fresh, at)])
        return _answer({"read": len(fresh)})

    def _bearer(self, request: web.Request) -> tuple[str, int]:
        """Return whose inbox the token opens, and until when (epoch ms)."""
        found = bearer(self._secret, request.match_info["token"], self._wall())
        if found is None:
            raise web.HTTPForbidden(text="this token is not valid, or no longer")
        return found

    def _inbox_of(self, customer_id: str) -> Inbox:
        return self._table.get(customer_id) or Inbox(customer_id=customer_id)

    def _shown(self, customer_id: str) -> dict[str, object]:
        now = self._wall()
        messages = [
            one
            for one in self._inbox_of(customer_id).messages
            if self._log_clock or one.expires_at is None or one.expires_at > now
        ]
        return {"messages": messages, "unread": sum(one.read_at is None for one in messages)}

    def _at(self, said: _Read) -> int:
        at = instant(said.timestamp) if self._log_clock else self._wall()
        if at is None:
            raise InputError("on the log clock a request needs its timestamp")
        return at

    def _opened(self, inbox: Inbox, fresh: Iterable[InboxMessage], at: int) -> list[Outgoing]:
        outgoing = []
        for message in fresh:
            event = Event(
                event_id=receipt_id(message.action_id, "opened"),
                type="message.opened",
                occurred_at=at,
                identities={CUSTOMER: inbox.customer_id},
                source=SOURCE,
                properties={"action_id": message.action_id, "channel": "inapp"},
            )
            outgoing.append(
                Outgoing(
                    self._events,
                    f"{CUSTOMER}:{inbox.customer_id}".encode(),
                    self._codec.encode(event, self._events),
                    list(headers_for(event, SOURCE)),
                    at if self._log_clock else 0,
                )
            )
        return outgoing

    def _marks(self, inbox: Inbox, fresh: Iterable[InboxMessage], at: int) -> list[Outgoing]:
        partition = partition_for(inbox.customer_id.encode(), self._partitions)
        outgoing = []
        for message in fresh:
            mark = Inbox(
                customer_id=inbox.customer_id,
                messages=[
                    InboxMessage(
                        action_id=message.action_id,
                        message=message.message,
                        sent_at=message.sent_at,
                        read_at=at,
                    )
                ],
            )
            outgoing.append(
                Outgoing(
                    self._inbox,
                    mark_key(inbox.customer_id, message.action_id).encode(),
                    self._codec.encode(mark, self._inbox),
                    list(headers_for(mark, self._app)),
                    at if self._log_clock else 0,
                    partition,
                )
            )
        return outgoing


async def _until_set(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


def _event(data: object) -> bytes:
    return b"event: inbox\ndata: " + msgspec.json.encode(data) + b"\n\n"


def _answer(data: object) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(data),
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
