"""Which identities tell customers apart, and which are refused."""

import pytest

from orchestrator.errors import InputError
from orchestrator.identities import normalise, strongest_first
from orchestrator.records import Event
from orchestrator.stages.catalog import Identities

RULES = Identities(
    primary="customer_id",
    also=("email", "anonymous_id"),
    block=frozenset({"email:test@example.com", "customer_id:null"}),
)


def keys(**identities: str) -> list[str]:
    event = Event(event_id="1", type="t.t", occurred_at=0, identities=identities, source="s")
    return [
        one.key for one in strongest_first(event.identities, RULES.primary, RULES.also, RULES.block)
    ]


def test_normalised():
    assert normalise("email", " Ann@X.Example ") == "ann@x.example"
    assert normalise("anonymous_id", " AbC ") == "AbC"


def test_strongest_first():
    """Primary, then the order of ``also``; other kinds and blanks are ignored."""
    found = keys(anonymous_id="x", loyalty="9", email="A@B.example", customer_id="c1")
    assert found == ["customer_id:c1", "email:a@b.example", "anonymous_id:x"]
    assert keys(anonymous_id="x", email="  ") == ["anonymous_id:x"]


def test_customer_stands_alone():
    assert keys(customer=" anon:1 ", email="a@b.example") == ["customer:anon:1"]
    assert keys(customer="  ", email="a@b.example") == ["email:a@b.example"]


def test_blocked_values_count_only_when_there_is_nothing_else():
    """Thousands share them: they must not bring people together."""
    assert keys(email="Test@Example.com", anonymous_id="x") == ["anonymous_id:x"]
    assert keys(customer_id="null", anonymous_id="x") == ["anonymous_id:x"]
    assert keys(customer_id="null", email="test@example.com") == ["customer_id:null"]


@pytest.mark.parametrize(
    ("identities", "cause", "text"),
    [
        ({}, "no_identity", "carries: none"),
        ({"loyalty": "9"}, "no_identity", "carries: loyalty"),
        ({"anonymous_id": "é" * 101}, "no_identity", "carries: anonymous_id"),
        ({"customer_id": "anon:1"}, "bad_identity", "must not begin with 'anon:'"),
        ({"customer_id": "é" * 101}, "bad_identity", "202 bytes"),
        ({"customer": "x" * 201}, "bad_identity", "201 bytes"),
        ({"customer_id": "ada\x1fa1"}, "bad_identity", "0x1F"),
        ({"customer": "ada\x1fa1"}, "bad_identity", "0x1F"),
    ],
)
def test_refusals_say_why(identities, cause, text):
    with pytest.raises(InputError, match=text) as refused:
        keys(**identities)
    assert refused.value.cause == cause


def test_a_weak_identity_that_is_too_long_is_passed_over():
    assert keys(email="a@b.example", anonymous_id="x" * 201) == ["email:a@b.example"]
    assert keys(anonymous_id="x" * 200) == ["anonymous_id:" + "x" * 200]
