"""Expressions of source mappings: a record, its lookups, the lines of a group, and nothing else."""

from __future__ import annotations

import pytest

from orchestrator.expressions import Environment, ExpressionError, Names, compile_expression
from orchestrator.expressions.records import ABSENT, RecordScope, find, mapping_environment
from tests.expressions.world import PLACE

NESTED = {
    "id": "in_1",
    "paid": True,
    "total": 2950,
    "customer": {"email": "A@x.org", "tags": ["vip", "new"], "name": None},
    "a.b": 1,
    "c": {"d.e": {"f": 2}, "g": 3},
    "product id": "x",
    "empty": {},
}


def value(text, record=NESTED, others=(), **place):
    scope = RecordScope({"record": record}, [RecordScope({"record": one}) for one in others])
    return compile_expression(text, mapping_environment(**place))(scope)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("record.id", "in_1"),
        ("record.total / 100.0", 29.5),
        ("record.customer.email.lower()", "a@x.org"),
        ("record.a.b", 1),
        ("record.c.d.e.f", 2),
        ('record["c"].g', 3),
        ('record["product id"]', "x"),
        ("record.missing", None),
        ("record.customer.missing.deeper", None),
        ("has(record.customer.name)", False),
        ("has(record.customer)", True),
        ("has(record.empty)", True),
        ('"vip" in record.customer.tags', True),
        ('"email" in record.customer', True),
        ("size(record.customer)", 3),
        ('record.customer == "x"', False),
        ('record.customer in ["x"]', False),
        ('record.customer != "x"', True),
        ('record.paid ? "paid" : record.id', "paid"),
    ],
)
def test_fields_are_read_however_deep_they_are(text, expected):
    assert value(text) == expected


def test_a_field_that_is_null_differs_from_one_that_is_not_there():
    assert find(NESTED, "customer.name") is None
    assert find(NESTED, "customer.other") is ABSENT
    assert find(NESTED, "id.other") is ABSENT


def test_lines_of_a_group_are_added_up():
    lines = [{"n": 1, "x": "0.1"}, {"n": 2, "x": "0.2"}, {"n": None, "x": "none"}]
    first, *others = lines
    assert value("sum(record.n)", first, others, grouped=True) == 3
    assert value("sum(1)", first, others, grouped=True) == 3
    assert value("sum(double(record.x)) * 2.0", first, others, grouped=True) == 0.6000000000000001
    assert value("sum(record.missing)", first, others, grouped=True) == 0
    assert value("record.n", first, others, grouped=True) == 1


@pytest.mark.parametrize(
    ("text", "place", "problem", "words"),
    [
        ("profile.plan", {}, "bad-expression", "the record alone"),
        ("event.amount", {}, "no-event-here", "the record alone"),
        ("count(a.b, P1D) > 1", {}, "bad-expression", "the record alone"),
        ("now()", {}, "bad-expression", "cannot be asked here"),
        ("recrod.x", {}, "bad-expression", "did you mean record?"),
        ("product.x", {"lookups": ["products"]}, "bad-expression", "did you mean products?"),
        ("record", {}, "bad-expression", "record alone is no value"),
        ("sum(record.x)", {}, "bad-expression", "add group_by"),
        ("sum(sum(record.x))", {"grouped": True}, "bad-expression", "in no other"),
        ("sum(record.x)", {"grouped": True, "texts": True}, "type-error", "double(...)"),
        ("record.x * 2", {"texts": True}, "type-error", "double(...)"),
        ('header["x-a"]', {}, "bad-expression", "not known"),
        ('opened("a")', {}, "bad-expression", "step"),
    ],
)
def test_what_a_mapping_cannot_ask_is_refused_with_a_remedy(text, place, problem, words):
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text, mapping_environment(**place))
    assert caught.value.problem == problem
    assert words in str(caught.value)


def test_journeys_know_neither_records_nor_sums():
    for text, words in (("record.x", "not known"), ("sum(profile.visits)", "declare a trait")):
        with pytest.raises(ExpressionError, match=words):
            compile_expression(text, PLACE)


def test_references_name_the_fields_that_a_mapping_needs():
    place = mapping_environment(["products"])
    fields = compile_expression("products.name + record.a.b", place).references.fields
    assert fields == {("products", "name"), ("record", "a.b")}


def test_a_scope_of_records_answers_every_question_about_customers_with_nothing():
    """It is a full scope, so that nothing raises whatever is asked."""
    scope = RecordScope({})
    assert [scope.trait("a"), scope.event("a"), scope.entry("a"), scope.latest("a")] == [None] * 4
    assert not scope.flag("a", "sent")
    assert not scope.consent("a", "b")
    assert scope.count("a", 1) == scope.days_since(1) == 0
    assert scope.last("a") is None
    assert scope.when_trait_crosses("a", ">", 1) is None
    assert scope.when_count_crosses("a", 1, ">", 1) is None
    assert scope.when_days_since(1, ">", 1) is None


def test_a_record_alone_is_no_value():
    """A mapping names the field that it wants."""
    with pytest.raises(ExpressionError, match="record alone is no value"):
        value("record == null")


def test_declared_fields_have_their_types_and_no_others():
    """Where a schema tells the fields of a record, a misspelt one is found before anything runs."""
    place = Environment(records={"record": Names({"total": "long", "a.b": "string"})})
    assert compile_expression("record.total * 2", place).type == "long"
    assert compile_expression("record.a.b", place)(RecordScope({"record": {"a": {"b": 1}}})) is None
    with pytest.raises(ExpressionError, match=r"did you mean total\?"):
        compile_expression("record.totl", place)
