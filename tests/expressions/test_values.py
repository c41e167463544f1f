"""What expressions yield: operators, functions, names, and the null rules, each case by case."""

import pytest

from orchestrator.expressions import Environment, Names, compile_expression
from tests.expressions.world import ANYWHERE, DAY, Customer, compiled, value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("10 - 3 - 2", 5),
        ("7 / 2", 3),
        ("-7 / 2", -3),
        ("-7 % 3", -1),
        ("7 % -3", 1),
        ("7.0 / 2", 3.5),
        ("7 / 2.0", 3.5),
        ("1 + 0.5", 1.5),
        ("2 * 1.5", 3.0),
        ("5.5 - 5", 0.5),
        ("- 3", -3),
        ("-(-3)", 3),
        ("-(1.5)", -1.5),
        ("0x1F", 31),
        ("1e3", 1000.0),
        (".5", 0.5),
        ('"a" + "b"', "ab"),
        (r'"\x41B\U00000043\104\n\\"', "ABCD\n\\"),
        (r"r'\d+'", r"\d+"),
        ("true && !false", True),
        ("false || true || false", True),
        ("false || false || false", False),
        ("true && true && false", False),
        ("true && true && true", True),
        ("1 < 2 && 2 <= 2 && 3 > 2 && 3 >= 3 && 1 == 1 && 1 != 2", True),
        ("1 == 1.0", True),
        ("1 < 1.5", True),
        ('"a" < "b"', True),
        ("true == true", True),
        ("true != false", True),
        ("2 in [1, 2]", True),
        ("2.0 in [1, 2]", True),
        ('"x" in ["a", "b"]', False),
        ('"a" in []', False),
        ('"a" in [null, "a"]', True),
        ("true ? 1 : 2", 1),
        ("false ? 1 : 2.5", 2.5),
        ("true ? 1 : 2.5", 1.0),
        ("true ? null : 2.5", None),
        ("false ? 1 : true ? 2 : 3", 2),
        ('size("grün")', 4),
        ('"grün".size()', 4),
        ("size([1, 2, 3])", 3),
        ('upper("ab") + lower("CD") + trim("  e ")', "ABcde"),
        ('"Acme".startsWith("Ac")', True),
        ('endsWith("Acme", "me")', True),
        ('"Acme".contains("cm")', True),
        ('"AB-12".matches("^[A-Z]{2}-[0-9]+$")', True),
        ('"AB".matches("^a")', False),
        ('long("12") + long(3.9) + long(-3.9)', 12),
        ('double("1.5") + double(2)', 3.5),
        ("string(1) + string(1.0) + string(1.5) + string(true) + string('x')", "111.5truex"),
        ("string(timestamp('2026-03-01T10:00:00+01:00'))", "2026-03-01T09:00:00Z"),
        ("string(timestamp('2026-03-01T10:00:00.250Z'))", "2026-03-01T10:00:00.250Z"),
        ("long(timestamp(5))", 5),
        ("timestamp(timestamp(5)) == timestamp(5)", True),
        ("timestamp('2026-03-01T10:00:00Z') < timestamp('2026-03-01T10:00:00-01:00')", True),
        ("min(3, 1, 2)", 1),
        ("max(3, 1.5)", 3.0),
        ('max("a", "b")', "b"),
        ("1 in [2] ? 'a' : 'b'", "b"),
    ],
)
def test_constants(text, expected):
    """Operators and functions of constants, with CEL's precedence and truncating division."""
    assert compiled(text)(None) == expected
    assert type(compiled(text)(None)) is type(expected)


