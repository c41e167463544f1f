"""Calls: what may be asked of the customer's history, and the library's pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from orchestrator.expressions.durations import parse_duration
from orchestrator.expressions.functions import FUNCTIONS
from orchestrator.expressions.regex import PatternError, compile_pattern
from orchestrator.expressions.suggest import did_you_mean
from orchestrator.expressions.syntax import Binary, Call, Given, Name, Select, Syntax, start
from orchestrator.expressions.typed import (
    Apply,
    Consent,
    Const,
    Count,
    DaysSince,
    IsNull,
    Last,
    Matches,
    Now,
    StepFlag,
    Sum,
    Typed,
    children,
)
from orchestrator.expressions.types import NUMERIC

if TYPE_CHECKING:
    from collections.abc import Collection

    from orchestrator.expressions.checker import Checker
    from orchestrator.expressions.errors import Problem
    from orchestrator.expressions.scope import Flag

_FLAGS = ("sent", "accepted", "delivered", "opened", "clicked")
_HISTORY = {
    "consent": 'consent("email", "news")',
    "count": 'count("pricing.viewed", "P7D")',
    "last": 'last("pricing.viewed")',
    "days_since": "days_since(profile.trial_started)",
    "now": "now()",
}
_ARITY = {
    "consent": 2,
    "count": 2,
    "last": 1,
    "days_since": 1,
    "now": 0,
    "has": 1,
    "matches": 2,
    "sum": 1,
}
FUNCTION_NAMES = frozenset({*FUNCTIONS, *_FLAGS, *_HISTORY, "has", "matches", "sum"})
_ELSEWHERE = {
    "int": "write long()",
    "uint": "write long()",
    "float": "write double()",
    "str": "write string()",
    "lowerAscii": "write lower()",
    "upperAscii": "write upper()",
    "toLowerCase": "write lower()",
    "len": "write size()",
    "length": "write size()",
    "duration": "use days_since(t), or a wait with plus or minus",
    "in": 'write x in ["a", "b"]',
}


def check_call(checker: Checker, node: Call) -> Typed:
    """Return the typed call.

    Raises:
        ExpressionError: Unknown function, or arguments that do not fit.
    """
    arguments = node.arguments if node.receiver is None else (node.receiver, *node.arguments)
    name = node.name
    if name not in FUNCTION_NAMES:
        checker.fail(
            "bad-expression",
            node.offset,
            f"there is no function {name}()",
            _ELSEWHERE.get(name) or did_you_mean(name, FUNCTION_NAMES),
        )
    wanted = 1 if name in _FLAGS else _ARITY.get(name)
    if wanted is not None and len(arguments) != wanted:
        example = _HISTORY.get(name)
        checker.fail(
            "bad-expression",
            node.offset,
            f"{name}() takes {wanted} argument{'' if wanted == 1 else 's'}, not {len(arguments)}",
            f"write {example}" if example else "",
        )
    if name in _FLAGS:
        return _flag(checker, node, arguments[0])
    if name in _HISTORY:
        return _history(checker, node, arguments)
    if name == "has":
        return _has(checker, node, arguments[0])
    if name == "matches":
        return _matches(checker, node, arguments)
    if name == "sum":
        return _sum(checker, node, arguments[0])
    return _apply(checker, node, arguments)


def _word(  # noqa: RET503 - fail() never returns
    checker: Checker, node: Syntax, what: str, *, dotted: bool = False
) -> str:
    """Return a name that is written as a string, or bare."""
    match node:
        case Given(str() as text):
            return text
        case Name(name):
            return name
        case Select() if dotted:
            names = [node.name]
            rest = node.of
            while isinstance(rest, Select):
                names.append(rest.name)
                rest = rest.of
            if isinstance(rest, Name):
                return ".".join([rest.name, *names[::-1]])
        case Binary(operator="-" | "in"):
            checker.fail(
                "bad-expression", start(node), f"{what} that is no identifier stands in quotes"
            )
        case _:
            pass
    checker.fail("bad-expression", start(node), f"here stands the name of {what}, in quotes")


def _known(
    checker: Checker,
    node: Syntax,
    word: str,
    known: Collection[str] | None,
    problem: Problem,
    what: str,
) -> str:
    if known is not None and word not in known and not checker.environment.lenient:
        checker.fail(
            problem, start(node), f"{what} {word!r} is not known", did_you_mean(word, known)
        )
    return word


def _flag(checker: Checker, node: Call, argument: Syntax) -> Typed:
    environment = checker.environment
    step = _word(checker, argument, "a step")
    if not environment.any_step:
        if environment.steps is None:
            checker.fail(
                "bad-expression",
                node.offset,
                f"{node.name}() asks about a step, and there are none here",
                "ask inside a journey",
            )
        _known(checker, argument, step, environment.steps, "unknown-step", "step")
        if not environment.steps.get(step, True):
            checker.fail(
                "wrong-step",
                start(argument),
                f"step {step!r} sends nothing",
                did_you_mean(step, [name for name, sends in environment.steps.items() if sends]),
            )
    return StepFlag(type="boolean", offset=node.offset, step=step, flag=cast("Flag", node.name))


def _history(checker: Checker, node: Call, arguments: tuple[Syntax, ...]) -> Typed:
    environment, at = checker.environment, node.offset
    if not environment.history:
        checker.fail(
            "bad-expression",
            at,
            f"{node.name}() cannot be asked here",
            environment.missing.get("history", ""),
        )
    match node.name:
        case "now":
            return Now(type="timestamp", offset=at)
        case "days_since":
            of = checker.check(arguments[0])
            if of.type not in ("timestamp", "any", "null"):
                checker.fail(
                    "type-error",
                    start(arguments[0]),
                    f"days_since() needs a timestamp, this is a {of.type}",
                    "declare it as timestamp" if of.type in ("long", "string") else "",
                )
            return DaysSince(type="long", offset=at, of=of)
        case "consent":
            channel = _word(checker, arguments[0], "a channel")
            category = _word(checker, arguments[1], "a category")
            _known(
                checker, arguments[0], channel, environment.channels, "unknown-channel", "channel"
            )
            _known(
                checker,
                arguments[1],
                category,
                environment.categories,
                "unknown-category",
                "category",
            )
            return Consent(type="boolean", offset=at, channel=channel, category=category)
    event = _word(checker, arguments[0], "an event type", dotted=True)
    _known(checker, arguments[0], event, environment.event_types, "unknown-event", "event")
    if node.name == "last":
        return Last(type="timestamp", offset=at, event=event)
    return Count(type="long", offset=at, event=event, window_ms=_window(checker, arguments[1]))


def _window(checker: Checker, node: Syntax) -> int:
    text = _word(checker, node, "a window")
    try:
        window = parse_duration(text).milliseconds()
    except ValueError as error:
        checker.fail("bad-duration", start(node), str(error))
    if not window:
        checker.fail("bad-duration", start(node), "a window is longer than nothing")
    return window


def _has(checker: Checker, node: Call, argument: Syntax) -> Typed:
    if not isinstance(argument, Select):
        checker.fail(
            "bad-expression",
            start(argument),
            "has() asks whether something is there",
            "write has(profile.plan)",
        )
    return IsNull(type="boolean", offset=node.offset, of=checker.check(argument), negated=True)


def _matches(checker: Checker, node: Call, arguments: tuple[Syntax, ...]) -> Typed:
    of = checker.check(arguments[0])
    if of.type not in ("string", "any", "null"):
        checker.fail(
            "type-error", start(arguments[0]), f"matches() needs a string, this is a {of.type}"
        )
    written = arguments[1]
    pattern = checker.check(written)
    if not isinstance(pattern, Const) or not isinstance(pattern.value, str):
        checker.fail(
            "bad-expression", start(written), "the pattern of matches() is a text in quotes"
        )
    try:
        compiled = compile_pattern(pattern.value)
    except PatternError as error:
        checker.fail(
            "bad-expression",
            start(written),
            f"the pattern is refused at its character {error.offset + 1}: {error}",
        )
    return Matches(type="boolean", offset=node.offset, of=of, pattern=compiled)


def _sum(checker: Checker, node: Call, argument: Syntax) -> Typed:
    if not checker.environment.grouped:
        mapping = checker.environment.records is not None
        checker.fail(
            "bad-expression",
            node.offset,
            "sum() adds up the lines of one event, and there is only one here",
            "add group_by" if mapping else "declare a trait {sum: TYPE, take: EXPR}",
        )
    of = checker.check(argument)
    if of.type not in (*NUMERIC, "any", "null"):
        checker.fail(
            "type-error",
            start(argument),
            f"sum() needs a number, this is a {of.type}",
            "convert with long(...) or double(...)" if of.type == "string" else "",
        )
    nested = [of]
    while nested:
        inner = nested.pop()
        if isinstance(inner, Sum):
            checker.fail("bad-expression", inner.offset, "a sum() is in no other sum()")
        nested.extend(children(inner))
    return Sum(type=of.type if of.type != "null" else "long", offset=node.offset, of=of)


def _apply(checker: Checker, node: Call, arguments: tuple[Syntax, ...]) -> Typed:
    function = FUNCTIONS[node.name]
    many = function.arguments is None
    if (many and len(arguments) < 2) or (not many and len(arguments) != function.arguments):  # noqa: PLR2004 - two or more
        checker.fail(
            "bad-expression",
            node.offset,
            f"{node.name}() takes {function.arguments or 'two or more'} argument"
            f"{'' if function.arguments == 1 else 's'}, not {len(arguments)}",
        )
    typed = tuple(checker.check(argument) for argument in arguments)
    types = [argument.type for argument in typed]
    result = function.result(types)
    if result is None:
        checker.fail(
            "type-error",
            node.offset,
            f"{node.name}() needs {function.wants}, not {' and '.join(types)}",
        )
    return Apply(type=result, offset=node.offset, name=node.name, arguments=typed)
