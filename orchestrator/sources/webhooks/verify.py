"""Who really sent this: the rules that all providers share, and those that only need an HMAC. Pure.

Always over the raw bytes, before anything is parsed. Compared in constant time against every secret, so
that secrets rotate without a gap. Where there is a timestamp it must be within the window, old or new.
A header that is missing, doubled or not what it should be is refused like a wrong signature; what is
refused leaves nothing but a number.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

from orchestrator.errors import SettingsError
from orchestrator.expressions.instants import parse_instant
from orchestrator.signatures import standard_content, standard_key
from orchestrator.sources.mappings.rows import elements_of
from orchestrator.webhook_settings import Webhook

MAX_ID: Final = 256
_SECONDS: Final = re.compile(r"\d{1,12}", re.ASCII)
_HEX: Final = re.compile(r"[0-9a-fA-F]*", re.ASCII)
_SLOTS: Final = re.compile(r"(\{(?:body|timestamp|id)\})")
Headers = Mapping[str, Sequence[str]]
"""Every value of each header, by its name in lower case."""
Algorithm = Literal["sha1", "sha256"]


class Unverified(Exception):  # noqa: N818 - reads as a verdict
    """This is not from whom it says; ``cause`` is a closed word for metrics."""

    def __init__(self, cause: str, text: str) -> None:
        super().__init__(text)
        self.cause = cause


class Provider(ABC):
    """One sender's ways: how it signs, how it packs its events, what it wants to be answered."""

    id_is_signed = True
    """False: whoever copies a delivery may give it another id; the same body is then the same delivery."""

    @abstractmethod
    def verify(self, headers: Headers, body: bytes, now: int, query: str = "") -> str | None:
        """Return the sender's own id of this delivery, if there is one.

        Args:
            headers: All of them.
            body: Raw.
            now: Epoch ms.
            query: Of the request's URL, as it came.

        Raises:
            Unverified: Do not look at the body.
        """

    async def prepare(self, body: bytes) -> None:
        """Fetch what ``verify`` needs and does not have.

        Raises:
            UnavailableError: It cannot be had now: the sender comes again.
        """
        del body

    def records(self, body: bytes, query: str) -> list[bytes]:
        """Return the JSON records of a verified body.

        Raises:
            InputError: It has none.
        """
        del query
        return elements_of(body) if body.strip() else []

    def clean(self, body: bytes) -> bytes:
        """Return a body that has no records as it may be kept: without what opens anything."""
        return body

    async def greet(self, body: bytes) -> bytes | None:
        """Return the answer to a verified body that only wants to be greeted; None = it brings events."""
        del body
        return None

    def thanks(self) -> tuple[str, bytes] | None:
        """Return content type and body of the answer to what was taken; None = ours, in JSON."""
        return None


class StandardProvider(Provider):
    """Standard Webhooks: ``v1`` signatures, HMAC-SHA256 over ``id.timestamp.body``.

    Raises:
        SettingsError: The secret is not ``whsec_`` and base64.
    """

    def __init__(self, settings: Webhook) -> None:
        self._keys = [standard_key(secret) for secret in secrets(settings)]
        self._window_ms = settings.window_s * 1000

    def verify(self, headers: Headers, body: bytes, now: int, query: str = "") -> str | None:
        """See ``Provider``."""
        del query
        id_ = single(headers, "webhook-id")
        timestamp = single(headers, "webhook-timestamp")
        said = single(headers, "webhook-signature")
        check_window(epoch_seconds(timestamp), now, self._window_ms)
        content = standard_content(id_, timestamp, body)
        given = [one.removeprefix("v1,") for one in said.split(" ") if one.startswith("v1,")]
        check_any(self._keys, [content], map(of_base64, given))
        return id_


