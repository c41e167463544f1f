"""The role ``connect``: puts catalog, schemas, mappings and reader together and runs them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any, Final

from orchestrator.codec import Codec, headers_for, open_codec, open_registry
from orchestrator.errors import InputError, PoisonError
from orchestrator.kafka.dead_letters import AT, dead_letter_headers, fitted
from orchestrator.kafka.definitions import DefinitionStore
from orchestrator.kafka.topics import Topology
from orchestrator.observability import get_logger
from orchestrator.observability.metrics import dead_letters
from orchestrator.observability.pages import serve_pages
from orchestrator.settings import Settings
from orchestrator.sources import metrics
from orchestrator.sources.connect.applied import AppliedTopics, Route
from orchestrator.sources.connect.opening import Incoming
from orchestrator.sources.connect.reader import Reader
from orchestrator.sources.connect.schemas import WriterSchemas
from orchestrator.sources.mappings.mapper import MAX_EVENT
from orchestrator.sources.producer import Outgoing
from orchestrator.sources.profile import AppliedKinds

ROLE: Final = "connect"
START_S: Final = 60.0
_NEEDS: Final = ("events", "definitions", "dead-letters")
_log = get_logger(__name__)


class Connector:
    """Makes records of our topics of somebody's records."""

    def __init__(
        self, topology: Topology, codec: Codec, topics: AppliedTopics, kinds: AppliedKinds
    ) -> None:
        self._codec = codec
        self._topics = topics
        self._kinds = kinds
        self._events = topology.name("events")
        self._dead_letters = topology.name("dead-letters")
        self._log_clock = topology.log_clock

    def records(self, incoming: Incoming) -> list[Outgoing]:
        """Return what one record becomes: events and dead letters of all its mappings.

        Raises:
            UnavailableError: Its schema or the catalog is not there; nothing of it may be taken.
        """
        made: list[Outgoing] = []
        skipped = True
        for route in self._topics.routes().get(incoming.topic, ()):
            try:
                found = self._mapped(route, incoming)
            except PoisonError as error:
                made.append(self._dead_letter(route.mapper.source, incoming, error))
                skipped = False
                continue
            made += found
            skipped = skipped and not found
        if skipped:
            metrics.connect_skipped.labels(incoming.topic).inc()
        return made

    def _mapped(self, route: Route, incoming: Incoming) -> list[Outgoing]:
        opened = route.opener.open(incoming)
        if opened is None:
            return []
        kinds = self._kinds.get()
        source = route.mapper.source
        found: list[Outgoing] = []
        for event in route.mapper.events([opened.record], opened.arrival):
            key = kinds.key(event.identities).encode()
            value = self._codec.encode(event, self._events)
            if len(value) > MAX_EVENT:
                raise InputError(f"{event.type}: an event may have {MAX_EVENT} bytes", "too_large")
            headers = headers_for(event, source, backfill=opened.history)
            at = event.occurred_at if self._log_clock else 0
            found.append(Outgoing(self._events, key, value, list(headers), at))
        if found:
            metrics.received.labels(source, "accepted").inc(len(found))
        return found

    def _dead_letter(self, source: str, incoming: Incoming, error: PoisonError) -> Outgoing:
        metrics.received.labels(source, "dead_letter").inc()
        metrics.refused.labels(source, error.cause).inc()
        dead_letters.labels(ROLE, error.cause).inc()
        headers = dead_letter_headers(
            ROLE,
            error.cause,
            f"source {source}: {error}",
            topic=incoming.topic,
            partition=incoming.partition,
            offset=incoming.offset,
            # Its time is a part of its id: `dlq replay` maps it again under the same one.
            original=[*incoming.headers, (AT, str(incoming.at or "").encode())],
        )
        value, told = fitted(incoming.key, incoming.value, headers)
        at = (incoming.at or 0) if self._log_clock else 0
        return Outgoing(self._dead_letters, incoming.key, value, list(told), at)


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Read until ``stop`` is set; whatever ends the reader early is raised."""
    codec, topology = open_codec(settings), Topology(settings)
    loop = asyncio.get_running_loop()
    failed: asyncio.Future[None] = loop.create_future()
    schemas = WriterSchemas(open_registry(settings.registry))
    own = frozenset(spec.name for spec in topology.specs())
    async with AsyncExitStack() as stack:
        stack.push_async_callback(asyncio.to_thread, schemas.close)
        store = DefinitionStore(settings, codec)
        topics = AppliedTopics(store, schemas, own)
        connector = Connector(topology, codec, topics, AppliedKinds(store))
        reader = Reader(settings, topics.routes, connector.records)

        def waiting() -> dict[str, str]:
            if stop.is_set():
                return {"role": "stopping"}
            registry = {"registry": schemas.problem} if schemas.problem else {}
            sources = {f"source {name}": why for name, why in topics.problems.items()}
            return reader.waiting() | registry | sources

        port = await stack.enter_async_context(
            serve_pages(settings.connect.web_host, settings.connect.web_port, waiting)
        )
        await asyncio.to_thread(topology.verify, *_NEEDS)
        await asyncio.to_thread(codec.prepare, topology.names("events"))
        stack.enter_context(store)
        await asyncio.to_thread(store.wait_until_read, START_S)

        def give_up(error: BaseException) -> None:
            loop.call_soon_threadsafe(_fail, failed, error)

        reader.start(give_up)
        stack.push_async_callback(asyncio.to_thread, reader.close)
        _log.info("connecting", web_port=port)
        stopping = asyncio.create_task(stop.wait())
        ends: list[asyncio.Future[Any]] = [stopping, failed]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
    if failed.done():
        failed.result()


def _fail(failed: asyncio.Future[None], error: BaseException) -> None:
    if not failed.done():
        failed.set_exception(error)
