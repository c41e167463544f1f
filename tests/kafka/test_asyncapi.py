"""The AsyncAPI document says what the topology and the codec do."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from orchestrator import cli
from orchestrator.codec.avro import RECORD_TYPES, full_name
from orchestrator.codec.codec import TOPIC_RECORDS
from orchestrator.codec.headers import headers_for
from orchestrator.kafka.asyncapi import addresses, document, shipped
from orchestrator.kafka.topics import Topology
from orchestrator.settings import load_settings
from tests.codec.samples import SAMPLES

SCHEMAS = Path(__file__).parents[2] / "schemas"
SETTINGS = load_settings(
    env={},
    flags={
        "topics.prefix": "acme",
        "deliver": {"email": {"sender": "smtp"}, "push": {"sender": "log"}},
    },
)
DOCUMENT = document(SETTINGS, embedded=True)


def test_the_shipped_document_is_current() -> None:
    """Regenerate: python -m orchestrator.kafka.asyncapi > schemas/asyncapi.yaml."""
    assert (SCHEMAS / "asyncapi.yaml").read_text() == shipped()


def test_every_topic_is_a_channel_and_every_channel_a_topic() -> None:
    """Addresses with their parameter filled in are the topology's names, with its numbers."""
    specs = {spec.name: spec for spec in Topology(SETTINGS).specs()}
    found = {}
    for name, channel in DOCUMENT["channels"].items():
        values = channel.get("parameters", {}).get("channel", {}).get("enum", [""])
        for value in values:
            found[channel["address"].replace("{channel}", value)] = (name, channel)
    assert found.keys() == specs.keys()
    for address, (name, channel) in found.items():
        spec, bound = specs[address], channel["bindings"]["kafka"]
        assert addresses(SETTINGS)[address] == name
        assert bound["partitions"] == spec.partitions
        assert bound["replicas"] == spec.replication_factor
        assert (
            ",".join(bound["topicConfiguration"]["cleanup.policy"]) == spec.config["cleanup.policy"]
        )
        assert str(bound["topicConfiguration"].get("retention.ms", "")) == spec.config.get(
            "retention.ms", ""
        )


def test_every_channel_carries_the_records_that_the_codec_writes_there() -> None:
    for logical, records in TOPIC_RECORDS.items():
        names = {full_name(one).removeprefix("journey.") for one in records}
        assert DOCUMENT["channels"][logical]["messages"].keys() == names
    assert len(DOCUMENT["components"]["messages"]) == len(RECORD_TYPES)


def test_references_lead_somewhere() -> None:
    """Within the document, and from the shipped one to the schema files."""

    def follow(node: object, root: dict[str, object], base: Path) -> None:
        match node:
            case {"$ref": str(ref)} if ref.startswith("#/"):
                at: object = root
                for part in ref[2:].split("/"):
                    assert isinstance(at, dict)
                    at = at[part]
            case {"$ref": str(ref)}:
                assert json.loads((base / ref).read_text())["type"] == "record"
            case dict():
                for inner in node.values():
                    follow(inner, root, base)
            case list():
                for inner in node:
                    follow(inner, root, base)

    for found in (DOCUMENT, yaml.safe_load(shipped())):
        follow(found, found, SCHEMAS)


def test_headers_are_the_ones_that_are_written() -> None:
    written = {
        name for one in SAMPLES for name, _ in headers_for(one, "app", trace="t", backfill=True)
    }
    assert DOCUMENT["components"]["schemas"]["Headers"]["properties"].keys() == written


def test_the_verb_prints_the_own_deployment(tmp_path, monkeypatch, capsys) -> None:
    """Prefix and channels are the settings'; the schemas stand in it: it can be handed out alone."""
    monkeypatch.chdir(tmp_path)
    assert cli.run(["--set", "topics.prefix=acme", "schemas", "asyncapi"]) == 0
    found = yaml.safe_load(capsys.readouterr().out)
    assert found["channels"]["events"]["address"] == "acme.events.v1"
    schema = found["components"]["messages"]["Event"]["payload"]["schema"]
    assert schema["name"] == "Event"
