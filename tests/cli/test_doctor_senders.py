"""``doctor``: whether each channel's sender can work, before the first message finds out."""

from __future__ import annotations

import socket

from orchestrator.cli.doctor._checks import Verdict
from orchestrator.cli.doctor._senders import place_of, senders
from orchestrator.settings import load_settings


def checks(**channels):
    settings = load_settings(env={}, flags={"deliver": channels})
    return {one.name: one for one in senders(settings)}, settings


def test_a_secret_that_cannot_be_used_is_a_finding():
    found, _ = checks(
        push={"sender": "fcm", "service_account": "{}"},
        partner={"sender": "webhook", "secret": "plain"},
        sales={"sender": "log"},
    )
    assert {name: one.verdict for name, one in found.items()} == {
        "sender partner": Verdict.FINDING,
        "sender push": Verdict.FINDING,
        "sender sales": Verdict.OK,
    }
    assert "service_account" in found["sender push"].detail
    assert found["sender push"].remedy == "mend deliver.push in the settings"


def test_a_provider_that_cannot_be_reached_is_a_note():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        found, _ = checks(email={"sender": "smtp", "port": port})
        assert found["sender email"].verdict is Verdict.OK
        assert "on_unknown: resend" in found["sender email"].detail
    found, _ = checks(email={"sender": "smtp", "port": port})
    assert found["sender email"].verdict is Verdict.NOTE
    assert f"127.0.0.1:{port}" in found["sender email"].detail


def test_where_a_provider_is():
    _, settings = checks(
        a={
            "sender": "ses",
            "region": "eu-west-1",
            "access_key_id": "A",
            "secret_access_key": "s",
            "from_address": "a@b.c",
        },
        b={"sender": "slack", "token": "x"},
        c={"sender": "webhook", "secret": "whsec_AAAA", "url": "https://x.example:8443/in"},
        d={"sender": "inapp"},
    )
    assert [place_of(settings.deliver[name]) for name in "abcd"] == [
        ("email.eu-west-1.amazonaws.com", 443),
        ("slack.com", 443),
        ("x.example", 8443),
        None,
    ]
