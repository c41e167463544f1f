"""The codec with a registry: what is known, what is unknown, and what cannot be known right now."""

from __future__ import annotations

import json

import pytest

from orchestrator.codec import Codec, RegistryClient, wire
from orchestrator.codec.avro import decoder, schema_text
from orchestrator.codec.codec import TOPIC_RECORDS, record_name
from orchestrator.errors import (
    CouldNotRun,
    DecodeError,
    FatalError,
    RegistryUnavailable,
    SchemaNotLoaded,
    TopologyError,
)
from orchestrator.records import Decision, Event
from orchestrator.testing.registry import Registry
from tests.codec.samples import SAMPLES

EVENT = SAMPLES[0]
TOPICS = {"t.events": "events", "t.timeline": "timeline", "t.decisions": "decisions"}


class Clock:
    """Seconds that pass when told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def own():
    """A registry of this test's own, to break."""
    with Registry() as running:
        yield running


def client(registry, **options):
    return RegistryClient(registry.url, pause=lambda _: None, timeout=2, **options)


def prepared(registry, **options):
    codec = Codec(client(registry), auto_register=True, **options)
    codec.prepare(TOPICS)
    return codec


def test_every_record_of_every_topic_round_trips(own):
    codec = Codec(client(own), auto_register=True)
    codec.prepare({logical: logical for logical in TOPIC_RECORDS})
    by_type = {type(sample): sample for sample in SAMPLES}
    for topic, records in TOPIC_RECORDS.items():
        for record in records:
            value = codec.encode(by_type[record], topic)
            assert codec.decode(value) == by_type[record]


def test_encode_and_decode_ask_nothing(own):
    codec = prepared(own)
    own.requests.clear()
    codec.decode(codec.encode(EVENT, "t.timeline"))
    assert own.requests == []


def test_ids_are_the_same_for_the_same_steps():
    values = []
    for _ in range(2):
        with Registry() as registry:
            values.append(prepared(registry).encode(EVENT, "t.timeline"))
    assert values[0] == values[1]


def test_one_schema_has_one_id_under_every_subject(own):
    """So an event may be passed through from topic to topic, bytes untouched."""
    codec = prepared(own)
    assert codec.encode(EVENT, "t.events") == codec.encode(EVENT, "t.timeline")


def test_a_schema_id_not_met_before_is_loaded_once(own):
    value = prepared(own).encode(EVENT, "t.events")
    reader = Codec(client(own))
    with pytest.raises(SchemaNotLoaded) as missing:
        reader.decode(value)
    own.requests.clear()
    reader.load(missing.value.schema_id)
    reader.load(missing.value.schema_id)
    assert reader.decode(value) == EVENT
    assert own.requests == ["GET /schemas/ids/1"]


@pytest.mark.parametrize("fault", ["503", "refused", "slow"])
def test_a_registry_that_is_away_is_never_a_bad_record(own, fault):
    """Down, gone and hanging alike: unavailable now, and the record is read once it is back."""
    value = prepared(own).encode(EVENT, "t.events")
    reader = Codec(RegistryClient(own.url, pause=lambda _: None, timeout=0.3))
    if fault == "503":
        own.down = True
    elif fault == "slow":
        own.delay = 5.0
    else:
        own.stop()
    with pytest.raises(RegistryUnavailable):
        reader.load(1)
    with pytest.raises(SchemaNotLoaded):  # nothing was remembered against the id
        reader.decode(value)
    own.down, own.delay = False, 0.0
    own.start()
    reader.load(1)
    assert reader.decode(value) == EVENT


