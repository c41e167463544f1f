"""SMS by Twilio's Programmable Messaging.

Nothing documented makes a repeated create one message: a send whose outcome is unknown is given up
unless the settings say otherwise. Status callbacks find the way back by the query of their URL:
``action_id`` and ``customer_id``.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlencode

import aiohttp

from orchestrator.records import Action
from orchestrator.sender_settings import TwilioSender as TwilioSettings
from orchestrator.sinks.senders.http import Reply, judge, open_http, post
from orchestrator.sinks.senders.protocol import Accepted, Order, Rejected, TryAgain, Unfit

_TOO_FAST: Final = 20429
_OPTED_OUT: Final = 21610
_NO_NUMBER: Final = frozenset({21211, 21217, 21614, 21635})
"""Not a number, or none that takes an SMS."""
_MAX_VALIDITY_S: Final = 14_400
"""The least of the limits that Twilio has had; without one it keeps a message for ten hours."""


class TwilioSender:
    """Creates messages."""

    def __init__(self, settings: TwilioSettings, http: aiohttp.ClientSession) -> None:
        base = settings.url.rstrip("/")
        self._url = f"{base}/2010-04-01/Accounts/{settings.account_sid}/Messages.json"
        login = f"{settings.api_key or settings.account_sid}:{settings.auth_token.reveal()}"
        self._headers = {
            "Authorization": f"Basic {b64encode(login.encode()).decode()}",
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
        }
        self._settings = settings
        self._http = http

    async def send(self, order: Order) -> Accepted:
        """Hand the message to Twilio; see ``Sender``."""
        body = urlencode(form_of(order, self._settings)).encode()
        reply = await post(self._http, self._url, body, self._headers)
        said = reply.json()
        if not reply.ok:
            _refused(reply, said.get("code"))
        return Accepted(str(said.get("sid") or "") or None)


@asynccontextmanager
async def open_twilio(settings: TwilioSettings) -> AsyncIterator[TwilioSender]:
    """Yield a sender whose connections are closed at the end."""
    async with open_http(settings.timeout_s, settings.concurrency) as http:
        yield TwilioSender(settings, http)


def form_of(order: Order, settings: TwilioSettings) -> dict[str, str]:
    """Return the request's fields.

    Raises:
        Unfit: No number, or no text.
    """
    action, text = order.action, order.fields.get("text", "")
    if not action.address:
        raise Unfit("no_address", "the action has no address")
    if not text:
        raise Unfit("no_content", "an SMS needs the field text")
    form = {"To": action.address, "Body": text}
    if settings.messaging_service_sid:
        form["MessagingServiceSid"] = settings.messaging_service_sid
    else:
        form["From"] = settings.from_number or ""
    if settings.status_callback:
        form["StatusCallback"] = callback(settings.status_callback, action)
    if action.expires_at is not None:
        left = (action.expires_at - order.now) // 1000
        if left < _MAX_VALIDITY_S:
            form["ValidityPeriod"] = str(max(1, left))
    return form


def callback(url: str, action: Action) -> str:
    """Return the URL that Twilio reports to, with what leads its report back to the action."""
    query = urlencode({"action_id": action.action_id, "customer_id": action.customer_id})
    return f"{url}{'&' if '?' in url else '?'}{query}"


def _refused(reply: Reply, code: object) -> None:
    text = f"HTTP {reply.status} Twilio {code}"
    if code == _TOO_FAST:
        raise TryAgain("throttled", text, after=reply.after, blame="pace")
    if code == _OPTED_OUT:
        raise Rejected("unsubscribed", text, report="unsubscribed")
    if code in _NO_NUMBER:
        raise Rejected("bad_address", text, report="bounced")
    judge(reply, f"Twilio {code}" if isinstance(code, int) else "")
