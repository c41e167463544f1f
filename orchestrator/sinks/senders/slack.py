"""Messages to a Slack channel, or to the channel that is the action's address: for one's own people.

``chat.postMessage`` has no documented idempotency: a send whose outcome is unknown is given up unless
the settings say otherwise. Field of a message: ``text``, in Slack's own markup.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
import msgspec

from orchestrator.sender_settings import SlackSender as SlackSettings
from orchestrator.sinks.senders.http import Reply, judge, open_http, post
from orchestrator.sinks.senders.protocol import Accepted, Order, Rejected, TryAgain, Unfit

_PACE: Final = frozenset({"ratelimited", "rate_limited", "message_limit_exceeded"})
_AWAY: Final = frozenset({"service_unavailable", "team_added_to_org", "request_timeout"})
_UNSURE: Final = frozenset({"fatal_error", "internal_error"})
"""Slack says of these: some part of it may have been done."""
_CREDENTIALS: Final = frozenset(
    "invalid_auth not_authed account_inactive token_revoked token_expired missing_scope no_permission "
    "access_denied org_login_required ekm_access_denied team_access_not_granted two_factor_setup_required "
    "not_allowed_token_type enterprise_is_restricted accesslimited".split()
)
_CHANNEL: Final = frozenset(
    "channel_not_found not_in_channel is_archived restricted_action restricted_action_read_only_channel".split()
)
_encode = msgspec.json.Encoder(order="sorted").encode


class SlackSender:
    """Posts messages."""

    def __init__(self, settings: SlackSettings, http: aiohttp.ClientSession) -> None:
        self._url = f"{settings.url.rstrip('/')}/api/chat.postMessage"
        self._to = settings.to
        self._headers = {
            "Authorization": f"Bearer {settings.token.reveal()}",
            "Content-Type": "application/json; charset=utf-8",
        }
        self._http = http

    async def send(self, order: Order) -> Accepted:
        """Hand the message to Slack; see ``Sender``."""
        body = _encode(body_of(order, self._to))
        reply = await post(self._http, self._url, body, self._headers)
        judge(reply)
        said = reply.json()
        if said.get("ok") is not True:
            self._refused(reply, str(said.get("error") or "no_answer")[:60])
        return Accepted(str(said.get("ts") or "") or None)

    def _refused(self, reply: Reply, error: str) -> None:
        text = f"Slack {error}"
        if error in _PACE:
            raise TryAgain("throttled", text, after=reply.after, blame="pace")
        if error in _CREDENTIALS:
            raise TryAgain("credentials", text, blame="setup")
        if error in _CHANNEL and self._to:
            raise TryAgain("configuration", text, blame="setup")
        if error in _CHANNEL:
            raise Rejected("bad_address", text, report="bounced")
        if error in _AWAY or error in _UNSURE:
            raise TryAgain("refused", text, after=reply.after, unknown=error in _UNSURE)
        raise Rejected("rejected", text)


@asynccontextmanager
async def open_slack(settings: SlackSettings) -> AsyncIterator[SlackSender]:
    """Yield a sender whose connections are closed at the end."""
    async with open_http(settings.timeout_s, settings.concurrency) as http:
        yield SlackSender(settings, http)


def body_of(order: Order, to: str | None) -> dict[str, Any]:
    """Return the request's body.

    Raises:
        Unfit: No channel, or no text.
    """
    action, text = order.action, order.fields.get("text", "")
    channel = to or action.address
    if not channel:
        raise Unfit("no_address", "neither the settings nor the action name a channel")
    if not text:
        raise Unfit("no_content", "a message needs the field text")
    return {
        "channel": channel,
        "text": text,
        "metadata": {
            "event_type": "journey_message",
            "event_payload": {"action_id": action.action_id, "customer_id": action.customer_id},
        },
    }
