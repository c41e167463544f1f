"""The log-in of librdkafka's properties, said to aiokafka: TLS, SASL, tokens.

What cannot be said is refused by name: a property that is silently left out here would be a worker
that checks less than the operator asked for. PLAIN, SCRAM and TLS with client certificates are
proven on real brokers (tests/kafka/test_security.py); OAUTHBEARER and GSSAPI by unit tests of this
translation alone.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from orchestrator.errors import SettingsError
from orchestrator.kafka.clients import revealed
from orchestrator.kafka.keys import KeyMaterial, load_into
from orchestrator.kafka.tokens import ClientCredentials

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.settings import Settings

PASSWORDS: Final = frozenset({"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"})
UNTRANSLATED: Final[Mapping[str, str]] = {
    "ssl.engine.location": "use ssl.certificate.location and ssl.key.location",
    "ssl.engine.id": "use ssl.certificate.location and ssl.key.location",
    "ssl.providers": "set OpenSSL up by its own configuration file",
    "ssl.curves.list": "remove it: the defaults of OpenSSL apply",
    "ssl.sigalgs.list": "remove it: the defaults of OpenSSL apply",
    "ssl.ca.certificate.stores": "use ssl.ca.location",
    "sasl.oauthbearer.config": "set sasl.oauthbearer.method to oidc",
    "enable.sasl.oauthbearer.unsecure.jwt": "set sasl.oauthbearer.method to oidc",
    "sasl.kerberos.keytab": "name the keytab in the environment: KRB5_CLIENT_KTNAME",
    "sasl.kerberos.kinit.cmd": "name the keytab in the environment: KRB5_CLIENT_KTNAME",
}
"""Properties that the worker's client cannot be told, and what to do instead."""


def aiokafka_credentials(settings: Settings) -> dict[str, Any]:
    """Return the keyword arguments by which aiokafka's clients log in as librdkafka's do.

    ``sasl_oauth_token_provider`` is a ``ClientCredentials``, which the engine wraps for aiokafka.

    Raises:
        SettingsError: The set-up is one that aiokafka cannot be told, or a file cannot be read.
    """
    given = revealed(settings.kafka)
    protocol = str(given.get("security.protocol", "plaintext")).upper()
    credentials: dict[str, Any] = {"security_protocol": protocol}
    if protocol != "PLAINTEXT":
        _refuse_untranslated(given)
    if protocol in {"SSL", "SASL_SSL"}:
        credentials["ssl_context"] = tls_context(given)
    if protocol.startswith("SASL_"):
        # librdkafka takes both spellings, the plural as a list of one.
        said = given.get("sasl.mechanism", given.get("sasl.mechanisms", "GSSAPI"))
        credentials |= _sasl(str(said).upper(), given)
    return credentials


def _sasl(mechanism: str, given: Mapping[str, Any]) -> dict[str, Any]:
    if mechanism in PASSWORDS:
        for name in ("sasl.username", "sasl.password"):
            if not given.get(name):
                raise SettingsError(f"kafka.{name} is missing; {mechanism} needs it")
        return {
            "sasl_mechanism": mechanism,
            "sasl_plain_username": given["sasl.username"],
            "sasl_plain_password": given["sasl.password"],
        }
    if mechanism == "OAUTHBEARER":
        return {"sasl_mechanism": mechanism, "sasl_oauth_token_provider": _token_source(given)}
    if mechanism == "GSSAPI":
        return {
            "sasl_mechanism": mechanism,
            "sasl_kerberos_service_name": given.get("sasl.kerberos.service.name", "kafka"),
        }
    raise SettingsError(
        f"kafka.sasl.mechanism: {mechanism}: the worker speaks PLAIN, SCRAM-SHA-256, "
        "SCRAM-SHA-512, OAUTHBEARER and GSSAPI"
    )


