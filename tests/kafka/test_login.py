"""The operator's log-in, said to the worker's client: TLS, passwords, tokens; or refused by name.

What runs against real brokers is in test_security.py. OAUTHBEARER and GSSAPI are proven here alone.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs

import pytest
from aiokafka.errors import KafkaConnectionError
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509 import load_pem_x509_certificate

from orchestrator.engine.faust_login import Tokens, faust_credentials
from orchestrator.errors import AccessRefused, SettingsError, UnavailableError
from orchestrator.kafka.login import UNTRANSLATED, aiokafka_credentials
from orchestrator.kafka.tokens import ClientCredentials
from orchestrator.settings import Settings, load_settings
from orchestrator.testing.certificates import Authority

OIDC = {
    "security.protocol": "SASL_SSL",
    "sasl.mechanism": "OAUTHBEARER",
    "sasl.oauthbearer.method": "oidc",
    "sasl.oauthbearer.client.id": "orchestrator",
    "sasl.oauthbearer.client.secret": "hush hush",
    "sasl.oauthbearer.token.endpoint.url": "https://login.example.com/token",
}


def kafka(properties: dict[str, object] | None = None, **named: object) -> Settings:
    given = {name.replace("_", "."): value for name, value in named.items()}
    return Settings(kafka={**(properties or {}), **given})


def faust_of(settings: Settings):
    return faust_credentials(aiokafka_credentials(settings))


# ------------------------------------------------------------------------------------ SASL


def test_without_security_there_is_nothing_to_say():
    assert aiokafka_credentials(kafka()) == {"security_protocol": "PLAINTEXT"}
    assert faust_of(kafka()) is None


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
@pytest.mark.parametrize("name", ["sasl.mechanism", "sasl.mechanisms"])
@pytest.mark.parametrize("protocol", ["sasl_plaintext", "sasl_ssl"])
def test_passwords(mechanism, name, protocol):
    settings = kafka(
        security_protocol=protocol, sasl_username="me", sasl_password="hush", **{name: mechanism}
    )
    given = aiokafka_credentials(settings)
    context = given.pop("ssl_context", None)
    assert (context is not None) == (protocol == "sasl_ssl")
    assert given == {
        "security_protocol": protocol.upper(),
        "sasl_mechanism": mechanism,
        "sasl_plain_username": "me",
        "sasl_plain_password": "hush",
    }
    told = faust_of(settings)
    assert (told.protocol.value, told.mechanism.value) == (protocol.upper(), mechanism)
    assert (told.username, told.password) == ("me", "hush")
    assert "hush" not in repr(told)


@pytest.mark.parametrize("missing", ["sasl.username", "sasl.password"])
def test_a_half_log_in_is_refused(missing):
    given = {"sasl.username": "me", "sasl.password": "hush"}
    del given[missing]
    settings = kafka(given, security_protocol="SASL_SSL", sasl_mechanism="PLAIN")
    with pytest.raises(SettingsError, match=missing):
        aiokafka_credentials(settings)


def test_a_mechanism_that_the_worker_does_not_speak_is_refused_by_name():
    settings = kafka(security_protocol="SASL_SSL", sasl_mechanism="AWS_MSK_IAM")
    with pytest.raises(SettingsError, match="AWS_MSK_IAM"):
        aiokafka_credentials(settings)


def test_kerberos_takes_the_service_name_and_needs_its_library(monkeypatch):
    """By unit test alone: no Kerberos runs here."""
    settings = kafka(security_protocol="SASL_PLAINTEXT", sasl_mechanism="GSSAPI")
    assert aiokafka_credentials(settings)["sasl_kerberos_service_name"] == "kafka"
    settings = kafka(security_protocol="SASL_PLAINTEXT", sasl_kerberos_service_name="broker")
    with pytest.raises(SettingsError, match="pip install gssapi"):
        faust_of(settings)  # GSSAPI is librdkafka's default mechanism
    monkeypatch.setattr("orchestrator.engine.faust_login.find_spec", lambda _: object())
    told = faust_of(settings)
    assert (told.kerberos_service_name, told.mechanism.value) == ("broker", "GSSAPI")
    assert told.protocol.value == "SASL_PLAINTEXT"


def test_a_librdkafka_without_kerberos_says_so_when_settings_are_read():
    flags = {"kafka.security.protocol": "SASL_SSL", "kafka.sasl.mechanism": "GSSAPI"}
    with pytest.raises(SettingsError, match="GSSAPI"):
        load_settings(env={}, flags=flags)


@pytest.mark.parametrize("name", sorted(UNTRANSLATED))
def test_what_the_worker_cannot_be_told_is_refused_with_a_remedy(name):
    """Left out silently it would be a worker that checks less than it was asked to."""
    settings = kafka({name: "true"}, security_protocol="SSL")
    with pytest.raises(SettingsError, match=UNTRANSLATED[name][:20]):
        aiokafka_credentials(settings)


# ------------------------------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def identity(authority):
    return authority.issue("worker")


def trusting(authority, **more) -> Settings:
    return kafka(security_protocol="SSL", ssl_ca_location=str(authority.file), **more)


def shaken(authority, context: ssl.SSLContext) -> str:
    """Shake hands in memory with a server that asks for certificates; return the name it saw."""
    server_side = authority.server_context(authority.issue("server"), ask_clients=True)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(to_client, to_server, server_hostname="localhost")
    server = server_side.wrap_bio(to_server, to_client, server_side=True)
    pending = [client, server, client, server]
    for side in pending:
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    seen = dict(pair[0] for pair in server.getpeercert()["subject"])
    return seen["commonName"]


def sealed(identity, password: bytes) -> str:
    """The identity's key, encrypted."""
    key = serialization.load_pem_private_key(identity.key.read_bytes(), None)
    form = serialization.PrivateFormat.PKCS8
    seal = serialization.BestAvailableEncryption(password)
    return key.private_bytes(serialization.Encoding.PEM, form, seal).decode()


