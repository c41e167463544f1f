"""The in-app inbox over HTTP: read it with a token, mark messages as read.

``GET /v1/inbox/TOKEN`` -> ``{"messages": [...], "unread": 2}``, newest first.
``POST /v1/inbox/TOKEN/read`` with ``{"action_ids": [...]}`` (none = all) -> ``{"read": 1}``; each
message read for the first time is an event ``message.opened``. On the log clock the request brings
its own ``timestamp``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
from aiohttp import web
from msgspec import Struct

from orchestrator.codec import Codec, headers_for
from orchestrator.errors import InputError
from orchestrator.identities import CUSTOMER
from orchestrator.ids import receipt_id
from orchestrator.kafka.inbox import InboxTable, mark_key
from orchestrator.kafka.topics import Topology
from orchestrator.partitioning import partition_for
from orchestrator.records import Event, Inbox, InboxMessage
from orchestrator.sources.mapping import instant
from orchestrator.sources.producer import EventProducer, Outgoing
from orchestrator.sources.tokens import customer_of_token

SOURCE = "inbox"


class _Read(Struct):
    action_ids: list[str] | None = None
    timestamp: str | int | None = None


_read_decoder = msgspec.json.Decoder(_Read)


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

    async def show(self, request: web.Request) -> web.Response:
        """``GET /v1/inbox/TOKEN``."""
        inbox = self._of(request)
        now = self._wall()
        messages = [
            one
            for one in inbox.messages
            if self._log_clock or one.expires_at is None or one.expires_at > now
        ]
        unread = sum(one.read_at is None for one in messages)
        return _answer({"messages": messages, "unread": unread})

    async def read(self, request: web.Request) -> web.Response:
        """``POST /v1/inbox/TOKEN/read``."""
        inbox = self._of(request)
        try:
            said = _read_decoder.decode(await request.read() or b"{}")
            at = self._at(said)
        except (msgspec.DecodeError, UnicodeDecodeError, InputError) as error:
            raise web.HTTPBadRequest(text=str(error)) from error
        wanted = said.action_ids
        fresh = [
            one
            for one in inbox.messages
            if one.read_at is None and (wanted is None or one.action_id in wanted)
        ]
        await self._producer.send([*self._opened(inbox, fresh, at), *self._marks(inbox, fresh, at)])
        return _answer({"read": len(fresh)})

    def _of(self, request: web.Request) -> Inbox:
        customer_id = customer_of_token(self._secret, request.match_info["token"], self._wall())
        if customer_id is None:
            raise web.HTTPForbidden(text="this token is not valid, or no longer")
        return self._table.get(customer_id) or Inbox(customer_id=customer_id)

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


def _answer(data: object) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(data),
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
