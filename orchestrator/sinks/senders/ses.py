"""E-mail by Amazon SES, API v2.

It has no idempotency keys and sets the Message-ID itself: a send whose outcome is unknown is given up
unless the settings say otherwise. Its events find the way back by tags: ``action_id`` and
``customer_id``, or ``customer_id_b64`` (base64url) for ids with signs that no tag may have.
"""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

import aiohttp
import msgspec

from orchestrator.records import Action
from orchestrator.sender_settings import SesSender as SesSettings
from orchestrator.sinks.senders.http import Reply, judge, open_http, post
from orchestrator.sinks.senders.mail import mail_of
from orchestrator.sinks.senders.protocol import Accepted, Order, TryAgain, Unfit
from orchestrator.sinks.senders.sigv4 import Credentials, Scope, signed_headers

_TAG: Final = re.compile(r"[A-Za-z0-9_-]{1,256}")
_PACE: Final = frozenset({"TooManyRequestsException", "ThrottlingException", "Throttling"})
_SETUP: Final = frozenset(
    "AccountSuspendedException SendingPausedException MailFromDomainNotVerifiedException "
    "NotFoundException AccessDeniedException UnrecognizedClientException ExpiredTokenException "
    "InvalidSignatureException SignatureDoesNotMatch InvalidClientTokenId".split()
)
"""Not this message's fault: the account, its identities, or our signature."""
_encode = msgspec.json.Encoder(order="sorted").encode


def _utc_now() -> datetime:
    return datetime.now(UTC)


class SesSender:
    """Posts mails; ``clock`` gives the time of signatures."""

    def __init__(
        self,
        settings: SesSettings,
        http: aiohttp.ClientSession,
        clock: Callable[[], datetime] = _utc_now,
    ) -> None:
        base = settings.url or f"https://email.{settings.region}.amazonaws.com"
        self._url = f"{base.rstrip('/')}/v2/email/outbound-emails"
        self._settings = settings
        self._scope = Scope(settings.region, "ses")
        self._who = Credentials(
            settings.access_key_id,
            settings.secret_access_key.reveal(),
            settings.session_token.reveal() if settings.session_token else None,
        )
        self._http = http
        self._clock = clock

    async def send(self, order: Order) -> Accepted:
        """Hand the mail to SES; see ``Sender``."""
        body = _encode(body_of(order, self._settings))
        headers = signed_headers(
            self._url,
            body,
            {"Content-Type": "application/json"},
            self._clock(),
            self._who,
            self._scope,
        )
        reply = await post(self._http, self._url, body, headers)
        code = error_code(reply)
        if not reply.ok and code in _PACE:
            raise TryAgain("throttled", f"HTTP {reply.status} {code}", blame="pace")
        if not reply.ok and code in _SETUP:
            raise TryAgain("configuration", f"HTTP {reply.status} {code}", blame="setup")
        judge(reply, code)
        return Accepted(str(reply.json().get("MessageId") or "") or None)


@asynccontextmanager
async def open_ses(settings: SesSettings) -> AsyncIterator[SesSender]:
    """Yield a sender whose connections are closed at the end."""
    async with open_http(settings.timeout_s, settings.concurrency) as http:
        yield SesSender(settings, http)


def body_of(order: Order, settings: SesSettings) -> dict[str, Any]:
    """Return the request's body.

    Raises:
        Unfit: It cannot be a mail.
    """
    mail = mail_of(order, settings.from_address)
    parts = {"Text": mail.text, "Html": mail.html}
    found: dict[str, Any] = {
        "FromEmailAddress": settings.from_address,
        "Destination": {"ToAddresses": [mail.to.addr_spec]},
        "Content": {
            "Simple": {
                "Subject": _text(mail.subject),
                "Body": {name: _text(text) for name, text in parts.items() if text is not None},
                "Headers": [
                    {"Name": name, "Value": value}
                    for name, value in mail.headers.items()
                    if name != "Message-ID"  # SES refuses to have it set
                ],
            }
        },
        "EmailTags": [{"Name": name, "Value": value} for name, value in tags(order.action)],
    }
    if settings.configuration_set:
        found["ConfigurationSetName"] = settings.configuration_set
    return found


def tags(action: Action) -> list[tuple[str, str]]:
    """Return the tags that SES repeats in its events.

    Raises:
        Unfit: An id is longer than a tag may be.
    """
    found = []
    for name, value in (("action_id", action.action_id), ("customer_id", action.customer_id)):
        if _TAG.fullmatch(value):
            found.append((name, value))
            continue
        text = base64.urlsafe_b64encode(value.encode()).rstrip(b"=").decode()
        if not _TAG.fullmatch(text):
            raise Unfit("bad_content", f"{name} is too long for a tag of SES")
        found.append((f"{name}_b64", text))
    return found


def error_code(reply: Reply) -> str:
    """Return the name of an error, without the address of its documentation."""
    said = reply.headers.get("x-amzn-ErrorType") or str(reply.json().get("__type") or "")
    name = said.partition(":")[0].rpartition("#")[2]
    return name if re.fullmatch(r"[A-Za-z]{1,64}", name) else ""


def _text(data: str) -> dict[str, str]:
    return {"Data": data, "Charset": "UTF-8"}
