r"""Patterns for ``matches``: a subset of RE2 that takes linear time, whatever is thrown at it.

A pattern becomes a Thompson automaton of at most 1,000 states; it runs as a set of states per
character, each set and step computed once and kept (a lazy automaton with a bounded memory). There
is no backtracking, so the cost is at most text length x 1,000, and normally one lookup a character.

Supported: literals, ``.``, classes, ``\d \w \s`` (ASCII) and their negations, groups, ``|``,
``* + ? {m,n}`` (also lazy; it makes no difference to a yes or no), ``^ $ \A \z``, and ``(?i)``,
``(?s)`` at the very beginning. Refused: ``\b``, ``\p``, look-around, back-references, named groups.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, NoReturn, assert_never

MAX_STATES = 1_000
MAX_REPEAT = 100
MAX_REMEMBERED = 2_000
"""Steps of the lazy automaton that are kept; beyond that the memory starts anew."""
MAX_NESTING = 20

Range = tuple[int, int]
_ACCEPT = 0
"""Number of the accepting state."""
_LAST = 0x10FFFF
_CLASSES: dict[str, tuple[Range, ...]] = {
    "d": ((48, 57),),
    "w": ((48, 57), (65, 90), (95, 95), (97, 122)),
    "s": ((9, 10), (12, 13), (32, 32)),
}
_CONTROLS = {"t": 9, "n": 10, "r": 13, "f": 12, "v": 11, "a": 7}
_REPEAT = re.compile(r"\{(\d{1,4})(,(\d{0,4}))?\}")


class PatternError(ValueError):
    """A pattern that is refused; ``offset`` counts from the pattern's begin."""

    def __init__(self, offset: int, text: str) -> None:
        super().__init__(text)
        self.offset = offset


def _negated(ranges: tuple[Range, ...]) -> tuple[Range, ...]:
    result: list[Range] = []
    low = 0
    for first, last in sorted(ranges):
        if first > low:
            result.append((low, first - 1))
        low = max(low, last + 1)
    if low <= _LAST:
        result.append((low, _LAST))
    return tuple(result)


def _single(ranges: tuple[Range, ...]) -> bool:
    return len(ranges) == 1 and ranges[0][0] == ranges[0][1]


# ------------------------------------------------------------------------------------ automaton


@dataclass(slots=True)
class _State:
    """``ranges``: consumes a character; ``kind`` begin and end: assertions; else only ``to``."""

    kind: Literal["consume", "begin", "end", "jump", "match"]
    to: list[int]
    ranges: tuple[Range, ...] = ()


class Pattern:
    """A compiled pattern."""

    def __init__(self, states: list[_State], start: int, *, fold: bool) -> None:
        self._states = states
        self._fold = fold
        self._first = self._closure([start], begin=True, end=False)
        self._restart = self._closure([start], begin=False, end=False)
        self._steps: dict[tuple[frozenset[int], str], frozenset[int]] = {}

    def search(self, text: str) -> bool:
        """Return whether the pattern matches somewhere in ``text``."""
        current = self._first
        steps = self._steps
        for character in text:
            if _ACCEPT in current:
                return True
            found = steps.get((current, character))
            if found is None:
                found = self._step(current, character)
            current = found
        return _ACCEPT in current or _ACCEPT in self._closure(current, begin=not text, end=True)

    def _step(self, current: frozenset[int], character: str) -> frozenset[int]:
        codes = {ord(character)}
        if self._fold:
            codes |= {ord(c) for c in (character.lower(), character.upper()) if len(c) == 1}
        reached = [
            target
            for number in current
            if (state := self._states[number]).kind == "consume"
            and any(low <= code <= high for low, high in state.ranges for code in codes)
            for target in state.to
        ]
        found = self._restart | self._closure(reached, begin=False, end=False)
        if len(self._steps) >= MAX_REMEMBERED:
            self._steps.clear()
        self._steps[current, character] = found
        return found

    def _closure(
        self, numbers: list[int] | frozenset[int], *, begin: bool, end: bool
    ) -> frozenset[int]:
        seen: set[int] = set()
        stack = list(numbers)
        while stack:
            number = stack.pop()
            if number in seen:
                continue
            seen.add(number)
            state = self._states[number]
            if (
                state.kind == "jump"
                or (state.kind == "begin" and begin)
                or (state.kind == "end" and end)
            ):
                stack.extend(state.to)
        return frozenset(seen)


