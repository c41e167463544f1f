"""Signed links and tokens: what a bearer may see or say, for one customer, without logging in.

``base64url(body) . base64url(HMAC-SHA256(secret, purpose + 0x1F + body))``. The purpose keeps the kinds
apart: a token of one kind is never another. Unsubscribe links carry who, on which action, in which
channel and category; they do not expire, because a mail is read years later and the law (CASL: 60 days)
and its reader expect the link in it to work. A new ``links.secret`` signs; earlier ones still verify.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from orchestrator.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.records import Action
    from orchestrator.settings import LinkSettings

_UNSUBSCRIBE: Final = "unsubscribe"
_PREFERENCES: Final = "preferences"
_parts = msgspec.msgpack.Decoder(list[str])


class Scope(NamedTuple):
    """What an unsubscribe link speaks for: the message that brought it, and what it withdraws."""

    customer_id: str
    action_id: str
    channel: str
    category: str


class Links:
    """Makes the links of one deployment and reads their tokens."""

    def __init__(self, url: str, secrets: Sequence[str]) -> None:
        self._url = url.rstrip("/")
        self._secrets = secrets

    def unsubscribe(self, action: Action) -> str:
        """Return the URL that withdraws consent for the action's channel and category."""
        scope = (action.customer_id, action.action_id, action.channel, action.category)
        return f"{self._url}/v1/unsubscribe/{self._sign(_UNSUBSCRIBE, *scope)}"

    def preferences(self, customer_id: str) -> str:
        """Return the URL of the customer's preference page."""
        return f"{self._url}/v1/preferences/{self._sign(_PREFERENCES, customer_id)}"

    def scope_of(self, token: str) -> Scope | None:
        """Return what an unsubscribe token speaks for; None: forged or broken."""
        parts = self._verified(_UNSUBSCRIBE, token)
        return Scope(*parts) if parts else None

    def customer_of(self, token: str) -> str | None:
        """Return the customer of a preference token; None: forged or broken."""
        parts = self._verified(_PREFERENCES, token)
        return parts[0] if parts else None

    def _sign(self, purpose: str, *parts: str) -> str:
        return sign(self._secrets[0], purpose, msgspec.msgpack.encode(parts))

    def _verified(self, purpose: str, token: str) -> list[str]:
        for secret in self._secrets:
            if (body := verified(secret, purpose, token)) is not None:
                return _parts.decode(body)
        return []


def open_links(settings: LinkSettings) -> Links | None:
    """Return the links that the settings describe; None without a secret: none are made or read.

    Raises:
        SettingsError: There is a secret, and no URL to build links with.
    """
    if settings.secret is None:
        return None
    if not settings.url:
        raise SettingsError(
            "links.secret is set, links.url is not: where does the collector listen?"
        )
    earlier = [one.reveal() for one in settings.earlier_secrets]
    return Links(settings.url, [settings.secret.reveal(), *earlier])


def sign(secret: str, purpose: str, body: bytes) -> str:
    """Return a token for ``body``."""
    return f"{_text(body)}.{_text(_mac(secret, purpose, body))}"


def verified(secret: str, purpose: str, token: str) -> bytes | None:
    """Return the body of a token, or None if it is forged or broken."""
    head, _, tail = token.partition(".")
    try:
        body, mac = _bytes(head), _bytes(tail)
    except (binascii.Error, ValueError):
        return None
    return body if hmac.compare_digest(mac, _mac(secret, purpose, body)) else None


def _mac(secret: str, purpose: str, body: bytes) -> bytes:
    return hmac.digest(secret.encode(), purpose.encode() + b"\x1f" + body, "sha256")


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
