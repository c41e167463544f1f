"""A real SMTP server that keeps what it receives: for demos and tests."""

from __future__ import annotations

import email
import email.policy
import threading
from typing import TYPE_CHECKING, Any, Self

from aiosmtpd.controller import Controller

from orchestrator.testing.ports import free_ports

if TYPE_CHECKING:
    from email.message import EmailMessage
    from types import TracebackType


class MailServer:
    """Listens on a free port of 127.0.0.1; a context manager. ``messages`` grows as mail arrives."""

    def __init__(self) -> None:
        self._arrived = threading.Condition()
        self._messages: list[EmailMessage] = []
        # aiosmtpd checks its port by connecting to it, so it cannot be asked for any free one.
        self.port = free_ports(1)[0]
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        """Take one message."""
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        with self._arrived:
            self._messages.append(message)
            self._arrived.notify_all()
        return "250 OK"

    @property
    def messages(self) -> list[EmailMessage]:
        """Everything received so far, oldest first."""
        with self._arrived:
            return list(self._messages)

    @property
    def count(self) -> int:
        """How many were received so far."""
        with self._arrived:
            return len(self._messages)

    def since(self, count: int) -> list[EmailMessage]:
        """Return what was received after the first ``count`` messages."""
        with self._arrived:
            return self._messages[count:]

    def wait_for(self, count: int, timeout: float) -> list[EmailMessage]:
        """Return the messages once there are ``count``.

        Raises:
            TimeoutError: There are fewer after ``timeout`` seconds.
        """
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self._messages) >= count, timeout):
                raise TimeoutError(f"{len(self._messages)} of {count} e-mails after {timeout:g} s")
            return list(self._messages)

    def __enter__(self) -> Self:
        self._controller.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._controller.stop()
