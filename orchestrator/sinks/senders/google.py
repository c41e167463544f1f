"""Access tokens of a Google service account, by a signed assertion (RFC 7523)."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from time import time
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from orchestrator.errors import SettingsError
from orchestrator.sinks.senders.http import judge, post
from orchestrator.sinks.senders.protocol import Rejected, TryAgain

GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LIFE_S: Final = 3600
EARLY_S: Final = 300
"""So long before its end a token is replaced."""


class Account(msgspec.Struct):
    """A service account's key file, as Google's console gives it."""

    project_id: str
    client_email: str
    private_key: str
    private_key_id: str = ""
    token_uri: str = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address

    def __repr__(self) -> str:
        """Name the account, never its key."""
        return f"Account({self.client_email!r}, ***)"


class Tokens:
    """Fetches a token when one is needed, once for all who wait; ``wall`` in epoch seconds."""

    def __init__(
        self,
        key_file: str,
        scope: str,
        http: aiohttp.ClientSession,
        wall: Callable[[], float] = time,
    ) -> None:
        self.account = read_account(key_file)
        self._key = _private_key(self.account)
        self._scope = scope
        self._http = http
        self._wall = wall
        self._token = ""
        self._until = 0.0
        self._fetching = asyncio.Lock()

    async def get(self) -> str:
        """Return a token that is good for a while.

        Raises:
            TryAgain: Google is away, or refuses the account.
        """
        async with self._fetching:
            if self._wall() >= self._until - EARLY_S:
                await self._fetch()
            return self._token

    def forget(self) -> None:
        """Fetch a new one next time: this one was refused."""
        self._until = 0.0

    async def _fetch(self) -> None:
        form = {"grant_type": GRANT, "assertion": self.assertion(int(self._wall()))}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        try:
            reply = await post(
                self._http, self.account.token_uri, urlencode(form).encode(), headers
            )
            judge(reply, str(reply.json().get("error") or "")[:40])
        except Rejected as error:
            raise TryAgain("credentials", f"token: {error}", blame="setup") from error
        except TryAgain as error:
            # No message has left yet, whatever became of this request.
            raise TryAgain(
                error.reason, f"token: {error}", after=error.after, blame=error.blame
            ) from error
        said = reply.json()
        self._token = str(said.get("access_token") or "")
        life = said.get("expires_in")
        self._until = self._wall() + (life if isinstance(life, int) else LIFE_S)

    def assertion(self, now: int) -> str:
        """Return the JWT that asks for a token."""
        header = {"alg": "RS256", "typ": "JWT", "kid": self.account.private_key_id}
        claims = {
            "iss": self.account.client_email,
            "scope": self._scope,
            "aud": self.account.token_uri,
            "iat": now,
            "exp": now + LIFE_S,
        }
        text = f"{_part(header)}.{_part(claims)}"
        signature = self._key.sign(text.encode(), PKCS1v15(), SHA256())
        return f"{text}.{_text(signature)}"


def read_account(key_file: str) -> Account:
    """Return the account of a key file's text.

    Raises:
        SettingsError: It is none.
    """
    try:
        return msgspec.json.decode(key_file.encode(), type=Account)
    except msgspec.DecodeError as error:
        raise SettingsError(
            "service_account must be the JSON of a service account's key (give it by a variable "
            f"that ends in _FILE): {error}"
        ) from error


def _private_key(account: Account) -> RSAPrivateKey:
    try:
        key = load_pem_private_key(account.private_key.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SettingsError("service_account: private_key is no PEM key") from error
    if not isinstance(key, RSAPrivateKey):
        raise SettingsError("service_account: private_key is no RSA key")
    return key


def _part(data: dict[str, Any]) -> str:
    return _text(msgspec.json.encode(data))


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
