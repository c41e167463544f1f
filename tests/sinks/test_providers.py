"""The senders by HTTP APIs against a simulator: what goes out, and what each answer means.

Bodies follow the providers' published references; the signature has AWS' own test vector and one made
with botocore. Nothing here has spoken to a provider itself.
"""

from __future__ import annotations

import base64
import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from urllib.parse import parse_qs, parse_qsl, urlsplit

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from orchestrator.errors import SettingsError
from orchestrator.records import Action
from orchestrator.sender_settings import (
    FcmSender,
    SendgridSender,
    SesSender,
    SlackSender,
    TwilioSender,
)
from orchestrator.settings import Secret
from orchestrator.sinks.opening import OUTWARD
from orchestrator.sinks.senders.http import Reply
from orchestrator.sinks.senders.protocol import Order, Rejected, TryAgain, Unfit
from orchestrator.sinks.senders.sendgrid import until_reset
from orchestrator.sinks.senders.sigv4 import Credentials, Scope, signed_headers
from tests.sinks.provider import Provider, serving

NOW = 1_772_352_000_000
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.NoEncryption(),
).decode()
FIELDS = {
    "subject": "Hellö",
    "text": "Dear Ädä",
    "html": "<p>Dear Ädä</p>",
    "title": "Hi",
    "link": "/start",
}


def order(fields=FIELDS, **changes):
    given = {
        "action_id": "a1",
        "customer_id": "ada",
        "channel": "out",
        "message": "welcome",
        "template": "t",
        "address": "ada@example.com",
        "journey": "trial",
        "journey_version": "v1",
        "entry_id": "e1",
        "step": "day1",
        "decision_id": "d1",
        "category": "news",
        "priority": 50,
        "decided_at": NOW,
        "expires_at": NOW + 60_000,
        "caused_by": "event",
    }
    return Order(Action(**(given | changes)), fields, NOW, 1, "https://u.x/1")


def account(provider):
    return json.dumps(
        {
            "type": "service_account",
            "project_id": "p",
            "client_email": "me@p.iam",
            "private_key": PEM,
            "private_key_id": "k1",
            "token_uri": f"{provider.url}/token",
        }
    )


def settings_of(name, provider):
    url = provider.url
    match name:
        case "sendgrid":
            return SendgridSender(
                api_key=Secret("SG.x"), from_address="Acme <a@acme.com>", url=url, timeout_s=1
            )
        case "ses":
            return SesSender(
                region="eu-west-1",
                access_key_id="AKID",
                secret_access_key=Secret("s"),
                from_address="Acme <a@acme.com>",
                configuration_set="events",
                url=url,
                timeout_s=1,
            )
        case "twilio":
            return TwilioSender(
                account_sid="AC1",
                auth_token=Secret("t"),
                from_number="+1555",
                status_callback="https://c.x/v1/webhooks/twilio",
                url=url,
                timeout_s=1,
            )
        case "fcm":
            return FcmSender(service_account=Secret(account(provider)), url=url, timeout_s=1)
        case _:
            return SlackSender(token=Secret("xoxb"), to="C1", url=url, timeout_s=1)


ALL = ["sendgrid", "ses", "twilio", "fcm", "slack"]


@pytest.fixture
async def provider():
    async with serving(Provider()) as one:
        yield one


@asynccontextmanager
async def sending(name, provider, **changes):
    settings = msgspec.structs.replace(settings_of(name, provider), **changes)
    async with OUTWARD[type(settings)](settings) as sender:
        yield sender


async def sent(name, provider, what=None, **changes):
    async with sending(name, provider, **changes) as sender:
        accepted = await sender.send(what or order())
    path, headers, body = provider.requests[-1]
    return accepted, path, headers, body


async def refusal(name, provider, what=None, **changes):
    with pytest.raises((Rejected, TryAgain)) as caught:
        await sent(name, provider, what, **changes)
    return caught.value


