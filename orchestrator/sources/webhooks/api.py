"""``POST /v1/webhooks/NAME``: verified, mapped by ``sources/*.yaml``, acknowledged by Kafka, then 200.

What cannot be mapped is a dead letter with its original bytes, and 200 too: a sender that repeats it
for days changes nothing. 401: not verified; nothing of it is kept. 404: no such webhook, or nothing in
the settings that it could prove itself by. 503: come again. Copies have the same event ids: those that
this process remembers are not written again, the customer ignores the others.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

import msgspec
from aiohttp import web

from orchestrator.errors import InputError
from orchestrator.expressions.records import HEADER
from orchestrator.observability import get_logger
from orchestrator.records import Event
from orchestrator.sources import metrics
from orchestrator.sources.arrivals import Hooked
from orchestrator.sources.bodies import read_body
from orchestrator.sources.identities import IdentityKinds
from orchestrator.sources.intake import Intake, Refusal, Taken
from orchestrator.sources.mapping import Origin
from orchestrator.sources.mappings import Arrival
from orchestrator.sources.mappings.rows import json_record
from orchestrator.sources.producer import EventProducer
from orchestrator.sources.webhooks.hooks import AppliedHooks, Hook
from orchestrator.sources.webhooks.memory import Seen
from orchestrator.sources.webhooks.verify import Headers, Unverified

_JSON = "application/json"
_log = get_logger(__name__)


class _Delivered(Taken):
    """What a delivery came to; ``names`` are those of what it brings and nobody has seen yet."""

    __slots__ = ("duplicates", "names")

    def __init__(self) -> None:
        super().__init__()
        self.names: dict[tuple[str, ...], None] = {}
        self.duplicates = 0


class WebhookApi:
    """The handler of all webhooks. ``wall`` gives the time of day in epoch ms."""

    def __init__(
        self,
        hooks: AppliedHooks,
        intake: Intake,
        kinds: Callable[[], IdentityKinds],
        producer: EventProducer,
        wall: Callable[[], int],
        *,
        log_clock: bool,
    ) -> None:
        self._hooks = hooks
        self._intake = intake
        self._kinds = kinds
        self._producer = producer
        self._wall = wall
        self._log_clock = log_clock
        self._seen = Seen()

    async def known(self, request: web.Request) -> web.Response:
        """``HEAD /v1/webhooks/NAME``: by it Intercom looks whether an address is one."""
        self._hook(request.match_info["name"])
        return web.Response()

    async def take(self, request: web.Request) -> web.Response:
        """``POST /v1/webhooks/NAME``."""
        name, received = request.match_info["name"], self._wall()
        hook = self._hook(name)
        body, query = await read_body(request), request.rel_url.raw_query_string
        headers = {key.lower(): request.headers.getall(key) for key in request.headers}
        try:
            await hook.provider.prepare(body)
            id_ = hook.provider.verify(headers, body, received, query)
            if (greeting := await hook.provider.greet(body)) is not None:
                return web.Response(body=greeting, content_type=_JSON)
        except Unverified as error:
            metrics.received.labels(name, "refused").inc()
            metrics.refused.labels(name, error.cause).inc()
            _log.warning("webhook not verified", source=name, cause=error.cause, error=str(error))
            raise web.HTTPUnauthorized(text=str(error)) from error
        taken = self._map(hook, headers, body, query, id_, received)
        await self._producer.send(taken.records)
        for one in taken.names:  # only now: what Kafka has not acknowledged must be repeated
            self._seen.add(one, received)
        if taken.duplicates:
            metrics.received.labels(hook.mapper.source, "duplicate").inc(taken.duplicates)
        if (thanks := hook.provider.thanks()) is not None:
            return web.Response(content_type=thanks[0], body=thanks[1])
        said = {
            "success": True,
            "accepted": taken.accepted,
            "duplicates": taken.duplicates,
            "refused": taken.refused,
        }
        return web.Response(body=msgspec.json.encode(said), content_type=_JSON)

    def _hook(self, name: str) -> Hook:
        hook = self._hooks.get(name)
        if hook is None:
            raise web.HTTPNotFound(text="no such webhook: it needs a mapping, and its settings")
        return hook

    def _map(
        self,
        hook: Hook,
        headers: Headers,
        body: bytes,
        query: str,
        id_: str | None,
        received: int,
    ) -> _Delivered:
        origin, taken = Origin(hook.mapper.source, "server"), _Delivered()
        header = {name: values[0] for name, values in headers.items()}
        at = None if self._log_clock else received
        kinds = self._kinds()
        if not hook.provider.id_is_signed:
            whole = (origin.source, "", sha256(body).hexdigest())
            if whole in self._seen:
                taken.duplicates += 1
                return taken
            taken.names[whole] = None
        try:
            records = hook.provider.records(body, query)
        except InputError as error:
            self._refuse(taken, 0, hook.provider.clean(body), origin, error, received)
            return taken
        for index, raw in enumerate(records):
            # A sender that names its deliveries repeats the name; else the same bytes are the same.
            stable = (id_, str(index)) if id_ else (sha256(raw).hexdigest(),)
            try:
                events = hook.mapper.events([json_record(raw)], Arrival(at, stable, header))
                keys = [kinds.key(event.identities) for event in events]
            except InputError as error:
                read = {one: header[one] for one in hook.mapper.fields(HEADER) & header.keys()}
                told = Hooked(received, stable, read)
                self._refuse(taken, index, raw, origin, error, received, told)
                continue
            for event, key in zip(events, keys, strict=True):
                self._take(taken, event, key)
        return taken

    def _take(self, taken: _Delivered, event: Event, key: str) -> None:
        name = (event.source, event.event_id)
        if name in self._seen or name in taken.names:
            taken.duplicates += 1
            return
        taken.records.append(self._intake.outgoing(event, key))
        taken.names[name] = None
        taken.accepted += 1
        metrics.accepted(event.source).inc()

    def _refuse(
        self,
        taken: Taken,
        index: int,
        raw: bytes,
        origin: Origin,
        error: InputError,
        at: int,
        told: Hooked | None = None,
    ) -> None:
        taken.refused.append(Refusal(index, error.cause, str(error)))
        if dead := self._intake.refuse(raw, origin, error, at, told):
            taken.records.append(dead)