@pytest.mark.parametrize(
    "text",
    [
        "1 / 0",
        "1 % 0",
        "1.0 / 0",
        "1.0 / 0.0",
        "9223372036854775807 + 1",
        "-9223372036854775808 - 1",
        "9223372036854775807 * 2",
        "-9223372036854775808 / -1",
        "-(-9223372036854775808)",
        "1e308 * 10.0",
        "1e308 + 1e308",
        "-1e308 - 1e308",
        'long("x")',
        'long("9999999999999999999")',
        "long(1e30)",
        'double("x")',
        'double("1e999")',
        'timestamp("2026-03-01")',
        'timestamp("2026-13-01T00:00:00Z")',
        "timestamp(9223372036854775807)",
        "null",
        "profile.orders + 1",
        "1 - profile.orders",
        "-profile.orders",
        "profile.orders / 0",
        "profile.name + 'x'",
        "size(profile.name)",
        "lower(profile.name)",
        "double(profile.name)",
        "string(profile.orders)",
        "min(profile.orders, 1)",
        "days_since(profile.trial_ends)",
        "last(pricing.viewed)",
        "false ? 1 : null",
        "profile.address.city",
    ],
)
def test_null(text):
    """Arithmetic with null, overflow, division by zero and bad casts are null; nothing raises."""
    assert value(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "profile.orders < 1",
        "profile.orders >= 1",
        "profile.orders == 1",
        "profile.orders != 1",
        "1 != profile.orders",
        "profile.orders == profile.recent",
        "profile.orders != profile.recent",
        "profile.plan == 'x'",
        "profile.plan != 'x'",
        "profile.plan in ['x']",
        "profile.plan in profile.tags",
        "'x' in profile.tags",
        "null in ['x']",
        "profile.plan in [null]",
        "profile.vip && true",
        "profile.vip || false",
        "profile.name.startsWith('x')",
        "'x'.startsWith(profile.name)",
        "profile.name.matches('.*')",
        "has(profile.plan)",
        "profile.plan != null",
        "null != profile.plan",
        "null != null",
        "has(event.amount)",
        "!(profile.plan == null)",
        "(profile.plan == 'x') == (profile.plan != 'x') && false",
        "profile.vip == false",
    ],
)
def test_comparison_with_null_is_false(text):
    """Every comparison with null is false, != and in included; only == null and has() see it."""
    assert value(text) is False


@pytest.mark.parametrize(
    "text",
    [
        "!profile.vip",
        "profile.plan == null",
        "null == profile.plan",
        "null == null",
        "!has(profile.plan)",
        "!(profile.orders != 1)",
        "profile.vip ? false : true",
    ],
)
def test_a_null_condition_is_false(text):
    """So its negation is true."""
    assert value(text) is True


def test_names():
    """Every root, the longest declared name, names that are no identifiers."""
    customer = {
        "profile": {"plan": "pro", "tags": ["a"], "scores": [1, 2], "address.city": "Ulm"},
        "properties": {"plan": "free", "a": "x", "a.b": 3, "product id": "p1", "amount": 5},
        "flags": frozenset({("day1", "opened"), ("in-app", "sent")}),
        "counts": {"pricing.viewed": 3},
        "lasts": {"pricing.viewed": 77},
    }
    for text, expected in {
        "profile.plan": "pro",
        "event.plan + entry.plan + latest.plan": "freefreefree",
        "event.a": "x",
        "event.a.b": 3,
        'event["a.b"]': 3,
        'event["product id"]': "p1",
        "event.amount": 5.0,
        "profile.address.city": "Ulm",
        "'a' in profile.tags": True,
        "2 in profile.scores": True,
        "size(profile.tags)": 1,
        "opened(day1)": True,
        'opened("day1")': True,
        "clicked(day1)": False,
        'sent("in-app")': True,
        "consent(email, news)": True,
        'consent("push", "news")': False,
        "count(pricing.viewed, P7D)": 3,
        'count("pricing.viewed", "P1W") > 2': True,
        "last(pricing.viewed) == timestamp(77)": True,
        "days_since(timestamp(0))": 1000,
        "now() == timestamp(86400000000)": True,
        "event.a.startsWith('x')": True,
    }.items():
        assert value(text, **customer) == expected, text


@pytest.mark.parametrize(
    ("name", "held", "read"),
    [
        ("event.amount", 5, 5.0),
        ("event.amount", True, None),
        ("event.amount", "5", None),
        ("event.amount", float("nan"), None),
        ("event.amount", float("inf"), None),
        ("event.count", 5.0, 5),
        ("event.count", 5.5, None),
        ("event.count", 1e300, None),
        ("event.count", True, None),
        ("event.count", "5", None),
        ("event.plan", 5, None),
        ("event.paid", 1, None),
        ("event.paid", True, True),
        ("event.at", "2026-03-01T00:00:00Z", 1_772_323_200_000),
        ("event.at", "2026-03-01", None),
        ("event.at", 5, 5),
        ("event.at", 5.0, None),
        ("profile.tags", "a", None),
    ],
)
def test_a_value_of_the_wrong_type_is_null(name, held, read):
    """Whatever an upstream sends, types hold behind a read."""
    key = name.partition(".")[2]
    assert value(name, profile={key: held}, properties={key: held}) == read


