"""Scalars against shapes: each form of value, and what is said where it is not met."""

from __future__ import annotations

import math
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from orchestrator.expressions.durations import parse_duration
from orchestrator.expressions.instants import parse_instant
from orchestrator.expressions.suggest import did_you_mean
from orchestrator.journeys import nodes
from orchestrator.journeys.diagnostics import Diagnostic, Mark
from orchestrator.journeys.nodes import Node, Scalar
from orchestrator.journeys.shapes import (
    Again,
    AnyScalar,
    Boolean,
    Clock,
    DurationText,
    Expr,
    Instant,
    Number,
    Percent,
    Shape,
    Text,
    Until,
    Word,
    Zone,
)
from orchestrator.journeys.spots import Spot, parse_clock

_YAML_1_1_TRUTH = frozenset({"yes", "no", "on", "off"})


class Bad:
    """Marks what was reported: whoever holds it stays silent."""


BAD = Bad()


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError):  # unknown, a folder of zones, a path out of them
        return False
    return True


class ScalarChecker:
    """One scalar at a time; ``report`` takes the findings."""

    def __init__(self, found: list[Diagnostic]) -> None:
        self._found = found

    def report(self, mark: Mark, name: str, text: str, remedy: str = "") -> Bad:
        """Add a finding."""
        self._found.append(Diagnostic(mark, name, text, remedy))
        return BAD

    def scalar(self, node: Node, shape: Shape) -> Spot | Bad:  # noqa: C901, PLR0911, PLR0912 - one case for each form
        """Return the sound scalar."""
        if not isinstance(node, Scalar):
            remedy = ""
            if isinstance(shape, Expr | Until):
                remedy = "an expression that begins with a bracket stands in quotes"
            return self.report(
                node.mark, "wrong-type", f"here stands {_what(shape)}, not {kind_of(node)}", remedy
            )
        if node.value is None:
            return self.report(node.mark, "wrong-type", f"here stands {_what(shape)}, not nothing")
        match shape:
            case Expr() | Until():
                return self._expression(node, shape)
            case AnyScalar():
                self._warn_of_truth(node)
                return Spot(_number_or_self(node.value), node)
            case Boolean():
                return self._boolean(node)
            case Number():
                return self._number(node, shape)
            case Percent():
                return self._percent(node)
            case Clock():
                return self._clock(node)
            case Instant():
                return self._instant(node)
        if not isinstance(node.value, str) and not isinstance(shape, DurationText):
            return self.report(
                node.mark,
                "wrong-type",
                f"here stands {_what(shape)}, not {kind_of(node)}",
                f'for a text write "{node.text}"',
            )
        match shape:
            case Text():
                return self._text(node, shape)
            case Word(words):
                return self._word(node, words)
            case Again():
                return self._again(node, shape)
            case DurationText():
                return self._duration(node, node.text, shape)
            case Zone():
                return self._zone(node)
            case _:  # pragma: no cover - all others came before
                raise TypeError(f"{shape} is no scalar")

    def _warn_of_truth(self, node: Scalar) -> None:
        if node.plain and isinstance(node.value, str) and node.text.lower() in _YAML_1_1_TRUTH:
            self.report(
                node.mark,
                "quote-country",
                f"{node.text} is a text here, but true or false to older YAML tools",
                f'write "{node.text}"',
            )

    def _expression(self, node: Scalar, shape: Expr | Until) -> Spot | Bad:
        text = node.text.strip()
        if not text:
            return self.report(node.mark, "wrong-type", "here stands an expression, not nothing")
        if isinstance(shape, Until) and text.startswith("next "):
            if parse_clock(text[5:]) is None:
                return self.report(
                    node.at(5),
                    "bad-time",
                    f"{text[5:]!r} is no time",
                    "write next HH:MM, as in next 09:00",
                )
            return Spot(text, node)
        return Spot(text, node)

    def _boolean(self, node: Scalar) -> Spot | Bad:
        if isinstance(node.value, bool):
            return Spot(node.value, node)
        words = {
            "yes": "true",
            "on": "true",
            "y": "true",
            "no": "false",
            "off": "false",
            "n": "false",
        }
        remedy = words.get(node.text.lower())
        return self.report(
            node.mark,
            "wrong-type",
            f"here stands true or false, not {kind_of(node)}",
            f"write {remedy}" if remedy and node.plain else "",
        )

    def _number(self, node: Scalar, shape: Number) -> Spot | Bad:
        value = _number_or_self(node.value)
        whole = "a whole number" if shape.whole else "a number"
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
        ):
            return self.report(node.mark, "wrong-type", f"here stands {whole}, not {kind_of(node)}")
        if shape.whole and not isinstance(value, int):
            return self.report(node.mark, "wrong-type", f"here stands {whole}, not {node.text}")
        low, high = shape.minimum, shape.maximum
        if (low is not None and value < low) or (high is not None and value > high):
            bounds = f"from {low} to {high}" if high is not None else f"of at least {low}"
            return self.report(
                node.mark, "wrong-type", f"here stands {whole} {bounds}, not {node.text}"
            )
        return Spot(value, node)

    def _percent(self, node: Scalar) -> Spot | Bad:
        value: Any = node.value
        if isinstance(value, str):
            try:
                value = float(value.removesuffix("%").strip())
            except ValueError:
                value = None
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
        ):
            return self.report(
                node.mark, "wrong-type", f"here stands a percentage such as 10, not {kind_of(node)}"
            )
        hundredths = round(value * 100)
        if not 0 <= value <= 100 or abs(hundredths - value * 100) > 1e-6:  # noqa: PLR2004 - per cent
            return self.report(
                node.mark,
                "bad-shares",
                f"{node.text} is no share",
                "write 0 to 100, with at most two decimals",
            )
        return Spot(_number_or_self(hundredths / 100), node)

    def _clock(self, node: Scalar) -> Spot | Bad:
        if parse_clock(node.text) is None:
            return self.report(
                node.mark, "bad-time", f"{node.text!r} is no time", 'write "HH:MM", as in "08:30"'
            )
        if node.plain:
            self.report(
                node.mark,
                "quote-time",
                f"{node.text} is a number to older YAML tools",
                f'write "{node.text}"',
            )
        return Spot(node.text, node)

    def _instant(self, node: Scalar) -> Spot | Bad:
        if parse_instant(node.text) is None:
            return self.report(
                node.mark,
                "bad-time",
                f"{node.text!r} is no instant",
                "write it with time and offset, as in 2026-03-02T10:00:00+01:00",
            )
        return Spot(node.text, node)

    def _text(self, node: Scalar, shape: Text) -> Spot | Bad:
        if not shape.fits(node.text):
            return self.report(node.mark, "wrong-type", f"{_short(node.text)} is not {shape.what}")
        self._warn_of_truth(node)
        return Spot(node.text, node)

    def _word(self, node: Scalar, words: tuple[str, ...]) -> Spot | Bad:
        if node.text not in words:
            return self.report(
                node.mark,
                "wrong-type",
                f"here stands {' or '.join(words)}, not {_short(node.text)}",
                did_you_mean(node.text, words) if len(words) > 3 else "",  # noqa: PLR2004 - the text names them
            )
        return Spot(node.text, node)

    def _again(self, node: Scalar, shape: Again) -> Spot | Bad:
        prefix = f"{shape.prefix} "
        if node.text in shape.words:
            return Spot(node.text, node)
        if node.text.startswith(prefix):
            span = node.text[len(prefix) :].strip()
            spot = self._duration(node, span, DurationText(positive=True), len(prefix))
            return Spot(f"{prefix}{span}", node) if isinstance(spot, Spot) else BAD
        remedy = ""
        if node.text == "once" and "never" in shape.words:
            remedy = "write never: no second time"
        elif node.text.startswith("P") and node.text[1:2].isalnum():
            remedy = f"write {prefix}{node.text}"
        return self.report(
            node.mark,
            "wrong-type",
            f"here stands {', '.join(shape.words)} or {shape.prefix} DURATION, not {_short(node.text)}",
            remedy,
        )

    def _duration(
        self, node: Scalar, text: str, shape: DurationText, offset: int = 0
    ) -> Spot | Bad:
        try:
            duration = parse_duration(text)
        except ValueError as error:
            return self.report(node.at(offset), "bad-duration", str(error))
        if shape.positive and not duration:
            return self.report(node.at(offset), "bad-duration", f"{text} is no time at all")
        return Spot(text, node)

    def _zone(self, node: Scalar) -> Spot | Bad:
        if not _is_zone(node.text):
            return self.report(
                node.mark,
                "unknown-timezone",
                f"{_short(node.text)} is no IANA time zone",
                did_you_mean(node.text, _zones()) or "write one such as Europe/Berlin",
            )
        return Spot(node.text, node)


