"""Standard Webhooks signatures (``v1``): the same for those that come in and those that go out."""

from __future__ import annotations

import base64
import binascii
import hmac
from hashlib import sha256

from orchestrator.errors import SettingsError

PREFIX = "whsec_"


def standard_key(secret: str) -> bytes:
    """Return the key of a secret.

    Raises:
        SettingsError: It is not ``whsec_`` and base64.
    """
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise SettingsError("a Standard Webhooks secret is whsec_ and base64")
    return key


def standard_content(id_: str, timestamp: str, body: bytes) -> bytes:
    """Return the bytes that are signed; ``timestamp`` is epoch seconds, as it is sent."""
    return f"{id_}.{timestamp}.".encode() + body


def standard_signature(key: bytes, content: bytes) -> str:
    """Return one signature as it stands in ``webhook-signature``."""
    return "v1," + base64.b64encode(hmac.digest(key, content, sha256)).decode()
