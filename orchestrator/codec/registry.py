"""A small synchronous client of a Confluent-compatible schema registry.

It tells three things apart that must never be confused: the registry is away (or refuses us, or is
not a registry at all), the registry does not know, and the registry says no.
"""

from __future__ import annotations

import base64
import json
import ssl
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from orchestrator.errors import CouldNotRun, RegistryUnavailable

CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
TIMEOUT_SECONDS = 5.0
ATTEMPTS = 3
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 1.0
SUBJECT_UNKNOWN = 40401
VERSION_UNKNOWN = 40402
SCHEMA_UNKNOWN = 40403
RULE_UNKNOWN = 40408
_UNKNOWN = {SUBJECT_UNKNOWN, VERSION_UNKNOWN, SCHEMA_UNKNOWN, RULE_UNKNOWN}
_HUNG_UP = (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError)
_WORTH_RETRYING = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}


class RegistryClient:
    """Talks to one registry; every call blocks (at most ``ATTEMPTS`` times the timeout).

    Args:
        url: Base URL, with or without a trailing slash.
        username: For HTTP basic authentication, with ``password``.
        password: See ``username``.
        token: For bearer authentication, instead of basic.
        tls: Trust and client certificate for ``https``.
        timeout: Seconds for one attempt.
        pause: Sleeps between attempts.
    """

    def __init__(
        self,
        url: str,
        *,
        username: str = "",
        password: str = "",
        token: str = "",
        tls: ssl.SSLContext | None = None,
        timeout: float = TIMEOUT_SECONDS,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise CouldNotRun(f"registry.url must begin with http:// or https://, not {url!r}")
        if not token.isprintable():
            # http.client would refuse it too, and quote it.
            raise CouldNotRun("registry.token: there is a line break or control character in it")
        self.url = url.rstrip("/")
        self._opener = build_opener(HTTPSHandler(context=tls), _NoRedirect)
        self._timeout = timeout
        self._pause = pause
        self._headers = {"Accept": CONTENT_TYPE, "Content-Type": CONTENT_TYPE}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        elif username:
            pair = base64.b64encode(f"{username}:{password}".encode()).decode()
            self._headers["Authorization"] = f"Basic {pair}"

    def schema(self, schema_id: int) -> str | None:
        """Return the schema (JSON) with this id; None if the registry does not know it.

        Raises:
            RegistryUnavailable: No answer that says either.
        """
        answer = self._ask("GET", f"/schemas/ids/{schema_id}")
        return None if answer is None else str(answer["schema"])

    def schema_texts(self, schema_id: int) -> list[str] | None:
        """Return the schema with this id behind all that it refers to; None if it is not known.

        Raises:
            RegistryUnavailable: No answer that says either, or a schema that is referred to is gone.
        """
        answer = self._ask("GET", f"/schemas/ids/{schema_id}")
        return None if answer is None else self._with_references(answer, {})

    def _with_references(self, answer: Any, found: dict[str, str]) -> list[str]:
        """Return texts, each behind those that it names; ``found`` grows."""
        for one in answer.get("references") or ():
            path = f"/subjects/{quote(one['subject'], safe='')}/versions/{one['version']}"
            if path in found:
                continue
            inner = self._ask("GET", path)
            if inner is None:
                raise RegistryUnavailable(
                    f"{self.url}{path}: a schema refers to it, and it is gone"
                )
            self._with_references(inner, found)
            found[path] = str(inner["schema"])
        return [*found.values(), str(answer["schema"])]

    def lookup(self, subject: str, schema: str) -> int | None:
        """Return the id of ``schema`` under ``subject``; None if it is not registered there.

        Raises:
            RegistryUnavailable: No answer that says either.
        """
        answer = self._ask("POST", f"/subjects/{quote(subject, safe='')}", {"schema": schema})
        return None if answer is None else int(answer["id"])

    def register(self, subject: str, schema: str) -> int:
        """Register ``schema`` under ``subject``, if need be, and return its id.

        Raises:
            RegistryUnavailable: No answer.
            CouldNotRun: The registry refuses it: incompatible, invalid or not allowed.
        """
        path = f"/subjects/{quote(subject, safe='')}/versions"
        answer = self._ask("POST", path, {"schema": schema})
        if answer is None:
            raise CouldNotRun(f"{self.url} does not take schemas for {subject}")
        return int(answer["id"])

    def incompatibilities(self, subject: str, schema: str) -> list[str]:
        """Return what speaks against ``schema`` as the next version; empty: nothing.

        Raises:
            RegistryUnavailable: No answer.
        """
        path = f"/compatibility/subjects/{quote(subject, safe='')}/versions?verbose=true"
        answer = self._ask("POST", path, {"schema": schema})
        if answer is None or answer["is_compatible"]:
            return []  # an unknown subject takes anything
        return [str(each) for each in answer.get("messages") or ["incompatible"]]

    def set_compatibility(self, subject: str, level: str) -> None:
        """Set the rule for the next versions of ``subject``, for example FULL_TRANSITIVE.

        Raises:
            RegistryUnavailable: No answer.
            CouldNotRun: The registry refuses.
        """
        path = f"/config/{quote(subject, safe='')}"
        self._ask("PUT", path, {"compatibility": level})

    def compatibility(self, subject: str) -> str | None:
        """Return the rule for the next versions of ``subject``; None: it has none of its own.

        Raises:
            RegistryUnavailable: No answer.
        """
        answer = self._ask("GET", f"/config/{quote(subject, safe='')}")
        return None if answer is None else str(answer["compatibilityLevel"])

    def check(self) -> None:
        """Prove that a registry answers at the address, and takes our credentials.

        Raises:
            RegistryUnavailable: It does not.
        """
        self._ask("GET", "/subjects")

    def _ask(self, method: str, path: str, body: dict[str, str] | None = None) -> Any:
        """Return the answer's JSON; None where the registry says that it knows no such thing."""
        wait = FIRST_PAUSE_SECONDS
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._ask_once(method, path, body)
            except _Transient as error:
                if attempt == ATTEMPTS:
                    raise RegistryUnavailable(
                        f"the schema registry at {self.url} does not answer: {error}"
                    ) from error
            self._pause(wait)
            wait = min(2 * wait, LONGEST_PAUSE_SECONDS)
        raise AssertionError("unreachable")

    def _ask_once(self, method: str, path: str, body: dict[str, str] | None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = Request(self.url + path, data, self._headers, method=method)  # noqa: S310 - http(s), checked above
        try:
            with self._opener.open(request, timeout=self._timeout) as answer:
                return self._json(answer.read(), path)
        except HTTPError as error:
            with error:
                return self._judge(error.code, error.read(), path)
        except (URLError, OSError) as error:
            reason = error.reason if isinstance(error, URLError) else error
            if isinstance(reason, ssl.SSLError) and not isinstance(reason, ssl.SSLEOFError):
                raise RegistryUnavailable(
                    f"no TLS with the schema registry at {self.url}: {reason}; see "
                    "registry.ca_location, registry.certificate_location and registry.key_location"
                ) from error
            raise _Transient(f"{reason}{self._hint(reason)}") from error

    def _hint(self, reason: object) -> str:
        if isinstance(reason, _HUNG_UP) and self.url.startswith("https:"):
            # Without a certificate that it asks for, TLS 1.3 servers hang up in the middle.
            return "; if it asks for client certificates, see registry.certificate_location"
        return ""

    def _json(self, text: bytes, path: str) -> Any:
        try:
            return json.loads(text)
        except ValueError as error:
            raise RegistryUnavailable(
                f"{self.url}{path} answers, but not as a schema registry does"
            ) from error

    def _judge(self, status: int, text: bytes, path: str) -> None:
        if status in _WORTH_RETRYING or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise _Transient(f"HTTP {status}")
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise RegistryUnavailable(
                f"the schema registry at {self.url} refuses our credentials (HTTP {status}): "
                "see the registry section of the settings"
            )
        if status < HTTPStatus.BAD_REQUEST:
            raise RegistryUnavailable(
                f"{self.url}{path} points elsewhere (HTTP {status}): set registry.url to that address"
            )
        answer = self._json(text, path)
        code = answer.get("error_code") if isinstance(answer, dict) else None
        if status == HTTPStatus.NOT_FOUND:
            if code in _UNKNOWN:
                return
            # A proxy, or a path too many or too few: this says nothing about the schema.
            raise RegistryUnavailable(f"{self.url}{path} is not a schema registry (HTTP 404)")
        message = answer.get("message") if isinstance(answer, dict) else answer
        raise CouldNotRun(f"the schema registry refuses {path}: {message} (HTTP {status})")


class _NoRedirect(HTTPRedirectHandler):
    """Credentials go to the address that the operator named, and to no other."""

    def redirect_request(self, *_: object) -> None:
        """Follow nothing: the status is judged as it is."""


class _Transient(Exception):  # noqa: N818 - never leaves this module
    """Worth another attempt."""
