"""How providers sign, written once more: what a verifier accepts must be made by other code."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from orchestrator.settings import Secret
from orchestrator.webhook_settings import Webhook

KEY = "hush"
NOW = 1_772_355_600_000
AT = NOW // 1000
URL = "https://in.example.com/v1/webhooks/x"
TOPIC = "arn:aws:sns:eu-central-1:123456789012:mail-events"
CERTIFICATE_URL = (
    "https://sns.eu-central-1.amazonaws.com/"
    "SimpleNotificationService-60eadc530605d63b8e62a523676ef735.pem"
)


def hook(secret: str | None = KEY, previous: str | None = None, **how: Any) -> Webhook:
    return Webhook(
        secret=Secret(secret) if secret else None,
        previous_secret=Secret(previous) if previous else None,
        **how,
    )


def mac(key: str, content: bytes, algorithm: str = "sha256") -> bytes:
    return hmac.new(key.encode(), content, getattr(hashlib, algorithm)).digest()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def stripe(body: bytes, key: str = "hush", at: Any = AT) -> dict[str, str]:
    return {"stripe-signature": f"t={at},v1={mac(key, f'{at}.'.encode() + body).hex()},v0=6ffb"}


def zendesk(body: bytes, key: str = "hush", at: Any = "2026-03-01T09:00:00Z") -> dict[str, str]:
    signature = b64(mac(key, f"{at}".encode() + body))
    return {
        "x-zendesk-webhook-signature": signature,
        "x-zendesk-webhook-signature-timestamp": f"{at}",
    }


def intercom(body: bytes, key: str = "hush") -> dict[str, str]:
    return {"x-hub-signature": "sha1=" + mac(key, body, "sha1").hex()}


def github(body: bytes, key: str = "hush") -> dict[str, str]:
    return {"x-hub-signature-256": "sha256=" + mac(key, body).hex()}


def shopify(body: bytes, key: str = "hush") -> dict[str, str]:
    return {
        "x-shopify-hmac-sha256": b64(mac(key, body)),
        "x-shopify-topic": "orders/create",
        "x-shopify-event-id": "98880550-7158-44d4-b7cd-2c97c8a091b5",
    }


def slack(body: bytes, key: str = "hush", at: Any = AT) -> dict[str, str]:
    signature = "v0=" + mac(key, f"v0:{at}:".encode() + body).hex()
    return {"x-slack-signature": signature, "x-slack-request-timestamp": f"{at}"}


def hubspot(body: bytes, key: str = "hush", at: Any = NOW, url: str = URL) -> dict[str, str]:
    signature = b64(mac(key, b"POST" + url.encode() + body + f"{at}".encode()))
    return {"x-hubspot-signature-v3": signature, "x-hubspot-request-timestamp": f"{at}"}


def twilio(form: dict[str, str], key: str = "hush", url: str = URL) -> dict[str, str]:
    content = url + "".join(name + form[name] for name in sorted(form))
    return {"x-twilio-signature": b64(mac(key, content.encode(), "sha1"))}


@cache
def curve_key(name: str) -> ec.EllipticCurvePrivateKey:
    del name
    return ec.generate_private_key(ec.SECP256R1())


def shown_key(name: str) -> str:
    """What SendGrid shows as verification key."""
    public = curve_key(name).public_key()
    return b64(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def sendgrid(body: bytes, key: str = "hush", at: Any = AT) -> dict[str, str]:
    signature = curve_key(key).sign(f"{at}".encode() + body, ec.ECDSA(SHA256()))
    return {
        "x-twilio-email-event-webhook-signature": b64(signature),
        "x-twilio-email-event-webhook-timestamp": f"{at}",
    }


@cache
def rsa_key(name: str) -> rsa.RSAPrivateKey:
    del name
    return rsa.generate_private_key(65537, 2048)


@cache
def certificate(name: str = "aws", common: str = "sns.amazonaws.com", days: int = 365) -> bytes:
    """As AWS serves it, but signed by itself."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
    begin = datetime.fromtimestamp(AT, UTC) - timedelta(days=30)
    made = x509.CertificateBuilder(
        subject, subject, rsa_key(name).public_key(), 1, begin, begin + timedelta(days=days)
    ).sign(rsa_key(name), SHA256())
    return made.public_bytes(Encoding.PEM)


def sns(message: str = "{}", key: str = "aws", version: str = "1", **fields: Any) -> bytes:
    """A whole body; fields that are None are left out, and what is signed is what is there."""
    envelope = {
        "Type": "Notification",
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": TOPIC,
        "Subject": "Amazon SES Email Event Notification",
        "Message": message,
        "Timestamp": "2026-03-01T09:00:00.000Z",
        "SignatureVersion": version,
        "SigningCertURL": CERTIFICATE_URL,
        "UnsubscribeURL": "https://sns.eu-central-1.amazonaws.com/?Action=Unsubscribe",
        **fields,
    }
    envelope = {name: value for name, value in envelope.items() if value is not None}
    names = ["Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token"]
    parts = [n for n in [*names, "TopicArn", "Type"] if n in envelope]
    content = "".join(f"{name}\n{envelope[name]}\n" for name in parts).encode()
    hash_ = SHA1() if version == "1" else SHA256()  # noqa: S303 - AWS' default to this day
    envelope["Signature"] = b64(rsa_key(key).sign(content, padding.PKCS1v15(), hash_))
    return json.dumps(envelope).encode()
