"""``sender: webhook`` against a local HTTP server: what goes out, and what each answer means."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from time import time

import pytest
from aiohttp import web

from orchestrator.errors import SettingsError
from orchestrator.records import Action
from orchestrator.sender_settings import WebhookSender
from orchestrator.settings import Secret, load_settings
from orchestrator.signatures import standard_content, standard_key, standard_signature
from orchestrator.sinks.senders.http import MAX_ANSWER, retry_after
from orchestrator.sinks.senders.protocol import Order, Rejected, TryAgain
from orchestrator.sinks.senders.webhook import open_webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_b3RoZXI="


def order(address=None, **fields):
    action = Action(
        action_id="a1",
        customer_id="ada",
        channel="partner",
        message="welcome",
        template="t",
        address=address,
        journey="trial",
        journey_version="v1",
        entry_id="e1",
        step="day1",
        decision_id="d1",
        category="news",
        priority=50,
        decided_at=1_772_352_000_000,
        caused_by="event",
    )
    return Order(action, {"text": "Dear Ädä", **fields}, 1_772_352_000_000)


class Receiver:
    """A local server: answers as told, remembers what it got."""

    def __init__(self):
        self.got = []
        self.answers = []
        self.port = 0

    async def take(self, request):
        self.got.append((request, await request.read()))
        if not self.answers:
            return web.Response(status=204)
        answer = self.answers.pop(0)
        if callable(answer):
            return await answer(request)
        status, headers = answer
        return web.Response(status=status, headers=headers)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/hook"


@pytest.fixture
async def receiver():
    found = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", found.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.port = runner.addresses[0][1]
    yield found
    await runner.cleanup()


def settings(receiver, **changes):
    given = {
        "url": receiver.url,
        "secret": Secret(SECRET),
        "allow_http": True,
        "allow": ["127.0.0.0/8"],
        "ports": [receiver.port],
        "timeout_s": 5,
    }
    return WebhookSender(**{**given, **changes})


@asynccontextmanager
async def sending(receiver, **changes):
    async with open_webhook(settings(receiver, **changes)) as sender:
        yield sender


async def fails(receiver, kind, sent=None, **changes):
    async with sending(receiver, **changes) as sender:
        with pytest.raises(kind) as caught:
            await sender.send(sent or order())
    return caught.value


async def test_a_receiver_can_verify_what_it_gets(receiver):
    """Either secret signs, by the signature whose published vector tests/sources/webhooks holds."""
    async with sending(receiver, previous_secret=Secret(OTHER)) as sender:
        await sender.send(order())
        await sender.send(order())
    (request, body), (again, same) = receiver.got
    assert body == same
    assert again.headers["webhook-id"] == request.headers["webhook-id"] == "a1"
    assert request.headers["Content-Type"] == "application/json"
    stamp = request.headers["webhook-timestamp"]
    assert abs(int(stamp) - time()) < 300
    content = standard_content("a1", stamp, body)
    assert request.headers["webhook-signature"].split() == [
        standard_signature(standard_key(secret), content) for secret in (SECRET, OTHER)
    ]
    assert json.loads(body) == {
        "type": "message.sent",
        "timestamp": "2026-03-01T08:00:00Z",
        "data": {
            "action_id": "a1",
            "customer_id": "ada",
            "channel": "partner",
            "message": "welcome",
            "category": "news",
            "journey": "trial",
            "step": "day1",
            "address": None,
            "fields": {"text": "Dear Ädä"},
        },
    }


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        (301, Rejected, "redirect"),
        (307, Rejected, "redirect"),
        (400, Rejected, "rejected"),
        (404, Rejected, "rejected"),
        (410, Rejected, "gone"),
        (422, Rejected, "rejected"),
        (408, TryAgain, "refused"),
        (425, TryAgain, "refused"),
        (429, TryAgain, "refused"),
        (500, TryAgain, "refused"),
        (503, TryAgain, "refused"),
    ],
)
async def test_what_an_answer_means(receiver, status, kind, reason):
    """Permanent ones are never repeated; redirects are never followed."""
    receiver.answers = [(status, {"Location": "/elsewhere"})]
    error = await fails(receiver, kind)
    assert error.reason == reason
    assert str(status) in str(error)
    assert len(receiver.got) == 1


@pytest.mark.parametrize(("said", "after"), [("17", 17.0), ("soon", None), ("", None)])
async def test_retry_after_is_honoured(receiver, said, after):
    receiver.answers = [(429, {"Retry-After": said} if said else {})]
    assert (await fails(receiver, TryAgain)).after == after


def test_retry_after_as_a_date():
    now = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
    assert retry_after("Sun, 01 Mar 2026 09:01:00 GMT", now) == 60
    assert retry_after("Sun, 01 Mar 2026 08:00:00 GMT", now) == 0
    assert retry_after("Sun, 01 Mar 2026 08:00:00", now) is None
    assert retry_after("9" * 400, now) == 999_999_999


async def test_a_connection_that_breaks_may_have_carried_the_message(receiver):
    """A receiver that hangs, or hangs up behind the request: nobody knows."""

    async def hang(_):
        await asyncio.sleep(30)

    async def hang_up(request):
        request.transport.close()
        return web.Response()

    receiver.answers = [hang]
    assert (await fails(receiver, TryAgain, timeout_s=0.3)).unknown
    receiver.answers = [hang_up]
    assert (await fails(receiver, TryAgain)).unknown


async def test_nobody_there(receiver):
    """Refused before anything was said: certainly not sent."""
    error = await fails(receiver, TryAgain, url="http://127.0.0.1:9/", ports=[9])
    assert (error.reason, error.unknown) == ("unreachable", False)


async def test_an_endless_answer_costs_its_connection_only(receiver):
    async def endless(request):
        answer = web.StreamResponse()
        await answer.prepare(request)
        sent = 0
        while sent < MAX_ANSWER * 64:
            try:
                await answer.write(b"x" * 8192)
            except ConnectionError:
                break
            sent += 8192
        receiver.sent = sent
        return answer

    receiver.answers = [endless]
    async with sending(receiver) as sender:
        await sender.send(order())
        await sender.send(order())
    assert len(receiver.got) == 2


async def test_each_customer_may_have_a_url(receiver):
    async with sending(receiver, url=None) as sender:
        await sender.send(order(f"{receiver.url}/ada?x=1"))
        with pytest.raises(Rejected, match="neither"):
            await sender.send(order())
    assert receiver.got[0][0].path_qs == "/hook/ada?x=1"


@pytest.mark.parametrize(
    "changes",
    [{"allow": []}, {"allow_http": False}, {"ports": [443]}, {"allow": ["10.0.0.0/8"]}],
    ids=["address", "scheme", "port", "network"],
)
async def test_the_guard_stands_before_every_request(receiver, changes):
    error = await fails(receiver, Rejected, **changes)
    assert error.reason == "bad_address"
    assert receiver.got == []


async def test_a_name_that_leads_inside_is_refused(receiver):
    """Resolved for the connection itself: there is no second look-up to rebind."""
    url = f"http://localhost:{receiver.port}/"
    error = await fails(receiver, Rejected, url=url, allow=[])
    assert error.reason == "bad_address"
    assert receiver.got == []
    async with sending(receiver, url=url, allow=["127.0.0.0/8", "::1/128"]) as sender:
        await sender.send(order())


async def test_settings_are_checked(receiver):
    with pytest.raises(SettingsError, match="whsec_"):
        await fails(receiver, Rejected, secret=Secret("plain"))
    with pytest.raises(SettingsError, match=r"deliver\.partner\.allow"):
        load_settings(
            env={},
            flags={"deliver": {"partner": {"sender": "webhook", "secret": SECRET, "allow": ["x"]}}},
        )
