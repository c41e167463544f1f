"""Access tokens by OAuth 2.0 client credentials (RFC 6749, 4.4), as librdkafka's ``oidc`` fetches them.

librdkafka has its own; this one is for aiokafka, which asks for a token whenever it connects.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import Request, urlopen

from orchestrator.errors import AccessRefused, SettingsError, UnavailableError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

TIMEOUT_S: Final = 10.0
RENEW: Final = 0.8
"""A token is used for this part of its life, as librdkafka does."""
DEFAULT_LIFE_S: Final = 300.0
"""For endpoints that do not say ``expires_in``."""


class ClientCredentials:
    """One client's tokens; ``token`` may be called from any thread and blocks while it fetches.

    Args:
        url: The token endpoint.
        client_id: Who we are.
        client_secret: And how we prove it.
        scope: What the tokens shall be good for; empty = the endpoint's default.
        extensions: SASL extensions that go with the token.
        tls: Trust for ``https``.
        clock: Seconds, monotone.
    """

    def __init__(
        self,
        url: str,
        client_id: str,
        client_secret: str,
        *,
        scope: str = "",
        extensions: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not url.startswith(("https://", "http://")):
            raise SettingsError(
                "kafka.sasl.oauthbearer.token.endpoint.url must begin with https:// or http://"
            )
        self._url = url
        self._client_id = client_id
        self._client_secret = client_secret
        self._scope = scope
        self.extensions = dict(extensions or {})
        self._tls = tls if url.startswith("https:") else None
        self._clock = clock
        self._lock = threading.Lock()
        self._token = ""
        self._until = 0.0

    def token(self) -> str:
        """Return a token with some life left in it.

        Raises:
            AccessRefused: The endpoint does not take our client id and secret, or our scope.
            UnavailableError: It does not answer, or not with a token.
        """
        with self._lock:
            if not self._token or self._clock() >= self._until:
                asked = self._clock()
                answer = self._fetch()
                life = answer.get("expires_in", DEFAULT_LIFE_S)
                self._token = str(answer["access_token"])
                self._until = asked + RENEW * float(life)
            return self._token

    @property
    def _place(self) -> str:
        parts = urlsplit(self._url)
        return f"the token endpoint at {parts.hostname}{parts.path}"

    def _fetch(self) -> dict[str, Any]:
        form = {"grant_type": "client_credentials"}
        if self._scope:
            form["scope"] = self._scope
        # RFC 6749, 2.3.1: both parts are form-encoded before they are joined.
        pair = f"{quote(self._client_id, safe='')}:{quote(self._client_secret, safe='')}"
        request = Request(  # noqa: S310 - http(s), checked above
            self._url,
            urlencode(form).encode(),
            {
                "Accept": "application/json",
                "Content-Type": "application/x-www-form-urlencoded",
                "Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}",
            },
        )
        try:
            with urlopen(request, timeout=TIMEOUT_S, context=self._tls) as answer:  # noqa: S310
                return self._checked(answer.read())
        except HTTPError as error:
            with error:
                raise self._judged(error.code, error.read()) from None
        except (URLError, OSError) as error:
            raise UnavailableError(f"{self._place} does not answer: {error}") from error

    def _checked(self, text: bytes) -> dict[str, Any]:
        try:
            answer = json.loads(text)
        except ValueError:
            answer = None
        if not isinstance(answer, dict) or not answer.get("access_token"):
            raise UnavailableError(f"{self._place} answers without an access token")
        return answer

    def _judged(self, status: int, text: bytes) -> AccessRefused | UnavailableError:
        try:
            # The closed words of RFC 6749, 5.2, never the free text: it may quote what we sent.
            word = str(json.loads(text)["error"])[:40]
        except (ValueError, KeyError, TypeError):
            word = f"HTTP {status}"
        if status < HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.TOO_MANY_REQUESTS:
            return AccessRefused(
                f"{self._place} refuses us ({word}): see kafka.sasl.oauthbearer.client.id, "
                "client.secret and scope"
            )
        return UnavailableError(f"{self._place} cannot answer now ({word})")
