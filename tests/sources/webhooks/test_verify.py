"""Verifiers: published vectors pass, and everything that is off by anything does not."""

from __future__ import annotations

import base64
import hmac
from hashlib import sha256

import pytest

from orchestrator.errors import SettingsError
from orchestrator.settings import Secret, load_settings
from orchestrator.sources.webhooks.verify import HmacProvider, StandardProvider, Unverified
from orchestrator.webhook_settings import Webhook

NOW = 1_614_265_330_000
STANDARD_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
STANDARD_BODY = b'{"test": 2432232314}'
STANDARD = {
    "webhook-id": ["msg_p5jXN8AQM9LWM0D4loKWxJek"],
    "webhook-timestamp": ["1614265330"],
    "webhook-signature": ["v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="],
}


def hook(secret, **how):
    previous = how.pop("previous", None)
    return Webhook(
        secret=Secret(secret), previous_secret=Secret(previous) if previous else None, **how
    )


GITHUB = hook(
    "It's a Secret to Everybody",
    header="X-Hub-Signature-256",
    prefix="sha256=",
    id_header="X-GitHub-Delivery",
)
GITHUB_HEADERS = {
    "x-hub-signature-256": [
        "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    ],
    "x-github-delivery": ["d1"],
}
SLACK = hook(
    "8f742231b10e8888abcd99yyyzzz85a5",
    header="X-Slack-Signature",
    prefix="v0=",
    signed="v0:{timestamp}:{body}",
    timestamp_header="X-Slack-Request-Timestamp",
)
SLACK_BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
    b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
    b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
SLACK_HEADERS = {
    "x-slack-request-timestamp": ["1531420618"],
    "x-slack-signature": ["v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"],
}


def standard(secret=STANDARD_SECRET, **how):
    return StandardProvider(hook(secret, **how))


def refused(verifier, headers, body, now=NOW):
    with pytest.raises(Unverified) as caught:
        verifier.verify(headers, body, now)
    return caught.value.cause


def test_published_vectors():
    """Standard Webhooks, GitHub and Slack, as their own documentation has them."""
    assert standard().verify(STANDARD, STANDARD_BODY, NOW) == "msg_p5jXN8AQM9LWM0D4loKWxJek"
    assert HmacProvider(GITHUB).verify(GITHUB_HEADERS, b"Hello, World!", NOW) == "d1"
    assert HmacProvider(SLACK).verify(SLACK_HEADERS, SLACK_BODY, 1_531_420_618_000) is None


def test_shopify_style():
    """Base64 over the body alone."""
    body = '{"größe": "ü"}'.encode()
    signature = base64.b64encode(hmac.digest(b"hush", body, sha256)).decode()
    shopify = HmacProvider(hook("hush", header="X-Shopify-Hmac-SHA256", encoding="base64"))
    assert shopify.verify({"x-shopify-hmac-sha256": [signature]}, body, NOW) is None
    assert refused(shopify, {"x-shopify-hmac-sha256": [signature]}, body + b" ") == "bad_signature"


CASES = {
    "standard": (standard(), STANDARD, STANDARD_BODY, NOW, "webhook-signature"),
    "github": (HmacProvider(GITHUB), GITHUB_HEADERS, b"Hello, World!", NOW, "x-hub-signature-256"),
    "slack": (
        HmacProvider(SLACK),
        SLACK_HEADERS,
        SLACK_BODY,
        1_531_420_618_000,
        "x-slack-signature",
    ),
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def test_any_other_body_is_refused(case):
    verifier, headers, body, now, _ = case
    flipped = bytes([body[0] ^ 1]) + body[1:]
    for other in (flipped, body + b"\n", body + b" ", body[:-1], b"", b"x" * 1_000_000):
        assert refused(verifier, headers, other, now) == "bad_signature"


def test_headers_that_are_missing_doubled_empty_or_foreign(case):
    verifier, headers, body, now, _ = case
    for name in headers:
        for values in ([], [""], [" "], headers[name] * 2, ["ü"], ["x" * 5_000]):
            assert refused(verifier, {**headers, name: values}, body, now) == "bad_header"
        others = {other: values for other, values in headers.items() if other != name}
        assert refused(verifier, others, body, now) == "bad_header"


def test_signatures_that_are_none(case):
    """Cut, of another scheme, no encoding at all: refused like a wrong one."""
    verifier, headers, body, now, name = case
    right = headers[name][0]
    for wrong in (
        right[:-1],
        right[:-2],
        "v0,abc",
        "sha1=abc",
        "v1,",
        "sha256=",
        "v0=zz",
        "v1,ä"[:3],
    ):
        assert refused(verifier, {**headers, name: [wrong]}, body, now) in {
            "bad_signature",
            "bad_header",
        }


@pytest.mark.parametrize("name", ["standard", "slack"])
def test_replays_are_refused_by_the_window(name):
    """Five minutes either way; not a number, or milliseconds for seconds, is no timestamp."""
    verifier, headers, body, now, _ = CASES[name]
    for away in (-300_000, 300_000):
        verifier.verify(headers, body, now + away)
    for away in (-300_001, 300_001):
        assert refused(verifier, headers, body, now + away) == "bad_timestamp"
    place = "webhook-timestamp" if name == "standard" else "x-slack-request-timestamp"
    for wrong in ("NaN", "-1", "1e9", f"{now}", "1614265330.5", "0x1"):
        assert refused(verifier, {**headers, place: [wrong]}, body, now) == "bad_timestamp"


def test_a_timestamp_may_be_iso_8601():
    """As Zendesk signs: timestamp and body, base64."""
    at, body = "2021-02-25T15:02:10Z", b"{}"
    how = hook(
        "s", header="x-sig", encoding="base64", signed="{timestamp}{body}", timestamp_header="x-at"
    )
    signature = base64.b64encode(hmac.digest(b"s", at.encode() + body, sha256)).decode()
    headers = {"x-sig": [signature], "x-at": [at]}
    assert HmacProvider(how).verify(headers, body, NOW) is None
    assert refused(HmacProvider(how), headers, body, NOW + 300_001) == "bad_timestamp"


def test_secrets_rotate_without_a_gap():
    """Either secret fits on our side; either signature of the sender's list on theirs."""
    other = "whsec_" + base64.b64encode(b"another").decode()
    rotating = standard(other, previous=STANDARD_SECRET)
    assert rotating.verify(STANDARD, STANDARD_BODY, NOW)
    assert refused(standard(other), STANDARD, STANDARD_BODY) == "bad_signature"
    right = STANDARD["webhook-signature"][0]
    listed = {**STANDARD, "webhook-signature": [f"v1a,AAAA v1,AAAA {right}"]}
    assert standard().verify(listed, STANDARD_BODY, NOW)
    assert (
        refused(standard(), {**STANDARD, "webhook-signature": ["v1a,AAAA"]}, STANDARD_BODY)
        == "bad_signature"
    )


@pytest.mark.parametrize("secret", ["whsec_", "whsec_%%%", "plain text", "ü"])
def test_a_standard_secret_that_is_none(secret):
    with pytest.raises(SettingsError, match="whsec_ and base64"):
        standard(secret)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"signed": "{timestamp}{body}"}, "timestamp_header"),
        ({"signed": "{id}.{body}"}, "id_header"),
        ({"timestamp_header": "X-At"}, "proves nothing"),
        ({"signed": "nothing"}, "signed"),
    ],
)
def test_settings_that_would_prove_nothing_are_refused(how, words):
    with pytest.raises(SettingsError, match=words):
        load_settings(env={}, flags={"collector": {"webhooks": {"git": {"secret": "s", **how}}}})
