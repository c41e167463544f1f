"""Record headers: a function of the record, unique where CloudEvents asks for it, and read without raising."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.codec import RecordHeaders, headers_for, read_headers
from orchestrator.records import Absorb, Action, CatalogSwitch, Decision, Event, Merge
from tests.codec.samples import AT, SAMPLES

TRACE = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"
BY_TYPE = {type(sample): sample for sample in SAMPLES}


def test_headers_of_an_event_are_its_own():
    assert headers_for(BY_TYPE[Event], "app", trace=TRACE, backfill=True) == [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"e-1"),
        ("ce_type", b"pricing.viewed"),
        ("ce_source", b"web"),
        ("ce_time", b"2023-11-14T22:13:20.123Z"),
        ("traceparent", TRACE.encode()),
        ("backfill", b"true"),
    ]


def test_headers_of_a_decision_carry_its_own_trace():
    found = read_headers(headers_for(BY_TYPE[Decision], "app", trace="other"))
    assert found == RecordHeaders(
        id="d-1", type="journey.Decision", source="app", time=AT, trace=TRACE
    )


def test_a_catalog_is_named_as_its_schema_is():
    assert read_headers(headers_for(BY_TYPE[CatalogSwitch], "app")).type == "journey.Catalog"


def test_ids_of_one_source_are_unique():
    """A cancel is not a duplicate of the action it cancels, nor an absorb of its merge."""
    cancel = BY_TYPE[Action]
    send = Action(**{name: getattr(cancel, name) for name in cancel.__struct_fields__})
    send.kind = "send"
    records = [send, cancel, BY_TYPE[Merge], BY_TYPE[Absorb]]
    ids = [read_headers(headers_for(record, "app")).id for record in records]
    assert ids == ["a-1", "a-1/cancel", "m-1", "m-1/absorb"]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: type(sample).__name__)
def test_headers_of_every_record_are_the_same_each_time_and_readable(sample):
    headers = headers_for(sample, "app", trace=TRACE)
    assert headers == headers_for(sample, "app", trace=TRACE)
    found = read_headers(headers)
    assert found.type
    assert found.source
    assert found.trace == TRACE
    assert not found.backfill


@given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_every_time_of_the_calendar_is_read_as_it_was_written(at):
    event = Event(event_id="e", type="a.b", occurred_at=at, identities={}, source="s")
    assert read_headers(headers_for(event, "app")).time == at


@given(st.integers(-(2**63), 2**63 - 1))
def test_a_time_beyond_the_calendar_is_left_out(at):
    """occurred_at comes from outside; a header is never a reason to lose a record."""
    event = Event(event_id="e", type="a.b", occurred_at=at, identities={}, source="s")
    assert read_headers(headers_for(event, "app")).time in {at, None}


@given(
    st.lists(
        st.tuples(
            st.sampled_from("ce_id ce_type ce_time traceparent backfill other".split()),
            st.none() | st.binary(max_size=60) | st.text(max_size=60),
        )
    )
)
def test_any_headers_are_read_without_raising(headers):
    read_headers(headers)


def test_no_headers_say_nothing():
    assert read_headers(None) == read_headers([]) == RecordHeaders()


@pytest.mark.parametrize(
    "trace", ["", "00-zz", TRACE.upper(), TRACE + "-x", "x" + TRACE, TRACE + "\n"]
)
def test_a_malformed_trace_is_dropped(trace):
    assert read_headers([("traceparent", trace.encode())]).trace is None
