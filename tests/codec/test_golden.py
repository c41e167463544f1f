"""Bytes on the topics: what was written once is read for ever, and the same record stays the same bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args, get_type_hints

import msgspec
import pytest

from orchestrator.codec import wire
from orchestrator.codec.avro import (
    RECORD_TYPES,
    TYPE_OF,
    decoder,
    encoder,
    full_name,
    own_schema,
    schema_folder,
    schema_text,
)
from orchestrator.records import Candidate, InboxMessage, Record
from tests.codec.samples import SAMPLES

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.json"))
NEWEST = json.loads(GOLDEN[-1].read_text(encoding="utf-8"))
BY_NAME = {full_name(type(sample)): sample for sample in SAMPLES}
PREFIX = wire.prefix(1)


def test_every_record_has_a_sample_and_a_schema():
    """A new record type cannot be forgotten here."""
    assert {type(sample) for sample in SAMPLES} == set(RECORD_TYPES) == set(get_args(Record))
    assert {path.stem for path in schema_folder().glob("*.avsc")} == {
        name.removeprefix("journey.") for name in TYPE_OF
    }


@pytest.mark.parametrize("name", BY_NAME)
def test_encoding_gives_the_golden_bytes(name):
    sample = BY_NAME[name]
    assert encoder(type(sample))(sample, PREFIX) == PREFIX + bytes.fromhex(NEWEST[name]["hex"])


@pytest.mark.parametrize(
    ("path", "name"),
    [
        pytest.param(path, name, id=f"{path.stem}-{name}")
        for path in GOLDEN
        for name in json.loads(path.read_text(encoding="utf-8"))
    ],
)
def test_every_released_version_is_still_read(path, name):
    """Bytes of an old writer, with the old writer's schema, give today's record."""
    golden = json.loads(path.read_text(encoding="utf-8"))[name]
    record = decoder(json.dumps(golden["schema"]))(PREFIX + bytes.fromhex(golden["hex"]))
    if path == GOLDEN[-1]:
        assert record == BY_NAME[name]
    written = {field["name"] for field in golden["schema"]["fields"]}
    for field in written & set(record.__struct_fields__):
        assert getattr(record, field) == getattr(BY_NAME[name], field)


@pytest.mark.parametrize("record", RECORD_TYPES, ids=full_name)
def test_struct_and_schema_have_the_same_fields_and_defaults(record):
    _same(record, own_schema(record))


def test_nested_structs_match_their_schemas():
    for record, field, part in (
        ("journey.Decision", "candidates", Candidate),
        ("journey.Inbox", "messages", InboxMessage),
    ):
        fields = {each["name"]: each for each in own_schema(TYPE_OF[record])["fields"]}
        _same(part, fields[field]["type"]["items"])


def _same(struct, schema):
    fields = {field["name"]: field for field in schema["fields"]}
    assert list(fields) == list(struct.__struct_fields__)
    for field in msgspec.structs.fields(struct):
        if "default" in fields[field.name]:  # what Avro fills in, the struct would have filled in
            default = field.default
            if default is msgspec.NODEFAULT:
                default = field.default_factory()
            assert default == fields[field.name]["default"]


@pytest.mark.parametrize("record", RECORD_TYPES, ids=full_name)
def test_enum_symbols_are_those_of_the_struct(record):
    """Only ``unknown``, the name for what a newer writer knows, may stand in the schema alone."""
    hints = get_type_hints(record)
    for field in json.loads(schema_text(record))["fields"]:
        if isinstance(field["type"], dict) and field["type"]["type"] == "enum":
            symbols = set(field["type"]["symbols"])
            assert set(get_args(hints[field["name"]])) | {"unknown"} == symbols | {"unknown"}
