"""Reading what other versions wrote, and refusing what nobody of ours wrote."""

from __future__ import annotations

import json
from io import BytesIO

import pytest
from fastavro import parse_schema, schemaless_writer

from orchestrator.codec import wire
from orchestrator.codec.avro import decoder, encoder, schema_text
from orchestrator.errors import DecodeError, InputError
from orchestrator.records import Action, Decision, Delivery, Event
from tests.codec.samples import SAMPLES

EVENT = next(sample for sample in SAMPLES if isinstance(sample, Event))
DECISION = next(sample for sample in SAMPLES if isinstance(sample, Decision))
PREFIX = wire.prefix(7)


def schema(record):
    return json.loads(schema_text(record))


def written(schema, datum):
    out = BytesIO()
    schemaless_writer(out, parse_schema(schema), datum)
    return PREFIX + out.getvalue()


def without(schema, *names):
    return {
        **schema,
        "fields": [field for field in schema["fields"] if field["name"] not in names],
    }


def test_fields_of_a_newer_writer_are_passed_over():
    newer = schema(Event)
    newer["fields"].insert(1, {"name": "tenant", "type": "string"})
    datum = {name: getattr(EVENT, name) for name in EVENT.__struct_fields__} | {"tenant": "x"}
    assert decoder(json.dumps(newer))(written(newer, datum)) == EVENT


def test_fields_of_a_newer_writer_inside_a_nested_record_are_passed_over():
    newer = schema(Delivery)
    assert decoder(json.dumps(newer))
    newer = schema(Decision)
    candidates = next(field for field in newer["fields"] if field["name"] == "candidates")
    candidates["type"]["items"]["fields"].append(
        {"name": "weight", "type": "double", "default": 1.0}
    )
    datum = {name: getattr(DECISION, name) for name in DECISION.__struct_fields__}
    datum["candidates"] = [
        {name: getattr(each, name) for name in each.__struct_fields__} | {"weight": 2.0}
        for each in DECISION.candidates
    ]
    assert decoder(json.dumps(newer))(written(newer, datum)) == DECISION


def test_fields_that_an_older_writer_did_not_know_take_their_defaults():
    older = without(schema(Event), "properties")
    datum = {name: getattr(EVENT, name) for name in EVENT.__struct_fields__}
    record = decoder(json.dumps(older))(written(older, datum))
    assert isinstance(record, Event)
    assert record.properties == {}
    assert record.event_id == EVENT.event_id


def test_a_required_field_that_was_not_written_is_a_decode_error():
    older = without(schema(Event), "source")
    datum = {name: getattr(EVENT, name) for name in EVENT.__struct_fields__}
    with pytest.raises(DecodeError):
        decoder(json.dumps(older))(written(older, datum))


def test_an_enum_symbol_of_a_newer_writer_becomes_the_default():
    newer = schema(Delivery)
    newer["fields"][1]["type"]["symbols"].append("bounced_softly")
    datum = {"action_id": "a", "state": "bounced_softly", "at": 1, "attempts": 0, "detail": None}
    record = decoder(json.dumps(newer))(written(newer, datum))
    assert record == Delivery(action_id="a", state="unknown", at=1)


def test_an_int_where_we_read_a_long_is_promoted():
    narrower = schema(Delivery)
    narrower["fields"][2]["type"] = "int"
    datum = {"action_id": "a", "state": "sent", "at": 5, "attempts": 0, "detail": None}
    assert decoder(json.dumps(narrower))(written(narrower, datum)).at == 5


def test_another_order_of_fields_is_resolved():
    shuffled = schema(Event)
    shuffled["fields"].reverse()
    datum = {name: getattr(EVENT, name) for name in EVENT.__struct_fields__}
    assert decoder(json.dumps(shuffled))(written(shuffled, datum)) == EVENT


def test_timestamps_stay_integers():
    """Also where the writer marks them as timestamps, as our own registered schemas do."""
    record = decoder(schema_text(Event))(encoder(Event)(EVENT, PREFIX))
    assert type(record.occurred_at) is int


def test_two_records_share_no_mutable_value():
    """A default of the schema must not leak from one record into the next."""
    older = without(schema(Event), "properties")
    datum = {name: getattr(EVENT, name) for name in EVENT.__struct_fields__}
    decode = decoder(json.dumps(older))
    first = decode(written(older, datum))
    first.properties["x"] = 1
    assert decode(written(older, datum)).properties == {}


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ('{"type":"record","name":"Order","namespace":"shop","fields":[]}', "foreign_record"),
        ('{"type":"record","name":"Event","fields":[]}', "foreign_record"),
        ('"string"', "bad_schema"),
        ('["null","string"]', "bad_schema"),
        ('{"type":"record","name":"x","fields":[{"name":"a","type":"gone"}]}', "bad_schema"),
        ("{", "bad_schema"),
    ],
)
def test_schemas_that_are_none_of_ours_are_refused(text, cause):
    with pytest.raises(DecodeError) as refused:
        decoder(text)
    assert refused.value.cause == cause


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: type(sample).__name__)
def test_every_truncation_is_a_decode_error(sample):
    """No prefix of a record is taken for a record, and none raises anything else."""
    decode = decoder(schema_text(type(sample)))
    value = encoder(type(sample))(sample, PREFIX)
    for length in range(len(PREFIX), len(value)):
        with pytest.raises(DecodeError):
            decode(value[:length])


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: type(sample).__name__)
def test_bytes_after_the_record_are_a_decode_error(sample):
    record = type(sample)
    with pytest.raises(DecodeError):
        decoder(schema_text(record))(encoder(record)(sample, PREFIX) + b"\0")


@pytest.mark.parametrize(
    "properties",
    [{"a": [1]}, {"a": {}}, {"a": 10**400}, {"a": "\ud800"}, {"\ud800": 1}, {1: "a"}, None],
)
def test_what_does_not_fit_the_schema_is_refused_with_a_cause(properties):
    broken = Event(
        event_id="e", type="a.b", occurred_at=1, identities={}, source="s", properties=properties
    )
    with pytest.raises(InputError) as refused:
        encoder(Event)(broken, PREFIX)
    assert refused.value.cause == "unencodable"


def test_an_unknown_enum_value_of_ours_is_refused():
    action = next(sample for sample in SAMPLES if isinstance(sample, Action))
    broken = Action(**{name: getattr(action, name) for name in action.__struct_fields__})
    broken.kind = "shout"
    with pytest.raises(InputError):
        encoder(Action)(broken, PREFIX)
