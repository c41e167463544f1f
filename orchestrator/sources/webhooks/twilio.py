"""Twilio's callbacks: HMAC-SHA1 over the whole URL and the sorted form, or a hash of a JSON body. Pure.

The record is the form; the URL's query stands in ``query``: a status callback carries there what it is
about. There is no time in it: copies are told by message and status.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from hashlib import sha256
from itertools import groupby
from operator import itemgetter
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import msgspec

from orchestrator.errors import InputError, SettingsError
from orchestrator.sources.mappings.rows import json_record
from orchestrator.sources.webhooks.verify import (
    Headers,
    Provider,
    Unverified,
    check_any,
    of_base64,
    of_hex,
    secrets,
    single,
)
from orchestrator.webhook_settings import Webhook

_MAX_FIELDS: Final = 500
_HASH: Final = "bodySHA256"
_PORTS: Final = {"https": 443, "http": 80}


class Twilio(Provider):
    """``secret`` is the account's auth token.

    Raises:
        SettingsError: Without the URL nothing can be verified.
    """

    def __init__(self, settings: Webhook) -> None:
        self._keys = [secret.encode() for secret in secrets(settings)]
        if not settings.url:
            raise SettingsError("Twilio signs the webhook's address: set its `url`")
        self._urls = _with_and_without_port(settings.url)

    def verify(self, headers: Headers, body: bytes, now: int, query: str = "") -> str | None:
        """See ``Provider``."""
        del now
        signature = of_base64(single(headers, "x-twilio-signature"))
        hashes = [value for name, value in _pairs(query) if name == _HASH]
        tail = ""
        if hashes:
            said = of_hex(hashes[0]) if len(hashes) == 1 else None
            if said is None or not hmac.compare_digest(sha256(body).digest(), said):
                raise Unverified("bad_signature", f"{_HASH} does not fit the body")
        else:
            tail = _flat(_form(body))
        mark = f"?{query}" if query else ""
        contents = [(url + mark + tail).encode() for url in self._urls]
        check_any(self._keys, contents, [signature], "sha1")
        return None

    def records(self, body: bytes, query: str) -> list[bytes]:
        """Return one record."""
        asked = dict(_pairs(query))
        try:
            said = json_record(body) if _HASH in asked else dict(_form(body))
        except Unverified as error:
            raise InputError(str(error), "bad_line") from error
        return [msgspec.json.encode({**said, "query": asked})]

    def thanks(self) -> tuple[str, bytes] | None:
        """Answer an incoming message with nothing: Twilio takes no JSON."""
        return "text/xml", b'<?xml version="1.0" encoding="UTF-8"?><Response/>'


def _with_and_without_port(url: str) -> Sequence[str]:
    """Return the forms under which Twilio may have signed an address."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    bare = host.rpartition(":")[0] if parts.port is not None else host
    other = bare if parts.port is not None else f"{bare}:{_PORTS[parts.scheme]}"
    return url, parts._replace(netloc=other).geturl()


def _form(body: bytes) -> list[tuple[str, str]]:
    try:
        return _pairs(body.decode())
    except UnicodeDecodeError as error:
        raise Unverified("bad_body", "the form is not UTF-8") from error


def _pairs(text: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS)
    except ValueError as error:
        raise Unverified("bad_body", "this is no form") from error


def _flat(pairs: Sequence[tuple[str, str]]) -> str:
    """Return name and value of every field, by name; of a repeated one its different values."""
    distinct = sorted(set(pairs))
    return "".join(
        name + value for name, same in groupby(distinct, itemgetter(0)) for _, value in same
    )
