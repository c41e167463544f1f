"""One mapping: records to events, all or nothing, and ids that a repetition repeats."""

from __future__ import annotations

import json

import pytest

from orchestrator.errors import InputError
from orchestrator.sources.mappings import Arrival, Mapper

BILLING = {
    "source": "billing",
    "topic": ["payments"],
    "events": [
        {
            "if": 'record.status == "paid"',
            "type": "invoice.paid",
            "id": "record.invoice_id",
            "occurred_at": "record.paid_at",
            "identities": {"billing_id": "record.customer", "email": "record.customer_email"},
            "properties": {"amount": "record.total / 100.0", "currency": "record.currency"},
        }
    ],
}
PAID = {
    "status": "paid",
    "invoice_id": 7,
    "paid_at": "2026-03-01T09:00:00+01:00",
    "customer": 4711,
    "customer_email": " Ada@Example.com ",
    "total": 2950,
    "currency": "EUR",
}
HERE = Arrival(1_000, ("file", "12"))


def mapper(event=(), /, **source):
    """The billing mapping with something else in its event, or around it."""
    form = {**BILLING["events"][0], **dict(event)}
    return Mapper(json.dumps({**BILLING, "events": [form], **source}))


def one(mapping, record, arrival=HERE):
    [event] = mapping.events([record], arrival)
    return event


def refusal(mapping, record, arrival=HERE):
    with pytest.raises(InputError) as caught:
        mapping.events([record], arrival)
    return caught.value.cause, str(caught.value)


def test_the_example_of_the_contract():
    event = one(mapper(), PAID)
    assert event.event_id == "7"
    assert (event.type, event.source) == ("invoice.paid", "billing")
    assert event.occurred_at == 1_772_352_000_000
    assert event.identities == {"billing_id": "4711", "email": "ada@example.com"}
    assert event.properties == {"amount": 29.5, "currency": "EUR"}


@pytest.mark.parametrize("text", ["record.total / 100.0", "double(record.total)", "record.total"])
def test_a_number_with_which_nobody_can_reckon_is_refused(text):
    """The connector goes on with the next record."""
    form = mapper({"properties": {"amount": text}})
    assert refusal(form, {**PAID, "total": 10**400})[0] == "out_of_range"
    assert one(form, {**PAID, "total": 10**30}).properties["amount"] in {1e30, 1e28}


def test_a_record_for_which_no_if_holds_makes_nothing():
    assert mapper().events([{**PAID, "status": "open"}], HERE) == []
    assert mapper().events([{}], HERE) == []


def test_a_field_that_is_only_named_is_copied_as_it_is():
    """Objects become dotted properties, arrays JSON, null stays and clears; absent is left out."""
    names = {
        "cart": "record.cart",
        "plan": "record.plan",
        "none": "record.none",
        "sum": "record.x + 1",
    }
    record = {**PAID, "cart": {"size": 2, "items": [{"sku": "a"}]}, "plan": None}
    event = one(mapper({"properties": names}), record)
    assert event.properties == {"cart.size": 2, "cart.items": '[{"sku":"a"}]', "plan": None}


@pytest.mark.parametrize(
    ("change", "cause", "words"),
    [
        ({"invoice_id": None}, "no_id", "record.invoice_id"),
        ({"invoice_id": {"a": 1}}, "no_id", "null"),
        ({"paid_at": None}, "no_time", "null"),
        ({"paid_at": "yesterday"}, "bad_time", "'yesterday'"),
        ({"paid_at": "2026-03-01T09:00:00"}, "bad_time", "give the mapping a zone"),
        ({"paid_at": "1772352000000"}, "bad_time", "write long(...)"),
        ({"paid_at": 0}, "bad_time", "1970"),
        ({"paid_at": -5}, "bad_time", "1970"),
        ({"paid_at": 10**18}, "bad_time", "9999"),
        ({"paid_at": True}, "bad_time", "True"),
        ({"paid_at": [1]}, "bad_time", "no instant"),
        ({"customer": None, "customer_email": " "}, "no_identity", "billing_id, email"),
        ({"customer": True, "customer_email": ["x"]}, "no_identity", "billing_id, email"),
        ({"currency": {str(n): "x" * 9_000 for n in range(30)}}, "too_large", "invoice.paid"),
    ],
)
def test_what_cannot_be_mapped_is_refused_with_its_cause(change, cause, words):
    said, text = refusal(mapper(), {**PAID, **change})
    assert said == cause
    assert words in text


def test_without_an_id_it_is_made_of_what_a_repetition_repeats():
    plain = mapper({"id": None})
    first = one(plain, PAID)
    assert one(plain, {**PAID, "total": 1}).event_id == first.event_id
    assert one(plain, PAID, Arrival(2_000, ("file", "13"))).event_id != first.event_id
    assert one(mapper({"id": None}, source="other"), PAID).event_id != first.event_id


