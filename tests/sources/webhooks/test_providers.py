"""Providers: their own published vectors pass; whatever is off by anything does not."""

from __future__ import annotations

import hashlib
import json
from urllib.parse import quote, urlencode

import pytest

from orchestrator.errors import InputError, SettingsError
from orchestrator.journeys.grammar_edges import _PROVIDERS
from orchestrator.settings import load_settings
from orchestrator.sources.webhooks import named
from orchestrator.sources.webhooks.hooks import PROVIDERS
from orchestrator.sources.webhooks.salesforce import Salesforce
from orchestrator.sources.webhooks.sendgrid import SendGrid
from orchestrator.sources.webhooks.twilio import Twilio
from orchestrator.sources.webhooks.verify import Unverified
from tests.sources.webhooks import signing
from tests.sources.webhooks.signing import AT, KEY, NOW, URL, b64, hook, mac, shown_key

BODY = '{"id": "evt_1", "größe": "ü"}'.encode()
FORM = {"To": "+491701234567", "MessageStatus": "delivered", "MessageSid": "SM1"}
FORM_BODY = urlencode(FORM).encode()


def listed(headers):
    return {name: [value] for name, value in headers.items()}


def refused(provider, headers, body, now=NOW, query=""):
    with pytest.raises(Unverified) as caught:
        provider.verify(
            listed(headers) if isinstance(next(iter(headers.values()), []), str) else headers,
            body,
            now,
            query,
        )
    return caught.value.cause


# How a provider is made of a secret (and an earlier one), and how it signs a body.
MADE = {
    "stripe": (named.Stripe, signing.stripe),
    "zendesk": (named.zendesk, signing.zendesk),
    "intercom": (named.Intercom, signing.intercom),
    "github": (named.github, signing.github),
    "shopify": (named.Shopify, signing.shopify),
    "slack": (named.Slack, signing.slack),
    "hubspot": (named.HubSpot, signing.hubspot),
    "sendgrid": (SendGrid, signing.sendgrid),
}
TIMED = {"stripe": AT, "zendesk": None, "slack": AT, "hubspot": NOW, "sendgrid": AT}


def make(name, secret=KEY, previous=None):
    if name == "sendgrid":
        secret, previous = shown_key(secret), shown_key(previous) if previous else None
    return MADE[name][0](hook(secret, previous, url=URL))


@pytest.fixture(params=MADE)
def name(request):
    return request.param


@pytest.mark.parametrize("body", [BODY, b"", b"x" * 1_000_000, BODY + b"\r\n"])
def test_what_is_signed_passes(name, body):
    """Also without a body, with a large one, and with the line end that some send."""
    make(name).verify(listed(MADE[name][1](body)), body, NOW)


def test_any_other_body_is_refused(name):
    headers = MADE[name][1](BODY)
    flipped = bytes([BODY[0] ^ 1]) + BODY[1:]
    for other in (flipped, BODY + b"\n", BODY.replace(b" ", b""), BODY[:-1], b"", b"x" * 1_000_000):
        assert refused(make(name), headers, other) == "bad_signature"


def test_headers_that_are_missing_doubled_or_empty(name):
    headers = listed(MADE[name][1](BODY))
    for one, values in headers.items():
        if one == "x-shopify-event-id":
            continue  # may be missing
        for wrong in ([], [""], [" "], values * 2, ["ü"], ["x" * 5_000]):
            assert refused(make(name), {**headers, one: wrong}, BODY) in {
                "bad_header",
                "bad_signature",
            }
        assert refused(make(name), {**headers, one: values * 2}, BODY) == "bad_header"
        left = {other: values for other, values in headers.items() if other != one}
        assert refused(make(name), left, BODY) == "bad_header"


def test_another_secret_is_refused_and_secrets_rotate(name):
    headers = MADE[name][1](BODY)
    assert refused(make(name, "another"), headers, BODY) == "bad_signature"
    make(name, "another", "hush").verify(listed(headers), BODY, NOW)
    with pytest.raises(SettingsError, match="no secret"):
        MADE[name][0](hook(None, url=URL))


@pytest.mark.parametrize("timed", TIMED)
def test_replays_are_refused_by_the_window(timed):
    """Five minutes, old or of the future; what is no number, or of another unit, is no time."""
    sign, provider = MADE[timed][1], make(timed)
    for away in (-300_000, 300_000):
        provider.verify(listed(sign(BODY)), BODY, NOW + away)
    for away in (-300_001 - 999, 300_001 + 999):
        assert refused(provider, sign(BODY), BODY, NOW + away) == "bad_timestamp"
    other_unit = AT if timed == "hubspot" else NOW
    for wrong in ("NaN", "-1", "1e9", "0x1", f"{AT}.5", other_unit):
        assert refused(provider, sign(BODY, at=wrong), BODY) in {"bad_timestamp", "bad_header"}


