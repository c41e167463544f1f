"""What arrives is made to fit its declared type, or is null."""

import math

import pytest

from orchestrator.records import Event
from orchestrator.stages.calendar import calendar_for
from orchestrator.stages.catalog import Catalog
from orchestrator.stages.decide.event_time import event_time, is_ahead
from orchestrator.stages.decide.values import add, fit, order, properties_of

BERLIN = calendar_for("Europe/Berlin")


@pytest.mark.parametrize(
    ("value", "type_", "fitted"),
    [
        ("x", "string", "x"),
        (5, "string", None),
        (True, "boolean", True),
        (1, "boolean", None),
        (5, "long", 5),
        (5.0, "long", 5),
        (5.5, "long", None),
        (True, "long", None),
        ("5", "long", None),
        (2**63, "long", None),
        (float(2**63), "long", None),
        (math.nan, "long", None),
        (5, "double", 5.0),
        (math.inf, "double", None),
        (True, "double", None),
        ("2026-06-01", "timestamp", 1_780_264_800_000),
        ("soon", "timestamp", None),
        (2**63, "timestamp", None),
        ([1], "timestamp", None),
        ([1], "any", None),
        (math.nan, "any", None),
        ("x", "any", "x"),
        (False, "any", False),
        (7, "any", 7),
        (None, "any", None),
        (None, "string", None),
    ],
)
def test_fit(value, type_, fitted):
    got = fit(value, type_, BERLIN)
    assert got == fitted
    assert type(got) is type(fitted)


def test_longs_that_overflow_become_doubles():
    """MessagePack has 64 bits; a state that cannot be stored would stop a customer for good."""
    assert add(2**62, 2**62) == 2.0**63
    assert isinstance(add(2**62, 2**62), float)
    assert isinstance(add(1, 2), int)
    assert isinstance(add(1, 2.0), float)


def test_one_order_for_all_values():
    values = [None, False, True, -1, 1, 1.0, 2**62, 2**62 + 1, "", "a"]
    keys = [order(value) for value in values]
    assert len(set(keys)) == len(keys)
    assert sorted(keys, key=lambda key: key[0]) == keys
    assert order(2**62) < order(2**62 + 1)


def test_properties_are_typed_by_events_yaml():
    """Declared ones fit their type, undeclared ones and undeclared events stay as they are."""
    catalog = Catalog(events={"a.b": {"at": "timestamp", "n": "long"}, "e.e": {}})
    event = Event(
        event_id="1",
        type="a.b",
        occurred_at=0,
        identities={},
        source="s",
        properties={"at": "1970-01-01T00:00:01Z", "n": "x", "other": "x"},
    )
    assert properties_of(event, catalog, BERLIN) == {"at": 1000, "n": None, "other": "x"}
    for type_ in ("e.e", "c.d"):
        event.type = type_
        assert properties_of(event, catalog, BERLIN) is event.properties
    assert properties_of(event, Catalog(), BERLIN) is event.properties


def test_a_clock_may_be_ahead_by_five_minutes():
    """More is the sender's error: the log time counts."""
    event = Event(event_id="1", type="a.b", occurred_at=300_100, identities={}, source="s")
    assert not is_ahead(event, 100)
    assert event_time(event, 100) == 300_100
    assert is_ahead(event, 99)
    assert event_time(event, 99) == 99
