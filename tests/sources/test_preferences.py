"""Unsubscribe and preferences over HTTP and a real broker: what a click says, and what it does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from threading import Event as Flag
from time import time

import pytest
from aiohttp import ClientSession, web

from orchestrator.codec import open_codec
from orchestrator.errors import DefinitionMissing
from orchestrator.kafka.decoding import decode_blocking
from orchestrator.kafka.reading import read_partition
from orchestrator.kafka.topics import Topology
from orchestrator.links import Links
from orchestrator.records import Action, Event
from orchestrator.settings import Settings
from orchestrator.sources.collector import judge
from orchestrator.sources.preferences.api import PreferencesApi
from orchestrator.sources.preferences.offer import Offer, offer_of
from orchestrator.sources.producer import EventProducer

pytestmark = pytest.mark.kafka

OFFER = {"news": ("email", "push"), "<b>offers</b>": ("email",)}
LINKS = Links("", ["s"])
TO_ADA = LINKS.unsubscribe(
    Action(
        customer_id="ada", action_id="a1", channel="email", category="news", message="m", template="h",
        journey="j", journey_version="v", entry_id="e", step="s", decision_id="d", priority=1,
        decided_at=0, caused_by="x",
    )
)  # fmt: skip


class Site:
    """The pages, a browser, and eyes on the events topic."""

    def __init__(self, settings: Settings, http: ClientSession) -> None:
        self.settings, self.http = settings, http
        self.offer: Offer | None = OFFER
        self.url = ""

    def get_offer(self) -> Offer:
        if self.offer is None:
            raise DefinitionMissing("no catalog is in force")
        return self.offer

    async def get(self, path: str) -> tuple[int, str]:
        async with self.http.get(self.url + path) as answer:
            return answer.status, await answer.text()

    async def post(self, path: str, **form: str) -> tuple[int, str]:
        async with self.http.post(self.url + path, data=form) as answer:
            return answer.status, await answer.text()

    async def events(self) -> list[Event]:
        """Everything that is on the events topic now, in the order of what it says."""
        topology, codec = Topology(self.settings), open_codec(self.settings)

        def read() -> list[Event]:
            found = []
            for partition in range(topology.partitions("events")):
                for message in read_partition(self.settings, topology.name("events"), partition):
                    record = decode_blocking(codec, message.value() or b"", Flag())
                    assert isinstance(record, Event)
                    assert message.key() == f"customer:{record.identities['customer']}".encode()
                    found.append(record)
            return sorted(found, key=lambda one: (one.occurred_at, str(one.properties)))

        return await asyncio.to_thread(read)


@pytest.fixture
async def site(settings: Settings) -> AsyncIterator[Site]:
    topology, codec = Topology(settings), open_codec(settings)
    await asyncio.to_thread(topology.apply)
    await asyncio.to_thread(codec.prepare, topology.names("events"))
    producer = EventProducer(settings)
    app = web.Application(middlewares=[judge])
    runner = web.AppRunner(app)
    async with ClientSession() as http:
        site = Site(settings, http)
        api = PreferencesApi(
            topology, codec, LINKS, site.get_offer, producer, lambda: int(time() * 1000)
        )
        app.add_routes(api.routes())
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        site.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield site
    await runner.cleanup()
    await producer.close()


async def test_looking_asks_and_changes_nothing(site: Site) -> None:
    """Scanners fetch every link of a mail; names from definitions are text, never markup."""
    status, page = await site.get(TO_ADA)
    assert status == 200
    assert "You get messages about news by email." in page
    assert '<form method="post"><button name="List-Unsubscribe" value="One-Click">' in page
    status, page = await site.get(LINKS.preferences("ada"))
    assert status == 200
    assert "&lt;b&gt;offers&lt;/b&gt; by email" in page
    assert "<b>offers" not in page
    assert await site.events() == []


async def test_one_click_is_an_event(site: Site) -> None:
    """As a mailbox provider posts it, without cookies; twice is no harm; the answer leads on."""
    status, page = await site.post(TO_ADA, **{"List-Unsubscribe": "One-Click"})
    assert status == 200
    link = page.partition('<a href="')[2].partition('"')[0]
    assert LINKS.customer_of(link.rpartition("/")[2]) == "ada"
    [event] = await site.events()
    assert event.type == "message.unsubscribed"
    assert event.identities == {"customer": "ada"}
    assert event.properties == {"action_id": "a1", "channel": "email", "category": "news"}
    assert event.source == "preferences"


async def test_a_later_word_is_no_repetition(site: Site) -> None:
    """Out, in, out again by the same link: three events with ids of their own."""
    await site.post(TO_ADA)
    await site.post(LINKS.preferences("ada"), **{"news/email": "yes"})
    await site.post(TO_ADA)
    events = await site.events()
    assert [one.type for one in events] == [
        "message.unsubscribed",
        "consent.granted",
        "message.unsubscribed",
    ]
    assert len({one.event_id for one in events}) == 3


async def test_choices(site: Site) -> None:
    """Only what was chosen is said; what is not on offer is not taken."""
    status, page = await site.post(
        LINKS.preferences("ada"),
        **{
            "news/email": "no",
            "news/push": "",
            "<b>offers</b>/email": "yes",
            "secret/email": "yes",
        },
    )
    assert status == 200
    assert "Your choice holds from now on." in page
    assert {(one.type, tuple(sorted(one.properties.items()))) for one in await site.events()} == {
        ("consent.revoked", (("category", "news"), ("channel", "email"))),
        ("consent.granted", (("category", "<b>offers</b>"), ("channel", "email"))),
    }


async def test_stop_everything(site: Site) -> None:
    """A revocation without a scope covers all, later channels and categories too."""
    await site.post(LINKS.preferences("ada"), **{"everything": "no", "news/email": "yes"})
    [event] = await site.events()
    assert (event.type, event.properties) == ("consent.revoked", {})


async def test_what_is_refused(site: Site) -> None:
    """A forged link is 403; without a catalog the choices are 503, the one click still works."""
    forged = TO_ADA[:-3] + "AAA"
    assert (await site.get(forged))[0] == 403
    assert (await site.post(forged))[0] == 403
    assert (await site.post(LINKS.preferences("ada") + "x"))[0] == 403
    site.offer = None
    assert (await site.get(LINKS.preferences("ada")))[0] == 503
    assert (await site.post(LINKS.preferences("ada")))[0] == 503
    assert (await site.post(TO_ADA))[0] == 200
    assert len(await site.events()) == 1


def test_the_offer_is_what_consent_has_a_say_in() -> None:
    policy = """{"channels": {"email": {"address": "profile.email"}, "push": null,
        "inapp": {"needs_consent": false}, "sales": {"audience": "internal"}}}"""
    messages = [
        '{"category": "news", "channels": {"email": {}, "inapp": {}}}',
        '{"category": "news", "channels": {"push": {}}, "class": "transactional"}',
        '{"category": "bills", "channels": {"email": {}}, "class": "mandatory"}',
        '{"category": "leads", "channels": {"sales": {}}}',
    ]
    assert offer_of(policy, messages) == {"news": ("email", "push")}