def test_stripe_takes_any_of_several_v1_and_never_v0():
    """While a secret rotates Stripe signs with both; v0 is for its test mode, and ignored."""
    right = signing.stripe(BODY)["stripe-signature"].split(",")[1]
    good = f"t={AT},v1={'0' * 64},{right}"
    make("stripe").verify({"stripe-signature": [good]}, BODY, NOW)
    for wrong in (
        f"t={AT},v0={right[3:]}",
        f"t={AT},t={AT},{right}",
        right,
        f"t={AT}",
        f"t={AT}," + ",".join([f"v1={'0' * 64}"] * 20 + [right]),
        "t=,v1=",
        f"t={AT},v1=zz",
    ):
        assert refused(make("stripe"), {"stripe-signature": wrong}, BODY) in {
            "bad_header",
            "bad_signature",
            "bad_timestamp",
        }


def test_zendesk_signs_the_time_before_the_body():
    """An old example of its documentation fits only the other way round."""
    at = "2026-03-01T09:00:00Z"
    swapped = b64(mac("hush", BODY + at.encode()))
    headers = signing.zendesk(BODY) | {"x-zendesk-webhook-signature": swapped}
    assert refused(make("zendesk"), headers, BODY) == "bad_signature"


def test_github_ignores_the_old_header():
    old = {"x-hub-signature": "sha1=" + mac("hush", BODY, "sha1").hex()}
    assert refused(make("github"), old, BODY) == "bad_header"


def test_hubspot_signs_some_signs_of_the_address_in_clear():
    """Its older signatures, a hash of secret and body without any time, are not looked at."""
    query, clear = "a=https%3A%2F%2Fx%21&b=%C3%BC%20", "a=https://x!&b=%C3%BC%20"
    headers = signing.hubspot(BODY, url=f"{URL}?{clear}")
    make("hubspot").verify(listed(headers), BODY, NOW, query)
    assert refused(make("hubspot"), headers, BODY, query=query + "c") == "bad_signature"
    old = {"x-hubspot-signature": hashlib.sha256(b"hush" + BODY).hexdigest()}
    assert refused(make("hubspot"), old, BODY) == "bad_header"
    with pytest.raises(SettingsError, match="url"):
        named.HubSpot(hook())


async def test_slack_answers_a_greeting_and_nothing_else():
    greeting = {"type": "url_verification", "challenge": "3eZbrw1a"}
    assert await make("slack").greet(json.dumps(greeting).encode()) == b'{"challenge":"3eZbrw1a"}'
    for other in (b'{"type": "event_callback"}', b"nothing", b"[]"):
        assert await make("slack").greet(other) is None


def test_shopify_names_event_and_topic():
    """One event comes once for each topic; the older header is the fallback."""
    headers = listed(signing.shopify(BODY))
    named_ = make("shopify").verify(headers, BODY, NOW)
    assert named_ == "98880550-7158-44d4-b7cd-2c97c8a091b5/orders/create"
    del headers["x-shopify-event-id"]
    assert make("shopify").verify(headers, BODY, NOW) is None
    headers["x-shopify-webhook-id"] = ["w1"]
    assert make("shopify").verify(headers, BODY, NOW) == "w1/orders/create"


# ------------------------------------------------------------------------------- sendgrid

SENDGRID_KEY = (
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw"
    "+2fNNRaINXvVpiglSI8eNEc6wEA3F+g=="
)
SENDGRID_OTHER = (
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqTxd43gyp8IOEto2LdIfjRQrIbsd4SXZkLW6jDutdhXSJCWHw8REntlo"
    "7aNDthvj+y7GjUuFDb/R1NGe1OPzpA=="
)
SENDGRID_BODY = (
    b'[{"email":"hello@world.com","event":"dropped","reason":"Bounced Address",'
    b'"sg_event_id":"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA",'
    b'"sg_message_id":"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0",'
    b'"smtp-id":"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>","timestamp":1600112492}]\r\n'
)
SENDGRID = {
    "x-twilio-email-event-webhook-signature": "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM=",
    "x-twilio-email-event-webhook-timestamp": "1600112502",
}


