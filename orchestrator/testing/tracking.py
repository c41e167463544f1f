"""The collector as its callers see it: batches of tracking messages, and the in-app inbox."""

from __future__ import annotations

import base64
import time
import urllib.request
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from orchestrator.errors import CouldNotRun
from orchestrator.sources.tokens import inbox_token

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.testing.stack import Stack

TIMEOUT_S = 60.0
HOUR_MS = 3_600_000


class Tracking:
    """Calls of one deployment's collector. Everything returns when Kafka has it.

    Raises:
        urllib.error.HTTPError: The collector refused it.
        OSError: The collector cannot be reached.
    """

    def __init__(self, stack: Stack) -> None:
        self._url = stack.collector_url
        self._secret = stack.settings.collector.inbox_secret

    def batch(self, key: str, messages: Sequence[Any], sent_at: int) -> dict[str, Any]:
        """Send messages; return the answer, which names those that were refused."""
        body = {"batch": messages, "sentAt": iso(sent_at)}
        answer: dict[str, Any] = self._ask(
            f"{self._url}/v1/batch",
            msgspec.json.encode(body),
            Authorization="Basic " + base64.b64encode(f"{key}:".encode()).decode(),
        )
        return answer

    def inbox_url(self, customer_id: str) -> str:
        """Return the address of a customer's inbox, with a token for the next hour."""
        if self._secret is None:
            raise CouldNotRun("collector.inbox_secret is not set")
        expires = int(time.time() * 1000) + HOUR_MS
        return f"{self._url}/v1/inbox/{inbox_token(self._secret.reveal(), customer_id, expires)}"

    def inbox(self, customer_id: str) -> list[dict[str, Any]]:
        """Return the messages of an in-app inbox, as the app fetches them."""
        messages: list[dict[str, Any]] = self._ask(self.inbox_url(customer_id))["messages"]
        return messages

    def mark_read(self, customer_id: str, action_id: str) -> None:
        """Say that a message of the inbox was read."""
        body = msgspec.json.encode({"action_ids": [action_id]})
        self._ask(f"{self.inbox_url(customer_id)}/read", body)

    def _ask(self, url: str, body: bytes | None = None, **headers: str) -> Any:
        headers = {"Content-Type": "application/json", **headers}
        request = urllib.request.Request(url, body, headers)  # noqa: S310 - our own address
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
            return msgspec.json.decode(answer.read())


def iso(at: int) -> str:
    """Return epoch ms as ISO 8601."""
    return datetime.fromtimestamp(at / 1000, UTC).isoformat()
