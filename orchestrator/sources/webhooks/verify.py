"""Who really sent this: HMAC over the raw body, and Standard Webhooks. Pure.

Compared in constant time against every secret, so that secrets rotate without a gap. Where there is a
timestamp it must be within the window, old or new. A header that is missing, doubled or not what it
should be is refused like a wrong signature; what is refused leaves nothing but a number.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Protocol

from orchestrator.expressions.instants import parse_instant
from orchestrator.signatures import standard_content, standard_key

if TYPE_CHECKING:
    from orchestrator.settings import Webhook

MAX_ID: Final = 256
_SECONDS: Final = re.compile(r"\d{1,12}", re.ASCII)
_HEX: Final = re.compile(r"[0-9a-fA-F]*", re.ASCII)
_SLOTS: Final = re.compile(r"(\{(?:body|timestamp|id)\})")
Headers = Mapping[str, Sequence[str]]
"""Every value of each header, by its name in lower case."""


class Unverified(Exception):  # noqa: N818 - reads as a verdict
    """This is not from whom it says; ``cause`` is a closed word for metrics."""

    def __init__(self, cause: str, text: str) -> None:
        super().__init__(text)
        self.cause = cause


class Verifier(Protocol):
    """One source's way to sign."""

    def verify(self, headers: Headers, body: bytes, now: int) -> str | None:
        """Return the sender's own id of this delivery, if there is one. ``now`` is epoch ms.

        Raises:
            Unverified: Do not look at the body.
        """
        ...


class StandardVerifier:
    """Standard Webhooks: ``v1`` signatures, HMAC-SHA256 over ``id.timestamp.body``.

    Raises:
        SettingsError: The secret is not ``whsec_`` and base64.
    """

    def __init__(self, settings: Webhook) -> None:
        self._keys = [standard_key(secret) for secret in _secrets(settings)]
        self._window_ms = settings.window_s * 1000

    def verify(self, headers: Headers, body: bytes, now: int) -> str | None:
        """See ``Verifier``."""
        id_ = single(headers, "webhook-id")
        timestamp = single(headers, "webhook-timestamp")
        said = single(headers, "webhook-signature")
        if not _SECONDS.fullmatch(timestamp):
            raise Unverified("bad_timestamp", "webhook-timestamp is no epoch seconds")
        _check_window(int(timestamp) * 1000, now, self._window_ms)
        content = standard_content(id_, timestamp, body)
        given = [one.removeprefix("v1,") for one in said.split(" ") if one.startswith("v1,")]
        signatures = [_of_base64(one) for one in given]
        _check_any(self._keys, content, [one for one in signatures if one is not None])
        return id_


class HmacVerifier:
    """HMAC-SHA256 as GitHub, Shopify, Slack and many others sign; the settings say how."""

    def __init__(self, settings: Webhook) -> None:
        self._keys = [secret.encode() for secret in _secrets(settings)]
        self._settings = settings
        self._parts = [part for part in _SLOTS.split(settings.signed) if part]

    def verify(self, headers: Headers, body: bytes, now: int) -> str | None:
        """See ``Verifier``."""
        settings = self._settings
        said = single(headers, settings.header)
        if not said.startswith(settings.prefix):
            raise Unverified("bad_signature", f"{settings.header} lacks {settings.prefix!r}")
        text = said[len(settings.prefix) :]
        signature = _of_hex(text) if settings.encoding == "hex" else _of_base64(text)
        timestamp = id_ = ""
        if settings.timestamp_header:
            timestamp = single(headers, settings.timestamp_header)
            _check_window(_instant(timestamp), now, settings.window_s * 1000)
        if settings.id_header:
            id_ = single(headers, settings.id_header)
        slots = {"{body}": body, "{timestamp}": timestamp.encode(), "{id}": id_.encode()}
        content = b"".join(slots.get(part, part.encode()) for part in self._parts)
        _check_any(self._keys, content, [] if signature is None else [signature])
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


def _secrets(settings: Webhook) -> list[str]:
    several = [settings.secret, settings.previous_secret]
    return [secret.reveal() for secret in several if secret is not None]


def _instant(text: str) -> int:
    if _SECONDS.fullmatch(text):
        return int(text) * 1000
    at = parse_instant(text)
    if at is None:
        raise Unverified("bad_timestamp", "the timestamp is neither epoch seconds nor ISO 8601")
    return at


def _check_window(at: int, now: int, window_ms: int) -> None:
    if abs(now - at) > window_ms:
        raise Unverified("bad_timestamp", f"signed more than {window_ms // 1000} s from now")


def _check_any(keys: Sequence[bytes], content: bytes, signatures: Sequence[bytes]) -> None:
    right = False
    for key in keys:
        expected = hmac.digest(key, content, sha256)
        for signature in signatures:
            # No early end: the time tells nothing about which secret, or how much of it, fits.
            right = hmac.compare_digest(expected, signature) or right
    if not right:
        raise Unverified("bad_signature", "the signature does not fit the body")


def _of_hex(text: str) -> bytes | None:
    return bytes.fromhex(text) if _HEX.fullmatch(text) and len(text) % 2 == 0 else None


def _of_base64(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