def test_sendgrids_own_vector():
    """Its bytes end with CR LF: without them, or with any other key, time or signature, it is refused."""
    provider, now = SendGrid(hook(SENDGRID_KEY)), 1_600_112_502_000
    provider.verify(listed(SENDGRID), SENDGRID_BODY, now)
    assert refused(provider, SENDGRID, SENDGRID_BODY.rstrip(), now) == "bad_signature"
    assert refused(SendGrid(hook(SENDGRID_OTHER)), SENDGRID, SENDGRID_BODY, now) == "bad_signature"
    other = "MEUCIQCtIHJeH93Y+qpYeWrySphQgpNGNr/U+UyUlBkU6n7RAwIgJTz2C+8a8xonZGi6BpSzoQsbVRamr2nlxFDWYNH3j/0="
    for wrong in (other, "AAAA", "no base64"):
        headers = SENDGRID | {"x-twilio-email-event-webhook-signature": wrong}
        assert refused(provider, headers, SENDGRID_BODY, now) == "bad_signature"


@pytest.mark.parametrize("key", ["plain text", "", b64(b"nothing")])
def test_a_key_of_sendgrid_that_is_none(key):
    with pytest.raises(SettingsError):
        SendGrid(hook(key))


# --------------------------------------------------------------------------------- twilio


def test_twilios_own_vector():
    """The address with its query, and the form's fields by name."""
    url = "https://mycompany.com/myapp.php"
    fields = {
        "CallSid": "CA1234567890ABCDE",
        "Caller": "+12349013030",
        "Digits": "1234",
        "From": "+12349013030",
        "To": "+18005551212",
    }
    provider, body = Twilio(hook("12345", url=url)), urlencode(fields).encode()
    headers = {"x-twilio-signature": ["0/KCTR6DLpKmkAf8muzZqo1nDgQ="]}
    provider.verify(headers, body, NOW, "foo=1&bar=2")
    assert refused(provider, headers, body, query="foo=1&bar=3") == "bad_signature"
    assert refused(provider, headers, body + b"&x=", query="foo=1&bar=2") == "bad_signature"


@pytest.mark.parametrize(
    ("signed", "known"),
    [
        ("https://in.example.com:443/w", "https://in.example.com/w"),
        ("https://in.example.com/w", "https://in.example.com:443/w"),
        ("https://in.example.com/w", "https://in.example.com:8443/w"),
        ("http://in.example.com:80/w", "http://in.example.com/w"),
    ],
)
def test_twilio_signs_addresses_with_and_without_the_port(signed, known):
    headers = listed(signing.twilio(FORM, url=signed))
    Twilio(hook(url=known)).verify(headers, FORM_BODY, NOW)


def test_twilio_sorts_repeated_fields_and_takes_each_value_once():
    body = b"Media=b&Media=a&Media=b&A=1"
    signature = b64(mac("hush", f"{URL}A1MediaaMediab".encode(), "sha1"))
    Twilio(hook(url=URL)).verify({"x-twilio-signature": [signature]}, body, NOW)


def test_twilio_json_bodies_are_signed_by_their_hash():
    body = '{"größe": 1}'.encode()
    query = "bodySHA256=" + hashlib.sha256(body).hexdigest()
    headers = signing.twilio({}, url=f"{URL}?{query}")
    provider = Twilio(hook(url=URL))
    provider.verify(listed(headers), body, NOW, query)
    [record] = provider.records(body, query)
    assert json.loads(record)["größe"] == 1
    assert refused(provider, headers, body + b" ", query=query) == "bad_signature"
    for wrong in (f"{query}&{query}", "bodySHA256=zz", "bodySHA256="):
        signed = signing.twilio({}, url=f"{URL}?{wrong}")
        assert refused(provider, signed, body, query=wrong) == "bad_signature"


def test_twilio_negatives():
    provider, headers = Twilio(hook(url=URL)), signing.twilio(FORM)
    provider.verify(listed(headers), FORM_BODY, NOW)
    Twilio(hook("new", "hush", url=URL)).verify(listed(headers), FORM_BODY, NOW)
    assert refused(Twilio(hook("new", url=URL)), headers, FORM_BODY) == "bad_signature"
    for body in (
        FORM_BODY.replace(b"delivered", b"delivereD"),
        b"",
        FORM_BODY + b"%20",
        b"x=" + b"y" * 1_000_000,
    ):
        assert refused(provider, headers, body) == "bad_signature"
    for body in (b"x=%ff", b"\xff=1", b"&".join([b"a=1"] * 600)):
        assert refused(provider, headers, body) == "bad_body"
    for wrong in ([], [""], ["a", "a"], ["ü"]):
        assert refused(provider, {"x-twilio-signature": wrong}, FORM_BODY) == "bad_header"
    with pytest.raises(SettingsError, match="url"):
        Twilio(hook())
    with pytest.raises(InputError):
        provider.records(b"x=%ff", "")


# ----------------------------------------------------------------------------- salesforce

