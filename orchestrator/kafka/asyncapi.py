"""The deployment as an AsyncAPI 3.0 document: topics, records, keys, headers, and which role does what.

A function of the settings, like the topology it is made from. ``schemas/asyncapi.yaml`` is this
document for the default settings with references to the schema files; regenerate it with
``python -m orchestrator.kafka.asyncapi > schemas/asyncapi.yaml``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import yaml

from orchestrator.codec.avro import RECORD_TYPES, full_name, schema_text
from orchestrator.codec.codec import TOPIC_RECORDS
from orchestrator.kafka.acls import grants
from orchestrator.kafka.topics import Topology

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.kafka.topics import TopicSpec
    from orchestrator.records import Record
    from orchestrator.settings import Settings

SPEC: Final = "3.0.0"
BINDING: Final = "0.5.0"
AVRO: Final = "application/vnd.apache.avro+json;version=1.9.0"
_ROLES: Final = ("collect", "connect", "load", "worker", "deliver")
"""Roles whose work the document describes; the others are tools."""
_ABOUT: Final[dict[str, tuple[str, str]]] = {
    "events": ("strongest identity, `kind:value`", "What happened, from every system; receipts."),
    "timeline": ("customer id", "Every customer's one log. Empty records are ticks."),
    "actions": ("customer id", "What a channel is to send, or not to send any more."),
    "deliveries": ("action id, on the action's partition", "The sinks' ledger (private)."),
    "inbox": ("customer id", "The in-app inboxes, as the collector serves them."),
    "decisions": ("customer id", "Every decision with its reason; above all why nothing was sent."),
    "outcomes": ("decision point", "What decisions led to."),
    "models": ("decision point", "What was learned."),
    "definitions": ("content hash", "Every definition that was ever applied."),
    "dead-letters": ("original key", "Original bytes with cause, place and remedy in headers."),
    "changelog": ("table key", "The engine's state (private)."),
}
_HEADERS: Final[dict[str, str]] = {
    "ce_specversion": "CloudEvents, Kafka binding, binary mode",
    "ce_id": "unique within the source; equal for equal causes",
    "ce_type": "an event's type, or the record's name",
    "ce_source": "where it comes from",
    "ce_time": "ISO 8601, UTC",
    "traceparent": "W3C trace context, handed on to actions and decisions",
    "backfill": "true: the past is told, and nothing is started by it",
}


def document(settings: Settings, *, embedded: bool) -> dict[str, Any]:
    """Return the document.

    Args:
        settings: The deployment: prefix, partitions, channels, sinks.
        embedded: Schemas stand in the document; else they are references into ``schemas/avro``.
    """
    specs = {_id(spec): spec for spec in Topology(settings).specs()}
    return {
        "asyncapi": SPEC,
        "info": {
            "title": f"Customer journeys ({settings.topics.prefix})",
            "version": "1",
            "description": "Customer journey orchestration on Kafka. Values are in the Confluent wire "
            "format; read with isolation.level=read_committed.",
        },
        "defaultContentType": "application/vnd.apache.avro",
        "channels": {name: _channel(spec, settings) for name, spec in specs.items()},
        "operations": dict(_operations(settings)),
        "components": {
            "messages": {_name(one): _message(one, embedded=embedded) for one in RECORD_TYPES},
            "schemas": {"Headers": _headers()},
        },
    }


def as_yaml(found: dict[str, Any]) -> str:
    """Return the document as text."""
    return yaml.safe_dump(found, sort_keys=False, width=120, allow_unicode=True)


def addresses(settings: Settings) -> dict[str, str]:
    """Return every topic of the deployment -> its channel's id in the document."""
    return {spec.name: _id(spec) for spec in Topology(settings).specs()}


def _id(spec: TopicSpec) -> str:
    return spec.name if spec.logical == "changelog" else spec.logical


def _channel(spec: TopicSpec, settings: Settings) -> dict[str, Any]:
    key, about = _ABOUT[spec.logical]
    records = TOPIC_RECORDS.get(spec.logical, ())
    channel: dict[str, Any] = {"address": spec.name}
    if spec.channel:
        # One channel of the document for all channels of the deployment: they are alike.
        channel["address"] = spec.name.replace(f".{spec.channel}.", ".{channel}.")
        channel["parameters"] = {"channel": {"enum": list(settings.channels)}}
    if records:
        channel["messages"] = {
            _name(one): {"$ref": f"#/components/messages/{_name(one)}"} for one in records
        }
    return channel | {
        "description": f"{about} Key: {key}.",
        "bindings": {
            "kafka": {
                "partitions": spec.partitions,
                "replicas": spec.replication_factor,
                "topicConfiguration": _configuration(spec),
                "bindingVersion": BINDING,
            }
        },
    }


def _configuration(spec: TopicSpec) -> dict[str, Any]:
    """Return what the binding has a place for."""
    config: dict[str, Any] = {"cleanup.policy": spec.config["cleanup.policy"].split(",")}
    for name in ("retention.ms", "max.message.bytes"):
        if name in spec.config:
            config[name] = int(spec.config[name])
    return config


def _message(record: type[Record], *, embedded: bool) -> dict[str, Any]:
    schema = json.loads(schema_text(record))
    return {
        "name": full_name(record),
        "title": _name(record),
        "summary": schema.get("doc", ""),
        "headers": {"$ref": "#/components/schemas/Headers"},
        "payload": {
            "schemaFormat": AVRO,
            "schema": schema if embedded else {"$ref": f"./avro/{_name(record)}.avsc"},
        },
        "bindings": {
            "kafka": {
                "key": {"type": "string"},
                "schemaIdLocation": "payload",
                "schemaIdPayloadEncoding": "4",
                "bindingVersion": BINDING,
            }
        },
    }


def _headers() -> dict[str, Any]:
    properties = {
        name: {"type": "string", "description": about} for name, about in _HEADERS.items()
    }
    return {"type": "object", "properties": properties}


def _operations(settings: Settings) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what each role reads and writes, from the grants that it runs with."""
    ids, seen = addresses(settings), set[str]()
    for role, found in grants(settings).items():
        name = role.split()[0]
        if name not in _ROLES:
            continue
        for grant in found:
            if grant.resource != "topic" or grant.name not in ids:
                continue
            for action, operation in (("receive", "Read"), ("send", "Write")):
                known = f"{name}-{action}-{ids[grant.name]}"
                if operation in grant.operations and known not in seen:
                    seen.add(known)
                    yield (
                        known,
                        {
                            "action": action,
                            "channel": {"$ref": f"#/channels/{ids[grant.name]}"},
                            "summary": f"{name}: {grant.why}",
                        },
                    )


def _name(record: type[Record]) -> str:
    return full_name(record).removeprefix("journey.")


def shipped() -> str:
    """Return ``schemas/asyncapi.yaml``: the default settings, with two sinks."""
    from orchestrator.settings import load_settings

    sinks = {"email": {"sender": "smtp"}, "inapp": {"sender": "inapp"}}
    return as_yaml(document(load_settings(env={}, flags={"deliver": sinks}), embedded=False))


if __name__ == "__main__":
    print(shipped(), end="")  # noqa: T201 - the file's content is what this prints
