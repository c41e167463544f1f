"""Topics and grants in the words of the tools that platform teams keep them with.

Pure: settings in, text out. Strimzi's resources are of API version ``v1`` (Strimzi 0.49 and later);
Terraform's are those of the provider ``Mongey/kafka``.
"""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Any, Final

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from orchestrator.kafka.acls import Grant
    from orchestrator.kafka.topics import TopicSpec
    from orchestrator.settings import Settings

STRIMZI: Final = "kafka.strimzi.io/v1"
SHELL_HEAD: Final = """\
#!/bin/sh
# BOOTSTRAP: host:port of the cluster. CONFIG: a client properties file for its administrator.
set -eu
"""
_CALL: Final = '--bootstrap-server "$BOOTSTRAP" --command-config "$CONFIG"'
_FLAGS: Final = {"topic": "--topic", "group": "--group", "transactionalId": "--transactional-id"}


def topics_as_strimzi(specs: Iterable[TopicSpec], cluster: str) -> str:
    """Return a ``KafkaTopic`` for each topic."""
    return _documents(
        {
            "apiVersion": STRIMZI,
            "kind": "KafkaTopic",
            "metadata": _metadata(spec.name, cluster),
            "spec": {
                "topicName": spec.name,
                "partitions": spec.partitions,
                "replicas": spec.replication_factor,
                "config": dict(spec.config),
            },
        }
        for spec in specs
    )


def topics_as_terraform(specs: Iterable[TopicSpec]) -> str:
    """Return a ``kafka_topic`` for each topic, guarded against being destroyed."""
    blocks = []
    for spec in specs:
        config = "\n".join(f"    {json.dumps(k)} = {json.dumps(v)}" for k, v in spec.config.items())
        blocks.append(
            f'resource "kafka_topic" "{re.sub(r"[^A-Za-z0-9_]", "_", spec.name)}" {{\n'
            f"  name               = {json.dumps(spec.name)}\n"
            f"  partitions         = {spec.partitions}\n"
            f"  replication_factor = {spec.replication_factor}\n"
            f"  config = {{\n{config}\n  }}\n"
            # More partitions would move every key, and so would a new topic.
            "  lifecycle {\n    prevent_destroy = true\n    ignore_changes  = [partitions]\n  }\n"
            "}\n"
        )
    return "\n".join(blocks)


def topics_as_shell(specs: Iterable[TopicSpec]) -> str:
    """Return ``kafka-topics.sh`` commands."""
    lines = []
    for spec in specs:
        words = [f"--topic {shlex.quote(spec.name)}", f"--partitions {spec.partitions}"]
        words.append(f"--replication-factor {spec.replication_factor}")
        words += [f"--config {shlex.quote(f'{key}={value}')}" for key, value in spec.config.items()]
        lines.append(f"kafka-topics.sh {_CALL} --create --if-not-exists {' '.join(words)}")
    return SHELL_HEAD + "\n".join(lines) + "\n"


def acls_as_strimzi(roles: Mapping[str, Sequence[Grant]], settings: Settings, cluster: str) -> str:
    """Return a ``KafkaUser`` for each role, which logs in as the settings do.

    The operator that keeps users makes their passwords or certificates, and the principals follow
    from the users' names.
    """
    login = _strimzi_login(settings)
    return _documents(
        {
            "apiVersion": STRIMZI,
            "kind": "KafkaUser",
            "metadata": _metadata(account(settings, role), cluster),
            "spec": {
                **({"authentication": {"type": login}} if login else {}),
                "authorization": {"type": "simple", "acls": [_strimzi_acl(one) for one in grants]},
            },
        }
        for role, grants in roles.items()
    )


def acls_as_shell(roles: Mapping[str, Sequence[Grant]], principals: Mapping[str, str]) -> str:
    """Return ``kafka-acls.sh`` commands; running them twice does no harm."""
    lines = []
    for role, grants in roles.items():
        lines.append(f"\n# {role}")
        for grant in grants:
            words = [f"--allow-principal {shlex.quote(principals[role])}"]
            words += [f"--operation {operation}" for operation in grant.operations]
            words.append(f"{_FLAGS[grant.resource]} {shlex.quote(grant.name)}")
            if grant.prefixed:
                words.append("--resource-pattern-type prefixed")
            lines.append(f"kafka-acls.sh {_CALL} --add {' '.join(words)}")
    return SHELL_HEAD + "\n".join(lines) + "\n"


def account(settings: Settings, role: str) -> str:
    """Return the name under which a role logs in unless said otherwise: ``journey-deliver-email``."""
    return f"{settings.app.id}-{role.replace(' ', '-')}"


def _metadata(name: str, cluster: str) -> dict[str, Any]:
    # A resource's name knows no capitals; the topic keeps them in topicName.
    return {"name": name.lower(), "labels": {"strimzi.io/cluster": cluster}}


def _strimzi_login(settings: Settings) -> str:
    protocol = str(settings.kafka.get("security.protocol", "")).upper()
    if protocol == "SSL":
        return "tls"
    return "scram-sha-512" if protocol.startswith("SASL") else ""


def _strimzi_acl(grant: Grant) -> dict[str, Any]:
    pattern = "prefix" if grant.prefixed else "literal"
    return {
        "resource": {"type": grant.resource, "name": grant.name, "patternType": pattern},
        "operations": list(grant.operations),
    }


def _documents(documents: Iterable[dict[str, Any]]) -> str:
    text: str = yaml.safe_dump_all(documents, sort_keys=False, explicit_start=True)
    return text
