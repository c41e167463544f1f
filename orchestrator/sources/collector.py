"""The HTTP collector: Segment's tracking API and webhooks in front of the events topic.

2xx means that Kafka has acknowledged every accepted event. 429 means too many bytes are on their way
in this process; 503 that Kafka or the catalog is not there: both say when to come again, and SDKs do.
What cannot be mapped is a dead letter with its original bytes: a single request is told 400, a batch
goes on and names the refused ones in its answer.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from http import HTTPStatus
from time import perf_counter, time
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.typedefs import Middleware

from orchestrator.codec import open_codec
from orchestrator.errors import InputError, UnavailableError
from orchestrator.kafka.definitions import DefinitionStore
from orchestrator.kafka.inbox import InboxTable
from orchestrator.kafka.topics import Logical, Topology
from orchestrator.links import open_links
from orchestrator.observability import get_logger
from orchestrator.observability.pages import pages
from orchestrator.settings import Settings
from orchestrator.sources import metrics
from orchestrator.sources.access import WriteKeys, key_of_header
from orchestrator.sources.bodies import RETRY_AFTER_S, Room, abandon, read_body
from orchestrator.sources.inbox_api import SHARED, InboxApi
from orchestrator.sources.intake import MAX_BODY, Intake, Taken, key_of_body
from orchestrator.sources.mapping import Kind, Origin
from orchestrator.sources.noise import server_logger
from orchestrator.sources.preferences.api import PreferencesApi
from orchestrator.sources.preferences.offer import AppliedOffer
from orchestrator.sources.producer import EventProducer
from orchestrator.sources.profile import AppliedKinds
from orchestrator.sources.webhooks.api import WebhookApi
from orchestrator.sources.webhooks.hooks import AppliedHooks

START_S = 60.0
KINDS: tuple[Kind, ...] = ("track", "identify", "page", "screen", "group", "alias")
PRODUCER = web.AppKey("producer", EventProducer)
_NEEDS = ("events", "inbox", "definitions", "dead-letters")
_WRITES: tuple[Logical, ...] = ("events", "inbox")
_log = get_logger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Collector:
    """The handlers of the tracking API. ``wall`` gives the time of day in epoch ms."""

    def __init__(
        self,
        intake: Intake,
        producer: EventProducer,
        keys: WriteKeys,
        webhooks: WebhookApi,
        ready: Callable[[], object],
        wall: Callable[[], int],
    ) -> None:
        self._intake = intake
        self._webhooks = webhooks
        self._producer = producer
        self._keys = keys
        self._ready = ready
        self._wall = wall
        self._room = Room()

    def routes(self) -> list[web.RouteDef]:
        """Return the tracking API, webhooks, health and metrics."""
        singles = [web.post(f"/v1/{kind}", self._tracking(kind)) for kind in KINDS]
        # The browsers' SDK names kinds by their first letters, and measures itself.
        letters = [web.post(f"/v1/{kind[0]}", self._tracking(kind)) for kind in KINDS]
        batches = [web.post(f"/v1/{name}", self._tracking(None)) for name in ("batch", "b")]
        return [
            *singles,
            *letters,
            *batches,
            web.post("/v1/m", _let_go),
            web.post("/v1/webhooks/{name}", self._bounded(self._webhooks.take)),
            web.head("/v1/webhooks/{name}", self._webhooks.known),
            web.get("/healthz", self._health),
            *pages(self._waiting),
        ]

    def _tracking(self, kind: Kind | None) -> Handler:
        async def take(request: web.Request) -> web.StreamResponse:
            return await self._take(kind, request)

        return self._bounded(take)

    def _bounded(self, take: Handler) -> Handler:
        """Send callers away while too many bytes are on their way."""

        async def handle(request: web.Request) -> web.StreamResponse:
            with self._room.enter(request):
                return await take(request)

        return handle

    async def _take(self, kind: Kind | None, request: web.Request) -> web.Response:
        received = self._wall()
        body = await read_body(request)
        said = key_of_header(request.headers.get("Authorization", "")) or key_of_body(body)
        origin = self._keys.origin(said)
        if origin is None:
            raise web.HTTPUnauthorized(text="the write key is missing or not known")
        try:
            taken = self._intake.take(kind, body, origin, received)
        except InputError as error:
            await self._bury(body, origin, error, received)
            raise web.HTTPBadRequest(text=str(error)) from error
        await self._producer.send(taken.records)
        return _answer(kind, taken)

    async def _bury(self, body: bytes, origin: Origin, error: InputError, received: int) -> None:
        if dead := self._intake.refuse(body, origin, error, received):
            await self._producer.send([dead])

    async def _health(self, _: web.Request) -> web.Response:
        self._ready()
        return web.json_response({"status": "ok"})

    def _waiting(self) -> dict[str, str]:
        try:
            self._ready()
        except UnavailableError as away:
            return {"catalog": str(away)}
        return {}


async def _let_go(_: web.Request) -> web.Response:
    return web.json_response({"success": True})


def _answer(kind: Kind | None, taken: Taken) -> web.Response:
    """200 if anything was taken; the status of a single event's refusal tells its kind."""
    status = 200
    if taken.refused and not taken.accepted:
        only_forbidden = all(one.cause == "forbidden" for one in taken.refused)
        status = web.HTTPForbidden.status_code if only_forbidden else 400
    said: dict[str, Any] = {"success": status == web.HTTPOk.status_code}
    if kind is None:
        said |= {"accepted": taken.accepted, "refused": taken.refused}
    elif taken.refused:
        said |= {"cause": taken.refused[0].cause, "message": taken.refused[0].message}
    body = msgspec.json.encode(said)
    return web.Response(status=status, body=body, content_type="application/json")


