"""Grants and exports as functions of the settings; that they suffice is in test_security.py."""

from __future__ import annotations

import json
import shlex

import pytest
import yaml

from orchestrator import cli
from orchestrator.kafka.acls import grants
from orchestrator.kafka.topics import Topology
from orchestrator.settings import load_settings

FLAGS = {"deliver.email.sender": "smtp", "deliver.inapp.sender": "inapp"}


def settings(**flags: str):
    return load_settings(env={}, flags=FLAGS | flags)


def allowed(needs, operation: str) -> set[str]:
    return {grant.name for grant in needs if operation in grant.operations}


def run(capsys, *words: str, **flags: str) -> tuple[int, str]:
    assignments = [part for item in (FLAGS | flags).items() for part in ("--set", "=".join(item))]
    code = cli.run([*assignments, "topics", *words])
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def test_only_those_write_that_must():
    """The timeline, decisions and states are the worker's; nobody but it writes actions."""
    roles = grants(settings())
    writers = {
        name: {role for role, needs in roles.items() if name in allowed(needs, "Write")}
        for name in (spec.name for spec in Topology(settings()).specs())
    }
    assert writers["journey.decisions.v1"] == {"worker"}
    assert writers["journey-customers-changelog"] == {"worker", "state reset"}
    assert writers["journey.actions.email.v1"] == {"worker", "dlq replay"}
    assert writers["journey.timeline.v1"] == {
        "worker",
        "apply",
        "doctor",
        "dlq replay",
        "state skip",
    }
    assert writers["journey.deliveries.email.v1"] == {"deliver email"}
    assert writers["journey.inbox.v1"] == {"collect", "deliver inapp", "customer forget"}
    assert writers["journey.definitions.v1"] == {"apply"}
    assert not allowed(roles["tools"], "Write")


def test_a_sink_writes_to_the_topic_that_its_settings_name():
    sales = {"deliver.sales.sender": "kafka", "deliver.sales.topic": "crm.messages"}
    needs = grants(settings(**sales))["deliver sales"]
    assert "crm.messages" in allowed(needs, "Write")
    assert "crm.messages" not in allowed(needs, "Read")


def test_a_sink_sees_its_own_channel_alone():
    names = {grant.name for grant in grants(settings())["deliver email"]}
    assert "journey.actions.email.v1" in names
    assert not [name for name in names if "inapp" in name or "inbox" in name]
    assert not [name for name in names if "timeline" in name or "customers" in name]


def test_names_follow_prefix_and_app():
    roles = grants(settings(**{"topics.prefix": "shop", "app.id": "shop-2"}))
    topics = [g.name for needs in roles.values() for g in needs if g.resource == "topic"]
    others = [g.name for needs in roles.values() for g in needs if g.resource != "topic"]
    assert all(name.startswith(("shop.", "shop-2-")) for name in topics)
    assert all(name.startswith("shop-2") for name in others)


def test_on_the_log_clock_load_writes_the_closing_tick():
    timeline = "journey-log.timeline.v1"
    assert timeline in allowed(grants(settings(**{"clock.mode": "log"}))["load"], "Write")
    assert "journey.timeline.v1" not in allowed(grants(settings())["load"], "Write")


def test_acls_for_people_programs_and_tools(capsys):
    code, text = run(capsys, "acls", "--role", "worker")
    assert code == 0
    assert "journey-decide-*" in text
    assert "collect" not in text
    code, text = run(capsys, "acls", "--role", "apply", "--output", "json")
    (role,) = json.loads(text)["roles"]
    assert (role["role"], role["principal"]) == ("apply", "User:journey-apply")
    assert {"resource", "name", "operations", "prefixed", "why"} == role["grants"][0].keys()
    code, text = run(capsys, "acls", "--role", "nobody")
    assert code == 2
    assert "deliver email" in text


def test_acls_as_shell_commands_name_every_grant_once(capsys):
    _, text = run(capsys, "acls", "--format", "shell", "--principal", "User:CN={},O=Acme Inc")
    lines = [shlex.split(line) for line in text.splitlines() if line.startswith("kafka-acls.sh")]
    assert len(lines) == sum(len(needs) for needs in grants(settings()).values())
    assert {"User:CN=journey-deliver-email,O=Acme Inc"} <= {word for line in lines for word in line}
    assert all(line[1:5] == lines[0][1:5] for line in lines)


@pytest.mark.parametrize(
    ("flags", "login"),
    [
        ({}, None),
        ({"kafka.security.protocol": "SSL"}, {"type": "tls"}),
        (
            {
                "kafka.security.protocol": "SASL_SSL",
                "kafka.sasl.mechanism": "SCRAM-SHA-512",
                "kafka.sasl.username": "me",
                "kafka.sasl.password": "hush",
            },
            {"type": "scram-sha-512"},
        ),
    ],
)
def test_acls_as_strimzi_users(capsys, flags, login):
    _, text = run(capsys, "acls", "--format", "strimzi", "--cluster", "prod", **flags)
    assert "hush" not in text
    users = {one["metadata"]["name"]: one for one in yaml.safe_load_all(text)}
    sink = users["journey-deliver-email"]
    assert (sink["kind"], sink["spec"].get("authentication")) == ("KafkaUser", login)
    assert sink["metadata"]["labels"] == {"strimzi.io/cluster": "prod"}
    acls = sink["spec"]["authorization"]["acls"]
    resource = {
        "type": "transactionalId",
        "name": "journey-deliver-email-",
        "patternType": "prefix",
    }
    assert {"resource": resource, "operations": ["Write", "Describe"]} in acls


def test_topics_in_three_forms_say_what_apply_would_create(capsys):
    specs = {spec.name: spec for spec in Topology(settings()).specs()}
    _, text = run(capsys, "export", "--format", "strimzi")
    topics = {one["spec"]["topicName"]: one["spec"] for one in yaml.safe_load_all(text)}
    assert topics.keys() == specs.keys()
    for name, spec in specs.items():
        told = topics[name]
        assert (told["partitions"], told["replicas"]) == (spec.partitions, spec.replication_factor)
        assert told["config"] == spec.config
    _, text = run(capsys, "export", "--format", "shell")
    lines = [shlex.split(line) for line in text.splitlines() if line.startswith("kafka-topics.sh")]
    assert {line[line.index("--topic") + 1] for line in lines} == specs.keys()
    assert "message.timestamp.type=LogAppendTime" in text
    _, text = run(capsys, "export", "--format", "terraform")
    assert (
        text.count('resource "kafka_topic"') == len(specs) == text.count("prevent_destroy = true")
    )
    assert '"cleanup.policy" = "compact,delete"' in text