def test_events_of_one_upstream_object_never_pass_for_duplicates():
    """An invoice is opened, then paid, under one id: two types, so two events."""
    paid = BILLING["events"][0]
    opened = {**paid, "if": 'record.status == "open"', "type": "invoice.opened"}
    again = {**paid, "if": None}
    several = Mapper(json.dumps({**BILLING, "events": [opened, paid, again]}))
    assert [each.event_id for each in several.events([PAID], HERE)] == [
        "7/invoice.paid",
        "7/invoice.paid/2",
    ]
    assert (
        one(
            Mapper(json.dumps({**BILLING, "events": [opened, paid]})), {**PAID, "status": "open"}
        ).event_id
        == "7/invoice.opened"
    )


def test_one_bad_event_refuses_the_record():
    """All or nothing: a dead letter that is replayed must not repeat half of it."""
    paid = BILLING["events"][0]
    bad = {**paid, "type": "invoice.noted", "occurred_at": "record.noted_at"}
    assert refusal(Mapper(json.dumps({**BILLING, "events": [paid, bad]})), PAID)[0] == "no_time"


def test_without_occurred_at_it_is_the_arrival():
    arrived = mapper({"occurred_at": None})
    assert one(arrived, PAID).occurred_at == 1_000
    assert refusal(arrived, PAID, Arrival(None, ()))[0] == "no_time"


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-07-01 12:00:00", "2026-07-01T10:00:00Z"),
        ("2026-01-01", "2025-12-31T23:00:00Z"),
        ("2026-01-01T12:00", "2026-01-01T11:00:00Z"),
        ("2026-01-01 12:00:00,123456789", "2026-01-01T11:00:00.123Z"),
        ("2026-03-29 02:30:00", "2026-03-29T01:00:00Z"),  # in the gap: the first instant behind it
        ("2026-03-29 02:00:00.5", "2026-03-29T01:00:00Z"),
        ("2026-03-29 03:00:00", "2026-03-29T01:00:00Z"),
        ("2026-10-25 02:30:00", "2026-10-25T00:30:00Z"),  # there are two: the first
        ("2026-07-01T12:00:00Z", "2026-07-01T12:00:00Z"),  # an offset beats the zone
    ],
)
def test_wall_times_are_those_of_the_zone(text, utc):
    berlin = mapper(zone="Europe/Berlin")
    event = one(berlin, {**PAID, "paid_at": text})
    assert event.occurred_at == one(mapper(), {**PAID, "paid_at": utc}).occurred_at


def test_a_day_that_does_not_exist():
    assert refusal(mapper(zone="UTC"), {**PAID, "paid_at": "2026-02-30"})[0] == "bad_time"


def test_lookups():
    class Plans:
        def get(self, key):
            return {"3": {"name": "pro"}}.get(key, {})

    looking = mapper(
        {"properties": {"plan": "plans.name", "known": "has(plans.name)"}},
        lookup={"plans": {"file": "f", "key": "id", "on": "record.plan_id"}},
    )
    looking.use({"plans": Plans()})
    assert one(looking, {**PAID, "plan_id": 3}).properties == {"plan": "pro", "known": True}
    assert one(looking, {**PAID, "plan_id": 4}).properties == {"known": False}
    assert one(looking, PAID).properties == {"known": False}
    assert looking.fields("plans") == {"name"}
    assert "plan_id" in looking.fields()


def test_lines_of_a_group():
    """Sums go over all lines; everything else is said by the first."""
    basket = Mapper(
        json.dumps(
            {
                "source": "tills",
                "files": ["f"],
                "format": "csv",
                "group_by": ["record.basket", "record.shop"],
                "events": [
                    {
                        "type": "order.completed",
                        "occurred_at": "long(record.at)",
                        "identities": {"customer_id": "record.who"},
                        "properties": {"amount": "sum(double(record.price))", "lines": "sum(1)"},
                    }
                ],
            }
        )
    )
    lines = [
        {"basket": "b", "shop": "1", "at": "5", "who": "ada", "price": "0.1"},
        {"basket": "b", "shop": "1", "at": "6", "who": "bob", "price": "0.2"},
        {"basket": "b", "shop": "1", "at": "7", "who": "bob"},
    ]
    assert basket.grouped
    assert {basket.group(line) for line in lines} == {'["b","1"]'}
    [event] = basket.events(lines, HERE)
    assert (event.occurred_at, event.identities) == (5, {"customer_id": "ada"})
    assert event.properties == {"amount": 0.30000000000000004, "lines": 3}
    with pytest.raises(InputError, match="belongs to no event"):
        basket.group({"basket": "b"})
