"""E-mail by SMTP: text and HTML, a Message-ID that a repetition shares, one-click unsubscribe.

No DKIM: the relay signs. The fields of a message are ``subject``, ``text``, ``html``; one of the last
two is needed. A repetition after a crash carries the same Message-ID, which is what mailboxes and
relays fold doubles by.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.errors import MessageError
from email.headerregistry import Address, BaseHeader, HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage
from email.policy import Policy, default
from email.utils import format_datetime, parseaddr

import aiosmtplib

from orchestrator.records import Action
from orchestrator.settings import SmtpSender as SmtpSettings
from orchestrator.sinks.senders.protocol import Accepted, Order, Rejected, TryAgain


class _OneLine(UnstructuredHeader, BaseHeader):
    """A header that is not folded: a long URL would become an encoded word, which no mailbox reads."""

    def fold(self, *, policy: Policy) -> str:
        return f"{self.name}: {self}{policy.linesep}"


_headers = HeaderRegistry()
_headers.map_to_type("list-unsubscribe", _OneLine)
_POLICY = default.clone(header_factory=_headers)
TIMEOUT_S = 30.0
_PERMANENT = 500
"""SMTP: 4xx is "not now", 5xx is "not ever"."""


class SmtpSender:
    """Sends over a few kept connections; each carries one message at a time."""

    def __init__(self, settings: SmtpSettings) -> None:
        self._settings = settings
        self._idle: list[aiosmtplib.SMTP] = []

    async def send(self, order: Order) -> Accepted:
        """Hand the message to the relay; see ``Sender``."""
        message = compose(order, self._settings)
        try:
            client = await self._connected()
        except (aiosmtplib.SMTPException, OSError) as error:
            raise TryAgain("unreachable", type(error).__name__) from error
        try:
            await client.send_message(message)
        except (aiosmtplib.SMTPResponseException, aiosmtplib.SMTPRecipientsRefused) as error:
            self._idle.append(client)
            raise _verdict(_code(error)) from error
        except (aiosmtplib.SMTPException, OSError) as error:
            client.close()
            # The connection broke: perhaps behind the last byte of the message.
            raise TryAgain("connection", type(error).__name__, unknown=True) from error
        except asyncio.CancelledError:
            client.close()
            raise
        self._idle.append(client)
        return Accepted(provider_id=message["Message-ID"])

    async def close(self) -> None:
        """Say goodbye on all connections."""
        for client in self._idle:
            client.close()
        self._idle.clear()

    async def _connected(self) -> aiosmtplib.SMTP:
        while self._idle:
            client = self._idle.pop()
            if client.is_connected:
                return client
        settings = self._settings
        client = aiosmtplib.SMTP(
            hostname=settings.host,
            port=settings.port,
            use_tls=settings.tls == "tls",
            start_tls=settings.tls == "starttls",
            username=settings.username,
            password=settings.password.reveal() if settings.password else None,
            timeout=TIMEOUT_S,
        )
        await client.connect()
        return client


@asynccontextmanager
async def open_smtp(settings: SmtpSettings) -> AsyncIterator[SmtpSender]:
    """Yield a sender whose connections are closed at the end."""
    sender = SmtpSender(settings)
    try:
        yield sender
    finally:
        await sender.close()


def compose(order: Order, settings: SmtpSettings) -> EmailMessage:
    """Return the message; the same order gives the same bytes, but for MIME boundaries.

    Raises:
        Rejected: No address, no content, or one of them cannot stand in a mail.
    """
    action, fields = order.action, order.fields
    message = EmailMessage(_POLICY)
    try:
        message["From"] = settings.from_address
        message["To"] = _recipient(action)
        message["Subject"] = fields.get("subject", "")
        message["Message-ID"] = message_id(action, settings.from_address)
        message["Date"] = format_datetime(datetime.fromtimestamp(order.now / 1000, UTC))
        message["X-Action-Id"] = action.action_id
        for name, value in unsubscribe_headers(order.unsubscribe_url).items():
            message[name] = value
    except (ValueError, MessageError, IndexError) as error:
        raise Rejected(
            "bad_address", f"a header cannot be written: {type(error).__name__}"
        ) from error
    _fill(message, fields)
    return message


def message_id(action: Action, from_address: str) -> str:
    """Return ``<ACTION@DOMAIN>``: the same for every attempt."""
    domain = parseaddr(from_address)[1].rpartition("@")[2] or "localhost"
    return f"<{action.action_id}@{domain}>"


def unsubscribe_headers(url: str | None) -> Mapping[str, str]:
    """Return List-Unsubscribe and its one-click twin (RFC 8058), if there is an address for it."""
    if url is None:
        return {}
    return {
        "List-Unsubscribe": f"<{url}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }


def _recipient(action: Action) -> Address:
    if not action.address:
        raise Rejected("no_address", "the action has no address")
    return Address(addr_spec=action.address)


def _fill(message: EmailMessage, fields: Mapping[str, str]) -> None:
    text, html = fields.get("text"), fields.get("html")
    if text is None and html is None:
        raise Rejected("no_content", "an e-mail needs the field text or html")
    if text is not None:
        message.set_content(text)
    if html is not None and text is not None:
        message.add_alternative(html, subtype="html")
    elif html is not None:
        message.set_content(html, subtype="html")


def _code(error: aiosmtplib.SMTPResponseException | aiosmtplib.SMTPRecipientsRefused) -> int:
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        return min(one.code for one in error.recipients)
    return error.code


def _verdict(code: int) -> Rejected | TryAgain:
    # The relay's own words quote addresses: the code alone may go into receipts and logs.
    if code >= _PERMANENT:
        return Rejected("rejected", f"SMTP {code}")
    return TryAgain("refused", f"SMTP {code}")
