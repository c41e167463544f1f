"""Nodes against shapes: findings with marks, and what is left is sound, canonical and typed.

The result is a tree of ``Spot``: the canonical value together with the place it came from.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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
    NOTHING,
    Again,
    AnyScalar,
    Anything,
    Boolean,
    ByKey,
    Clock,
    DurationText,
    Expr,
    Instant,
    Key,
    Keys,
    Many,
    MapOf,
    Number,
    OneOrMany,
    Percent,
    Shape,
    Text,
    Until,
    Word,
    Zone,
)

MINUTES_OF_DAY = 1440
_YAML_1_1_TRUTH = frozenset({"yes", "no", "on", "off"})


@dataclass(frozen=True, slots=True)
class Spot:
    """A canonical value and its place: a dict or list of spots, or a scalar."""

    value: Any
    node: Node

    @property
    def mark(self) -> Mark:
        """Where it stands."""
        return self.node.mark

    def get(self, key: str) -> Spot | None:
        """Return what stands under ``key``."""
        found: Spot | None = self.value.get(key)
        return found

    def plain(self, key: str, default: Any = None) -> Any:
        """Return the plain value under ``key``."""
        found = self.value.get(key)
        return default if found is None else strip(found)

    def __getitem__(self, key: str) -> Spot:
        found: Spot = self.value[key]
        return found

    def __contains__(self, key: str) -> bool:
        return key in self.value

    def __iter__(self) -> Iterator[Spot]:
        return iter(self.value)

    def items(self) -> list[tuple[str, Spot]]:
        """Return key and value in the order of keys: nothing depends on an author's order."""
        return sorted(self.value.items())

    def words(self) -> list[Spot]:
        """Return the sound keys themselves, in their order."""
        if not isinstance(self.node, nodes.Mapping):
            return []
        return sorted(
            (Spot(key.text, key) for key, _ in self.node.items if key.text in self.value),
            key=lambda spot: str(spot.value),
        )

    def key_mark(self, key: str) -> Mark:
        """Return where ``key`` itself stands."""
        return next((spot.mark for spot in self.words() if spot.value == key), self.mark)


def strip(spot: Any) -> Any:
    """Return the canonical value without its places."""
    if not isinstance(spot, Spot):
        return spot
    match spot.value:
        case dict() as mapping:
            return {key: strip(value) for key, value in mapping.items()}
        case list() as items:
            return [strip(item) for item in items]
        case value:
            return value


class _Bad:
    """Marks what was reported: whoever holds it stays silent."""


_BAD = _Bad()


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError):  # unknown, a folder of zones, a path out of them
        return False
    return True


def parse_clock(text: str) -> int | None:
    """Return minutes after midnight of ``HH:MM``, or None."""
    hours, colon, minutes = text.partition(":")
    if not colon or len(hours) != 2 or len(minutes) != 2:  # noqa: PLR2004 - HH:MM
        return None
    if not (hours + minutes).isascii() or not (hours + minutes).isdigit():
        return None
    total = int(hours) * 60 + int(minutes)
    return total if int(minutes) < 60 and total < MINUTES_OF_DAY else None  # noqa: PLR2004 - of an hour


def check(node: Node, shape: Shape, found: list[Diagnostic]) -> Spot | None:
    """Return the sound part of ``node``; what is not sound is reported and left out.

    None = nothing of it is.
    """
    spot = _Checker(found).spot(node, shape)
    return spot if isinstance(spot, Spot) else None


