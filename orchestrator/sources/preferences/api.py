"""One-click unsubscribe (RFC 8058) and the preference page, behind signed links.

``GET /v1/unsubscribe/TOKEN`` asks and changes nothing: scanners fetch every link of a mail.
``POST`` there, by a mailbox provider or by the page's button, is an event ``message.unsubscribed``.
``GET`` and ``POST /v1/preferences/TOKEN`` show and take a choice for each category and channel; each is
an event ``consent.granted`` or ``consent.revoked``. The token is all the proof there is: no cookie, no
log-in. 2xx means that Kafka has the event, and consent in all that is decided after it.

The page shows no present state: the customer's own word counts, and whoever was forwarded a mail need
not learn it. On the log clock a request brings its own ``?timestamp=``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.resources import files

from aiohttp import web
from jinja2 import Environment, StrictUndefined

from orchestrator.codec import Codec, headers_for
from orchestrator.errors import InputError
from orchestrator.identities import CUSTOMER
from orchestrator.ids import event_id
from orchestrator.kafka.topics import Topology
from orchestrator.links import Links, Scope
from orchestrator.records import Event, Value
from orchestrator.sources.mapping import instant
from orchestrator.sources.preferences.offer import Offer
from orchestrator.sources.producer import EventProducer, Outgoing

SOURCE = "preferences"
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_GRANTS = {"yes": "consent.granted", "no": "consent.revoked"}


class PreferencesApi:
    """Handlers for one deployment. ``wall`` gives the time of day in epoch ms."""

    def __init__(
        self,
        topology: Topology,
        codec: Codec,
        links: Links,
        offer: Callable[[], Offer],
        producer: EventProducer,
        wall: Callable[[], int],
    ) -> None:
        self._events = topology.name("events")
        self._log_clock = topology.log_clock
        self._codec = codec
        self._links = links
        self._offer = offer
        self._producer = producer
        self._wall = wall
        text = files(__package__).joinpath("page.html").read_text("utf-8")
        environment = Environment(
            autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        self._page = environment.from_string(text)

    def routes(self) -> list[web.RouteDef]:
        """Return both pages, each to look at and to say something on."""
        return [
            web.get("/v1/unsubscribe/{token}", self._ask),
            web.post("/v1/unsubscribe/{token}", self._unsubscribe),
            web.get("/v1/preferences/{token}", self._choose),
            web.post("/v1/preferences/{token}", self._chosen),
        ]

    async def _ask(self, request: web.Request) -> web.Response:
        scope = self._scope(request)
        return self._answer(
            "Unsubscribe?",
            f"You get messages about {scope.category} by {scope.channel}.",
            confirm="Unsubscribe",
        )

    async def _unsubscribe(self, request: web.Request) -> web.Response:
        scope = self._scope(request)
        said = {"action_id": scope.action_id, "channel": scope.channel, "category": scope.category}
        at = self._at(request)
        await self._producer.send(
            [self._outgoing("message.unsubscribed", scope.customer_id, said, at)]
        )
        return self._answer(
            "You are unsubscribed",
            f"No more messages about {scope.category} by {scope.channel}.",
            preferences=self._links.preferences(scope.customer_id),
        )

    async def _choose(self, request: web.Request) -> web.Response:
        self._customer(request)
        return self._answer("What would you like to receive?", offer=self._offer())

    async def _chosen(self, request: web.Request) -> web.Response:
        customer, offer, at = self._customer(request), self._offer(), self._at(request)
        form = await request.post()
        if form.get("everything") == "no":
            records = [self._outgoing("consent.revoked", customer, {}, at)]
        else:
            records = [
                self._outgoing(type_, customer, {"channel": channel, "category": category}, at)
                for category, channels in offer.items()
                for channel in channels
                if (type_ := _GRANTS.get(str(form.get(f"{category}/{channel}"))))
            ]
        await self._producer.send(records)
        return self._answer("Thank you", "Your choice holds from now on.", offer=offer)

    def _scope(self, request: web.Request) -> Scope:
        scope = self._links.scope_of(request.match_info["token"])
        if scope is None:
            raise web.HTTPForbidden(text="this link is not valid")
        return scope

    def _customer(self, request: web.Request) -> str:
        customer = self._links.customer_of(request.match_info["token"])
        if customer is None:
            raise web.HTTPForbidden(text="this link is not valid")
        return customer

    def _at(self, request: web.Request) -> int:
        if not self._log_clock:
            return self._wall()
        try:
            at = instant(request.query.get("timestamp"))
        except InputError as error:
            raise web.HTTPBadRequest(text=str(error)) from error
        if at is None:
            raise web.HTTPBadRequest(text="on the log clock a request needs its timestamp")
        return at

    def _outgoing(
        self, type_: str, customer: str, properties: Mapping[str, Value], at: int
    ) -> Outgoing:
        # A later word must never pass for a repetition of an earlier one: the instant is in the id.
        parts = (type_, customer, *(f"{name}={properties[name]}" for name in sorted(properties)))
        event = Event(
            event_id=event_id(SOURCE, *parts, str(at)),
            type=type_,
            occurred_at=at,
            identities={CUSTOMER: customer},
            source=SOURCE,
            properties=dict(properties),
        )
        return Outgoing(
            self._events,
            f"{CUSTOMER}:{customer}".encode(),
            self._codec.encode(event, self._events),
            list(headers_for(event, SOURCE)),
            at if self._log_clock else 0,
        )

    def _answer(
        self,
        title: str,
        *lines: str,
        confirm: str = "",
        offer: Offer | None = None,
        preferences: str = "",
    ) -> web.Response:
        text = self._page.render(
            title=title, lines=lines, confirm=confirm, offer=offer, preferences=preferences
        )
        return web.Response(text=text, content_type="text/html", headers=_HEADERS)