# --------------------------------------------------------------------------------- what goes out


async def test_sendgrid(provider):
    provider.answer = (202, None, {"X-Message-Id": "m1"})
    accepted, path, headers, body = await sent("sendgrid", provider)
    assert (accepted.provider_id, path) == ("m1", "/v3/mail/send")
    assert headers["Authorization"] == "Bearer SG.x"
    assert json.loads(body) == {
        "personalizations": [{"to": [{"email": "ada@example.com"}]}],
        "from": {"email": "a@acme.com", "name": "Acme"},
        "subject": "Hellö",
        "content": [
            {"type": "text/plain", "value": "Dear Ädä"},
            {"type": "text/html", "value": "<p>Dear Ädä</p>"},
        ],
        "headers": {
            "Message-ID": "<a1@acme.com>",
            "X-Action-Id": "a1",
            "List-Unsubscribe": "<https://u.x/1>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        },
        "custom_args": {"action_id": "a1", "customer_id": "ada"},
    }


async def test_ses(provider):
    """Ids that no tag may have travel as base64url; SES sets the Message-ID itself."""
    accepted, path, headers, body = await sent("ses", provider, order(customer_id="ada@x"))
    assert (accepted.provider_id, path) == ("ses-1", "/v2/email/outbound-emails")
    assert headers["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKID/")
    said = json.loads(body)
    assert said["FromEmailAddress"] == "Acme <a@acme.com>"
    assert said["Destination"] == {"ToAddresses": ["ada@example.com"]}
    assert said["ConfigurationSetName"] == "events"
    simple = said["Content"]["Simple"]
    assert simple["Subject"]["Data"] == "Hellö"
    assert simple["Body"]["Html"] == {"Data": "<p>Dear Ädä</p>", "Charset": "UTF-8"}
    assert {one["Name"] for one in simple["Headers"]} == {
        "X-Action-Id",
        "List-Unsubscribe",
        "List-Unsubscribe-Post",
    }
    tags = {one["Name"]: one["Value"] for one in said["EmailTags"]}
    assert tags["action_id"] == "a1"
    assert base64.urlsafe_b64decode(tags["customer_id_b64"] + "==") == b"ada@x"
    with pytest.raises(Unfit, match="too long"):
        await sent("ses", provider, order(customer_id="ä" * 200))


def test_signatures_are_those_of_aws():
    """The suite's ``post-vanilla``; a body, a content type and temporary credentials as botocore signs."""
    key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
    vanilla = signed_headers(
        "https://example.amazonaws.com/",
        b"",
        {},
        datetime(2015, 8, 30, 12, 36, tzinfo=UTC),
        Credentials("AKIDEXAMPLE", key),
        Scope("us-east-1", "service"),
    )
    assert vanilla["Authorization"].endswith(
        "SignedHeaders=host;x-amz-date, "
        "Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"
    )
    temporary = signed_headers(
        "https://email.eu-west-1.amazonaws.com/v2/email/outbound-emails",
        '{"a":"ä"}'.encode(),
        {"Content-Type": "application/json"},
        datetime(2026, 3, 1, 8, tzinfo=UTC),
        Credentials("AKIDEXAMPLE", key, "TOKEN"),
        Scope("eu-west-1", "ses"),
    )
    assert temporary["X-Amz-Security-Token"] == "TOKEN"
    assert temporary["Authorization"].endswith(
        "b4f48a33168b9539ed9b7a9ac5abedef306614b14a1fcc7ecc69a9085c58c4fe"
    )


async def test_twilio(provider):
    accepted, path, headers, body = await sent("twilio", provider, order(address="+49151"))
    assert (accepted.provider_id, path) == ("SM1", "/2010-04-01/Accounts/AC1/Messages.json")
    assert headers["Authorization"] == "Basic " + base64.b64encode(b"AC1:t").decode()
    form = {name: value for name, [value] in parse_qs(body.decode()).items()}
    callback = urlsplit(form.pop("StatusCallback"))
    assert dict(parse_qsl(callback.query)) == {"action_id": "a1", "customer_id": "ada"}
    assert form == {"To": "+49151", "From": "+1555", "Body": "Dear Ädä", "ValidityPeriod": "60"}
    _, _, headers, body = await sent(
        "twilio",
        provider,
        order(expires_at=None),
        api_key="SK1",
        from_number=None,
        messaging_service_sid="MG1",
    )
    assert base64.b64decode(headers["Authorization"].split()[1]) == b"SK1:t"
    form = parse_qs(body.decode())
    assert form["MessagingServiceSid"] == ["MG1"]
    assert not {"From", "ValidityPeriod"} & form.keys()


async def test_fcm(provider):
    """One token for many messages, asked for by an assertion that the account's key has signed."""
    async with sending("fcm", provider) as sender:
        accepted = await sender.send(order(address="device"))
        await sender.send(order(address="device"))
    assert accepted.provider_id == "projects/p/messages/1"
    (path, _, form), (to, headers, body), _ = provider.requests
    assert (path, to) == ("/token", "/v1/projects/p/messages:send")
    assert headers["Authorization"] == "Bearer ya29"
    said = parse_qs(form.decode())
    assert said["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    text, _, signature = said["assertion"][0].rpartition(".")
    KEY.public_key().verify(
        base64.urlsafe_b64decode(signature + "=="), text.encode(), PKCS1v15(), SHA256()
    )
    claims = json.loads(base64.urlsafe_b64decode(text.split(".")[1] + "=="))
    assert claims["aud"] == f"{provider.url}/token"
    assert claims["exp"] - claims["iat"] == 3600
    assert json.loads(body) == {
        "message": {
            "token": "device",
            "notification": {"title": "Hi", "body": "Dear Ädä"},
            "data": {"action_id": "a1", "message": "welcome", "link": "/start"},
            "android": {"collapse_key": "a1", "notification": {"tag": "a1"}, "ttl": "60s"},
            "apns": {
                "headers": {
                    "apns-collapse-id": "a1",
                    "apns-expiration": str((NOW + 60_000) // 1000),
                }
            },
        }
    }


async def test_slack(provider):
    accepted, path, headers, body = await sent("slack", provider)
    assert (accepted.provider_id, path) == ("1.2", "/api/chat.postMessage")
    assert headers["Authorization"] == "Bearer xoxb"
    said = json.loads(body)
    assert (said["channel"], said["text"]) == ("C1", "Dear Ädä")
    assert said["metadata"]["event_payload"] == {"action_id": "a1", "customer_id": "ada"}
    *_, body = await sent("slack", provider, order(address="C2"), to=None)
    assert json.loads(body)["channel"] == "C2"


@pytest.mark.parametrize("name", ALL)
async def test_what_cannot_be_sent_is_not_shown_to_the_provider(name, provider):
    """No address, no content: a closed reason, and not one call."""
    async with sending(name, provider, **({"to": None} if name == "slack" else {})) as sender:
        with pytest.raises(Unfit) as caught:
            await sender.send(order(address=None))
        assert caught.value.reason == "no_address"
        with pytest.raises(Unfit) as caught:
            await sender.send(order({}))
        assert caught.value.reason == "no_content"
    assert [one for one in provider.requests if one[0] != "/token"] == []


# ----------------------------------------------------------------------------- what answers mean


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("status", "reason", "blame", "unknown"),
    [
        (401, "credentials", "setup", False),
        (403, "credentials", "setup", False),
        (302, "configuration", "setup", False),
        (405, "configuration", "setup", False),
        (408, "refused", "provider", False),
        (429, "throttled", "pace", False),
        (500, "refused", "provider", False),
        (502, "refused", "provider", True),
        (503, "refused", "provider", False),
        (504, "refused", "provider", True),
    ],
)
async def test_statuses_that_all_share(name, provider, status, reason, blame, unknown):
    """An error of the provider's own is a "not taken"; one of a gateway before it tells nothing."""
    provider.answer = (status, {"some": "address@example.com"}, {"Retry-After": "7"})
    error = await refusal(name, provider)
    assert isinstance(error, TryAgain)
    assert (error.reason, error.blame, error.unknown) == (reason, blame, unknown)
    assert error.after == (7 if status in {408, 429} or status >= 500 else None)
    assert "@" not in str(error)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("fault", ["hang", "accept_hang", "reset", "accept_reset"])
async def test_no_answer_is_unknown(name, provider, fault):
    provider.faults.append(fault)
    error = await refusal(name, provider, timeout_s=0.3)
    assert isinstance(error, TryAgain)
    assert (error.reason, error.unknown, error.blame) == ("connection", True, "provider")


@pytest.mark.parametrize("name", [one for one in ALL if one != "fcm"])
async def test_nobody_there_is_certainly_not_sent(name, provider):
    error = await refusal(name, provider, url="http://127.0.0.1:9")
    assert isinstance(error, TryAgain)
    assert (error.reason, error.unknown) == ("unreachable", False)


def sendgrid_error(field):
    return {"errors": [{"field": field, "message": "ada@example.com is bad"}]}


def fcm_error(status, code, message=""):
    detail = {"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code}
    return {"error": {"code": status, "message": message, "details": [detail]}}


@pytest.mark.parametrize(
    ("name", "status", "body", "reason", "report"),
    [
        (
            "sendgrid",
            400,
            sendgrid_error("personalizations.0.to.0.email"),
            "bad_address",
            "bounced",
        ),
        ("sendgrid", 400, sendgrid_error("content.0.value"), "rejected", None),
        ("sendgrid", 413, None, "too_large", None),
        ("ses", 400, {"__type": "MessageRejected"}, "rejected", None),
        ("twilio", 400, {"code": 21211}, "bad_address", "bounced"),
        ("twilio", 400, {"code": 21614}, "bad_address", "bounced"),
        ("twilio", 400, {"code": 21610}, "unsubscribed", "unsubscribed"),
        ("twilio", 400, {"code": 21617}, "rejected", None),
        ("fcm", 404, fcm_error(404, "UNREGISTERED"), "bad_address", "bounced"),
        ("fcm", 403, fcm_error(403, "SENDER_ID_MISMATCH"), "bad_address", "bounced"),
        (
            "fcm",
            400,
            fcm_error(400, "INVALID_ARGUMENT", "The registration token is not valid"),
            "bad_address",
            "bounced",
        ),
        ("fcm", 400, fcm_error(400, "INVALID_ARGUMENT", "message too big"), "rejected", None),
        ("slack", 200, {"ok": False, "error": "msg_too_long"}, "rejected", None),
    ],
)
async def test_refused_for_good(name, provider, status, body, reason, report):
    """Never repeated; what it says about the address or its owner becomes a receipt of its own."""
    provider.answer = (status, body, {})
    error = await refusal(name, provider)
    assert isinstance(error, Rejected)
    assert (error.reason, error.report) == (reason, report)
    assert "@" not in str(error)


@pytest.mark.parametrize(
    ("name", "status", "body", "reason", "blame"),
    [
        ("ses", 400, {"__type": "com.amazonaws#TooManyRequestsException"}, "throttled", "pace"),
        ("ses", 400, {"__type": "SendingPausedException"}, "configuration", "setup"),
        ("ses", 403, {"__type": "InvalidSignatureException"}, "configuration", "setup"),
        ("twilio", 400, {"code": 20429}, "throttled", "pace"),
        ("fcm", 429, fcm_error(429, "QUOTA_EXCEEDED"), "throttled", "pace"),
        ("fcm", 401, fcm_error(401, "THIRD_PARTY_AUTH_ERROR"), "credentials", "setup"),
        ("slack", 200, {"ok": False, "error": "ratelimited"}, "throttled", "pace"),
        ("slack", 200, {"ok": False, "error": "token_revoked"}, "credentials", "setup"),
        ("slack", 200, {"ok": False, "error": "channel_not_found"}, "configuration", "setup"),
        ("slack", 200, {"ok": False, "error": "service_unavailable"}, "refused", "provider"),
    ],
)
async def test_refused_for_now(name, provider, status, body, reason, blame):
    provider.answer = (status, body, {})
    error = await refusal(name, provider)
    assert isinstance(error, TryAgain)
    assert (error.reason, error.blame, error.unknown) == (reason, blame, False)


async def test_slack_says_when_it_does_not_know_itself(provider):
    provider.answer = (200, {"ok": False, "error": "fatal_error"}, {})
    assert (await refusal("slack", provider)).unknown


async def test_a_customers_own_slack_channel_may_be_gone(provider):
    provider.answer = (200, {"ok": False, "error": "is_archived"}, {})
    error = await refusal("slack", provider, order(address="C2"), to=None)
    assert (error.reason, error.report) == ("bad_address", "bounced")


async def test_an_answer_that_is_no_json_is_judged_by_its_status(provider):
    provider.answer = (502, "<html>", {})
    for name in ALL:
        assert (await refusal(name, provider)).unknown
    provider.answer = (200, ["?"], {})
    assert (await refusal("slack", provider)).reason == "rejected"
    assert Reply(200, {}, b'{"a":' * 10_000).json() == {}


def test_sendgrid_says_when_it_counts_anew():
    assert until_reset(Reply(429, {"X-RateLimit-Reset": "1010"}, b""), 1000.0) == 10
    assert until_reset(Reply(429, {"X-RateLimit-Reset": "990"}, b""), 1000.0) == 0
    assert until_reset(Reply(429, {"Retry-After": "3"}, b""), 1000.0) == 3
    assert until_reset(Reply(429, {}, b""), 1000.0) is None


# ------------------------------------------------------------------------------------- tokens


async def test_a_refused_token_is_fetched_anew(provider):
    provider.answer = (401, fcm_error(401, "UNAUTHENTICATED"), {})
    async with sending("fcm", provider) as sender:
        with pytest.raises(TryAgain):
            await sender.send(order(address="d"))
        provider.answer = None
        await sender.send(order(address="d"))
    assert [path for path, *_ in provider.requests].count("/token") == 2


@pytest.mark.parametrize(
    ("status", "reason", "blame"),
    [(400, "credentials", "setup"), (401, "credentials", "setup"), (503, "refused", "provider")],
)
async def test_without_a_token_nothing_was_sent(status, reason, blame, monkeypatch, provider):
    """Also where the answer is a gateway's: it was not the message that was under way."""
    import tests.sinks.provider as simulator

    monkeypatch.setattr(simulator, "kind_of", lambda _: "webhook")
    provider.answer = (status, {"error": "invalid_grant"}, {})
    error = await refusal("fcm", provider)
    assert isinstance(error, TryAgain)
    assert (error.reason, error.blame, error.unknown) == (reason, blame, False)
    assert len(provider.requests) == 1


@pytest.mark.parametrize("key", ["{}", "no json", json.dumps({"project_id": "p"})])
async def test_a_key_file_that_is_none_is_refused_at_the_start(key, provider):
    with pytest.raises(SettingsError, match="service_account"):
        await sent("fcm", provider, service_account=Secret(key))


async def test_a_private_key_that_is_none_is_refused_at_the_start(provider):
    broken = json.loads(account(provider)) | {"private_key": "---"}
    with pytest.raises(SettingsError, match="private_key"):
        await sent("fcm", provider, service_account=Secret(json.dumps(broken)))
