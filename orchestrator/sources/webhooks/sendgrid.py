"""SendGrid's event webhook: ECDSA over timestamp and body, which ends with CR LF. Pure."""

from __future__ import annotations

import base64
import binascii

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from orchestrator.errors import SettingsError
from orchestrator.sources.webhooks.verify import (
    Headers,
    Provider,
    Unverified,
    check_window,
    epoch_seconds,
    of_base64,
    secrets,
    single,
)
from orchestrator.webhook_settings import Webhook


class SendGrid(Provider):
    """``secret`` is the verification key that SendGrid shows: public, but nobody else's.

    Raises:
        SettingsError: It is no public key on the curve P-256 (base64 of SPKI).
    """

    def __init__(self, settings: Webhook) -> None:
        self._keys = [_key(text) for text in secrets(settings)]
        self._window_ms = settings.window_s * 1000

    def verify(self, headers: Headers, body: bytes, now: int, query: str = "") -> str | None:
        """See ``Provider``."""
        del query
        signature = of_base64(single(headers, "x-twilio-email-event-webhook-signature"))
        timestamp = single(headers, "x-twilio-email-event-webhook-timestamp")
        check_window(epoch_seconds(timestamp), now, self._window_ms)
        content = timestamp.encode() + body
        if signature is None or not any(_fits(key, signature, content) for key in self._keys):
            raise Unverified("bad_signature", "the signature does not fit the body")
        return None  # each event has its own id


def _fits(key: EllipticCurvePublicKey, signature: bytes, content: bytes) -> bool:
    try:
        key.verify(signature, content, ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def _key(text: str) -> EllipticCurvePublicKey:
    try:
        key = load_der_public_key(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        key = None
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise SettingsError("SendGrid's verification key is base64 of a public key on P-256")
    return key
