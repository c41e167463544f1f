"""``POST /v1/webhooks/NAME``: verified, mapped by ``sources/*.yaml``, acknowledged by Kafka, then 200.

What cannot be mapped is a dead letter with its original bytes, and 200 too: a sender that repeats it
for days changes nothing. 401: not verified; nothing of it is kept. 404: no such webhook, or no secret
for it. 503: come again. Copies have the same event ids and are duplicates.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

import msgspec
from aiohttp import web

from orchestrator.errors import InputError
from orchestrator.observability import get_logger
from orchestrator.sources import metrics
from orchestrator.sources.identities import IdentityKinds
from orchestrator.sources.intake import Intake, Refusal, Taken
from orchestrator.sources.mapping import Origin
from orchestrator.sources.mappings import Arrival
from orchestrator.sources.mappings.rows import elements_of, json_record
from orchestrator.sources.producer import EventProducer
from orchestrator.sources.webhooks.hooks import AppliedHooks, Hook
from orchestrator.sources.webhooks.verify import Headers, Unverified

_log = get_logger(__name__)


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

    async def take(self, request: web.Request) -> web.Response:
        """``POST /v1/webhooks/NAME``."""
        name, received = request.match_info["name"], self._wall()
        hook = self._hooks.get(name)
        if hook is None:
            raise web.HTTPNotFound(text="no such webhook: it needs a mapping and a secret")
        body = await request.read()
        headers = {key.lower(): request.headers.getall(key) for key in request.headers}
        try:
            id_ = hook.verifier.verify(headers, body, received)
        except Unverified as error:
            metrics.received.labels(name, "refused").inc()
            metrics.refused.labels(name, error.cause).inc()
            _log.warning("webhook not verified", source=name, cause=error.cause, error=str(error))
            raise web.HTTPUnauthorized(text=str(error)) from error
        taken = self._map(hook, headers, body, id_, received)
        await self._producer.send(taken.records)
        said = {"success": True, "accepted": taken.accepted, "refused": taken.refused}
        return web.Response(body=msgspec.json.encode(said), content_type="application/json")

    def _map(
        self, hook: Hook, headers: Headers, body: bytes, id_: str | None, received: int
    ) -> Taken:
        origin, taken = Origin(hook.mapper.source, "server"), Taken()
        header = {name: values[0] for name, values in headers.items()}
        at = None if self._log_clock else received
        kinds = self._kinds()
        try:
            elements = elements_of(body)
        except InputError as error:
            self._refuse(taken, 0, body, origin, error, received)
            return taken
        for index, raw in enumerate(elements):
            # A sender that names its deliveries repeats the name; else the same bytes are the same.
            stable = (id_, str(index)) if id_ else (sha256(raw).hexdigest(),)
            try:
                events = hook.mapper.events([json_record(raw)], Arrival(at, stable, header))
                keys = [kinds.key(event.identities) for event in events]
            except InputError as error:
                self._refuse(taken, index, raw, origin, error, received)
                continue
            for event, key in zip(events, keys, strict=True):
                taken.records.append(self._intake.outgoing(event, key))
                taken.accepted += 1
                metrics.accepted(origin.source).inc()
        return taken

    def _refuse(
        self, taken: Taken, index: int, raw: bytes, origin: Origin, error: InputError, at: int
    ) -> None:
        taken.refused.append(Refusal(index, error.cause, str(error)))
        if dead := self._intake.refuse(raw, origin, error, at):
            taken.records.append(dead)
