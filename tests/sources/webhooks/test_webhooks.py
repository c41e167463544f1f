"""Webhooks on a real broker: verified, mapped, acknowledged; copies are duplicates."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import AsyncIterator
from hashlib import sha256
from itertools import count
from pathlib import Path
from time import time
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from aiohttp import ClientSession

from orchestrator.codec import open_codec
from orchestrator.errors import BrokerUnavailable
from orchestrator.kafka.publishing import CatalogPublisher
from orchestrator.kafka.topics import Topology
from orchestrator.records import CatalogSwitch, Definition
from orchestrator.settings import Settings
from orchestrator.signatures import standard_content, standard_key, standard_signature
from orchestrator.sources.collector import serve
from orchestrator.sources.producer import EventProducer
from orchestrator.testing.broker import Broker
from orchestrator.testing.registry import Registry
from tests.sources.test_collector import PROFILE, Site, make_settings
from tests.sources.webhooks.signing import NOW, URL, sendgrid, shopify, shown_key, slack, twilio
from tests.sources.webhooks.test_providers import SOAP

pytestmark = pytest.mark.kafka

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
EVENT = {
    "type": "ticket.solved",
    "if": 'record.status == "solved"',
    "identities": {"email": "record.mail"},
    "properties": {"score": "record.score"},
}
SOURCES = {
    "desk": {"source": "desk", "webhook": "standard", "events": [EVENT]},
    "git": {
        "source": "git",
        "webhook": "hmac",
        "events": [
            {
                "type": "repo.pushed",
                "if": 'header["x-github-event"] == "push"',
                "id": "record.after",
                "occurred_at": "record.at",
                "identities": {"email": "record.pusher.email"},
            }
        ],
    },
    "files": {"source": "files", "files": ["*"], "format": "csv", "events": [EVENT]},
    "chat": {"source": "chat", "webhook": "slack", "events": [EVENT]},
    "unset": {"source": "unset", "webhook": "standard", "events": [EVENT]},
}
HOOKS = {
    "desk": {"secret": SECRET},
    "git": {
        "secret": "hush",
        "header": "X-Hub-Signature-256",
        "prefix": "sha256=",
        "id_header": "X-GitHub-Delivery",
    },
    "chat": {"secret": "hush"},
    "salesforce": {"secret": "hush"},
    "shopify": {"secret": "hush"},
    "twilio": {"secret": "hush", "url": URL},
    "files": {"secret": "hush"},
    "broken": {"secret": "plain text"},
}


def apply(settings: Settings, sources: dict[str, Any]) -> None:
    topology, codec = Topology(settings), open_codec(settings)
    codec.prepare(topology.names("events", "timeline", "outcomes", "definitions"))
    publisher = CatalogPublisher(settings, codec)
    publisher.open()
    definitions = [Definition(kind="profile", name="profile", hash="p1", source=PROFILE)]
    for name, source in sources.items():
        text = json.dumps(source)
        hash_ = sha256(text.encode()).hexdigest()
        definitions.append(Definition(kind="source", name=name, hash=hash_, source=text))
    named = {f"{one.kind}/{one.name}": one.hash for one in definitions}
    hash_ = sha256(json.dumps(named).encode()).hexdigest()
    publisher.publish(definitions, CatalogSwitch(catalog=hash_, definitions=named, status={}))


@pytest.fixture
async def site(
    broker: Broker, registry: Registry, prefix: str, tmp_path: Path
) -> AsyncIterator[Site]:
    settings = make_settings(
        broker, registry, prefix, tmp_path, collector={"port": 0, "webhooks": HOOKS}
    )
    await asyncio.to_thread(Topology(settings).apply)
    sources = {**SOURCES, "broken": {"source": "broken", "webhook": "standard", "events": [EVENT]}}
    await asyncio.to_thread(apply, settings, sources)
    async with serve(settings) as port, ClientSession() as http:
        yield Site(settings, http, f"http://127.0.0.1:{port}")


def signed(body: bytes, id_: str = "msg_1", at: float | None = None) -> dict[str, str]:
    seconds = str(int(time() if at is None else at))
    content = standard_content(id_, seconds, body)
    return {
        "webhook-id": id_,
        "webhook-timestamp": seconds,
        "webhook-signature": standard_signature(standard_key(SECRET), content),
    }


async def test_what_is_verified_and_mapped_is_in_kafka(site: Site) -> None:
    """A body, an array of bodies, and a record that no `if` wants."""
    body = b'{"status": "solved", "mail": "Ada@x.org", "score": 4}'
    assert await site.post("/v1/webhooks/desk", body, **signed(body)) == (
        200,
        {"success": True, "accepted": 1, "duplicates": 0, "refused": []},
    )
    several = b'[{"status": "solved", "mail": "b@x.org"}, {"status": "open"}, {"status": "solved", "mail": "c@x.org"}]'
    status, said = await site.post("/v1/webhooks/desk", several, **signed(several, "msg_2"))
    assert (status, said["accepted"]) == (200, 2)
    events = {one.identities["email"]: one for one in await site.events()}
    assert set(events) == {"ada@x.org", "b@x.org", "c@x.org"}
    ada = events["ada@x.org"]
    assert (ada.type, ada.source, ada.properties) == ("ticket.solved", "desk", {"score": 4})
    assert abs(ada.occurred_at - time() * 1000) < 60_000
    assert {one.key() for one in site.read("events") if one.key()} >= {b"email:ada@x.org"}


async def test_copies_are_not_written_again(site: Site) -> None:
    """An accepted delivery that is replayed is thanked for, and changes nothing."""
    body = b'{"status": "solved", "mail": "ada@x.org"}'
    headers = signed(body)
    said = [(await site.post("/v1/webhooks/desk", body, **headers))[1] for _ in range(3)]
    assert [(one["accepted"], one["duplicates"]) for one in said] == [(1, 0), (0, 1), (0, 1)]
    assert (await site.post("/v1/webhooks/desk", body, **signed(body, "msg_2")))[0] == 200
    assert len(await site.events()) == 2


async def test_46_copies_over_29_hours_change_nothing(
    broker: Broker,
    registry: Registry,
    prefix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As SendGrid has been seen to send. A collector that begins anew writes the same id once more."""
    now = [NOW]
    monkeypatch.setattr("orchestrator.sources.collector._wall", lambda: now[0])
    hooks = {"sendgrid": {"secret": shown_key("hush")}}
    settings = make_settings(
        broker, registry, prefix, tmp_path, collector={"port": 0, "webhooks": hooks}
    )
    await asyncio.to_thread(Topology(settings).apply)
    await asyncio.to_thread(apply, settings, {})
    event = {"email": "ada@x.org", "event": "open", "sg_event_id": "e1", "timestamp": NOW // 1000}
    body = json.dumps([event, {**event, "sg_event_id": "e2"}]).encode() + b"\r\n"
    duplicates = 0
    for copies in (20, 26):
        async with serve(settings) as port, ClientSession() as http:
            site = Site(settings, http, f"http://127.0.0.1:{port}")
            for _ in range(copies):
                now[0] += 29 * 3_600_000 // 46
                headers = sendgrid(body, at=now[0] // 1000)
                status, said = await site.post("/v1/webhooks/sendgrid", body, **headers)
                assert (status, said["refused"]) == (200, [])
                duplicates += said["duplicates"]
            found = [(one.source, one.event_id) for one in await site.events()]
    assert duplicates == 2 * 44
    written = ["e1/message.opened", "e2/message.opened"]
    assert sorted(found) == sorted(2 * [("sendgrid", one) for one in written])


async def test_what_kafka_has_not_acknowledged_is_not_remembered(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sender's repetition after an outage is taken, not taken for a copy."""
    body = b'{"status": "solved", "mail": "ada@x.org"}'
    with monkeypatch.context() as outage:

        async def away(*_: object) -> None:
            raise BrokerUnavailable("timed out")

        outage.setattr(EventProducer, "send", away)
        assert (await site.post("/v1/webhooks/desk", body, **signed(body)))[0] == 503
    _, said = await site.post("/v1/webhooks/desk", body, **signed(body))
    assert (said["accepted"], said["duplicates"]) == (1, 0)


async def test_shipped_mappings_serve_until_a_workspace_has_its_own(site: Site) -> None:
    """Slack's greeting, Salesforce's and Twilio's own forms of thanks, and a workspace's word."""
    body = b'{"type": "url_verification", "challenge": "abc"}'
    headers = slack(body, at=int(time()))
    assert await site.post("/v1/webhooks/chat", body, **headers) == (200, {"challenge": "abc"})
    url = site.url + "/v1/webhooks/salesforce?token=hush"
    async with site.http.post(url, data=SOAP) as answer:
        assert (answer.status, answer.content_type) == (200, "text/xml")
        assert b"<Ack>true</Ack>" in await answer.read()
    broken = SOAP.replace(b"</soapenv:Envelope>", b"")
    async with site.http.post(url, data=broken) as answer:
        assert answer.status == 200
    form = urlencode({"MessageSid": "SM1", "MessageStatus": "delivered", "To": "+491"})
    about = "action_id=a1&customer_id=c1"
    signed_ = twilio(dict(parse_qsl(form)), url=f"{URL}?{about}")
    url = f"{site.url}/v1/webhooks/twilio?{about}"
    async with site.http.post(url, data=form.encode(), headers=signed_) as answer:
        assert (answer.status, answer.content_type) == (200, "text/xml")
    found = {(one.source, one.type) for one in await site.events()}
    assert found == {("salesforce", "customer.updated"), ("twilio", "message.delivered")}
    [receipt] = [one for one in await site.events() if one.source == "twilio"]
    assert receipt.identities["customer"] == "c1"
    assert receipt.properties == {"action_id": "a1"}
    dead = {one.value() for one in site.read("dead-letters")}
    assert not any(b"canary" in one for one in dead)
    assert len(dead) == 2  # the broken body, and a contact without any declared identity
    for name, status in (("twilio", 200), ("nobody", 404)):  # as Intercom looks at an address
        async with site.http.head(f"{site.url}/v1/webhooks/{name}") as answer:
            assert answer.status == status
    own = {"source": "salesforce", "webhook": "salesforce", "events": [{**EVENT, "if": "true", "identities": {"email": "record.fields.Email"}}]}  # fmt: skip
    await asyncio.to_thread(apply, site.settings, {"salesforce": own})
    types: set[str] = set()
    url = site.url + "/v1/webhooks/salesforce?token=hush"
    while "ticket.solved" not in types:
        async with site.http.post(url, data=SOAP) as answer:
            assert answer.status == 200
        types = {one.type for one in await site.events()}


async def test_a_copied_delivery_with_another_id_in_a_header_that_is_not_signed(
    site: Site,
) -> None:
    """Shopify's ids are not signed: the same body under another id is the same delivery."""
    body = json.dumps(
        {"id": 5, "email": "ada@x.org", "created_at": "2026-03-01T09:00:00Z"}
    ).encode()
    headers = shopify(body)
    _, said = await site.post("/v1/webhooks/shopify", body, **headers)
    assert (said["accepted"], said["refused"]) == (1, [])
    forged = headers | {"x-shopify-event-id": "another"}
    _, said = await site.post("/v1/webhooks/shopify", body, **forged)
    assert (said["accepted"], said["duplicates"]) == (0, 1)


async def test_bodies_are_bounded_and_nothing_of_them_or_of_secrets_is_logged(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    """500 KB, as everywhere in the collector; what is not verified leaves its cause alone."""
    large = b'{"mail": "canary@x.org", "x": "' + b"y" * 600_000 + b'"}'
    assert (await site.post("/v1/webhooks/desk", large, **signed(large)))[0] == 413
    body = b'{"status": "solved", "mail": "canary@x.org"}'
    wrong = {**signed(body), "webhook-signature": "v1,Y2FuYXJ5"}
    assert (await site.post("/v1/webhooks/desk", body, **wrong))[0] == 401
    url = "/v1/webhooks/salesforce?token=canary-token"
    assert (await site.post(url, body, x="y"))[0] == 401
    logged = capsys.readouterr()
    assert "webhook not verified" in logged.out + logged.err
    for secret in ("canary", "Y2FuYXJ5", SECRET, "hush"):
        assert secret not in logged.out + logged.err


async def test_what_is_not_verified_leaves_nothing(site: Site) -> None:
    body = b'{"status": "solved", "mail": "ada@x.org"}'
    for headers in (
        {"webhook-id": "msg_1"},
        {**signed(body), "webhook-signature": "v1,AAAA"},
        signed(body, at=time() - 400),
        signed(body, at=time() + 400),
        signed(body + b" "),
    ):
        assert (await site.post("/v1/webhooks/desk", body, **headers))[0] == 401
    for name in ("nobody", "files", "unset", "git/x"):
        assert (await site.post(f"/v1/webhooks/{name}", body, **signed(body)))[0] == 404
    assert await site.events() == []
    assert site.read("dead-letters") == []


async def test_what_cannot_be_mapped_is_a_dead_letter_with_its_bytes(site: Site) -> None:
    """And 200: to repeat it for days would change nothing. Its neighbours are taken."""
    for number, body in enumerate((b"{broken", b'"text"', b"[1, {}")):
        status, said = await site.post("/v1/webhooks/desk", body, **signed(body, f"m{number}"))
        assert (status, said["accepted"], said["refused"][0]["cause"]) == (200, 0, "bad_line")
    body = b'[{"status": "solved", "phone": "1"}, {"status": "solved", "mail": "b@x.org"}]'
    status, said = await site.post("/v1/webhooks/desk", body, **signed(body))
    assert (status, said["accepted"]) == (200, 1)
    assert [(one["index"], one["cause"]) for one in said["refused"]] == [(0, "no_identity")]
    dead = {one.value(): dict(one.headers()) for one in site.read("dead-letters")}
    assert set(dead) == {b"{broken", b'"text"', b"[1, {}", b'{"status": "solved", "phone": "1"}'}
    headers = dead[b"{broken"]
    assert headers["__connect.errors.topic"] == b"desk"
    assert headers["__connect.errors.cause"] == b"bad_line"


async def test_hmac_with_a_mapping_that_reads_headers(site: Site) -> None:
    body = json.dumps(
        {"after": "c0ffee", "at": "2026-03-01T09:00:00Z", "pusher": {"email": "ada@x.org"}}
    ).encode()
    signature = "sha256=" + hmac.digest(b"hush", body, sha256).hex()
    headers = {"X-Hub-Signature-256": signature, "X-GitHub-Delivery": "d1"}
    for event, accepted in (("push", 1), ("ping", 0)):
        status, said = await site.post(
            "/v1/webhooks/git", body, **headers, **{"X-GitHub-Event": event}
        )
        assert (status, said["accepted"]) == (200, accepted)
    [event] = await site.events()
    assert (event.event_id, event.occurred_at) == ("c0ffee", 1_772_355_600_000)


async def test_a_broken_secret_says_come_again(site: Site) -> None:
    """The operator's mistake must not make a provider drop its events."""
    status, said = await site.post("/v1/webhooks/broken", b"{}", **signed(b"{}"))
    assert status == 503
    assert "whsec_" in said["message"]


async def test_a_mapping_changes_as_it_is_applied(site: Site) -> None:
    body = b'{"status": "solved", "mail": "ada@x.org"}'
    assert (await site.post("/v1/webhooks/desk", body, **signed(body)))[1]["accepted"] == 1
    changed = {**SOURCES["desk"], "events": [{**EVENT, "type": "ticket.closed"}]}
    await asyncio.to_thread(apply, site.settings, {"desk": changed})
    types = set()
    for number in count():
        if types == {"ticket.solved", "ticket.closed"}:
            break
        await site.post("/v1/webhooks/desk", body, **signed(body, f"msg_{number}"))
        types = {one.type for one in await site.events()}
    unsigned: dict[str, str] = {"webhook-id": "m"}
    while (await site.post("/v1/webhooks/git", body, **unsigned))[0] != 404:
        pass
