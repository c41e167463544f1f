"""The log-in of our settings, said to Faust: for its consumer, and for its producer, which is idle."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import faust
from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaConnectionError
from faust.types.auth import AuthProtocol

from orchestrator.errors import OrchestratorError, SettingsError
from orchestrator.kafka.tokens import ClientCredentials


class Tokens(AbstractTokenProvider):  # type: ignore[misc]
    """aiokafka's way to ask for a token; a failure is a connection's, which is tried again."""

    def __init__(self, source: ClientCredentials) -> None:
        self._source = source

    async def token(self) -> str:
        """Return a token; fetched in a thread, since that blocks."""
        try:
            return await asyncio.to_thread(self._source.token)
        except OrchestratorError as error:
            raise KafkaConnectionError(str(error)) from error

    def extensions(self) -> dict[str, str]:
        """Return the SASL extensions."""
        return self._source.extensions


def faust_credentials(given: Mapping[str, Any]) -> faust.auth.Credentials | None:
    """Return what ``broker_credentials`` takes; ``given`` is as ``aiokafka_credentials`` returns it.

    Raises:
        SettingsError: Kerberos is asked for and its library is not installed.
    """
    context = given.get("ssl_context")
    credentials: faust.auth.Credentials
    match given["security_protocol"], given.get("sasl_mechanism"):
        case "PLAINTEXT", _:
            return None
        case "SSL", _:
            return faust.SSLCredentials(context)
        case _, "OAUTHBEARER":
            tokens = Tokens(given["sasl_oauth_token_provider"])
            credentials = faust.auth.OAuthCredentials(oauth_cb=tokens, ssl_context=context)
        case _, "GSSAPI":
            _check_kerberos()
            credentials = faust.GSSAPICredentials(
                kerberos_service_name=given["sasl_kerberos_service_name"], ssl_context=context
            )
        case _, mechanism:
            credentials = faust.SASLCredentials(
                username=given["sasl_plain_username"],
                password=given["sasl_plain_password"],
                mechanism=mechanism,
                ssl_context=context,
            )
    # Faust infers it from the context; what the settings say goes.
    credentials.protocol = AuthProtocol(given["security_protocol"])
    return credentials


def _check_kerberos() -> None:
    # aiokafka asserts it when it connects: too late, and too short.
    if find_spec("gssapi") is None:
        raise SettingsError(
            "kafka.sasl.mechanism: GSSAPI needs the package gssapi (and Kerberos' libraries): "
            "pip install gssapi"
        )