def _number_or_self(value: Any) -> Any:
    """Return a whole double as a long: 1.0 and 1 are one number, in one canonical form."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")  # noqa: PLR2004 - a line


def kind_of(node: Node) -> str:
    """Return what stands there, for a finding."""
    match node:
        case nodes.Sequence():
            return "a list"
        case nodes.Mapping():
            return "keys with values"
        case Scalar(value=None):
            return "nothing"
        case Scalar(value=bool()):
            return f"the truth value {node.text}"
        case Scalar(value=int() | float()):
            return f"the number {node.text}"
        case _:
            return _short(node.text)


_WHAT: dict[type, str] = {
    Boolean: "true or false",
    Number: "a number",
    Percent: "a percentage",
    DurationText: "a duration such as P2D",
    Clock: 'a time such as "08:30"',
    Instant: "an instant such as 2026-03-02T10:00:00+01:00",
    Zone: "a time zone such as Europe/Berlin",
    Until: "an expression, or next HH:MM",
    Expr: "an expression",
    AnyScalar: "a value",
}


def _what(shape: Shape) -> str:
    match shape:
        case Text(what=what):
            return what
        case Word(words):
            return " or ".join(words)
        case Again(words, prefix):
            return f"{', '.join(words)} or {prefix} DURATION"
        case _:
            return _WHAT[type(shape)]