def store(identity, password: bytes) -> bytes:
    """The identity as a PKCS#12 store."""
    key = serialization.load_pem_private_key(identity.key.read_bytes(), None)
    certificate = load_pem_x509_certificate(identity.certificate.read_bytes())
    seal = serialization.BestAvailableEncryption(password)
    return pkcs12.serialize_key_and_certificates(b"worker", key, certificate, None, seal)


@pytest.mark.parametrize("form", ["files", "bundle", "texts", "sealed", "store", "mixed"])
def test_a_client_certificate_in_every_form(authority, identity, tmp_path, form):
    """Each reaches a server that lets nobody in without one."""
    keystore = tmp_path / "worker.p12"
    keystore.write_bytes(store(identity, b"hush"))
    forms = {
        "files": {
            "ssl_certificate_location": str(identity.certificate),
            "ssl_key_location": str(identity.key),
        },
        "bundle": {"ssl_certificate_location": str(identity.bundle)},
        "texts": {
            "ssl_certificate_pem": identity.certificate.read_text(),
            "ssl_key_pem": identity.key.read_text(),
        },
        "sealed": {
            "ssl_certificate_pem": identity.certificate.read_text(),
            "ssl_key_pem": sealed(identity, b"hush"),
            "ssl_key_password": "hush",
        },
        "store": {"ssl_keystore_location": str(keystore), "ssl_keystore_password": "hush"},
        "mixed": {
            "ssl_certificate_location": str(identity.certificate),
            "ssl_key_pem": identity.key.read_text(),
        },
    }
    settings = trusting(authority, **forms[form])
    context = aiokafka_credentials(settings)["ssl_context"]
    assert shaken(authority, context) == "worker"
    assert faust_of(settings).context.verify_mode is ssl.CERT_REQUIRED


def test_tls_verifies_unless_told_otherwise():
    """The same defaults as librdkafka's: certificate and host name."""
    context = aiokafka_credentials(kafka(security_protocol="SSL"))["ssl_context"]
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname is True
    settings = kafka(security_protocol="SSL", ssl_endpoint_identification_algorithm="none")
    context = aiokafka_credentials(settings)["ssl_context"]
    assert (context.check_hostname, context.verify_mode) == (False, ssl.CERT_REQUIRED)
    settings = kafka(security_protocol="SSL", enable_ssl_certificate_verification=False)
    context = aiokafka_credentials(settings)["ssl_context"]
    assert (context.check_hostname, context.verify_mode) == (False, ssl.CERT_NONE)


def test_authorities_may_come_as_text_or_be_probed_for(authority):
    pem = kafka(security_protocol="SSL", ssl_ca_pem=authority.file.read_text())
    (own,) = aiokafka_credentials(pem)["ssl_context"].get_ca_certs()
    assert own["subject"] == ((("commonName", "test authority"),),)
    assert aiokafka_credentials(kafka(security_protocol="SSL", ssl_ca_location="probe"))


def test_tls_that_cannot_be_set_up_is_a_matter_of_settings(authority, identity, tmp_path):
    missing = str(tmp_path / "missing.pem")
    locked = tmp_path / "locked.key"
    locked.write_text(sealed(identity, b"hush"))
    keystore = tmp_path / "worker.p12"
    keystore.write_bytes(store(identity, b"hush"))
    other = authority.issue("other")
    for properties in (
        {"ssl_ca_location": missing},
        {"ssl_certificate_location": missing},
        {"ssl_certificate_location": str(identity.certificate), "ssl_key_location": str(locked)},
        {"ssl_certificate_location": str(identity.certificate), "ssl_key_location": str(other.key)},
        {"ssl_key_pem": identity.key.read_text()},
        {"ssl_certificate_pem": "nonsense", "ssl_key_pem": "nonsense"},
        {"ssl_cipher_suites": "nonsense"},
        {"ssl_crl_location": missing},
        {"ssl_keystore_location": missing},
        {"ssl_keystore_location": str(keystore), "ssl_keystore_password": "wrong"},
    ):
        with pytest.raises(SettingsError, match="kafka") as caught:
            aiokafka_credentials(kafka(security_protocol="SSL", **properties))
        assert "PRIVATE KEY" not in str(caught.value)


