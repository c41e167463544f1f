"""Logging in at a registry: basic, bearer, client certificate; refused is "unavailable" and says why."""

from __future__ import annotations

import logging
import threading
import traceback
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from cryptography.hazmat.primitives import serialization

from orchestrator import cli
from orchestrator.codec import RegistryClient, open_codec
from orchestrator.errors import CouldNotRun, RegistryUnavailable, SettingsError
from orchestrator.settings import load_settings
from orchestrator.testing.certificates import Authority
from orchestrator.testing.registry import Registry

TOPICS = {"t.events": "events"}
SECRET = "hush-hush"


def settings(registry, **given: str):
    flags = {"registry.url": registry.url, "registry.auto_register": "true"}
    return load_settings(env={}, flags=flags | {f"registry.{k}": v for k, v in given.items()})


def log_in(registry, **given: str) -> None:
    """As every role does at its start."""
    open_codec(settings(registry, **given)).prepare(TOPICS)


def refused(registry, **given: str) -> str:
    """The text of the refusal; no secret in it, nor in its traceback."""
    with pytest.raises(RegistryUnavailable) as caught:
        log_in(registry, **given)
    told = "".join(traceback.format_exception(caught.value, chain=True))
    assert SECRET not in told
    return str(caught.value)


def test_basic():
    with Registry(credentials=("app", SECRET)) as locked:
        log_in(locked, username="app", password=SECRET)
        for wrong in (
            {"username": "app", "password": f"{SECRET}!"},
            {"username": "other", "password": SECRET},
            {"token": SECRET},
            {},
        ):
            text = refused(locked, **wrong)
            assert "refuses our credentials (HTTP 401): see the registry section" in text


def test_bearer():
    with Registry(token=SECRET) as locked:
        log_in(locked, token=SECRET)
        for wrong in ({"token": f"{SECRET}!"}, {"username": "app", "password": SECRET}, {}):
            assert "refuses our credentials (HTTP 401)" in refused(locked, **wrong)


def test_one_log_in_at_a_time(own_registry):
    with pytest.raises(SettingsError, match="not both"):
        settings(own_registry, username="app", password="x", token="y")


def test_a_token_with_a_line_break_is_refused_without_quoting_it():
    """Python's HTTP client would name it in its error."""
    with pytest.raises(CouldNotRun, match=r"registry\.token") as caught:
        RegistryClient("http://127.0.0.1:1", token=f"{SECRET}\nnext")
    assert SECRET not in str(caught.value)


@pytest.fixture
def own_registry():
    with Registry() as running:
        yield running


# ----------------------------------------------------------------------------- certificates


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def secure(authority):
    """A registry that lets in only those with a certificate of ours."""
    context = authority.server_context(authority.issue("registry"), ask_clients=True)
    with Registry(tls=context) as running:
        yield running


def test_client_certificates(authority, secure, tmp_path):
    own = authority.issue("orchestrator")
    trust = {"ca_location": str(authority.file)}
    ours = {"certificate_location": str(own.certificate), "key_location": str(own.key)}
    log_in(secure, **trust, **ours)
    stranger = Authority(tmp_path / "elsewhere").issue("orchestrator")
    theirs = {
        "certificate_location": str(stranger.certificate),
        "key_location": str(stranger.key),
    }
    for wrong in (trust, trust | theirs, ours):
        text = refused(secure, **wrong)
        # TLS 1.3 servers refuse after the handshake: with an alert, or by hanging up.
        assert "no TLS with the schema registry" in text or "client certificates" in text
        assert "registry.certificate_location" in text


def test_a_key_may_be_encrypted(authority, secure, tmp_path):
    own = authority.issue("orchestrator")
    key = serialization.load_pem_private_key(own.key.read_bytes(), None)
    sealed = tmp_path / "sealed.key"
    form = serialization.PrivateFormat.PKCS8
    seal = serialization.BestAvailableEncryption(SECRET.encode())
    sealed.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, seal))
    ours = {
        "ca_location": str(authority.file),
        "certificate_location": str(own.certificate),
        "key_location": str(sealed),
    }
    log_in(secure, **ours, key_password=SECRET)
    for wrong in ({}, {"key_password": "wrong"}):
        with pytest.raises(SettingsError, match="registry"):
            log_in(secure, **ours, **wrong)


def test_files_that_are_missing_are_a_matter_of_settings(secure, tmp_path):
    with pytest.raises(SettingsError, match="registry"):
        log_in(secure, ca_location=str(tmp_path / "gone.pem"))


# ---------------------------------------------------------------------------------- secrets


class _Elsewhere(BaseHTTPRequestHandler):
    """Points to another server, which would see what is sent along."""

    def do_GET(self) -> None:
        self.send_response(302)
        self.send_header("Location", self.server.target)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


def test_credentials_are_not_taken_along_to_another_address(own_registry):
    with HTTPServer(("127.0.0.1", 0), _Elsewhere) as server:
        server.target = f"{own_registry.url}/subjects"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            client = RegistryClient(f"http://127.0.0.1:{server.server_port}", token=SECRET)
            with pytest.raises(RegistryUnavailable, match="points elsewhere"):
                client.check()
        finally:
            server.shutdown()
            thread.join()
    assert own_registry.requests == []


def test_secrets_are_in_no_text(monkeypatch, capsys, caplog):
    """Settings, clients, `settings show` and the log of a refused start."""
    caplog.set_level(logging.DEBUG)
    with Registry(token="another") as locked:
        given = settings(locked, token=SECRET)
        codec = open_codec(given)
        with pytest.raises(RegistryUnavailable) as caught:
            codec.prepare(TOPICS)
        logging.getLogger("test").error("refused", exc_info=caught.value)
        monkeypatch.setenv("ORCHESTRATOR_REGISTRY__TOKEN", SECRET)
        assert cli.run(["--set", f"registry.url={locked.url}", "settings", "show"]) == 0
    shown = capsys.readouterr()
    everything = [repr(given), str(given), repr(given.registry), repr(codec), shown.out, shown.err]
    assert "***" in shown.out
    assert not any(SECRET in text for text in [*everything, caplog.text])