@pytest.mark.parametrize(
    ("text", "held", "expected"),
    [
        ("event.x == 1", True, False),
        ("event.x == 1", 1, True),
        ("event.x == 1", 1.0, True),
        ("event.x == 1", "1", False),
        ("event.x != 1", "1", True),
        ("event.x < 2", "1", False),
        ("event.x < 2", 1, True),
        ("event.x < true || true", 1, True),
        ("event.x == true", 1, False),
        ("event.x == true", True, True),
        ("event.x < event.y", True, False),
        ("event.x == event.y", [1], False),
        ("event.x != event.y", [1], False),
        ("event.x != 1", [1], True),
        ("event.x in [1, 2]", True, False),
        ("event.x in [1, 2]", 2.0, True),
        ("event.x in [1, 2]", [1], False),
        ("event.x in ['a']", "a", True),
        ("1 in event.x", [1, 2], True),
        ("true in event.x", [1, 2], False),
        ("1 in event.x", "no list", False),
        ("event.x + 1", "a", None),
        ("event.x + 'b'", "a", "ab"),
        ("event.x - event.x", "a", None),
        ("event.x + 1", True, None),
        ("event.x + 1", 2.5, 3.5),
        ("event.x % 2", 3, 1),
        ("event.x % 2", 3.0, None),
        ("event.x", float("nan"), None),
        ("size(event.x)", [1], 1),
        ("size(event.x)", 5, None),
        ("lower(event.x)", 5, None),
        ("long(event.x)", True, None),
        ("double(event.x)", True, None),
        ("double(event.x)", [1], None),
        ("timestamp(event.x)", True, None),
        ("timestamp(event.x)", [1], None),
        ("string(event.x)", [1], None),
        ("string(event.x)", 5, "5"),
        ("min(event.x, 1)", "a", None),
        ("min(event.x, 1)", True, None),
        ("max(event.x, 1)", 2.5, 2.5),
        ("max(event.x, 'a')", "b", "b"),
        ("event.x.startsWith('a')", 5, False),
        ("matches(event.x, 'a')", 5, False),
        ("days_since(event.x)", "a", None),
        ("event.x ? 1 : 2", 1, 2),
        ("!event.x", "a", True),
        ("event.x.y.z == null", 1, True),
    ],
)
def test_undeclared_names_are_checked_while_they_run(text, held, expected):
    """Without declarations nothing raises either, and no type is taken for another."""
    customer = Customer(properties={"x": held, "y": held})
    assert compiled(text, ANYWHERE)(customer) == expected


def test_holds_and_calls():
    """``holds`` is true for true alone; a call gives the value."""
    customer = Customer()
    assert not compiled("null").holds(customer)
    assert compiled("true").holds(customer)
    assert compiled("true")(customer) is True


def test_equality_of_expressions():
    """Two compilations of one text for one place are equal; closures do not compare."""
    assert compiled("profile.vip") == compiled("profile.vip")
    assert compiled("profile.vip") != compiled("!profile.vip")


def test_references():
    """What a condition reads, through derived traits too."""
    inner = compile_expression("profile.orders > 3 && count(feature.used, P7D) > 1", ANYWHERE)
    place = Environment(
        profile=Names({"loyal": "boolean", "plan": "string"}),
        event=Names({"plan": "string"}),
        latest=Names(open=True),
        entry=Names(open=True),
        derived={"loyal": inner},
        any_step=True,
    )
    found = compile_expression(
        "profile.loyal && event.plan == entry.p && latest.q && opened(a) && consent(email, news)"
        " && last(x.y) != null && profile.plan == null",
        place,
    ).references
    assert found.traits == {"loyal", "orders", "plan"}
    assert found.event == {"plan"}
    assert found.entry == {"p"}
    assert found.latest == {"q"}
    assert found.flags == {("a", "opened")}
    assert found.counts == {("feature.used", 7 * DAY)}
    assert found.lasts == {"x.y"}
    assert found.consents == {("email", "news")}
    assert found.time


def test_constants_are_known():
    """A condition that reads nothing is constant."""
    assert compiled("1 < 2").constant
    assert not compiled("profile.vip").constant
    assert not compiled("now() == null").constant