# ------------------------------------------------------------------------------ OAUTHBEARER


class Endpoint(HTTPServer):
    """A token endpoint: counts tokens, or answers as it is told to."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[tuple[str, dict[str, list[str]]]] = []
        self.answer: tuple[int, bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/token"


class _Handler(BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        pair = base64.b64decode(self.headers["Authorization"].removeprefix("Basic ")).decode()
        self.server.asked.append((pair, parse_qs(body)))
        token = {"access_token": f"token-{len(self.server.asked)}", "expires_in": 100}
        status, text = self.server.answer or (200, json.dumps(token).encode())
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def endpoint():
    with Endpoint() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_token_is_fetched_once_and_renewed_before_its_end(endpoint):
    now = 0.0
    source = ClientCredentials(
        endpoint.url, "me:you", "hush hush", scope="kafka", clock=lambda: now
    )
    assert source.token() == source.token() == "token-1"
    now = 79.0
    assert source.token() == "token-1"
    now = 80.0
    assert source.token() == "token-2"
    pair, form = endpoint.asked[0]
    assert pair == "me%3Ayou:hush%20hush"  # RFC 6749, 2.3.1
    assert form == {"grant_type": ["client_credentials"], "scope": ["kafka"]}


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((401, b'{"error": "invalid_client"}'), AccessRefused),
        ((400, b"hush hush?"), AccessRefused),
        ((503, b""), UnavailableError),
        ((429, b""), UnavailableError),
        ((200, b"<html>"), UnavailableError),
        ((200, b"{}"), UnavailableError),
    ],
)
def test_refused_or_away_are_told_apart_and_nothing_is_told_on(endpoint, answer, error):
    endpoint.answer = answer
    source = ClientCredentials(endpoint.url, "me", "hush hush")
    with pytest.raises(error, match=r"token endpoint at 127\.0\.0\.1/token") as caught:
        source.token()
    assert "hush" not in str(caught.value)


def test_an_endpoint_that_is_away_is_a_failed_connection_to_aiokafka(endpoint):
    """Any other error than its own would end the worker."""
    endpoint.answer = (503, b"")
    tokens = Tokens(ClientCredentials(endpoint.url, "me", "hush"))
    with pytest.raises(KafkaConnectionError, match="cannot answer now"):
        asyncio.run(tokens.token())
    endpoint.answer = None
    assert asyncio.run(tokens.token()) == "token-2"


def test_oidc_is_translated_for_the_worker():
    """By unit test alone: no identity provider runs here."""
    settings = kafka({**OIDC, "sasl.oauthbearer.extensions": "logicalCluster=lkc-1,pool=p"})
    told = faust_of(settings)
    assert (told.protocol.value, told.mechanism.value) == ("SASL_SSL", "OAUTHBEARER")
    assert isinstance(told.oauth_cb, Tokens)
    assert told.oauth_cb.extensions() == {"logicalCluster": "lkc-1", "pool": "p"}
    assert "hush" not in repr(settings) + repr(told) + repr(vars(told.oauth_cb))


def test_reading_settings_asks_no_token_endpoint(endpoint):
    """librdkafka fetches a token as soon as a client is made, and settings are checked by one."""  # noqa: D403 - its name
    given = OIDC | {"sasl.oauthbearer.token.endpoint.url": endpoint.url}
    settings = load_settings(env={}, flags={f"kafka.{k}": v for k, v in given.items()})
    assert settings.kafka["sasl.oauthbearer.token.endpoint.url"] == endpoint.url
    assert endpoint.asked == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"sasl.oauthbearer.method": "default"}, "method"),
        ({"sasl.oauthbearer.client.secret": ""}, "client.secret is missing"),
        ({"sasl.oauthbearer.token.endpoint.url": ""}, "token.endpoint.url is missing"),
        ({"sasl.oauthbearer.token.endpoint.url": "file:///etc/passwd"}, "https://"),
        ({"sasl.oauthbearer.grant.type": "jwt-bearer"}, "jwt-bearer"),
    ],
)
def test_oidc_that_is_incomplete_is_refused_by_name(change, named):
    with pytest.raises(SettingsError, match=named):
        aiokafka_credentials(kafka({**OIDC, **change}))
