"""SES through SNS: only our topics, only AWS' addresses, only what its certificate signed."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

import pytest

from orchestrator.errors import InputError, SettingsError, UnavailableError
from orchestrator.sources.webhooks.sesrecords import ses_records
from orchestrator.sources.webhooks.sns import Sns, fetch_from_aws
from orchestrator.sources.webhooks.verify import Unverified
from tests.sources.webhooks.signing import (
    CERTIFICATE_URL,
    NOW,
    TOPIC,
    certificate,
    hook,
    sns,
)

DAY = 24 * 3_600_000
CONFIRM = f"https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=2336"


class Aws:
    """What stands behind AWS' addresses, and what was asked for."""

    def __init__(self, pem: bytes = b"") -> None:
        self.pem = pem or certificate()
        self.asked: list[str] = []

    async def fetch(self, url: str) -> bytes:
        self.asked.append(url)
        return self.pem


def provider(fetch: Callable[[str], Awaitable[bytes]], topic: str = TOPIC) -> Sns:
    return Sns(hook(None, topics=[topic]), fetch)


async def verified(body: bytes, aws: Aws | None = None, now: int = NOW) -> str | None:
    one = provider((aws or Aws()).fetch)
    await one.prepare(body)
    return one.verify({}, body, now)


async def refused(body: bytes, aws: Aws | None = None, now: int = NOW) -> str:
    with pytest.raises(Unverified) as caught:
        await verified(body, aws, now)
    return caught.value.cause


@pytest.mark.parametrize("version", ["1", "2"])
async def test_both_versions_of_the_signature(version: str) -> None:
    """SHA-1 is AWS' default to this day; with and without the subject, which is signed if it is there."""
    assert await verified(sns("text", version=version)) == "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324"
    assert await verified(sns("ü\n", version=version, Subject=None))
    body = sns("text", version=version)
    for name in ("Message", "MessageId", "Subject", "Timestamp"):
        envelope = json.loads(body)
        envelope[name] += " "
        assert await refused(json.dumps(envelope).encode()) in {"bad_signature", "bad_timestamp"}
    envelope = json.loads(body) | {"SignatureVersion": "1" if version == "2" else "2"}
    assert await refused(json.dumps(envelope).encode()) == "bad_signature"
    assert await refused(sns("text", "mallory", version)) == "bad_signature"
    for wrong in ("", "AAAA", "ü", "no base64"):
        assert (
            await refused(json.dumps(envelope | {"Signature": wrong}).encode()) == "bad_signature"
        )


async def test_a_topic_that_is_not_ours_is_refused_and_nobody_is_asked() -> None:
    """Anybody may have a topic, which AWS signs for: it proves nothing."""
    aws = Aws()
    assert await refused(sns(TopicArn=TOPIC[:-1]), aws) == "bad_topic"
    assert aws.asked == []
    with pytest.raises(SettingsError, match="topics"):
        Sns(hook("hush"))


@pytest.mark.parametrize(
    "url",
    [
        CERTIFICATE_URL.replace("https", "http"),
        CERTIFICATE_URL.replace("amazonaws.com", "amazonaws.com.evil.example"),
        CERTIFICATE_URL.replace("sns.eu", "evil.sns.eu"),
        CERTIFICATE_URL.replace("sns.", "s3."),
        CERTIFICATE_URL.replace("sns.eu-central-1.amazonaws.com", "evil.example"),
        CERTIFICATE_URL.replace("https://sns", "https://evil@sns"),
        CERTIFICATE_URL.replace(".com/", ".com:8443/"),
        CERTIFICATE_URL.replace(".com/", ".com:443/"),
        CERTIFICATE_URL.replace("/Simple", "/bucket/Simple"),
        CERTIFICATE_URL + "?x=y",
        CERTIFICATE_URL + "#x",
        CERTIFICATE_URL + "\n",
        CERTIFICATE_URL.replace("SimpleNotificationService-", ""),
        "https://sns.eu-central-1.amazonaws.com@127.0.0.1/" + CERTIFICATE_URL.rpartition("/")[2],
        "https://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "",
    ],
)
async def test_no_other_address_is_ever_asked_for_a_certificate(url: str) -> None:
    aws = Aws()
    assert await refused(sns(SigningCertURL=url), aws) == "bad_url"
    assert aws.asked == []


async def test_a_certificate_is_fetched_once_and_must_be_that_of_sns() -> None:
    aws = Aws()
    one = provider(aws.fetch)
    for body in (sns("a"), sns("b"), sns("c")):
        await one.prepare(body)
        one.verify({}, body, NOW)
    assert aws.asked == [CERTIFICATE_URL]
    assert await refused(sns(), Aws(certificate(common="evil.example"))) == "bad_signature"
    assert await refused(sns(), Aws(certificate(days=10))) == "bad_signature"
    with pytest.raises(UnavailableError):
        await verified(sns(), Aws(b"<html>"))