SOAP = """<?xml version="1.0" encoding="UTF-8"?>
<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
 <soapenv:Body><notifications xmlns="http://soap.sforce.com/2005/09/outbound">
  <OrganizationId>00D24000000TEST</OrganizationId><ActionId>04k000000000001</ActionId>
  <SessionId>00D24!AQEAQ.canary</SessionId><EnterpriseUrl>https://x</EnterpriseUrl>
  <Notification><Id>04l0800002nrC5BAAU</Id>
   <sObject xsi:type="sf:Contact" xmlns:sf="urn:sobject.enterprise.soap.sforce.com">
    <sf:Id>003x1</sf:Id><sf:Email>Ada@x.org</sf:Email><sf:LastName>L &amp; Ö</sf:LastName><sf:Title xsi:nil="true"/>
   </sObject></Notification>
  <Notification><Id>04l0800002nrC5BAAV</Id>
   <sObject xsi:type="sf:Contact" xmlns:sf="urn:x"><sf:Id>003x2</sf:Id></sObject></Notification>
 </notifications></soapenv:Body>
</soapenv:Envelope>""".encode()


def test_salesforce_outbound_messages():
    """Every notification is a record; the session id of the message is in none of them."""
    records = Salesforce(hook()).records(SOAP, "")
    assert [json.loads(one) for one in records] == [
        {
            "id": "04l0800002nrC5BAAU",
            "object": "Contact",
            "organization_id": "00D24000000TEST",
            "fields": {"Id": "003x1", "Email": "Ada@x.org", "LastName": "L & Ö", "Title": None},
        },
        {
            "id": "04l0800002nrC5BAAV",
            "object": "Contact",
            "organization_id": "00D24000000TEST",
            "fields": {"Id": "003x2"},
        },
    ]
    assert b"canary" not in b"".join(records)
    broken = SOAP.replace(b"</soapenv:Envelope>", b"")
    assert b"canary" not in Salesforce(hook()).clean(broken)
    assert b"003x1" in Salesforce(hook()).clean(broken)


BOMB = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>' + SOAP[38:]


@pytest.mark.parametrize(
    "body",
    [
        BOMB,
        SOAP.replace(b"</soapenv:Envelope>", b""),
        SOAP.replace(b"2005/09/outbound", b"2005/09/other"),
        b"<a/>",
        b"<a>" * 20 + b"</a>" * 20,
        SOAP.replace(b"UTF-8", b"UTF-16"),
    ],
    ids=["entities", "cut", "foreign", "other", "deep", "encoding"],
)
def test_xml_that_is_no_outbound_message(body):
    if b"UTF-16" in body:
        assert Salesforce(hook()).records(body, "")  # we read UTF-8 whatever it claims
        return
    with pytest.raises(InputError):
        Salesforce(hook()).records(body, "")


def test_salesforce_shows_a_secret_in_a_header_or_in_the_address():
    provider = Salesforce(hook("new", "old/ä+"))
    for headers, query in (
        ({"authorization": ["Bearer new"]}, ""),
        ({"authorization": ["bearer  new"]}, "token=wrong"),
        ({}, "a=b&token=new"),
        ({}, "token=" + quote("old/ä+", safe="")),
    ):
        provider.verify(headers, SOAP, NOW, query)
    for headers, query in (
        ({}, ""),
        ({}, "token="),
        ({}, "token=neW"),
        ({}, "token=new&token=new"),
        ({}, "token=%ff"),
        ({"authorization": ["Bearer wrong"]}, "token=new"),
        ({"authorization": ["Bearer new", "Bearer new"]}, ""),
        ({"authorization": [""]}, "token=new"),
        ({"authorization": ["Basic new"]}, ""),
    ):
        assert refused(provider, {**headers, "x": ["y"]}, SOAP, query=query) in {
            "bad_header",
            "bad_signature",
        }
    assert provider.records(b'[{"payload": {}}]', "") == [b'{"payload": {}}']
    assert provider.records(b" ", "") == []


# ------------------------------------------------------------------------------- settings


def test_the_language_knows_every_provider():
    """``webhook:`` of sources/*.yaml and the collector's table are one list."""
    assert set(_PROVIDERS) == set(PROVIDERS)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"topics": ["arn:aws:sns:x"]}, "no ARN"),
        ({"url": "in.example.com/x"}, "write it whole"),
        ({"url": "https://in.example.com/x?a=b"}, "write it whole"),
    ],
)
def test_settings_that_can_never_fit_are_refused(how, words):
    with pytest.raises(SettingsError, match=words):
        load_settings(env={}, flags={"collector": {"webhooks": {"x": how}}})
