"""Providers that need an HMAC and little else. Pure.

==========  ===============================================================================
stripe      ``Stripe-Signature: t=..,v1=..[,v1=..]``: hex over ``t.body``; ``v0`` is ignored
zendesk     base64 over timestamp (ISO 8601) and body, which may be empty
intercom    ``X-Hub-Signature: sha1=``: no time, so copies are told by the notification's id
hubspot     version 3 alone: base64 over method, URI, body, epoch ms; versions 1 and 2 have no time
github      ``X-Hub-Signature-256``, never the SHA-1 header beside it
shopify     base64 over the body; the event's id stands in a header that is not signed
slack       hex over ``v0:timestamp:body``; answers ``url_verification``
==========  ===============================================================================
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from orchestrator.errors import NO_JSON, SettingsError
from orchestrator.sources.mappings.rows import json_record
from orchestrator.sources.webhooks.verify import (
    Headers,
    HmacProvider,
    Provider,
    Unverified,
    check_any,
    check_window,
    epoch_seconds,
    of_base64,
    of_hex,
    secrets,
    single,
)
from orchestrator.webhook_settings import Webhook

_MILLISECONDS: Final = re.compile(r"\d{1,15}", re.ASCII)
_MAX_PARTS: Final = 16
_HUBSPOT_DECODED: Final[Mapping[str, str]] = {f"%{ord(sign):02X}": sign for sign in ":/?@!$'()*,;"}
"""What HubSpot signs in clear although it stands escaped in the request's URI."""
_BODY_ALONE: Final[Mapping[str, Any]] = {
    "encoding": "hex",
    "signed": "{body}",
    "timestamp_header": None,
    "id_header": None,
}
_ESCAPE: Final = re.compile(r"%[0-9A-Fa-f]{2}")


class Stripe(Provider):
    """See the module docstring."""

    def __init__(self, settings: Webhook) -> None:
        self._keys = [secret.encode() for secret in secrets(settings)]
        self._window_ms = settings.window_s * 1000

    def verify(self, headers: Headers, body: bytes, now: int, query: str = "") -> str | None:
        """See ``Provider``."""
        del query
        pairs = [part.partition("=") for part in single(headers, "stripe-signature").split(",")]
        times = [value for name, _, value in pairs if name.strip() == "t"]
        given = [value for name, _, value in pairs if name.strip() == "v1"]
        if len(times) != 1 or not given or len(pairs) > _MAX_PARTS:
            raise Unverified("bad_header", "Stripe-Signature needs one t and at least one v1")
        check_window(epoch_seconds(times[0]), now, self._window_ms)
        check_any(self._keys, [f"{times[0]}.".encode() + body], map(of_hex, given))
        return None  # the event's own id, in the signed body, tells copies

    def records(self, body: bytes, query: str) -> list[bytes]:
        """Return the event; ``data.object.item`` is the first item of a subscription."""
        del query
        record = dict(json_record(body))
        data = record.get("data")
        thing = data.get("object") if isinstance(data, dict) else None
        if isinstance(data, dict) and isinstance(thing, dict):
            items = thing.get("items")
            first = _first(items.get("data")) if isinstance(items, dict) else None
            record["data"] = {**data, "object": {**thing, "item": first}} if first else data
        return [msgspec.json.encode(record)]


class HubSpot(Provider):
    """See the module docstring.

    Raises:
        SettingsError: Without the URL nothing can be verified.
    """

    def __init__(self, settings: Webhook) -> None:
        self._keys = [secret.encode() for secret in secrets(settings)]
        self._window_ms = settings.window_s * 1000
        if not settings.url:
            raise SettingsError("HubSpot signs the webhook's address: set its `url`")
        self._url = settings.url

    def verify(self, headers: Headers, body: bytes, now: int, query: str = "") -> str | None:
        """See ``Provider``."""
        signature = of_base64(single(headers, "x-hubspot-signature-v3"))
        timestamp = single(headers, "x-hubspot-request-timestamp")
        if not _MILLISECONDS.fullmatch(timestamp):
            raise Unverified("bad_timestamp", "the timestamp is no epoch milliseconds")
        check_window(int(timestamp), now, self._window_ms)
        uri = self._url + (f"?{query}" if query else "")
        clear = _ESCAPE.sub(lambda one: _HUBSPOT_DECODED.get(one[0].upper(), one[0]), uri)
        content = b"POST" + clear.encode() + body + timestamp.encode()
        check_any(self._keys, [content], [signature])
        return None


def zendesk(settings: Webhook) -> Provider:
    """Return the provider; see the module docstring."""
    return HmacProvider(
        replace(
            settings,
            header="X-Zendesk-Webhook-Signature",
            prefix="",
            encoding="base64",
            signed="{timestamp}{body}",
            timestamp_header="X-Zendesk-Webhook-Signature-Timestamp",
            id_header=None,
        )
    )


class Intercom(HmacProvider):
    """See the module docstring."""

    def __init__(self, settings: Webhook) -> None:
        how = replace(settings, header="X-Hub-Signature", prefix="sha1=", **_BODY_ALONE)
        super().__init__(how, "sha1")

    def records(self, body: bytes, query: str) -> list[bytes]:
        """Return the notification; ``contact`` is the first contact of a conversation."""
        del query
        record = dict(json_record(body))
        data = record.get("data")
        item = data.get("item") if isinstance(data, dict) else None
        contacts = item.get("contacts") if isinstance(item, dict) else None
        listed = contacts.get("contacts") if isinstance(contacts, dict) else None
        return [msgspec.json.encode({**record, "contact": _first(listed)})]


def github(settings: Webhook) -> Provider:
    """Return the provider; copies are told by their bytes: the delivery's id is not signed."""
    how = replace(settings, header="X-Hub-Signature-256", prefix="sha256=", **_BODY_ALONE)
    return HmacProvider(how)


class Shopify(HmacProvider):
    """See the module docstring. One event may come for several topics."""

    id_is_signed = False

    def __init__(self, settings: Webhook) -> None:
        base64 = {**_BODY_ALONE, "encoding": "base64"}
        super().__init__(replace(settings, header="X-Shopify-Hmac-SHA256", prefix="", **base64))

    def verify(self, headers: Headers, body: bytes, now: int, query: str = "") -> str | None:
        """See ``Provider``."""
        super().verify(headers, body, now, query)
        topic = single(headers, "x-shopify-topic")
        for name in ("x-shopify-event-id", "x-shopify-webhook-id"):
            if headers.get(name):
                return f"{single(headers, name)}/{topic}"
        return None


def _first(several: object) -> dict[str, object] | None:
    first = several[0] if isinstance(several, list) and several else None
    return first if isinstance(first, dict) else None


class _Greeting(Struct):
    type: str = ""
    challenge: str = ""


class Slack(HmacProvider):
    """See the module docstring."""

    def __init__(self, settings: Webhook) -> None:
        super().__init__(
            replace(
                settings,
                header="X-Slack-Signature",
                prefix="v0=",
                encoding="hex",
                signed="v0:{timestamp}:{body}",
                timestamp_header="X-Slack-Request-Timestamp",
                id_header=None,
            )
        )

    async def greet(self, body: bytes) -> bytes | None:
        """Repeat the challenge of ``url_verification``."""
        try:
            greeting = msgspec.json.decode(body, type=_Greeting)
        except NO_JSON:
            return None
        if greeting.type != "url_verification":
            return None
        return msgspec.json.encode({"challenge": greeting.challenge})
