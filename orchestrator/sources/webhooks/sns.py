"""Amazon SES through SNS: RSA signatures whose certificate AWS serves; subscriptions confirm themselves.

Anybody may have an SNS topic and sign with AWS' own key: what makes a message ours is its topic, so the
topics are listed in the settings. The certificate and the confirmation come from addresses that stand in
the message: only ``https://sns.REGION.amazonaws.com[.cn]`` and the known paths are ever asked.
A message keeps its time through all repetitions, so it may be days old: what bounds replays is the
memory of webhook ids, and the age that this memory covers.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import aiohttp
import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.x509.oid import NameOID
from msgspec import Struct

from orchestrator.errors import NO_JSON, InputError, SettingsError, UnavailableError
from orchestrator.expressions.instants import parse_instant
from orchestrator.observability import get_logger
from orchestrator.sinks.egress import Guard, GuardedResolver, Refused
from orchestrator.sources.webhooks.memory import KEPT_MS
from orchestrator.sources.webhooks.sesrecords import ses_records
from orchestrator.sources.webhooks.verify import Headers, Provider, Unverified, of_base64
from orchestrator.webhook_settings import Webhook

_HOST: Final = re.compile(r"sns\.[a-z]{2}(-[a-z]+)+-\d\.amazonaws\.com(\.cn)?")
_CERTIFICATE: Final = re.compile(r"/SimpleNotificationService-[0-9a-f]{16,64}\.pem")
_ROOT: Final = re.compile(r"/?")
_SIGNED: Final = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": (
        *("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    ),
    "UnsubscribeConfirmation": (
        *("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    ),
}
_HASHES: Final = {"1": SHA1, "2": SHA256}
_AHEAD_MS: Final = 300_000
_MOST_CERTIFICATES: Final = 32
_MAX_ANSWER: Final = 64 * 1024
_TIMEOUT: Final = aiohttp.ClientTimeout(total=5)
_OK: Final = 200
Fetch = Callable[[str], Awaitable[bytes]]
_log = get_logger(__name__)


class Envelope(Struct):
    """What SNS posts; every field is text."""

    Type: str
    MessageId: str
    TopicArn: str
    Message: str
    Timestamp: str
    SignatureVersion: str
    Signature: str
    SigningCertURL: str
    Subject: str | None = None
    Token: str | None = None
    SubscribeURL: str | None = None


class Sns(Provider):
    """See the module docstring. ``fetch`` gets the body behind an address.

    Raises:
        SettingsError: No topic is listed.
    """

    def __init__(self, settings: Webhook, fetch: Fetch | None = None) -> None:
        if not settings.topics:
            raise SettingsError("name the SNS topics that are yours: its `topics`")
        self._topics = frozenset(settings.topics)
        self._fetch = fetch or fetch_from_aws
        self._certificates: dict[str, x509.Certificate] = {}
        self._fetching = asyncio.Lock()

    async def prepare(self, body: bytes) -> None:
        """Fetch the certificate of a message that might be ours."""
        with suppress(Unverified):  # which ``verify`` tells
            url = self._envelope(body).SigningCertURL
            if url in self._certificates:
                return
            if self._fetching.locked():
                # One at a time: nobody makes us ask AWS more often by inventing names.
                raise UnavailableError("another certificate is being fetched")
            async with self._fetching:
                self._keep(url, await self._fetch(url))

    def verify(self, headers: Headers, body: bytes, now: int, query: str = "") -> str | None:
        """See ``Provider``."""
        del headers, query
        envelope = self._envelope(body)
        at = parse_instant(envelope.Timestamp)
        if at is None or at > now + _AHEAD_MS or at < now - KEPT_MS:
            raise Unverified("bad_timestamp", "the message is days old, or of the future")
        certificate = self._certificates.get(envelope.SigningCertURL)
        if certificate is None:
            raise Unverified("bad_signature", "its certificate could not be read")
        moment = datetime.fromtimestamp(now / 1000, UTC)
        if not certificate.not_valid_before_utc <= moment <= certificate.not_valid_after_utc:
            raise Unverified("bad_signature", "its certificate is out of date")
        _check(envelope, certificate)
        return envelope.MessageId

    def records(self, body: bytes, query: str) -> list[bytes]:
        """Return the SES events of a notification."""
        del query
        try:
            return ses_records(self._envelope(body).Message)
        except Unverified as error:
            raise InputError(str(error), "bad_line") from error

    async def greet(self, body: bytes) -> bytes | None:
        """Confirm a subscription to a topic of ours.

        Raises:
            UnavailableError: AWS did not take it: it will ask again.
        """
        envelope = self._envelope(body)
        if envelope.Type == "Notification":
            return None
        if envelope.Type == "UnsubscribeConfirmation":
            _log.warning("a subscription to an SNS topic has ended", topic=envelope.TopicArn)
            return b"{}"
        url = envelope.SubscribeURL or ""
        _check_confirmation(url, envelope.TopicArn)
        await self._fetch(url)
        _log.info("subscribed to an SNS topic", topic=envelope.TopicArn)
        return b"{}"

    def _envelope(self, body: bytes) -> Envelope:
        try:
            envelope = msgspec.json.decode(body, type=Envelope)
        except NO_JSON as error:
            raise Unverified("bad_body", "this is no message of SNS") from error
        if envelope.Type not in _SIGNED or envelope.SignatureVersion not in _HASHES:
            raise Unverified("bad_body", "this kind of message or signature is not known")
        if envelope.TopicArn not in self._topics:
            raise Unverified("bad_topic", "the topic is none of those in the settings")
        _check_url(envelope.SigningCertURL, _CERTIFICATE)
        return envelope

    def _keep(self, url: str, pem: bytes) -> None:
        try:
            certificate = x509.load_pem_x509_certificate(pem)
        except ValueError as error:
            raise UnavailableError("what AWS serves is no certificate") from error
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        if not any(
            re.fullmatch(r"sns(\.[a-z0-9-]+)?\.amazonaws\.com(\.cn)?", str(one.value))
            for one in names
        ):
            raise Unverified("bad_signature", "the certificate is not that of SNS")
        if len(self._certificates) >= _MOST_CERTIFICATES:
            self._certificates.clear()  # they change about once a year
        self._certificates[url] = certificate


def _check(envelope: Envelope, certificate: x509.Certificate) -> None:
    fields: list[str] = []
    for name in _SIGNED[envelope.Type]:
        value: str | None = getattr(envelope, name)
        if value is not None:
            fields += (name, value)
    content = "".join(f"{field}\n" for field in fields).encode()
    key, signature = certificate.public_key(), of_base64(envelope.Signature)
    try:
        if signature is None or not isinstance(key, RSAPublicKey):
            raise InvalidSignature
        key.verify(signature, content, PKCS1v15(), _HASHES[envelope.SignatureVersion]())
    except InvalidSignature as error:
        raise Unverified("bad_signature", "the signature does not fit the message") from error


def _check_url(url: str, path: re.Pattern[str]) -> None:
    """Check an address that stands in a message.

    Raises:
        Unverified: It is not AWS', or not of this use.
    """
    try:
        Guard().check_url(url)
    except Refused as error:
        raise Unverified("bad_url", str(error)) from error
    parts = urlsplit(url)
    if not _HOST.fullmatch(parts.netloc) or not path.fullmatch(parts.path) or parts.fragment:
        raise Unverified("bad_url", "this is no address of SNS")
    if path is _CERTIFICATE and parts.query:
        raise Unverified("bad_url", "this is no address of a certificate")


def _check_confirmation(url: str, topic: str) -> None:
    _check_url(url, _ROOT)
    asked = parse_qs(urlsplit(url).query)
    if asked.get("Action") != ["ConfirmSubscription"] or asked.get("TopicArn") != [topic]:
        raise Unverified("bad_url", "this address does not confirm this subscription")


async def fetch_from_aws(url: str) -> bytes:
    """Return what stands behind an address that was checked; no redirects, no private addresses.

    Raises:
        UnavailableError: It cannot be had now.
    """
    connector = aiohttp.TCPConnector(resolver=GuardedResolver(Guard()), use_dns_cache=False)
    arguments: dict[str, Any] = {"trust_env": False, "cookie_jar": aiohttp.DummyCookieJar()}
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT, **arguments) as http,
            http.get(url, allow_redirects=False) as answer,
        ):
            data = await answer.content.read(_MAX_ANSWER + 1)
            if answer.status != _OK or len(data) > _MAX_ANSWER:
                raise UnavailableError(f"AWS answers HTTP {answer.status}")
            return data
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise UnavailableError(f"AWS cannot be reached: {type(error).__name__}") from error