async def test_a_certificate_that_cannot_be_fetched_means_come_again() -> None:
    """Not 401, after which AWS would give up; and callers cannot make us ask twice at a time."""
    asked = 0

    async def away(_: str) -> bytes:
        nonlocal asked
        asked += 1
        with pytest.raises(UnavailableError, match="another"):
            await one.prepare(sns())
        raise UnavailableError("AWS cannot be reached")

    one = provider(away)
    with pytest.raises(UnavailableError, match="cannot be reached"):
        await one.prepare(sns())
    assert asked == 1


async def test_a_message_may_be_as_old_as_the_memory_of_ids_is_long() -> None:
    """AWS repeats it with the time of its first delivery."""
    assert await verified(sns(), now=NOW + 4 * DAY)
    assert await refused(sns(), now=NOW + 4 * DAY + 1) == "bad_timestamp"
    assert await refused(sns(), now=NOW - 300_001) == "bad_timestamp"
    for wrong in ("NaN", "1772355600", ""):
        assert await refused(sns(Timestamp=wrong)) == "bad_timestamp"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{broken",
        b"[]",
        b'{"Type": "Notification"}',
        sns(SignatureVersion="3"),
        sns(Type="Other"),
        b"\xff",
        b"{" * 1_000_000,
        b'{"Type": ' + b"[" * 100_000,
    ],
)
async def test_what_is_no_message_of_sns(body: bytes) -> None:
    """Also messages that SNS delivers raw: they have no signature."""
    assert await refused(body) == "bad_body"


async def test_a_subscription_to_our_topic_confirms_itself() -> None:
    aws = Aws()
    body = sns(
        "You have chosen ...",
        Type="SubscriptionConfirmation",
        Token="2336",
        SubscribeURL=CONFIRM,
        Subject=None,
    )
    one = provider(aws.fetch)
    await one.prepare(body)
    assert one.verify({}, body, NOW)
    assert await one.greet(body) == b"{}"
    assert aws.asked == [CERTIFICATE_URL, CONFIRM]
    assert await one.greet(sns()) is None
    assert (
        await one.greet(sns(Type="UnsubscribeConfirmation", Token="2336", SubscribeURL=CONFIRM))
        == b"{}"
    )
    assert aws.asked == [CERTIFICATE_URL, CONFIRM]  # nobody subscribes again by himself


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/",
        CONFIRM.replace("https", "http"),
        CONFIRM.replace("amazonaws.com", "evil.example"),
        CONFIRM.replace("ConfirmSubscription", "DeleteTopic"),
        CONFIRM.replace(TOPIC, TOPIC[:-1]),
        CONFIRM.replace("/?", "/x?"),
        CONFIRM + "&Action=DeleteTopic",
        "",
    ],
)
async def test_no_other_address_confirms(url: str) -> None:
    aws = Aws()
    body = sns(Type="SubscriptionConfirmation", Token="2336", SubscribeURL=url)
    with pytest.raises(Unverified):
        await provider(aws.fetch).greet(body)
    assert aws.asked == []


@pytest.mark.parametrize("url", ["https://localhost/", "https://127.0.0.1/", "https://[::1]/"])
async def test_private_addresses_are_not_fetched(url: str) -> None:
    """Not even if AWS' name pointed there."""
    with pytest.raises(UnavailableError, match="cannot be reached"):
        await fetch_from_aws(url)


def ses(**event: object) -> list[dict[str, object]]:
    return [json.loads(one) for one in ses_records(json.dumps(event))]


def test_an_event_is_a_record_of_each_recipient() -> None:
    mail = {
        "timestamp": "t0",
        "destination": ["a@x.org"],
        "tags": {"action_id": ["a1"], "none": []},
    }
    people = [{"emailAddress": "a@x.org"}, {"emailAddress": "b@x.org"}]
    bounce = {"timestamp": "t1", "bouncedRecipients": people}
    found = ses(eventType="Bounce", bounce=bounce, mail=mail)
    assert [(one["recipient"], one["at"], one["tags"]) for one in found] == [
        ("a@x.org", "t1", {"action_id": "a1"}),
        ("b@x.org", "t1", {"action_id": "a1"}),
    ]
    [sent] = ses(notificationType="Send", send={}, mail=mail)
    assert (sent["type"], sent["recipient"], sent["at"]) == ("Send", "a@x.org", "t0")
    [bare] = ses(eventType="Open", open=None, mail=None)
    assert (bare["recipient"], bare["at"]) == (None, None)
    assert ses(eventType=["Open"])[0]["type"] == ["Open"]


def test_ids_that_no_tag_may_hold_are_packed() -> None:
    """As our sender packs them."""
    [one] = ses(eventType="Open", open={}, mail={"tags": {"customer_id_b64": ["YW5vbjrDvA"]}})
    assert one["tags"] == {"customer_id": "anon:ü"}
    with pytest.raises(InputError):
        ses(eventType="Open", open={}, mail={"tags": {"customer_id_b64": ["_"]}})


def test_words_to_people_are_no_events() -> None:
    assert ses_records("Successfully validated SNS topic for Amazon SES event publishing.") == []
    with pytest.raises(InputError):
        ses_records("{broken")
