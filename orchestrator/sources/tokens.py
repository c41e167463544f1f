"""Tokens that let a browser read one customer's inbox, and nothing else, for a while.

``base64url(expiry (8 bytes, epoch ms) + customer id) . base64url(HMAC-SHA256)``. The team's backend,
which knows who is logged in, makes one with the shared ``collector.inbox_secret``.
"""

from __future__ import annotations

import base64
import binascii
import hmac

_PURPOSE = b"inbox\x1f"
"""The secret signs other things later (unsubscribe links): a token of one kind is never another."""
_EXPIRY_BYTES = 8


def inbox_token(secret: str, customer_id: str, expires_at: int) -> str:
    """Return a token for ``GET /v1/inbox/TOKEN``, good until ``expires_at`` (epoch ms)."""
    body = expires_at.to_bytes(_EXPIRY_BYTES, "big") + customer_id.encode()
    return f"{_text(body)}.{_text(_mac(secret, body))}"


def customer_of_token(secret: str, token: str, now: int) -> str | None:
    """Return the customer id, or None for a token that is forged, broken or out of date."""
    head, _, tail = token.partition(".")
    try:
        body, mac = _bytes(head), _bytes(tail)
    except (binascii.Error, ValueError):
        return None
    if not hmac.compare_digest(mac, _mac(secret, body)):
        return None
    if int.from_bytes(body[:_EXPIRY_BYTES], "big") <= now:
        return None
    return body[_EXPIRY_BYTES:].decode()


def _mac(secret: str, body: bytes) -> bytes:
    return hmac.digest(secret.encode(), _PURPOSE + body, "sha256")


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
