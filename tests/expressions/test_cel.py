"""Against Google's own CEL (cel-cpp): thousands of generated expressions of the shared subset.

Where CEL gives a value, ours is the same. Where CEL gives an error (division by zero, overflow, a
bad cast) ours is null by design, so those are only counted. Not shared, hence not generated:
arithmetic of a long with a double (ours promotes), infinities (ours are null), texts of doubles.
"""

from __future__ import annotations

import random

import pytest

from orchestrator.expressions import Environment, Names, compile_expression
from tests.expressions.world import Customer

cel = pytest.importorskip("cel_expr_python.cel", reason="pip install cel-expr-python")

EXPRESSIONS = 6_000
TYPES = {
    "i": "long",
    "j": "long",
    "d": "double",
    "e": "double",
    "s": "string",
    "t": "string",
    "b": "boolean",
    "c": "boolean",
}
VALUES = {
    "i": [0, 1, -7, 2**40],
    "j": [0, 3, -2],
    "d": [0.0, 2.5, -1.25],
    "e": [1.0, 1e6, -0.5],
    "s": ["", "abc", "Grüße"],
    "t": ["b", "aab", "ß"],
    "b": [True, False],
    "c": [True, False],
}
PATTERNS = ["a+b", "^a", "b$", "[a-c]{2}", "(a|ü)", "^$", "x*", ".b.", "\\\\w+", "[^a]"]
INSTANTS = ["2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00", "2025-12-31T23:59:59.999Z"]


class Author:
    """Writes typed expressions of bounded depth."""

    def __init__(self, seed: int) -> None:
        self.pick = random.Random(seed)

    def write(self, type_: str, depth: int = 3) -> str:
        return getattr(self, type_)(depth)

    def one(self, *choices):
        return self.pick.choice(choices)()

    def long(self, depth: int) -> str:
        leaf = self.pick.choice(["i", "j", "0", "1", "-3", "7", "0x10"])
        if depth == 0:
            return leaf
        return self.one(
            lambda: leaf,
            lambda: f"({self.long(depth - 1)} {self.pick.choice('+-*/%')} {self.long(depth - 1)})",
            lambda: f"-({self.long(depth - 1)})",
            lambda: f"size({self.string(depth - 1)})",
            lambda: f"long({self.double(depth - 1)})",
            lambda: f'long("{self.pick.choice(["12", "-5", "x", ""])}")',
            lambda: (
                f"({self.boolean(depth - 1)} ? {self.long(depth - 1)} : {self.long(depth - 1)})"
            ),
            lambda: f"size([{self.long(depth - 1)}, {self.long(depth - 1)}])",
        )

    def double(self, depth: int) -> str:
        leaf = self.pick.choice(["d", "e", "0.0", "1.5", "-2.0", "1e3"])
        if depth == 0:
            return leaf
        return self.one(
            lambda: leaf,
            lambda: (
                f"({self.double(depth - 1)} {self.pick.choice('+-*')} {self.double(depth - 1)})"
            ),
            lambda: f"({self.double(depth - 1)} / {self.pick.choice(['2.0', '-0.5', '10.0'])})",
            lambda: f"-({self.double(depth - 1)})",
            lambda: f"double({self.long(depth - 1)})",
            lambda: f'double("{self.pick.choice(["1.5", "-2", "1e3", "x"])}")',
        )

    def string(self, depth: int) -> str:
        leaf = self.pick.choice(["s", "t", '""', '"a"', "'ü\\n'", '"\\x41"', 'r"\\d"'])
        if depth == 0:
            return leaf
        return self.one(
            lambda: leaf,
            lambda: f"({self.string(depth - 1)} + {self.string(depth - 1)})",
            lambda: f"string({self.long(depth - 1)})",
            lambda: f"string({self.boolean(depth - 1)})",
            lambda: f"string({self.timestamp()})",
            lambda: (
                f"({self.boolean(depth - 1)} ? {self.string(depth - 1)} : {self.string(depth - 1)})"
            ),
        )

    def timestamp(self) -> str:
        return f'timestamp("{self.pick.choice(INSTANTS)}")'

    def boolean(self, depth: int) -> str:
        leaf = self.pick.choice(["b", "c", "true", "false"])
        if depth == 0:
            return leaf
        less = depth - 1
        order = self.pick.choice(["<", "<=", ">", ">=", "==", "!="])
        same = self.pick.choice(["==", "!="])
        return self.one(
            lambda: leaf,
            lambda: f"({self.boolean(less)} && {self.boolean(less)})",
            lambda: f"({self.boolean(less)} || {self.boolean(less)} || {self.boolean(less)})",
            lambda: f"!({self.boolean(less)})",
            lambda: f"({self.long(less)} {order} {self.long(less)})",
            lambda: f"({self.double(less)} {order} {self.double(less)})",
            lambda: f"({self.long(less)} {order} {self.double(less)})",
            lambda: f"({self.string(less)} {order} {self.string(less)})",
            lambda: f"({self.boolean(less)} {same} {self.boolean(less)})",
            lambda: f"({self.timestamp()} {order} {self.timestamp()})",
            lambda: f"({self.long(less)} in [{self.long(0)}, {self.long(less)}])",
            lambda: f"({self.string(less)} in [{self.string(0)}, {self.string(0)}])",
            lambda: f"{self.string(less)}.startsWith({self.string(less)})",
            lambda: f"{self.string(less)}.endsWith({self.string(less)})",
            lambda: f"{self.string(less)}.contains({self.string(less)})",
            lambda: f"{self.string(less)}.matches('{self.pick.choice(PATTERNS)}')",
            lambda: f"({self.boolean(less)} ? {self.boolean(less)} : {self.boolean(less)})",
        )


def ours(text: str) -> str:
    """Return the text with the variables as properties of an event."""
    import re

    return re.sub(r'("[^"]*"|\'[^\']*\')|\b([ijdestbc])\b(?!["\'])', _as_property, text)


def _as_property(match):
    return match[1] or f"event.{match[2]}"


def test_the_same_as_cel():
    """Where CEL gives a value, ours is the same, of the same type."""
    author = Author(20_261_121)
    kinds = {"long": "INT", "double": "DOUBLE", "string": "STRING", "boolean": "BOOL"}
    engine = cel.NewEnv(
        variables={name: getattr(cel.Type, kinds[type_]) for name, type_ in TYPES.items()}
    )
    place = Environment(event=Names(TYPES))
    compared = errors = 0
    for _ in range(EXPRESSIONS):
        type_ = author.pick.choice(["long", "double", "string", "boolean", "boolean"])
        text = author.write(type_)
        data = {name: author.pick.choice(values) for name, values in VALUES.items()}
        theirs = engine.compile(
            text.replace("long(", "int("),
            disable_check=True,
        ).eval(data=data)
        mine = compile_expression(ours(text), place)(Customer(properties=data))
        if str(theirs.type()) == "ERROR":
            errors += 1
            continue
        compared += 1
        assert mine == theirs.value(), (text, data)
        assert type(mine) is type(theirs.value()), text
    assert compared > EXPRESSIONS * 0.7
    assert errors > 0
