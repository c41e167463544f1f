"""A web shop's view of the collector: tracking calls with their own instants, as SDKs make them."""

from __future__ import annotations

import base64
import time
import urllib.request
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from orchestrator.errors import CouldNotRun
from orchestrator.sources.tokens import inbox_token
from orchestrator.testing.stack import SERVER_KEY, WRITE_KEY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.testing.stack import Stack

TIMEOUT_S = 60.0
HOUR_MS = 3_600_000


class Caller:
    """Speaks for one customer; instants are epoch ms and become the events' times."""

    def __init__(self, stack: Stack, user_id: str) -> None:
        self._stack = stack
        self.user_id = user_id

    def identify(self, at: int, **traits: Any) -> None:
        """Tell traits."""
        self.post(WRITE_KEY, at, {"type": "identify", "userId": self.user_id, "traits": traits})

    def track(self, at: int, event: str, *, server: bool = False, **properties: Any) -> None:
        """Tell an event."""
        body = {"type": "track", "event": event, "userId": self.user_id, "properties": properties}
        self.post(SERVER_KEY if server else WRITE_KEY, at, body)

    def receipt(self, at: int, status: str, action_id: str) -> None:
        """Tell what became of an action, as a provider's webhook does."""
        body = {
            "type": "track",
            "event": f"message.{status}",
            "properties": {"action_id": action_id},
            "identities": {"customer": self.user_id},
        }
        self.post(SERVER_KEY, at, body)

    def inbox(self) -> list[dict[str, Any]]:
        """Return the messages of the in-app inbox, as the app fetches them."""
        secret = self._stack.settings.collector.inbox_secret
        if secret is None:
            raise CouldNotRun("collector.inbox_secret is not set")
        expires = int(time.time() * 1000) + HOUR_MS
        token = inbox_token(secret.reveal(), self.user_id, expires)
        url = f"{self._stack.collector_url}/v1/inbox/{token}"
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:  # noqa: S310 - our own address
            messages: list[dict[str, Any]] = msgspec.json.decode(answer.read())["messages"]
            return messages

    def post(self, key: str, at: int, message: Mapping[str, Any]) -> None:
        """Send one message as a batch; returns when Kafka has it.

        Raises:
            urllib.error.HTTPError: The collector refused it.
        """
        when = datetime.fromtimestamp(at / 1000, UTC).isoformat()
        name = f"{self.user_id}:{message.get('event', message['type'])}@{at}"
        batch = [{"messageId": name, "timestamp": when, **message}]
        request = urllib.request.Request(  # noqa: S310 - our own address
            f"{self._stack.collector_url}/v1/batch",
            msgspec.json.encode({"batch": batch, "sentAt": when}),
            headers={
                "Content-Type": "application/json",
                "Authorization": "Basic " + base64.b64encode(f"{key}:".encode()).decode(),
            },
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
            answer.read()