class _Checker:
    def __init__(self, found: list[Diagnostic]) -> None:
        self._found = found

    def _report(self, mark: Mark, name: str, text: str, remedy: str = "") -> _Bad:
        self._found.append(Diagnostic(mark, name, text, remedy))
        return _BAD

    def spot(self, node: Node, shape: Shape) -> Spot | _Bad:  # noqa: PLR0911 - one case for each form
        """Return the sound part of ``node``."""
        match shape:
            case OneOrMany(of):
                return self._many(node, Many(of, 1), single=True)
            case Many():
                return self._many(node, shape)
            case MapOf():
                return self._map(node, shape)
            case Keys():
                return self._keys(node, shape)
            case ByKey():
                return self._by_key(node, shape)
            case Anything():
                return Spot(nodes.plain(node), node)
            case _:
                return self._scalar(node, shape)

    # -------------------------------------------------------------------------- containers

    def _many(self, node: Node, shape: Many, *, single: bool = False) -> Spot | _Bad:
        if not isinstance(node, nodes.Sequence):
            if single:
                one = self.spot(node, shape.of)
                return Spot([one], node) if isinstance(one, Spot) else _BAD
            return self._report(node.mark, "wrong-type", f"here stands a list, not {_kind(node)}")
        if len(node.items) < shape.least:
            return self._report(
                node.mark, "wrong-type", f"this list needs at least {_number(shape.least)}"
            )
        spots = [self.spot(item, shape.of) for item in node.items]
        return Spot([spot for spot in spots if isinstance(spot, Spot)], node)

    def _mapping(self, node: Node, what: str) -> nodes.Mapping | None:
        if isinstance(node, nodes.Mapping):
            return node
        if isinstance(node, Scalar) and node.value is None:
            return nodes.Mapping(node.mark, ())
        self._report(node.mark, "wrong-type", f"here stand {what}, not {_kind(node)}")
        return None

    def _map(self, node: Node, shape: MapOf) -> Spot | _Bad:
        mapping = self._mapping(node, "keys with values")
        if mapping is None:
            return _BAD
        if len(mapping.items) < shape.least:
            return self._report(node.mark, "wrong-type", "this needs at least one key")
        values: dict[str, Spot] = {}
        for key, value in mapping.items:
            if not shape.key.fits(key.text):
                self._report(key.mark, "wrong-type", f"{key.text!r} is not {shape.key.what}")
                continue
            spot = self.spot(value, shape.value)
            if isinstance(spot, Spot):
                values[key.text] = spot
        return Spot(values, mapping)

    def _by_key(self, node: Node, shape: ByKey) -> Spot | _Bad:
        mapping = self._mapping(node, f"the keys of {shape.what}, such as {{type: string}}")
        if mapping is None:
            return _BAD
        written = {key.text for key, _ in mapping.items}
        for word, keys in shape.variants.items():
            if word in written:
                return self._keys(mapping, keys)
        if mapping.items:
            key = mapping.items[0][0]
            return self._report(
                key.mark,
                "unknown-key",
                f"{key.text!r} does not make {shape.what}",
                did_you_mean(key.text, shape.variants) or f"begin with {', '.join(shape.variants)}",
            )
        return self._report(
            node.mark, "missing-key", f"{shape.what} needs one of {', '.join(shape.variants)}"
        )

    def _keys(self, node: Node, shape: Keys) -> Spot | _Bad:
        mapping = self._mapping(node, shape.what or f"keys ({', '.join(shape.keys)})")
        if mapping is None:
            return _BAD
        values: dict[str, Spot] = {}
        bad: set[str] = set()
        for key, value in mapping.items:
            known = shape.keys.get(key.text)
            if known is None:
                self._unknown(key, shape)
                continue
            spot = self.spot(value, known.shape)
            if isinstance(spot, Spot):
                values[key.text] = spot
            else:
                bad.add(key.text)
        written = {key.text: key for key, _ in mapping.items}
        complete = self._together(mapping, shape, written, values)
        for name, known in shape.keys.items():
            if known.required and name not in written:
                self._report(node.mark, "missing-key", f"{name!r} is missing")
                complete = False
        self._leave_out_defaults(shape.keys, values)
        incomplete = any(shape.keys[name].required or name in shape.one_of for name in bad)
        return Spot(values, mapping) if complete and not incomplete else _BAD

    def _unknown(self, key: Scalar, shape: Keys) -> None:
        remedy = shape.elsewhere.get(key.text) or did_you_mean(key.text, shape.keys)
        self._report(key.mark, "unknown-key", f"{key.text!r} is not known here", remedy)

    def _together(
        self,
        mapping: nodes.Mapping,
        shape: Keys,
        written: Mapping[str, Scalar],
        values: dict[str, Spot],
    ) -> bool:
        """Check what must, and what must not, stand side by side."""
        given = [name for name in written if name in shape.one_of]
        if shape.one_of and not given:
            self._report(
                mapping.mark, "missing-key", f"one of {', '.join(shape.one_of)} is missing"
            )
            return False
        for name, key in written.items():
            beside = shape.keys[name].beside if name in shape.keys else ()
            if beside and not any(word in written for word in beside):
                self._report(
                    key.mark, "unknown-key", f"{name!r} stands only beside {' or '.join(beside)}"
                )
                values.pop(name, None)
        if len(given) > 1:
            self._report(
                written[given[1]].mark,
                "unknown-key",
                f"{given[1]!r} cannot stand beside {given[0]!r}",
                f"write exactly one of {', '.join(shape.one_of)}",
            )
            return False
        return True

    @staticmethod
    def _leave_out_defaults(keys: Mapping[str, Key], values: dict[str, Spot]) -> None:
        told = {name: spot.value for name, spot in values.items()}
        for name, key in keys.items():
            default = key.default if key.preset is None else key.preset(told)
            if name in values and default is not NOTHING and _same(strip(values[name]), default):
                del values[name]

    # ----------------------------------------------------------------------------- scalars

    def _scalar(self, node: Node, shape: Shape) -> Spot | _Bad:  # noqa: C901, PLR0911, PLR0912 - one case for each form
        if not isinstance(node, Scalar):
            remedy = ""
            if isinstance(shape, Expr | Until):
                remedy = "an expression that begins with a bracket stands in quotes"
            return self._report(
                node.mark, "wrong-type", f"here stands {_what(shape)}, not {_kind(node)}", remedy
            )
        if node.value is None:
            return self._report(node.mark, "wrong-type", f"here stands {_what(shape)}, not nothing")
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
            return self._report(
                node.mark,
                "wrong-type",
                f"here stands {_what(shape)}, not {_kind(node)}",
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
            case _:
                raise TypeError(
                    f"{shape} is no scalar"
                )  # pragma: no cover - all others came before

    def _warn_of_truth(self, node: Scalar) -> None:
        if node.plain and isinstance(node.value, str) and node.text.lower() in _YAML_1_1_TRUTH:
            self._report(
                node.mark,
                "quote-country",
                f"{node.text} is a text here, but true or false to older YAML tools",
                f'write "{node.text}"',
            )

    def _expression(self, node: Scalar, shape: Expr | Until) -> Spot | _Bad:
        text = node.text.strip()
        if not text:
            return self._report(node.mark, "wrong-type", "here stands an expression, not nothing")
        if isinstance(shape, Until) and text.startswith("next "):
            if parse_clock(text[5:]) is None:
                return self._report(
                    node.at(5),
                    "bad-time",
                    f"{text[5:]!r} is no time",
                    "write next HH:MM, as in next 09:00",
                )
            return Spot(text, node)
        return Spot(text, node)

    def _boolean(self, node: Scalar) -> Spot | _Bad:
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
        return self._report(
            node.mark,
            "wrong-type",
            f"here stands true or false, not {_kind(node)}",
            f"write {remedy}" if remedy and node.plain else "",
        )

    def _number(self, node: Scalar, shape: Number) -> Spot | _Bad:
        value = _number_or_self(node.value)
        whole = "a whole number" if shape.whole else "a number"
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
        ):
            return self._report(node.mark, "wrong-type", f"here stands {whole}, not {_kind(node)}")
        if shape.whole and not isinstance(value, int):
            return self._report(node.mark, "wrong-type", f"here stands {whole}, not {node.text}")
        low, high = shape.minimum, shape.maximum
        if (low is not None and value < low) or (high is not None and value > high):
            bounds = f"from {low} to {high}" if high is not None else f"of at least {low}"
            return self._report(
                node.mark, "wrong-type", f"here stands {whole} {bounds}, not {node.text}"
            )
        return Spot(value, node)

    def _percent(self, node: Scalar) -> Spot | _Bad:
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
            return self._report(
                node.mark, "wrong-type", f"here stands a percentage such as 10, not {_kind(node)}"
            )
        hundredths = round(value * 100)
        if not 0 <= value <= 100 or abs(hundredths - value * 100) > 1e-6:  # noqa: PLR2004 - per cent
            return self._report(
                node.mark,
                "bad-shares",
                f"{node.text} is no share",
                "write 0 to 100, with at most two decimals",
            )
        return Spot(_number_or_self(hundredths / 100), node)

    def _clock(self, node: Scalar) -> Spot | _Bad:
        if parse_clock(node.text) is None:
            return self._report(
                node.mark, "bad-time", f"{node.text!r} is no time", 'write "HH:MM", as in "08:30"'
            )
        if node.plain:
            self._report(
                node.mark,
                "quote-time",
                f"{node.text} is a number to older YAML tools",
                f'write "{node.text}"',
            )
        return Spot(node.text, node)

    def _instant(self, node: Scalar) -> Spot | _Bad:
        if parse_instant(node.text) is None:
            return self._report(
                node.mark,
                "bad-time",
                f"{node.text!r} is no instant",
                "write it with time and offset, as in 2026-03-02T10:00:00+01:00",
            )
        return Spot(node.text, node)

    def _text(self, node: Scalar, shape: Text) -> Spot | _Bad:
        if not shape.fits(node.text):
            return self._report(node.mark, "wrong-type", f"{_short(node.text)} is not {shape.what}")
        self._warn_of_truth(node)
        return Spot(node.text, node)

    def _word(self, node: Scalar, words: tuple[str, ...]) -> Spot | _Bad:
        if node.text not in words:
            return self._report(
                node.mark,
                "wrong-type",
                f"here stands {' or '.join(words)}, not {_short(node.text)}",
                did_you_mean(node.text, words) if len(words) > 3 else "",  # noqa: PLR2004 - the text names them
            )
        return Spot(node.text, node)

    def _again(self, node: Scalar, shape: Again) -> Spot | _Bad:
        prefix = f"{shape.prefix} "
        if node.text in shape.words:
            return Spot(node.text, node)
        if node.text.startswith(prefix):
            span = node.text[len(prefix) :].strip()
            spot = self._duration(node, span, DurationText(positive=True), len(prefix))
            return Spot(f"{prefix}{span}", node) if isinstance(spot, Spot) else _BAD
        return self._report(
            node.mark,
            "wrong-type",
            f"here stands {', '.join(shape.words)} or {shape.prefix} DURATION, not {_short(node.text)}",
        )

    def _duration(
        self, node: Scalar, text: str, shape: DurationText, offset: int = 0
    ) -> Spot | _Bad:
        try:
            duration = parse_duration(text)
        except ValueError as error:
            return self._report(node.at(offset), "bad-duration", str(error))
        if shape.positive and not duration:
            return self._report(node.at(offset), "bad-duration", f"{text} is no time at all")
        return Spot(text, node)

    def _zone(self, node: Scalar) -> Spot | _Bad:
        if not _is_zone(node.text):
            return self._report(
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


def _same(value: Any, default: Any) -> bool:
    return bool(value == default) and isinstance(value, bool) == isinstance(default, bool)


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")  # noqa: PLR2004 - a line


def _number(count: int) -> str:
    return "one entry" if count == 1 else f"{count} entries"


def _kind(node: Node) -> str:
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
