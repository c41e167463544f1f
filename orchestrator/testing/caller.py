"""A web shop's view of the collector: tracking calls with their own instants, as SDKs make them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from orchestrator.errors import CouldNotRun
from orchestrator.testing.stack import SERVER_KEY, WRITE_KEY
from orchestrator.testing.tracking import Tracking, iso

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.testing.stack import Stack

_POLL_S = 0.05


class Caller:
    """Speaks for one customer; instants are epoch ms and become the events' times."""

    def __init__(self, stack: Stack, user_id: str) -> None:
        self._tracking = Tracking(stack)
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
        return self._tracking.inbox(self.user_id)

    def wait_for_inbox(self, count: int, seconds: float) -> list[dict[str, Any]]:
        """Return the inbox once it holds ``count`` messages: it follows its topic a moment later.

        Raises:
            CouldNotRun: It holds fewer after ``seconds``.
        """
        deadline = time.monotonic() + seconds
        while len(messages := self.inbox()) < count:
            if time.monotonic() > deadline:
                raise CouldNotRun(f"{len(messages)} messages in the inbox instead of {count}")
            time.sleep(_POLL_S)
        return messages

    def post(self, key: str, at: int, message: Mapping[str, Any]) -> None:
        """Send one message as a batch; returns when Kafka has it.

        Raises:
            urllib.error.HTTPError: The collector refused it.
        """
        name = f"{self.user_id}:{message.get('event', message['type'])}@{at}"
        self._tracking.batch(key, [{"messageId": name, "timestamp": iso(at), **message}], at)