def _token_source(given: Mapping[str, Any]) -> ClientCredentials:
    prefix = "sasl.oauthbearer."
    if str(given.get(f"{prefix}method", "default")).lower() != "oidc":
        raise SettingsError(f"kafka.{prefix}method: set it to oidc: roles fetch their own tokens")
    grant = str(given.get(f"{prefix}grant.type", "client_credentials")).lower()
    if grant != "client_credentials":
        raise SettingsError(f"kafka.{prefix}grant.type: {grant}: only client_credentials is known")
    # Newer versions of librdkafka have a second spelling for two of them.
    client = given.get(f"{prefix}client.id", given.get(f"{prefix}client.credentials.client.id"))
    secret = given.get(
        f"{prefix}client.secret", given.get(f"{prefix}client.credentials.client.secret")
    )
    url = given.get(f"{prefix}token.endpoint.url")
    wanted = {"token.endpoint.url": url, "client.id": client, "client.secret": secret}
    if missing := [name for name, value in wanted.items() if not value]:
        raise SettingsError(f"kafka.{prefix}{missing[0]} is missing; OAUTHBEARER needs it")
    return ClientCredentials(
        str(url),
        str(client),
        str(secret),
        scope=str(given.get(f"{prefix}scope", "")),
        extensions=_pairs(str(given.get(f"{prefix}extensions", ""))),
        tls=_trust(given.get("https.ca.location"), given.get("https.ca.pem")),
    )


def _pairs(text: str) -> dict[str, str]:
    """``a=1,b=2``, as librdkafka writes extensions."""
    pairs = (pair.partition("=") for pair in text.split(",") if pair)
    return {name.strip(): value for name, _, value in pairs}


def _refuse_untranslated(given: Mapping[str, Any]) -> None:
    for name, remedy in UNTRANSLATED.items():
        # Off, or librdkafka's own default, asks for nothing.
        if str(given.get(name, "")).lower() not in {"", "false", "dynamic"}:
            raise SettingsError(f"kafka.{name}: the worker cannot be told it; {remedy}")


# -------------------------------------------------------------------------------------- TLS


def tls_context(given: Mapping[str, Any]) -> ssl.SSLContext:
    """Return the TLS set-up of librdkafka's ``ssl.*`` properties.

    Raises:
        SettingsError: A file cannot be read, or does not hold what it should.
    """
    context = _trust(given.get("ssl.ca.location"), given.get("ssl.ca.pem"))
    try:
        load_into(
            context,
            KeyMaterial(
                certificate_location=given.get("ssl.certificate.location"),
                certificate_pem=given.get("ssl.certificate.pem"),
                key_location=given.get("ssl.key.location"),
                key_pem=given.get("ssl.key.pem"),
                key_password=given.get("ssl.key.password"),
                keystore_location=given.get("ssl.keystore.location"),
                keystore_password=given.get("ssl.keystore.password"),
            ),
        )
        if ciphers := given.get("ssl.cipher.suites"):
            context.set_ciphers(str(ciphers))
        if revoked := given.get("ssl.crl.location"):
            context.load_verify_locations(cafile=str(revoked))
            context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
    except (OSError, ValueError, TypeError) as error:  # ssl.SSLError is an OSError
        raise SettingsError(f"kafka.ssl: a certificate or key cannot be used: {error}") from error
    if str(given.get("ssl.endpoint.identification.algorithm", "https")).lower() == "none":
        context.check_hostname = False
    if str(given.get("enable.ssl.certificate.verification", "true")).lower() == "false":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _trust(location: object, pem: object) -> ssl.SSLContext:
    """``probe`` means the system's own authorities, which are the default here."""
    path = None if location is None or location == "probe" else str(location)
    folder = path is not None and Path(path).is_dir()
    try:
        return ssl.create_default_context(
            cafile=None if folder else path,
            capath=path if folder else None,
            cadata=None if pem is None else str(pem),
        )
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"kafka: trusted certificates cannot be read: {error}") from error
