"""Salesforce: outbound messages (SOAP), and platform events that a flow or Apex posts as JSON. Pure.

Neither is signed. The sender shows a secret of ours: ``Authorization: Bearer`` where a named credential
can set a header, else ``?token=`` in the endpoint's URL, which is all that an outbound message can do.
A notification becomes ``{"id", "organization_id", "object", "fields": {...}}``; the session id in the
message, which would let anybody act as its user, is never looked at and never kept.
"""

from __future__ import annotations

import hmac
import re
from typing import Final
from urllib.parse import parse_qsl
from xml.parsers import expat

import msgspec

from orchestrator.errors import InputError
from orchestrator.sources.mappings.rows import elements_of
from orchestrator.sources.webhooks.verify import (
    Headers,
    Provider,
    Unverified,
    secrets,
    single,
)
from orchestrator.webhook_settings import Webhook

_OUTBOUND: Final = "http://soap.sforce.com/2005/09/outbound"
_XSI_TYPE: Final = "http://www.w3.org/2001/XMLSchema-instance type"
_XSI_NIL: Final = "http://www.w3.org/2001/XMLSchema-instance nil"
_MAX_DEPTH: Final = 16
_ACK: Final = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>'
    f'<notificationsResponse xmlns="{_OUTBOUND}"><Ack>true</Ack></notificationsResponse>'
    "</soapenv:Body></soapenv:Envelope>"
).encode()
_SESSION: Final = re.compile(rb"(<(?:\w+:)?SessionId\b[^>]*>)[^<]*")


class Salesforce(Provider):
    """See the module docstring."""

    def __init__(self, settings: Webhook) -> None:
        self._secrets = [secret.encode() for secret in secrets(settings)]

    def verify(self, headers: Headers, body: bytes, now: int, query: str = "") -> str | None:
        """See ``Provider``."""
        del body, now
        if "authorization" in headers:
            scheme, _, said = single(headers, "authorization").partition(" ")
            if scheme.lower() != "bearer":
                raise Unverified("bad_header", "Authorization is not Bearer")
        else:
            tokens = [value for name, value in _pairs(query) if name == "token"]
            if len(tokens) != 1 or not tokens[0]:
                raise Unverified("bad_header", "there is neither Authorization nor one token")
            said = tokens[0]
        right = False
        for secret in self._secrets:
            right = hmac.compare_digest(secret, said.strip().encode()) or right
        if not right:
            raise Unverified("bad_signature", "this is not the secret")
        return None

    def records(self, body: bytes, query: str) -> list[bytes]:
        """Return the notifications of an outbound message, or the events of JSON."""
        del query
        if not body.lstrip().startswith((b"<", b"\xef\xbb\xbf<")):
            return elements_of(body) if body.strip() else []
        return [msgspec.json.encode(one) for one in notifications(body)]

    def clean(self, body: bytes) -> bytes:
        """See ``Provider``: here it is the session id."""
        return _SESSION.sub(rb"\1***", body)

    def thanks(self) -> tuple[str, bytes] | None:
        """Acknowledge, or Salesforce repeats for a day."""
        return "text/xml", _ACK


def _pairs(query: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=50)
    except ValueError:
        return []


def notifications(body: bytes) -> list[dict[str, object]]:
    """Return what an outbound message tells.

    Raises:
        InputError: ``bad_line``: no XML, no outbound message, or one with a document type.
    """
    reader = _Reader()
    parser = expat.ParserCreate("UTF-8", namespace_separator=" ")
    parser.buffer_text = True
    # Entities are the attack surface of XML, and SOAP forbids what could declare any.
    parser.StartDoctypeDeclHandler = _no_doctype
    parser.StartElementHandler = reader.begin
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    try:
        parser.Parse(body, True)
    except expat.ExpatError as error:
        raise InputError(f"no XML: {error}", "bad_line") from error
    if not reader.is_outbound:
        raise InputError("this is no outbound message", "bad_line")
    return reader.finished()


def _no_doctype(*_: object) -> None:
    raise InputError("a SOAP message has no document type", "bad_line")


class _Reader:
    """Follows the elements: Envelope / Body / notifications / Notification / sObject / field."""

    def __init__(self) -> None:
        self.is_outbound = False
        self._path: list[str] = []
        self._text: list[str] = []
        self._organization = ""
        self._found: list[dict[str, object]] = []
        self._nil = False

    def begin(self, tag: str, attributes: dict[str, str]) -> None:
        if len(self._path) == _MAX_DEPTH:
            raise InputError("nested too deeply", "bad_line")
        space, _, name = tag.rpartition(" ")
        self._path.append(name)
        self._text.clear()
        self._nil = attributes.get(_XSI_NIL) == "true"
        if name == "notifications" and space == _OUTBOUND:
            self.is_outbound = True
        elif self._within("Notification"):
            self._found.append({"id": "", "object": "", "fields": {}})
        elif self._within("sObject"):
            self._found[-1]["object"] = attributes.get(_XSI_TYPE, "").rpartition(":")[2]

    def text(self, data: str) -> None:
        self._text.append(data)

    def end(self, _: str) -> None:
        text, self._text = "".join(self._text).strip(), []
        name = self._path[-1]
        if self._path[2:] == ["notifications", "OrganizationId"]:
            self._organization = text
        elif self._path[2:] == ["notifications", "Notification", "Id"]:
            self._found[-1]["id"] = text
        elif self._path[2:-1] == ["notifications", "Notification", "sObject"]:
            fields = self._found[-1]["fields"]
            if isinstance(fields, dict):
                fields[name] = None if self._nil else text
        self._nil = False
        self._path.pop()

    def finished(self) -> list[dict[str, object]]:
        return [{**one, "organization_id": self._organization} for one in self._found]

    def _within(self, name: str) -> bool:
        wanted = ["notifications", "Notification"]
        return self._path[2:] == (wanted if name == "Notification" else [*wanted, name])
