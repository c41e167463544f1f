"""A small page of JSON beside a local deployment: what the mail server has, and anybody's inbox."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from orchestrator.testing.tracking import Tracking

if TYPE_CHECKING:
    from email.message import EmailMessage
    from types import TracebackType

    from orchestrator.testing.stack import Stack


class Window:
    """Serves on a free port of 127.0.0.1; a context manager.

    ``GET /mail`` lists every e-mail received, oldest first (``?to=ADDRESS``: those to one address).
    ``GET /inbox/CUSTOMER`` leads on to the customer's in-app inbox at the collector.
    """

    def __init__(self, stack: Stack) -> None:
        window = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                window.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._mail = stack.mail
        self._tracking = Tracking(stack)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        asked = urlsplit(request.path)
        head, _, rest = asked.path.strip("/").partition("/")
        if head == "mail":
            to = parse_qs(asked.query).get("to", [""])[0]
            mails = [_shown(mail) for mail in self._mail.messages if to in str(mail["To"])]
            body = json.dumps(mails).encode()
            request.send_response(200)
            request.send_header("Content-Type", "application/json")
        elif head == "inbox" and rest:
            body = b""
            request.send_response(307)
            request.send_header("Location", self._tracking.inbox_url(unquote(rest)))
        else:
            body = b"GET /mail or /inbox/CUSTOMER\n"
            request.send_response(404)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)


def _shown(mail: EmailMessage) -> dict[str, str]:
    text = mail.get_body(("plain", "html"))
    return {
        "to": str(mail["To"]),
        "subject": str(mail["Subject"]),
        "text": text.get_content() if text is not None else "",
        "action_id": str(mail["X-Action-Id"]),
        "message_id": str(mail["Message-ID"]),
    }
