"""Tokens that let a browser read one customer's inbox, and nothing else, for a while.

The body is the expiry (8 bytes, epoch ms) and the customer id. The team's backend, which knows who is
logged in, makes one with the shared ``collector.inbox_secret``; see ``orchestrator.links``.
"""

from __future__ import annotations

from orchestrator.links import sign, verified

_PURPOSE = "inbox"
_EXPIRY_BYTES = 8


def inbox_token(secret: str, customer_id: str, expires_at: int) -> str:
    """Return a token for ``GET /v1/inbox/TOKEN``, good until ``expires_at`` (epoch ms)."""
    return sign(secret, _PURPOSE, expires_at.to_bytes(_EXPIRY_BYTES, "big") + customer_id.encode())


def bearer(secret: str, token: str, now: int) -> tuple[str, int] | None:
    """Return the customer id and the end of a token, or None: forged, broken or out of date."""
    body = verified(secret, _PURPOSE, token)
    if body is None:
        return None
    until = int.from_bytes(body[:_EXPIRY_BYTES], "big")
    return (body[_EXPIRY_BYTES:].decode(), until) if until > now else None
