"""E-mail by SendGrid's v3 API.

It has no idempotency keys: a send whose outcome is unknown is given up unless the settings say
otherwise. Its webhooks find the way back by ``custom_args``: action_id, customer_id.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from email.utils import parseaddr
from time import time
from typing import Any, Final

import aiohttp
import msgspec

from orchestrator.sender_settings import SendgridSender as SendgridSettings
from orchestrator.sinks.senders.http import Reply, judge, open_http, post
from orchestrator.sinks.senders.mail import mail_of
from orchestrator.sinks.senders.protocol import Accepted, Order, Rejected, TryAgain

_ACCEPTED_ID: Final = "X-Message-Id"
_TOO_FAST: Final = 429
_MALFORMED: Final = 400
_encode = msgspec.json.Encoder(order="sorted").encode


class SendgridSender:
    """Posts mails; ``wall`` gives the time of day in epoch seconds."""

    def __init__(
        self,
        settings: SendgridSettings,
        http: aiohttp.ClientSession,
        wall: Callable[[], float] = time,
    ) -> None:
        self._url = f"{settings.url.rstrip('/')}/v3/mail/send"
        self._from = settings.from_address
        self._headers = {
            "Authorization": f"Bearer {settings.api_key.reveal()}",
            "Content-Type": "application/json",
        }
        self._http = http
        self._wall = wall

    async def send(self, order: Order) -> Accepted:
        """Hand the mail to SendGrid; see ``Sender``."""
        body = _encode(body_of(order, self._from))
        reply = await post(self._http, self._url, body, self._headers)
        if reply.status == _TOO_FAST:
            raise TryAgain(
                "throttled", "HTTP 429", after=until_reset(reply, self._wall()), blame="pace"
            )
        fields = [one.get("field") or "" for one in _errors(reply)]
        if reply.status == _MALFORMED and any(".to." in f"{one}." for one in fields):
            raise Rejected("bad_address", "HTTP 400 personalizations.to", report="bounced")
        judge(reply, ", ".join(filter(None, fields)))
        return Accepted(reply.headers.get(_ACCEPTED_ID))


@asynccontextmanager
async def open_sendgrid(settings: SendgridSettings) -> AsyncIterator[SendgridSender]:
    """Yield a sender whose connections are closed at the end."""
    async with open_http(settings.timeout_s, settings.concurrency) as http:
        yield SendgridSender(settings, http)


def body_of(order: Order, from_address: str) -> dict[str, Any]:
    """Return the request's body.

    Raises:
        Unfit: It cannot be a mail.
    """
    mail, action = mail_of(order, from_address), order.action
    name, sender = parseaddr(from_address)
    content = [("text/plain", mail.text), ("text/html", mail.html)]
    return {
        "personalizations": [{"to": [{"email": mail.to.addr_spec}]}],
        "from": {"email": sender, **({"name": name} if name else {})},
        "subject": mail.subject,
        "content": [{"type": kind, "value": text} for kind, text in content if text is not None],
        "headers": dict(mail.headers),
        "custom_args": {"action_id": action.action_id, "customer_id": action.customer_id},
    }


def until_reset(reply: Reply, now: float) -> float | None:
    """Return the seconds until SendGrid counts anew; None if it does not say."""
    reset = reply.headers.get("X-RateLimit-Reset", "")
    if reset.isascii() and reset.isdigit():
        return max(0.0, float(reset[:12]) - now)
    return reply.after


def _errors(reply: Reply) -> list[dict[str, Any]]:
    found = reply.json().get("errors")
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
