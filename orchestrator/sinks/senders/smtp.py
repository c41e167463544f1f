"""E-mail by SMTP: text and HTML, a Message-ID that a repetition shares, one-click unsubscribe.

No DKIM: the relay signs. The fields of a message are ``subject``, ``text``, ``html``; one of the last
two is needed. A repetition after a crash carries the same Message-ID, which is what mailboxes and
relays fold doubles by.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.errors import MessageError
from email.header import Header
from email.headerregistry import BaseHeader, HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage
from email.policy import Policy, default
from email.utils import format_datetime
from typing import Any

import aiosmtplib

from orchestrator.sender_settings import SmtpSender as SmtpSettings
from orchestrator.sinks.senders.mail import mail_of
from orchestrator.sinks.senders.protocol import Accepted, Order, Rejected, TryAgain, Unfit


class _OneLine(UnstructuredHeader, BaseHeader):
    """A header that is not folded: a long URL would become an encoded word, which no mailbox reads."""

    def fold(self, *, policy: Policy) -> str:
        return f"{self.name}: {self}{policy.linesep}"


_WORD = 60
"""A longer one is encoded, since nothing else may break it."""


class _Literal(UnstructuredHeader, BaseHeader):
    """A text that means what it says.

    The library would take ``=?utf-8?q?..?=`` in it for an encoded word and unpack it: whatever a
    customer calls himself, with its line breaks, would stand in the mail as headers of its own.
    """

    @classmethod
    def parse(cls, value: str, kwds: dict[str, Any]) -> None:
        kwds["parse_tree"] = cls.value_parser("")
        kwds["decoded"] = value

    def fold(self, *, policy: Policy) -> str:
        plain = self.isascii() and self.isprintable() and "=?" not in self
        plain = plain and max(map(len, self.split(" "))) < _WORD
        header = Header(str(self), "us-ascii" if plain else "utf-8", header_name=self.name)
        return f"{self.name}: {header.encode(linesep=policy.linesep)}{policy.linesep}"


_headers = HeaderRegistry()
_headers.map_to_type("list-unsubscribe", _OneLine)
_headers.map_to_type("subject", _Literal)
_POLICY = default.clone(header_factory=_headers)
TIMEOUT_S = 30.0
_PERMANENT = 500
"""SMTP: 4xx is "not now", 5xx is "not ever"."""
_CLOSING = 421
_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")
_NO_MAILBOX = ("5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1")
"""RFC 3463, 7505: no such mailbox or domain, bad syntax, moved, null MX, disabled."""


class SmtpSender:
    """Sends over a few kept connections; each carries one message at a time."""

    def __init__(self, settings: SmtpSettings) -> None:
        self._settings = settings
        self._idle: list[aiosmtplib.SMTP] = []

    async def send(self, order: Order) -> Accepted:
        """Hand the message to the relay; see ``Sender``."""
        message = compose(order, self._settings)
        client = await self._connected()
        try:
            await client.send_message(message)
        except aiosmtplib.SMTPSenderRefused as error:
            self._idle.append(client)
            if error.code >= _PERMANENT:
                raise TryAgain(
                    "configuration", f"SMTP {error.code}: from_address", blame="setup"
                ) from error
            raise verdict(error.code, error.message, recipient=False) from error
        except aiosmtplib.SMTPRecipientsRefused as error:
            self._idle.append(client)
            [said, *_] = error.recipients
            raise verdict(said.code, said.message, recipient=True) from error
        except aiosmtplib.SMTPResponseException as error:
            self._idle.append(client)
            raise verdict(error.code, error.message, recipient=False) from error
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
        try:
            await client.connect()
        except aiosmtplib.SMTPAuthenticationError as error:
            raise TryAgain("credentials", f"SMTP {error.code}", blame="setup") from error
        except (aiosmtplib.SMTPException, OSError) as error:
            client.close()
            raise TryAgain("unreachable", type(error).__name__) from error
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
        Unfit: No address, no content, or one of them cannot stand in a mail.
    """
    mail = mail_of(order, settings.from_address)
    message = EmailMessage(_POLICY)
    try:
        message["From"] = settings.from_address
        message["To"] = mail.to
        message["Subject"] = mail.subject
        message["Date"] = format_datetime(datetime.fromtimestamp(order.now / 1000, UTC))
        for name, value in mail.headers.items():
            message[name] = value
    except (ValueError, MessageError, IndexError) as error:
        raise Unfit("bad_content", f"a header cannot be written: {type(error).__name__}") from error
    if mail.text is not None:
        message.set_content(mail.text)
    if mail.html is not None and mail.text is not None:
        message.add_alternative(mail.html, subtype="html")
    elif mail.html is not None:
        message.set_content(mail.html, subtype="html")
    return message


def verdict(code: int, text: str, *, recipient: bool) -> Rejected | TryAgain:
    """Return what an SMTP answer means.

    The relay's own words quote addresses: the codes alone go into receipts and logs.

    Args:
        code: Of three digits.
        text: What stood behind it; begins with an enhanced code, if the relay has such.
        recipient: Whether it was said of the recipient.
    """
    found = _ENHANCED.match(text)
    enhanced = found.group() if found else ""
    said = f"SMTP {code} {enhanced}".rstrip()
    if code < _PERMANENT:
        closing = code == _CLOSING
        return TryAgain("refused", said, blame="provider" if closing else "message")
    if recipient and enhanced.startswith(_NO_MAILBOX):
        return Rejected("bad_address", said, report="bounced")
    return Rejected("rejected", said)
