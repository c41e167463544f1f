"""What is refused: problem, place, remedy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.expressions import Environment, ExpressionError, Names, compile_expression
from orchestrator.expressions.lexer import tokenize
from tests.expressions.world import ANYWHERE, PLACE, compiled


@pytest.mark.parametrize(
    ("text", "problem", "offset", "words"),
    [
        ("", "bad-expression", 0, "ends where a value should follow"),
        ("1 +", "bad-expression", 3, "quote the whole expression"),
        ("1 2", "bad-expression", 2, "'2' stands where an operator"),
        ("a and b", "bad-expression", 2, "write &&"),
        ("profile.plan = 'a'", "bad-expression", 13, "write =="),
        ("true & false", "bad-expression", 5, "write &&"),
        ("'a", "bad-expression", 0, "not closed"),
        ("{}", "bad-expression", 0, "maps"),
        ("1 # 2", "bad-expression", 2, "comment"),
        ("§", "bad-expression", 0, "unexpected character"),
        (r"'\q'", "bad-expression", 1, "unknown escape"),
        (r"'\uD800'", "bad-expression", 1, "no character"),
        ("99999999999999999999", "bad-expression", 0, "too large for a long"),
        ("9223372036854775808", "bad-expression", 0, "too large for a long"),
        ("1e999", "bad-expression", 0, "too large for a double"),
        ("(1", "bad-expression", 2, "')'"),
        ("[1, 2", "bad-expression", 5, "']'"),
        ("profile.", "bad-expression", 8, "a name"),
        ("event[1]", "bad-expression", 6, "a name in quotes"),
        ("true ? 1", "bad-expression", 8, "':'"),
        ("in", "bad-expression", 0, "a value"),
        ("!" * 40 + "true", "bad-expression", 32, "nest"),
        ("(" * 40 + "1" + ")" * 40, "bad-expression", 32, "nest"),
        ("1" + " + 1" * 40, "bad-expression", 36, "operators deep"),
        ("1 == " + " == ".join("1" * 600), "bad-expression", None, "operators and operands"),
        ("a" * 4001, "bad-expression", 4000, "4000 characters"),
        ("plan == 'x'", "bad-expression", 0, "write profile.plan"),
        ("amount > 1", "bad-expression", 0, "write event.amount"),
        ("profil.plan == 'x'", "bad-expression", 0, "did you mean profile?"),
        ("profile == 'x'", "bad-expression", 0, "alone is no value"),
        ("'a'.b == 1", "bad-expression", 4, "part of nothing"),
        ("profile.plam == 'x'", "unknown-trait", 8, "did you mean plan?"),
        ("event.plam == 'x'", "unknown-property", 6, "did you mean plan?"),
        ("profile.plan.size == 1", "type-error", 8, "a function needs brackets"),
        ("profile.plan.x == 1", "type-error", 8, "has no part 'x'"),
        ("foo(1)", "bad-expression", 0, "no function foo()"),
        ("'a'.foo()", "bad-expression", 4, "no function foo()"),
        ("duration('P1D')", "bad-expression", 0, "days_since"),
        ("now(1)", "bad-expression", 0, "takes 0 arguments"),
        ("has()", "bad-expression", 0, "takes 1 argument,"),
        ("lower('a', 'b')", "bad-expression", 0, "takes 1 argument,"),
        ("min(1)", "bad-expression", 0, "two or more"),
        ("has(1)", "bad-expression", 4, "write has(profile.plan)"),
        ("opened(day2)", "unknown-step", 7, "did you mean day1?"),
        ("opened(pause)", "wrong-step", 7, "sends nothing"),
        ("opened(in-app)", "bad-expression", 7, "'in'"),
        ("opened(day-1)", "bad-expression", 7, "in quotes"),
        ("opened(1)", "bad-expression", 7, "name of a step"),
        ("opened(a.b)", "bad-expression", 7, "name of a step"),
        ("consent(mail, news)", "unknown-channel", 8, "did you mean email?"),
        ("consent(email, nevs)", "unknown-category", 15, "did you mean news?"),
        ("last(pricing.view)", "unknown-event", 5, "did you mean pricing.viewed?"),
        ("count(pricing.viewed, 'P1M')", "bad-duration", 22, "no fixed length"),
        ("count(pricing.viewed, PT0S)", "bad-duration", 22, "longer than nothing"),
        ("last('a'.b)", "bad-expression", 5, "name of an event type"),
        ("days_since(1)", "type-error", 11, "declare it as timestamp"),
        ("days_since(true)", "type-error", 11, "needs a timestamp"),
        ("profile.name.matches(profile.plan)", "bad-expression", 21, "a text in quotes"),
        ("profile.name.matches('(')", "bad-expression", 21, "is not closed"),
        ("profile.orders.matches('a')", "type-error", 0, "needs a string"),
        ("lower(1)", "type-error", 0, "needs a string, not long"),
        ("size(1)", "type-error", 0, "a string or a list"),
        ("min(1, 'a')", "type-error", 0, "of one kind"),
        ("min(true, false)", "type-error", 0, "of one kind"),
        ("profile.plan > 5", "type-error", 13, "convert with"),
        ("event.at > 'x'", "type-error", 9, "write timestamp("),
        ("event.at - event.at", "type-error", 9, "days_since"),
        ("event.at + 5", "type-error", 9, "number of days"),
        ("true + 1", "type-error", 5, "does not go with"),
        ("1.5 % 2", "type-error", 4, "does not go with"),
        ("'a' - 'b'", "type-error", 4, "does not go with"),
        ("true < false", "type-error", 5, "has no order"),
        ("profile.plan < null", "type-error", 13, "test with == null"),
        ("profile.tags == ['a']", "type-error", 13, "use in"),
        ("1 in 'abc'", "type-error", 5, "use contains()"),
        ("1 in true", "type-error", 5, "needs a list"),
        ("[1] in [1]", "type-error", 0, "in no list"),
        ("1 in ['a']", "type-error", 2, "never in a list"),
        ("[1, 'a']", "type-error", 4, "cannot hold"),
        ("[[1]]", "type-error", 1, "cannot hold"),
        ("!1", "type-error", 1, "true or false"),
        ("1 && true", "type-error", 0, "true or false"),
        ("1 ? 2 : 3", "type-error", 0, "true or false"),
        ("true ? 1 : 'a'", "type-error", 11, "the other a string"),
        ("-'a'", "type-error", 0, "needs a number"),
    ],
)
def test_refused(text, problem, offset, words):
    """Each with the name of its diagnostic, the offset of its token, and what to do."""
    with pytest.raises(ExpressionError) as caught:
        compiled(text)
    assert caught.value.problem == problem
    assert words in str(caught.value)
    if offset is not None:
        assert caught.value.offset == offset


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("event.x == 1", "no-event-here"),
        ("entry.x == 1", "no-event-here"),
        ("latest.x == 1", "no-event-here"),
        ("profile.x == 1", "bad-expression"),
        ("opened(a)", "bad-expression"),
        ("now() != null", "bad-expression"),
    ],
)
def test_not_at_this_place(text, problem):
    """What cannot be read at a place is refused there, with the place's own remedy."""
    place = Environment(history=False, missing={"event": "write entry.x", "history": "ask later"})
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text, place)
    assert caught.value.problem == problem


