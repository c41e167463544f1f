"""Settings: three layers, nothing unknown, nothing secret shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import SettingsError
from orchestrator.sender_settings import SmtpSender
from orchestrator.settings import (
    Secret,
    Settings,
    Topics,
    json_schema,
    load_settings,
    shown,
)

SCHEMA = Path(__file__).parents[1] / "schemas" / "json" / "settings.schema.json"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """No orchestrator.yaml lies in the working directory, unless a test puts one there."""
    monkeypatch.chdir(tmp_path)


def write(text: str) -> Path:
    path = Path("orchestrator.yaml")
    path.write_text(text, encoding="utf-8")
    return path


def refusal(**layers) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(**{"env": {}, **layers})
    return str(caught.value)


def test_without_anything_the_defaults_are_those_of_production():
    settings = load_settings(env={})
    assert settings == Settings()
    assert settings.topics.partitions == 8
    assert settings.topics.replication_factor == 3
    assert settings.registry.auto_register is False
    assert settings.kafka == {"bootstrap.servers": "127.0.0.1:9092"}


def test_flags_win_over_environment_over_file():
    write("topics: {prefix: file, partitions: 2, replication_factor: 2}")
    settings = load_settings(
        env={"ORCHESTRATOR_TOPICS__PREFIX": "env", "ORCHESTRATOR_TOPICS__PARTITIONS": "3"},
        flags={"topics.prefix": "flag"},
    )
    assert (settings.topics.prefix, settings.topics.partitions) == ("flag", 3)
    assert settings.topics.replication_factor == 2


def test_dev_lowers_defaults_and_never_what_was_given():
    settings = load_settings(
        env={"ORCHESTRATOR_DEV": "true", "ORCHESTRATOR_TOPICS__PARTITIONS": "6"}
    )
    assert settings.topics.partitions == 6
    assert settings.topics.replication_factor == 1
    assert settings.registry.auto_register is True


def test_the_log_clock_has_its_own_topics_and_state():
    """Two clock modes beside each other never share a topic, a group or a changelog."""
    settings = load_settings(env={}, flags={"clock.mode": "log"})
    assert settings.topics.prefix == settings.app.id == "journey-log"
    assert load_settings(env={}).app.id == "journey"


def test_the_app_is_named_after_its_topics_unless_named_itself():
    assert Settings(topics=Topics(prefix="x")).app.id == "x"
    assert load_settings(env={"ORCHESTRATOR_APP__ID": "y"}).app.id == "y"


def test_an_unknown_key_is_refused_with_its_place_and_the_nearest_name():
    path = write("topics:\n  prefix: a\n  partitionz: 3\n")
    assert refusal() == f"{path}:3:3: unknown key topics.partitionz; did you mean partitions?"
    path.unlink()
    assert refusal(env={"ORCHESTRATOR_WROKER__SLOT": "1"}) == (
        "ORCHESTRATOR_WROKER__SLOT: unknown key wroker; did you mean worker?"
    )
    assert refusal(flags={"clock.mod": "log"}) == (
        "--set clock.mod: unknown key clock.mod; did you mean mode?"
    )


def test_an_unknown_key_of_a_channel_is_refused():
    write("deliver:\n  email: {sender: smtp, hots: mail.example.com}\n")
    assert "unknown key deliver.email.hots; did you mean host?" in refusal()


def test_a_key_of_another_sender_is_refused():
    write("deliver:\n  feed: {sender: inapp, port: 25}\n")
    assert "port" in refusal()


def test_a_wrong_value_is_refused_with_its_place():
    path = write("worker:\n  web_port: many\n")
    assert refusal() == f"{path}:2:3: worker.web_port: expected `int`, got `str`"
    write("clock: {mode: wall}")
    assert "clock.mode: invalid enum value 'wall'" in refusal()
    write("worker: 5")
    assert "worker" in refusal()
    write("log: {level: {a: b}}")
    assert "log.level takes a value, not a mapping" in refusal()


def test_a_key_given_twice_is_refused():
    path = write("worker: {slot: 1}\nworker: {slot: 2}\n")
    assert refusal() == f"{path}:2:1: worker is given twice"


@pytest.mark.parametrize("text", ["- a", "just words", "a: [", "\tx: 1"])
def test_a_file_that_is_no_mapping_is_refused(text):
    path = write(text)
    assert str(path) in refusal()


def test_an_empty_file_is_fine():
    write("# nothing yet\n")
    assert load_settings(env={}) == Settings()


def test_a_named_file_must_exist():
    assert "cannot be read" in refusal(path="missing.yaml")
    assert "cannot be read" in refusal(env={"ORCHESTRATOR_SETTINGS": "missing.yaml"})


def test_the_environment_may_name_the_file():
    Path("other.yaml").write_text("worker: {slot: 7}", encoding="utf-8")
    assert load_settings(env={"ORCHESTRATOR_SETTINGS": "other.yaml"}).worker.slot == 7


def test_lists_and_mappings_in_the_environment():
    settings = load_settings(
        env={
            "ORCHESTRATOR_TOPICS__CHANNELS": "push, email",
            "ORCHESTRATOR_TOPICS__CONFIG": '{"events": {"retention.ms": 5}}',
            "ORCHESTRATOR_COLLECTOR__CORS_ORIGINS": '["https://a.example"]',
            "ORCHESTRATOR_DELIVER__EMAIL__SENDER": "smtp",
            "ORCHESTRATOR_DELIVER__EMAIL__PORT": "2525",
        }
    )
    assert settings.channels == ("email", "push")
    assert settings.topics.config == {"events": {"retention.ms": 5}}
    assert settings.collector.cors_origins == ["https://a.example"]
    assert settings.deliver["email"] == SmtpSender(port=2525)
    assert "not JSON or YAML" in refusal(env={"ORCHESTRATOR_TOPICS__CONFIG": "{"})


# ------------------------------------------------------------------------------------ kafka


def test_librdkafka_names_in_file_and_environment():
    write("kafka: {bootstrap.servers: 'a:1,b:2', linger.ms: 20}")
    settings = load_settings(
        env={"ORCHESTRATOR_KAFKA__SECURITY_PROTOCOL": "SSL", "ORCHESTRATOR_KAFKA__LOG_LEVEL": "3"},
        flags={"kafka.client.id": "me"},
    )
    assert settings.kafka == {
        "bootstrap.servers": "a:1,b:2",
        "linger.ms": 20,
        "security.protocol": "SSL",
        "log_level": "3",
        "client.id": "me",
    }


def test_an_unknown_librdkafka_property_is_refused():
    path = write("kafka:\n  bootstrap.severs: a:1\n")
    assert refusal() == (
        f"{path}:2:3: kafka.bootstrap.severs: no such librdkafka property; "
        "did you mean bootstrap.servers?"
    )
    path.unlink()
    assert "kafka.no.such: no such" in refusal(env={"ORCHESTRATOR_KAFKA__NO_SUCH": "1"})


def test_a_rare_librdkafka_property_is_known():
    """The list of names to suggest from is not the list of names that are allowed."""
    write("kafka: {enable.metrics.push: false, topic.blacklist: '^x'}")
    assert load_settings(env={}).kafka["topic.blacklist"] == "^x"


def test_a_wrong_value_of_librdkafka_is_refused_in_its_words():
    write("kafka: {linger.ms: soon}")
    assert "Invalid value for configuration property" in refusal()


@pytest.mark.parametrize("name", ["partitioner", "isolation.level", "group.id", "acks"])
def test_what_carries_a_promise_is_not_the_operators(name):
    write(f"kafka: {{{name}: x}}")
    assert f"kafka.{name} is set by the roles themselves" in refusal()


# ---------------------------------------------------------------------------------- secrets


def test_secrets_from_mounted_files():
    Path("password").write_text("s3cret\n", encoding="utf-8")
    settings = load_settings(
        env={
            "ORCHESTRATOR_KAFKA__SASL_PASSWORD_FILE": "password",
            "ORCHESTRATOR_REGISTRY__PASSWORD_FILE": "password",
        }
    )
    assert settings.kafka["sasl.password"].reveal() == "s3cret"
    assert settings.registry.password is not None
    assert settings.registry.password.reveal() == "s3cret"
    assert "No such file" in refusal(env={"ORCHESTRATOR_REGISTRY__PASSWORD_FILE": "gone"})


def test_a_property_whose_own_name_ends_in_file_is_not_read():
    """The client has such names; the value is a path, and stays one."""
    name = "sasl.oauthbearer.assertion.private.key.file"
    variable = "ORCHESTRATOR_KAFKA__SASL_OAUTHBEARER_ASSERTION_PRIVATE_KEY_FILE"
    assert load_settings(env={variable: "/etc/key"}).kafka[name] == "/etc/key"


SECRETS = """
kafka: {sasl.username: me, sasl.password: PLAINTEXT, ssl.key.password: PLAINTEXT}
registry: {password: PLAINTEXT, token: PLAINTEXT}
collector:
  inbox_secret: PLAINTEXT
  write_keys: {PLAINTEXT: {source: web}, PLAINTEXT2: {source: crm, scope: server}}
