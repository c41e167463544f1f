"""What the settings of senders refuse, hide and default to."""

from __future__ import annotations

import pytest

from orchestrator.errors import SettingsError
from orchestrator.settings import load_settings
from orchestrator.sinks.senders.google import Account
from orchestrator.sinks.senders.sigv4 import Credentials


def load(**section):
    return load_settings(env={}, flags={"deliver": {"out": section}})


def test_settings_are_checked():
    with pytest.raises(SettingsError, match="https only"):
        load(sender="sendgrid", api_key="k", from_address="a@b.c", url="http://api.example.com")
    with pytest.raises(SettingsError, match="messaging_service_sid"):
        load(sender="twilio", account_sid="AC1", auth_token="t")
    with pytest.raises(SettingsError, match="api_key"):
        load(sender="sendgrid", from_address="a@b.c")


def test_secrets_are_masked():
    settings = load(sender="twilio", account_sid="AC1", auth_token="PLAIN", from_number="+1")
    assert "PLAIN" not in repr(settings)
    assert repr(Credentials("AKID", "PLAIN", "PLAIN")) == "Credentials('AKID', ***)"
    assert "PLAIN" not in repr(Account(project_id="p", client_email="a@b", private_key="PLAIN"))
    assert "AC1" in repr(settings)


def test_who_does_not_fold_repetitions_gives_up_by_default():
    settings = load_settings(
        env={},
        flags={
            "deliver": {
                "mail": {"sender": "smtp"},
                "sms": {
                    "sender": "twilio",
                    "account_sid": "A",
                    "auth_token": "t",
                    "from_number": "+1",
                },
            }
        },
    )
    assert settings.deliver["mail"].on_unknown == "resend"
    assert settings.deliver["sms"].on_unknown == "give_up"