# --------------------------------------------------------------------------------------- parser


@dataclass(frozen=True, slots=True)
class _Set:
    ranges: tuple[Range, ...]


@dataclass(frozen=True, slots=True)
class _Assert:
    kind: Literal["begin", "end"]


@dataclass(frozen=True, slots=True)
class _Sequence:
    items: tuple[_Node, ...]


@dataclass(frozen=True, slots=True)
class _Choice:
    items: tuple[_Node, ...]


@dataclass(frozen=True, slots=True)
class _Repeat:
    item: _Node
    least: int
    most: int | None


_Node = _Set | _Assert | _Sequence | _Choice | _Repeat


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self.fold = False
        self._dot = _negated(((10, 10),))
        flags = re.match(r"\(\?([is]+)\)", text)
        if flags is not None:
            self._at = flags.end()
            self.fold = "i" in flags[1]
            if "s" in flags[1]:
                self._dot = ((0, _LAST),)

    def fail(self, text: str, offset: int | None = None) -> NoReturn:
        raise PatternError(self._at if offset is None else offset, text)

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self) -> str:
        character = self._peek()
        self._at += 1
        return character

    def whole(self) -> _Node:
        node = self._choice()
        if self._peek():
            self.fail("this ) closes nothing")
        return node

    def _choice(self) -> _Node:
        self._depth += 1
        if self._depth > MAX_NESTING:
            self.fail(f"groups nest at most {MAX_NESTING} deep")
        items = [self._sequence()]
        while self._peek() == "|":
            self._take()
            items.append(self._sequence())
        self._depth -= 1
        return items[0] if len(items) == 1 else _Choice(tuple(items))

    def _sequence(self) -> _Node:
        items: list[_Node] = []
        while self._peek() not in ("", "|", ")"):
            items.append(self._repeated())
        return _Sequence(tuple(items))

    def _repeated(self) -> _Node:
        node = self._atom()
        bounds = self._bounds()
        if bounds is None:
            return node
        if self._peek() == "?":
            self._take()
        at = self._at
        if self._bounds() is not None:
            self.fail("nothing to repeat: two repetitions in a row", at)
        return _Repeat(node, *bounds)

    def _bounds(self) -> tuple[int, int | None] | None:
        character = self._peek()
        simple: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
        if character in simple:
            self._take()
            return simple[character]
        match = _REPEAT.match(self._text, self._at)
        if match is None:
            return None
        least = int(match[1])
        most = least if match[2] is None else int(match[3]) if match[3] else None
        if max(least, most or 0) > MAX_REPEAT or (most is not None and most < least):
            self.fail(f"a repetition is {{m,n}} with m <= n <= {MAX_REPEAT}")
        self._at = match.end()
        return least, most

    def _atom(self) -> _Node:  # noqa: PLR0911, RET503 - one case for each form; fail() never returns
        at = self._at
        character = self._take()
        match character:
            case "(":
                return self._group(at)
            case "[":
                return _Set(self._class(at))
            case ".":
                return _Set(self._dot)
            case "^":
                return _Assert("begin")
            case "$":
                return _Assert("end")
            case "\\":
                if self._peek() in ("A", "z"):
                    return _Assert("begin" if self._take() == "A" else "end")
                return _Set(self._escape(at))
            case "*" | "+" | "?":
                self.fail("nothing to repeat", at)
            case _:
                return _Set(((ord(character), ord(character)),))

    def _group(self, at: int) -> _Node:
        if self._peek() == "?":
            if self._text[self._at : self._at + 2] != "?:":
                self.fail("only (...), (?:...), and (?i) or (?s) at the beginning, are known", at)
            self._at += 2
        node = self._choice()
        if self._take() != ")":
            self.fail("this ( is not closed", at)
        return node

    def _escape(self, at: int) -> tuple[Range, ...]:
        character = self._take()
        if character.lower() in _CLASSES and character:
            ranges = _CLASSES[character.lower()]
            return _negated(ranges) if character.isupper() else ranges
        if character in _CONTROLS:
            return ((_CONTROLS[character], _CONTROLS[character]),)
        if character == "x":
            match = re.compile(r"[0-9a-fA-F]{2}").match(self._text, self._at)
            if match is not None:
                self._at = match.end()
                return ((int(match[0], 16), int(match[0], 16)),)
        if not character or character.isalnum() or not character.isascii():
            self.fail(f"\\{character} is not part of the subset", at)
        return ((ord(character), ord(character)),)

    def _class(self, at: int) -> tuple[Range, ...]:
        negative = self._peek() == "^"
        if negative:
            self._take()
        ranges: list[Range] = []
        first = True
        while first or self._peek() != "]":
            if not self._peek():
                self.fail("this [ is not closed", at)
            if self._text.startswith("[:", self._at):
                self.fail("[:name:] is not part of the subset")
            first = False
            low = self._member()
            ahead = self._text[self._at : self._at + 2]
            if len(ahead) == 2 and ahead[0] == "-" and ahead[1] != "]":  # noqa: PLR2004 - a pair
                self._take()
                place = self._at
                high = self._member()
                if not _single(low) or not _single(high) or low[0][0] > high[0][0]:
                    self.fail("this is no range", place)
                low = ((low[0][0], high[0][1]),)
            ranges.extend(low)
        self._take()
        return _negated(tuple(ranges)) if negative else tuple(ranges)

    def _member(self) -> tuple[Range, ...]:
        at = self._at
        character = self._take()
        if character == "\\":
            return self._escape(at)
        return ((ord(character), ord(character)),)