def test_an_unknown_name_without_any_place():
    """Where nothing can be read, a bare name is taken for a text without quotes."""
    with pytest.raises(ExpressionError, match="text stands in quotes"):
        compile_expression("zzzzzzzzzz", Environment())


def test_expected_type():
    """A place may ask for a type; any and null pass."""
    with pytest.raises(ExpressionError, match=r"has\(\.\.\.\)"):
        compile_expression("profile.plan", PLACE, expect=("boolean",))
    with pytest.raises(ExpressionError, match="a long or a double"):
        compile_expression("profile.plan", PLACE, expect=("long", "double"))
    assert compile_expression("null", PLACE, expect=("boolean",)).type == "null"
    assert compile_expression("event.zzz", ANYWHERE, expect=("boolean",)).type == "any"


def test_an_earlier_version_beside_todays_names():
    """What is no longer declared reads as null, and what cannot be watched is not watched."""
    past = Environment(
        profile=Names({"plan": "string"}),
        timed=frozenset({"plan"}),
        steps={},
        event_types=(),
        lenient=True,
    )
    assert compile_expression("profile.gone == 'x'", past).references.traits == {"gone"}
    assert compile_expression("profile.plan.gone == 'x'", past).type == "boolean"
    assert compile_expression("opened(gone) && last(gone.event) != null", past)
    assert compile_expression("size(profile.plan) > 3", past, watched=True).watch is None


@given(st.text())
def test_no_text_crashes_the_parser(text):
    """Whatever is typed, the answer is an expression or an ExpressionError with a place in it."""
    offset = 0
    try:
        compile_expression(text, ANYWHERE)
    except ExpressionError as error:
        offset = error.offset
    assert 0 <= offset <= len(text)


FRAGMENTS = (
    "profile.a event.b entry.c 1 2.5 'x' true null ( ) [ ] , . ? : ! - + * / % == != < >= && || in "
    "has( size( min( opened(a) now() count(a.b,P1D) .matches( days_since( 'a+' \\ & = #"
).split(" ")


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=25).map(" ".join))
def test_no_soup_of_tokens_crashes_the_parser(text):
    """The same with texts that look like expressions; what compiles evaluates."""
    from tests.expressions.world import Customer

    try:
        expression = compile_expression(text, ANYWHERE)
    except ExpressionError:
        return
    customer = Customer(profile={"a": 1}, properties={"b": "x"})
    assert isinstance(expression(customer), bool | int | float | str | list | None)


def test_tokens_keep_their_places():
    """Spaces are no tokens; the end is one."""
    assert [(token.text, token.offset) for token in tokenize(" a  b ")] == [
        ("a", 1),
        ("b", 4),
        ("", 6),
    ]
