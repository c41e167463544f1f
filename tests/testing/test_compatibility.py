"""Avro's resolution rules, case by case."""

from __future__ import annotations

import pytest

from orchestrator.testing.compatibility import unreadable


def record(*fields, name="R"):
    return {"type": "record", "name": name, "fields": list(fields)}


def field(name, kind, **more):
    return {"name": name, "type": kind, **more}


def enum(*symbols, **more):
    return {"type": "enum", "name": "E", "symbols": list(symbols), **more}


READABLE = [
    ("string", "string"),
    ("long", "int"),
    ("double", "long"),
    ("bytes", "string"),
    (["null", "string"], "string"),
    (["null", "string"], ["null", "string"]),
    (["null", "double"], ["null", "int"]),
    ("double", ["int", "long"]),
    (record(), record(field("a", "int"))),
    (record(field("a", "int", default=1)), record()),
    (record(field("a", "long")), record(field("a", "int"))),
    (record(field("new", "int", aliases=["old"])), record(field("old", "int"))),
    (enum("a", "b"), enum("a")),
    (enum("a", default="a"), enum("a", "b")),
    ({"type": "array", "items": "long"}, {"type": "array", "items": "int"}),
    ({"type": "map", "values": "long"}, {"type": "map", "values": "int"}),
    ({"type": "long", "logicalType": "timestamp-millis"}, "int"),
    ({"type": {"type": "string"}}, "string"),
    ({"type": "fixed", "name": "F", "size": 4}, {"type": "fixed", "name": "F", "size": 4}),
    (
        record(field("next", ["null", "R"])),
        record(field("next", ["null", "R"])),
    ),
    (
        {**record(field("a", enum("x")), field("b", "n.E")), "namespace": "n"},
        {**record(field("a", enum("x")), field("b", "E")), "namespace": "n"},
    ),
]
UNREADABLE = [
    ("string", "int", "int cannot be read as string"),
    ("int", "long", "long cannot be read as int"),
    ("string", ["null", "string"], "null cannot be read as string"),
    (["null", "string"], "int", "no branch"),
    (record(field("a", "int")), record(), "/a: the reader's field has no default"),
    (record(field("a", "int")), record(field("a", "string")), "/a: string"),
    (record(), record(name="Other"), "record Other is not R"),
    (enum("a"), enum("a", "b"), "symbols b"),
    ({"type": "array", "items": "int"}, {"type": "array", "items": "long"}, "/items"),
    ({"type": "map", "values": "int"}, {"type": "map", "values": "string"}, "/values"),
    (
        {"type": "fixed", "name": "F", "size": 4},
        {"type": "fixed", "name": "F", "size": 8},
        "size 8 is not 4",
    ),
]


@pytest.mark.parametrize(("reader", "writer"), READABLE)
def test_readable(reader, writer):
    assert unreadable(reader, writer) == []


@pytest.mark.parametrize(("reader", "writer", "why"), UNREADABLE)
def test_unreadable(reader, writer, why):
    assert why in "; ".join(unreadable(reader, writer))