# ------------------------------------------------------------------------------------- compiler


class _Compiler:
    def __init__(self) -> None:
        self.states = [_State("match", [])]

    def _add(self, state: _State) -> int:
        if len(self.states) >= MAX_STATES:
            raise PatternError(0, f"a pattern has at most {MAX_STATES} states; repeat less")
        self.states.append(state)
        return len(self.states) - 1

    def build(self, node: _Node, to: int) -> int:
        """Return the state from which ``node`` leads to ``to``."""
        match node:
            case _Set(ranges):
                return self._add(_State("consume", [to], ranges))
            case _Assert(kind):
                return self._add(_State(kind, [to]))
            case _Sequence(items):
                for item in reversed(items):
                    to = self.build(item, to)
                return to
            case _Choice(items):
                return self._add(_State("jump", [self.build(item, to) for item in items]))
            case _Repeat(item, least, most):
                return self._repeat(item, least, most, to)
            case _:
                assert_never(node)

    def _repeat(self, item: _Node, least: int, most: int | None, to: int) -> int:
        if most is None:
            loop = self._add(_State("jump", [to]))
            self.states[loop].to.append(self.build(item, loop))
            to = loop
        else:
            end = to
            for _ in range(most - least):
                to = self._add(_State("jump", [self.build(item, to), end]))
        for _ in range(least):
            to = self.build(item, to)
        return to


def compile_pattern(text: str) -> Pattern:
    """Return a pattern that searches in linear time.

    Raises:
        PatternError: Outside the subset, or too large.
    """
    parser = _Parser(text)
    tree = parser.whole()
    compiler = _Compiler()
    start = compiler.build(tree, _ACCEPT)
    return Pattern(compiler.states, start, fold=parser.fold)
