"""Lines of canonical events: strict, and with ids that a second reading repeats."""

from __future__ import annotations

import gzip
import json

import pytest

from orchestrator.errors import InputError
from orchestrator.ids import event_id
from orchestrator.records import Event
from orchestrator.sources.ndjson import file_identity, parse_line, read_lines

LINE = {
    "type": "order.completed",
    "occurred_at": "2017-01-03T18:04:00.5Z",
    "identities": {"id": "1"},
}


def parse(**fields):
    return parse_line(json.dumps(LINE | fields).encode() + b"\r\n", "till", "day.ndjson:0", 42)


def test_an_event_without_id_and_source_is_told_by_its_place():
    assert parse() == Event(
        event_id=event_id("till", "day.ndjson:0", "42"),
        type="order.completed",
        occurred_at=1483466640500,
        identities={"id": "1"},
        source="till",
    )


def test_an_event_that_says_all():
    event = parse(
        event_id="e1", source="shop", occurred_at=5, properties={"a": 1, "b": 0.5, "c": None}
    )
    assert (event.event_id, event.source, event.occurred_at) == ("e1", "shop", 5)
    assert event.properties == {"a": 1, "b": 0.5, "c": None}


@pytest.mark.parametrize(
    "fields",
    [
        {"occurred_at": "2017-01-03T18:04:00"},
        {"occurred_at": "yesterday"},
        {"occurred_at": None},
        {"identities": {}},
        {"identities": {"id": 5}},
        {"type": ""},
        {"extra": 1},
    ],
    ids=str,
)
def test_what_is_no_canonical_event_is_refused(fields):
    """The text names the place; the cause is for the dead letter."""
    with pytest.raises(InputError, match=r"day\.ndjson:0 at byte 42") as refused:
        parse(**fields)
    assert refused.value.cause == "bad_line"


def test_nested_properties_are_flattened():
    assert parse(properties={"cart": {"id": "a"}}).properties == {"cart.id": "a"}


@pytest.mark.parametrize("line", [b"{", b"\xff", b'{"properties": ' + b'{"a":' * 5_000])
def test_a_line_that_is_no_json(line):
    """Broken, no UTF-8, nested without end."""
    with pytest.raises(InputError):
        parse_line(line, "till", "f", 0)


def test_packed_or_not_a_file_gives_the_same_lines_offsets_and_identity(tmp_path):
    data = b'{"a": 1}\n\n{"b": 2}\n{"c": 3}'
    (tmp_path / "day.ndjson").write_bytes(data)
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "day.ndjson.gz").write_bytes(gzip.compress(data))
    flat, packed = tmp_path / "day.ndjson", tmp_path / "packed" / "day.ndjson.gz"
    assert list(read_lines(flat)) == list(read_lines(packed))
    assert [line.offset for line in read_lines(flat)] == [0, 10, 19]
    assert [line.offset for line in read_lines(packed, 10)] == [10, 19]
    assert file_identity(flat) == file_identity(packed)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "day.ndjson").write_bytes(b'{"d": 4}')
    assert file_identity(tmp_path / "other" / "day.ndjson") != file_identity(flat)