deliver: {email: {sender: smtp, password: PLAINTEXT}}
"""


def test_no_secret_is_ever_printed():
    """Neither by repr, nor str, nor format, nor an f-string of a part, nor the verb `show`."""
    write(SECRETS)
    settings = load_settings(env={})
    texts = [repr(settings), str(settings), f"{settings.kafka}", json.dumps(shown(settings))]
    texts += [repr(settings.collector), repr(settings.deliver), f"{settings.registry!s}"]
    for text in texts:
        assert "PLAINTEXT" not in text
        assert "***" in text
    assert shown(settings)["collector"]["write_keys"]["*** (2)"] == {
        "source": "crm",
        "scope": "server",
    }


def test_a_secret_in_an_error_stays_out_of_its_text():
    assert "PLAINTEXT" not in refusal(flags={"registry.password": "PLAINTEXT", "worker.slot": "x"})


def test_a_password_in_the_registrys_address_is_refused():
    """It would be printed with the address."""
    text = refusal(flags={"registry.url": "http://me:PLAINTEXT@registry:8081"})
    assert "registry.username" in text
    assert "PLAINTEXT" not in text


@given(st.text(min_size=1))
def test_a_secret_equals_itself_and_shows_nothing(text):
    secret = Secret(text)
    assert secret == Secret(text)
    assert hash(secret) == hash(Secret(text))
    assert secret != text
    assert f"{secret} {secret!r}" == "*** ***"
    assert secret.reveal() == text


# ----------------------------------------------------------------------------------- schema


def test_the_shipped_json_schema_is_current():
    """Regenerate: python -m orchestrator.settings > schemas/json/settings.schema.json."""
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == json_schema()


def test_the_schema_knows_sections_and_closes_them():
    definitions = json_schema()["$defs"]
    assert definitions["Topics"]["additionalProperties"] is False
    assert definitions["SmtpSender"]["properties"]["sender"] == {"enum": ["smtp"]}


@pytest.mark.parametrize("channel", ["In App", "é", "", "-x"])
def test_a_channel_must_be_fit_for_a_topic_name(channel):
    assert "lower-case letters" in refusal(flags={"topics.channels": [channel]})