def test_an_unknown_id_is_a_decode_error_and_not_asked_for_again_for_a_while(own):
    clock = Clock()
    codec = Codec(client(own), monotonic=clock)
    value = b"\0\0\0\0\x63rest"
    with pytest.raises(SchemaNotLoaded):
        codec.decode(value)
    with pytest.raises(DecodeError) as unknown:
        codec.load(0x63)
    assert unknown.value.cause == "unknown_schema"
    clock.now += 29
    with pytest.raises(DecodeError) as unknown:
        codec.decode(value)
    assert unknown.value.cause == "unknown_schema"
    clock.now += 2
    with pytest.raises(SchemaNotLoaded):
        codec.decode(value)


def test_a_foreign_schema_is_refused_for_good_without_asking_again(own):
    foreign = json.dumps({"type": "record", "name": "Order", "namespace": "shop", "fields": []})
    number = client(own).register("orders-value", foreign)
    codec = Codec(client(own))
    for attempt in (lambda: codec.load(number), lambda: codec.decode(b"\0\0\0\0\x01")):
        with pytest.raises(DecodeError) as refused:
            attempt()
        assert refused.value.cause == "foreign_record"


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        (b"", "truncated"),
        (b"\0\0\0", "truncated"),
        (b'{"json": true}', "wrong_magic"),
        (b"\x01\0\0\0\x01", "wrong_magic"),
    ],
)
def test_bytes_in_another_format_are_named_as_such(own, value, cause):
    with pytest.raises(DecodeError) as refused:
        prepared(own).decode(value)
    assert refused.value.cause == cause


def test_without_auto_register_a_missing_schema_names_the_command(own):
    codec = Codec(client(own))
    with pytest.raises(TopologyError, match="orchestrator schemas register"):
        codec.prepare(TOPICS)
    assert not [request for request in own.requests if "versions" in request]


def test_without_auto_register_a_registered_schema_is_found(own):
    expected = prepared(own).encode(EVENT, "t.events")
    codec = Codec(client(own))
    codec.prepare(TOPICS)
    assert codec.encode(EVENT, "t.events") == expected


def test_what_was_not_prepared_is_a_fault_of_the_program(own):
    codec = prepared(own)
    with pytest.raises(FatalError, match="prepared"):
        codec.encode(EVENT, "t.decisions")
    with pytest.raises(FatalError, match="prepared"):
        codec.encode(EVENT, "elsewhere")


def test_subjects_by_record_name(own):
    codec = Codec(client(own), subject=record_name, auto_register=True)
    codec.prepare(TOPICS)
    assert "POST /subjects/journey.Event/versions" in own.requests


def test_an_incompatible_schema_is_refused_by_name(own):
    asked = client(own)
    asked.register("s", schema_text(Event))
    changed = json.loads(schema_text(Event))
    changed["fields"].append({"name": "tenant", "type": "string"})
    assert asked.incompatibilities("s", json.dumps(changed))
    with pytest.raises(CouldNotRun, match="tenant"):
        asked.register("s", json.dumps(changed))
    assert asked.incompatibilities("s", schema_text(Event)) == []
    assert asked.incompatibilities("unheard-of", schema_text(Event)) == []


def test_full_transitive_can_be_asked_for(own):
    asked = client(own)
    asked.set_compatibility("s", "FULL_TRANSITIVE")
    asked.register("s", schema_text(Decision))
    assert own.requests[0] == "PUT /config/s"


def test_an_address_that_is_no_registry_is_unavailable_and_says_so(own):
    with pytest.raises(RegistryUnavailable, match="a schema registry"):
        RegistryClient(own.url + "/elsewhere").schema(1)
    with pytest.raises(CouldNotRun, match="http://"):
        RegistryClient("registry:8081")


@pytest.mark.timeout(60)  # without a bound on a number's length these took minutes each
@pytest.mark.parametrize("byte", [b"\xff", b"\x80", b"\x02", b"\x00"])
def test_a_megabyte_of_rubbish_is_refused_at_once(byte):
    """One poisoned record must not hold its worker's loop: every other partition stands still."""
    read = decoder(schema_text(Event))
    with pytest.raises(DecodeError):
        read(wire.prefix(1) + byte * 900_000)