# ----------------------------------------------------------------------------- middlewares


@web.middleware
async def judge(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what is away into 503 with Retry-After, errors into JSON, and time every request.

    It sees all of them, also those for which there is no route.
    """
    started, status = perf_counter(), 500
    try:
        response = await handler(request)
        status = response.status
    except UnavailableError as error:
        status = web.HTTPServiceUnavailable.status_code
        response = _error(status, str(error), {"Retry-After": RETRY_AFTER_S})
    except web.HTTPException as error:
        status = error.status
        kept = {
            name: error.headers[name] for name in ("Retry-After", "Allow") if name in error.headers
        }
        response = _error(status, error.text or error.reason, kept)
    finally:
        resource = request.match_info.route.resource
        route = resource.canonical if resource else "other"
        metrics.seconds(route, status).observe(perf_counter() - started)
    if await abandon(request):
        response.force_close()
    return response


def _error(status: int, message: str, headers: dict[str, str]) -> web.Response:
    code = HTTPStatus(status).name.lower()
    said = {"success": False, "code": code, "message": message}
    return web.json_response(said, status=status, headers=headers)


def cors(origins: list[str]) -> Middleware:
    """Return the middleware that lets browsers of these origins in; ``*`` = all."""

    def allowed(origin: str) -> bool:
        return "*" in origins or origin in origins

    @web.middleware
    async def share(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get("Origin", "")
        preflight = (
            request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
        )
        shared = (
            {"Access-Control-Allow-Origin": origin, "Vary": "Origin"} if allowed(origin) else {}
        )
        request[SHARED] = shared if origin else {}  # for streams, whose headers leave at once
        response = web.Response(status=204) if preflight else await handler(request)
        if request[SHARED]:
            response.headers.update(shared)
            if preflight:
                response.headers["Access-Control-Allow-Methods"] = "GET, POST"
                # Each release of the SDKs may ask for another header (X-Retry-Count): none is read.
                response.headers["Access-Control-Allow-Headers"] = request.headers.get(
                    "Access-Control-Request-Headers", "Authorization, Content-Type"
                )
                response.headers["Access-Control-Max-Age"] = "86400"
            else:
                response.headers["Access-Control-Expose-Headers"] = "Retry-After"
        return response

    return share


# ------------------------------------------------------------------------------ composition


@asynccontextmanager
async def open_app(settings: Settings) -> AsyncIterator[web.Application]:
    """Yield the collector's application with everything that it stands on."""
    codec, topology = open_codec(settings), Topology(settings)
    await asyncio.to_thread(topology.verify, *_NEEDS)
    await asyncio.to_thread(codec.prepare, topology.names(*_WRITES))
    async with AsyncExitStack() as stack:
        store = stack.enter_context(DefinitionStore(settings, codec))
        await asyncio.to_thread(store.wait_until_read, START_S)
        producer = EventProducer(settings)
        stack.push_async_callback(producer.close)
        kinds = AppliedKinds(store)
        intake = Intake(topology, codec, kinds.get)
        hooks = AppliedHooks(store, settings.collector.webhooks)
        webhooks = WebhookApi(
            hooks, intake, kinds.get, producer, _wall, log_clock=topology.log_clock
        )
        keys = WriteKeys(settings.collector.write_keys)
        collector = Collector(intake, producer, keys, webhooks, kinds.get, _wall)
        app = web.Application(
            client_max_size=MAX_BODY, middlewares=[cors(settings.collector.cors_origins), judge]
        )
        app[PRODUCER] = producer
        app.add_routes(collector.routes())
        if secret := settings.collector.inbox_secret:
            table = await asyncio.to_thread(InboxTable(settings, codec).start)
            stack.callback(table.close)
            if not await asyncio.to_thread(table.catch_up, START_S):
                _log.warning("the inboxes are still being read")
            inbox = InboxApi(topology, codec, table, producer, secret.reveal(), _wall)
            app.add_routes(inbox.routes())
            app.on_shutdown.append(inbox.close)
        if links := open_links(settings.links):
            offer = AppliedOffer(store)
            preferences = PreferencesApi(topology, codec, links, offer.get, producer, _wall)
            app.add_routes(preferences.routes())
        yield app


@asynccontextmanager
async def listening(app: web.Application, settings: Settings) -> AsyncIterator[int]:
    """Listen at ``collector.host`` and ``port``; yield the port (for port 0: which one)."""
    runner = web.AppRunner(app, access_log=None, logger=server_logger())
    await runner.setup()
    try:
        site = web.TCPSite(runner, settings.collector.host, settings.collector.port)
        await site.start()
        port = int(runner.addresses[0][1])
        _log.info("collecting", host=settings.collector.host, port=port)
        yield port
    finally:
        await runner.cleanup()


@asynccontextmanager
async def serve(settings: Settings) -> AsyncIterator[int]:
    """Open and listen; yield the port."""
    async with open_app(settings) as app, listening(app, settings) as port:
        yield port


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Serve until ``stop`` is set; requests in flight come to an end.

    Raises:
        FatalError: The Kafka client has failed for good; requests got 503 from then on.
    """
    async with open_app(settings) as app, listening(app, settings):
        gc.collect()
        gc.freeze()  # what is loaded stays: to look through it again and again would stop everything
        waits = [asyncio.create_task(stop.wait()), asyncio.create_task(app[PRODUCER].failure())]
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                one.result()
        finally:
            gc.unfreeze()
            for one in waits:
                one.cancel()


def _wall() -> int:
    return int(time() * 1000)
