"""Laws of the codec: decode after encode is the identity, and garbage only ever gives DecodeError."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import get_args

import pytest
from fastavro import schemaless_reader, schemaless_writer
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict, replace

from orchestrator.codec import pieces, wire
from orchestrator.codec.avro import RECORD_TYPES, decoder, encoder, own_schema, schema_text
from orchestrator.codec.decision_writer import write_action, write_decision
from orchestrator.codec.event import read_event
from orchestrator.codec.event_writer import write_event
from orchestrator.errors import DecodeError, InputError
from orchestrator.records import (
    Action,
    ActionKind,
    Candidate,
    Decision,
    DecisionOutcome,
    Event,
    Inbox,
    InboxMessage,
)
from tests.codec.samples import SAMPLES

LONG = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
SHORT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUE = st.none() | st.booleans() | LONG | st.floats(allow_nan=False) | TEXT

PREFIX = wire.prefix(1)
DECODE = {record: decoder(schema_text(record)) for record in RECORD_TYPES}
ENCODE = {record: encoder(record) for record in RECORD_TYPES}

EVENTS = st.builds(
    Event,
    event_id=TEXT,
    type=TEXT,
    occurred_at=LONG,
    identities=st.dictionaries(TEXT, TEXT, max_size=5),
    source=TEXT,
    properties=st.dictionaries(TEXT, VALUE, max_size=8),
)
CANDIDATES = st.builds(
    Candidate,
    name=TEXT,
    outcome=TEXT,
    reason=st.none() | TEXT,
    until=st.none() | LONG,
    rule=st.none() | TEXT,
    score=st.none() | st.floats(allow_nan=False),
)
DECISIONS = st.builds(
    Decision,
    decision_id=TEXT,
    customer_id=TEXT,
    outcome=st.sampled_from(get_args(DecisionOutcome)),
    rule_values=st.dictionaries(TEXT, VALUE, max_size=4),
    candidates=st.lists(CANDIDATES, max_size=4),
    reason=st.none() | TEXT,
    rule=st.none() | TEXT,
    journey=st.none() | TEXT,
    journey_version=st.none() | TEXT,
    entry_id=st.none() | TEXT,
    step=st.none() | TEXT,
    message=st.none() | TEXT,
    channel=st.none() | TEXT,
    action_id=st.none() | TEXT,
    until=st.none() | LONG,
    model_version=st.none() | TEXT,
    trace=st.none() | TEXT,
    caused_by=TEXT,
    decided_at=LONG,
    catalog=TEXT,
    propensity=st.none() | st.floats(0, 1),
)
INBOXES = st.builds(
    Inbox,
    customer_id=TEXT,
    messages=st.lists(
        st.builds(InboxMessage, action_id=TEXT, message=TEXT, sent_at=LONG), max_size=3
    ),
)


@given(EVENTS | DECISIONS | INBOXES)
def test_what_is_encoded_is_decoded(record):
    value = ENCODE[type(record)](record, PREFIX)
    again = DECODE[type(record)](value)
    assert again == record
    assert ENCODE[type(record)](again, PREFIX) == value


@given(EVENTS)
def test_booleans_and_numbers_keep_their_kinds(record):
    """True == 1 == 1.0 in Python; on the topic they are three values."""
    again = DECODE[Event](ENCODE[Event](record, PREFIX))
    kinds = {name: type(value) for name, value in record.properties.items()}
    assert {name: type(value) for name, value in again.properties.items()} == kinds


@given(EVENTS)
def test_the_reader_made_for_events_reads_what_fastavro_reads(record):
    value = ENCODE[Event](record, PREFIX)
    expected = schemaless_reader(BytesIO(value[len(PREFIX) :]), own_schema(Event), None)
    assert asdict(read_event(value)) == expected


@given(
    st.builds(
        Event,
        event_id=SHORT,
        type=SHORT,
        occurred_at=st.integers(0, 2**42) | st.sampled_from([2**34, 2**34 - 1, 2**41, 2**41 - 1]),
        identities=st.dictionaries(SHORT, SHORT, max_size=3),
        source=SHORT,
        properties=st.dictionaries(SHORT, VALUE, max_size=4),
    ),
    st.data(),
)
def test_events_of_the_usual_shape_are_read_as_fastavro_reads_them_whole_or_broken(record, data):
    """Short names and a time of today take a way of their own: whole, cut short, or with a byte off."""
    value = ENCODE[Event](record, PREFIX)
    assert read_event(value) == record
    at = data.draw(st.integers(len(PREFIX), len(value) - 1))
    byte = data.draw(st.integers(0, 255))
    for broken in (value[:at], value[:at] + bytes((byte,)) + value[at + 1 :], value + b"\0"):
        try:
            read = read_event(broken)
        except (ValueError, IndexError, struct.error):
            continue
        stream = BytesIO(broken[len(PREFIX) :])
        expected = schemaless_reader(stream, own_schema(Event), None)
        assert repr(asdict(read)) == repr(expected)  # not ==: a broken double may be no number
        assert not stream.read()


@given(EVENTS)
def test_the_writer_made_for_events_writes_what_fastavro_writes(record):
    out = BytesIO()
    schemaless_writer(out, own_schema(Event), asdict(record))
    assert write_event(record, PREFIX) == PREFIX + out.getvalue()


ACTION = next(one for one in SAMPLES if isinstance(one, Action))


@given(
    DECISIONS
    | st.builds(
        replace,
        st.just(ACTION),
        content=st.dictionaries(TEXT, VALUE, max_size=4),
        address=st.none() | TEXT,
        kind=st.sampled_from(get_args(ActionKind)),
        channel=TEXT,
        journey=TEXT,
        priority=st.integers(-(2**31), 2**31 - 1),
        expires_at=st.none() | LONG,
    )
)
def test_the_writers_of_decisions_and_actions_write_what_fastavro_writes(record):
    fields = asdict(record)
    if isinstance(record, Decision):
        fields["candidates"] = [asdict(one) for one in record.candidates]
    out = BytesIO()
    schemaless_writer(out, own_schema(type(record)), fields)
    by_hand = write_decision if isinstance(record, Decision) else write_action
    assert by_hand(record, PREFIX) == PREFIX + out.getvalue()
    assert ENCODE[type(record)](record, PREFIX) == PREFIX + out.getvalue()


class Text(str):
    """A subclass, as some libraries return."""

    __slots__ = ()


@pytest.mark.parametrize(
    "odd",
    [Text("x"), 2**63, -(2**63) - 1, "\ud800", [1], {"a": 1}, 1.5, 1.0, True, None, b"x"],
    ids=repr,
)
def test_what_the_writer_of_actions_leaves_to_fastavro(odd):
    """Refused with the same words, or written with the same bytes."""
    encode = ENCODE[Action]
    encode(
        replace(ACTION, priority=1, decided_at=1, address="x", template="x"), PREFIX
    )  # known now
    for name in ("kind", "priority", "decided_at", "address", "template", "content"):
        action = replace(ACTION, **{name: {"p": odd} if name == "content" else odd})
        out = BytesIO()
        try:
            schemaless_writer(out, own_schema(Action), asdict(action))
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
            with pytest.raises(InputError) as refused:
                ENCODE[Action](action, PREFIX)
            assert refused.value.cause == "unencodable"
        else:
            assert ENCODE[Action](action, PREFIX) == PREFIX + out.getvalue()


@pytest.mark.parametrize(
    "odd",
    [Text("x"), 2**63, -(2**63) - 1, "\ud800", [1], {"a": 1}, 1.5, 1.0, True, None, b"x"],
    ids=repr,
)
def test_what_the_writer_made_for_events_leaves_to_fastavro(odd):
    """Refused with the same words, or written with the same bytes."""
    for event in (
        Event(event_id="e", type="a.b", occurred_at=0, identities={}, source="s", properties={"p": odd}),
        Event(event_id="e", type="a.b", occurred_at=0, identities={"i": odd}, source="s"),
        Event(event_id="e", type="a.b", occurred_at=odd, identities={}, source="s"),
        Event(event_id=odd, type="a.b", occurred_at=0, identities={}, source="s"),
    ):  # fmt: skip
        out = BytesIO()
        try:
            schemaless_writer(out, own_schema(Event), asdict(event))
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
            with pytest.raises(InputError) as refused:
                ENCODE[Event](event, PREFIX)
            assert refused.value.cause == "unencodable"
        else:
            assert ENCODE[Event](event, PREFIX) == PREFIX + out.getvalue()


def test_what_the_writers_remember_is_bounded():
    """However many texts come by, the long ones are not kept, nor more than some thousands."""
    for number in range(10_000):
        assert pieces.known[f"t{number}"] == pieces.text(f"t{number}")
        assert pieces.known_optional[f"t{number}"] == b"\2" + pieces.text(f"t{number}")
    assert pieces.known["x" * 1_000] == pieces.text("x" * 1_000)
    assert "x" * 1_000 not in pieces.known
    assert max(len(pieces.known), len(pieces.known_optional)) <= 4_096


def test_the_reader_made_for_events_knows_long_strings_and_sized_blocks():
    """Other writers may split a map into blocks, and say each block's size (a negative count)."""
    text = "x" * 1000
    long = Event(
        event_id=text,
        type="a.b",
        occurred_at=0,
        identities={text: text},
        source=text,
        properties={text: text},
    )
    assert DECODE[Event](ENCODE[Event](long, PREFIX)) == long
    string = b"\x02a"
    blocks = b"\x01\x08" + string * 2 + b"\x02" + b"\x02b\x02c" + b"\0"
    properties = b"\x01\x06" + b"\x02p\x00" + b"\0"
    value = PREFIX + string + string + b"\x02" + blocks + string + properties
    read = DECODE[Event](value)
    assert (read.identities, read.properties) == ({"a": "a", "b": "c"}, {"p": None})


@given(st.binary(max_size=60))
def test_garbage_is_no_event_where_fastavro_finds_none(garbage):
    """The reader made for events is at least as strict."""
    try:
        read = read_event(PREFIX + garbage)
    except (ValueError, IndexError, struct.error):
        return
    stream = BytesIO(garbage)
    assert asdict(read) == pytest.approx(
        schemaless_reader(stream, own_schema(Event), None), nan_ok=True
    )
    assert not stream.read()


@given(st.sampled_from(RECORD_TYPES), st.binary(max_size=200))
def test_garbage_is_a_record_or_a_decode_error(record, garbage):
    try:
        decoded = DECODE[record](PREFIX + garbage)
    except DecodeError:
        return
    assert type(decoded) is record


@given(st.sampled_from(SAMPLES), st.data())
def test_a_flipped_byte_is_a_record_or_a_decode_error(sample, data):
    value = bytearray(ENCODE[type(sample)](sample, PREFIX))
    if len(value) == len(PREFIX):
        return
    position = data.draw(st.integers(len(PREFIX), len(value) - 1))
    value[position] = data.draw(st.integers(0, 255))
    try:
        decoded = DECODE[type(sample)](bytes(value))
    except DecodeError:
        return
    assert type(decoded) is type(sample)