class HmacProvider(Provider):
    """HMAC over the raw body, as very many sign; the settings say how."""

    def __init__(self, settings: Webhook, algorithm: Algorithm = "sha256") -> None:
        self._keys = [secret.encode() for secret in secrets(settings)]
        self._settings = settings
        self._algorithm: Algorithm = algorithm
        self._parts = [part for part in _SLOTS.split(settings.signed) if part]

    def verify(self, headers: Headers, body: bytes, now: int, query: str = "") -> str | None:
        """See ``Provider``."""
        del query
        settings = self._settings
        said = single(headers, settings.header)
        if not said.startswith(settings.prefix):
            raise Unverified("bad_signature", f"{settings.header} lacks {settings.prefix!r}")
        text = said[len(settings.prefix) :]
        signature = of_hex(text) if settings.encoding == "hex" else of_base64(text)
        timestamp = id_ = ""
        if settings.timestamp_header:
            timestamp = single(headers, settings.timestamp_header)
            check_window(_instant(timestamp), now, settings.window_s * 1000)
        if settings.id_header:
            id_ = single(headers, settings.id_header)
        slots = {"{body}": body, "{timestamp}": timestamp.encode(), "{id}": id_.encode()}
        content = b"".join(slots.get(part, part.encode()) for part in self._parts)
        check_any(self._keys, [content], [signature], self._algorithm)
        return id_ or None


def single(headers: Headers, name: str) -> str:
    """Return the one value of a header.

    Raises:
        Unverified: It is missing, empty, doubled or longer than any of its kind.
    """
    values = headers.get(name.lower(), ())
    if len(values) != 1 or not values[0].strip():
        problem = "is there more than once" if len(values) > 1 else "is missing"
        raise Unverified("bad_header", f"{name} {problem}")
    value = values[0].strip()
    if len(value) > MAX_ID * 16 or not value.isascii():
        raise Unverified("bad_header", f"{name} is not what it should be")
    return value


def secrets(settings: Webhook) -> list[str]:
    """Return the secrets that are good now.

    Raises:
        SettingsError: There is none.
    """
    several = [settings.secret, settings.previous_secret]
    found = [secret.reveal() for secret in several if secret is not None and secret.reveal()]
    if not found:
        raise SettingsError("its section under collector.webhooks has no secret")
    return found


def epoch_seconds(text: str) -> int:
    """Return epoch ms of whole epoch seconds.

    Raises:
        Unverified: The text is something else.
    """
    if not _SECONDS.fullmatch(text):
        raise Unverified("bad_timestamp", "the timestamp is no epoch seconds")
    return int(text) * 1000


def check_window(at: int, now: int, window_ms: int) -> None:
    """Check that a signed instant is near now.

    Raises:
        Unverified: It is too old, or too far ahead.
    """
    if abs(now - at) > window_ms:
        raise Unverified("bad_timestamp", f"signed more than {window_ms // 1000} s from now")


def check_any(
    keys: Sequence[bytes],
    contents: Sequence[bytes],
    signatures: Iterable[bytes | None],
    algorithm: Algorithm = "sha256",
) -> None:
    """Check that one of the signatures is that of one of the contents by one of the keys.

    Raises:
        Unverified: None is.
    """
    given = [signature for signature in signatures if signature is not None]
    right = False
    for key in keys:
        for content in contents:
            expected = hmac.digest(key, content, algorithm)
            for signature in given:
                # No early end: the time tells nothing about which secret, or how much of it, fits.
                right = hmac.compare_digest(expected, signature) or right
    if not right:
        raise Unverified("bad_signature", "the signature does not fit the body")


def of_hex(text: str) -> bytes | None:
    """Return the bytes of hex; None = it is none."""
    return bytes.fromhex(text) if _HEX.fullmatch(text) and len(text) % 2 == 0 else None


def of_base64(text: str) -> bytes | None:
    """Return the bytes of base64; None = it is none."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _instant(text: str) -> int:
    if _SECONDS.fullmatch(text):
        return int(text) * 1000
    at = parse_instant(text)
    if at is None:
        raise Unverified("bad_timestamp", "the timestamp is neither epoch seconds nor ISO 8601")
    return at
