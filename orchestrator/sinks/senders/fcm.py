"""Push notifications by Firebase Cloud Messaging, HTTP v1.

FCM does not deduplicate. The notification carries the action's id as tag and collapse id, so that a
device shows a repeated one once; still a send whose outcome is unknown is given up unless the settings
say otherwise. Fields of a message: ``title``, ``body`` (or ``text``), ``link``. The app reports openings
with the ``action_id`` that it finds in the data.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
import msgspec

from orchestrator.sender_settings import FcmSender as FcmSettings
from orchestrator.sinks.senders.google import Tokens
from orchestrator.sinks.senders.http import Reply, judge, open_http, post
from orchestrator.sinks.senders.protocol import Accepted, Order, Rejected, TryAgain, Unfit

SCOPE: Final = "https://www.googleapis.com/auth/firebase.messaging"
MAX_TTL_S: Final = 2_419_200
"""Four weeks."""
_COLLAPSE_BYTES: Final = 64
_UNAUTHENTICATED: Final = 401
_GONE: Final = frozenset({"UNREGISTERED", "SENDER_ID_MISMATCH"})
_PACE: Final = "QUOTA_EXCEEDED"
_encode = msgspec.json.Encoder(order="sorted").encode


class FcmSender:
    """Posts notifications."""

    def __init__(self, settings: FcmSettings, http: aiohttp.ClientSession) -> None:
        self._tokens = Tokens(settings.service_account.reveal(), SCOPE, http)
        project = self._tokens.account.project_id
        self._url = f"{settings.url.rstrip('/')}/v1/projects/{project}/messages:send"
        self._http = http

    async def send(self, order: Order) -> Accepted:
        """Hand the notification to FCM; see ``Sender``."""
        body = _encode(body_of(order))
        headers = {
            "Authorization": f"Bearer {await self._tokens.get()}",
            "Content-Type": "application/json",
        }
        reply = await post(self._http, self._url, body, headers)
        if not reply.ok:
            self._refused(reply)
        return Accepted(str(reply.json().get("name") or "") or None)

    def _refused(self, reply: Reply) -> None:
        code, fields = error_of(reply)
        text = f"HTTP {reply.status} {code}"
        if code in _GONE or "message.token" in fields:
            raise Rejected("bad_address", text, report="bounced")
        if reply.status == _UNAUTHENTICATED:
            self._tokens.forget()
        if code == _PACE:
            raise TryAgain("throttled", text, after=reply.after, blame="pace")
        judge(reply, code)


@asynccontextmanager
async def open_fcm(settings: FcmSettings) -> AsyncIterator[FcmSender]:
    """Yield a sender whose connections are closed at the end.

    Raises:
        SettingsError: The key of the service account cannot be used.
    """
    async with open_http(settings.timeout_s, settings.concurrency) as http:
        yield FcmSender(settings, http)


def body_of(order: Order) -> dict[str, Any]:
    """Return the request's body.

    Raises:
        Unfit: No token, or nothing to show.
    """
    action, fields = order.action, order.fields
    if not action.address:
        raise Unfit("no_address", "the action has no address")
    title, body = fields.get("title", ""), fields.get("body", fields.get("text", ""))
    if not title and not body:
        raise Unfit("no_content", "a notification needs the field title, body or text")
    tag = action.action_id[:_COLLAPSE_BYTES]
    android: dict[str, Any] = {"collapse_key": tag, "notification": {"tag": tag}}
    apns = {"apns-collapse-id": tag}
    if action.expires_at is not None:
        left = max(0, min(MAX_TTL_S, (action.expires_at - order.now) // 1000))
        android["ttl"] = f"{left}s"
        apns["apns-expiration"] = str(action.expires_at // 1000)
    data = {"action_id": action.action_id, "message": action.message}
    if link := fields.get("link"):
        data["link"] = link
    return {
        "message": {
            "token": action.address,
            "notification": {"title": title, "body": body},
            "data": data,
            "android": android,
            "apns": {"headers": apns},
        }
    }


def error_of(reply: Reply) -> tuple[str, list[str]]:
    """Return FCM's error code and the names of the fields that it blames."""
    error = reply.json().get("error")
    if not isinstance(error, dict):
        return "", []
    code, fields = str(error.get("status") or ""), []
    for detail in error.get("details") or []:
        if not isinstance(detail, dict):
            continue
        code = str(detail.get("errorCode") or code)
        fields += [
            str(one.get("field"))
            for one in detail.get("fieldViolations") or []
            if isinstance(one, dict)
        ]
    if code == "INVALID_ARGUMENT" and "registration token" in str(error.get("message")):
        fields.append("message.token")
    return code[:40], fields
