"""YAML text to nodes: the core schema of YAML 1.2, marks, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.journeys.diagnostics import Mark
from orchestrator.journeys.loader import MAX_BYTES, core_value, decode, load
from orchestrator.journeys.nodes import Mapping, Scalar, Sequence, node_of, plain


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("NO", "NO"),
        ("DE", "DE"),
        ("12", 12),
        ("-3", -3),
        ("0o17", 15),
        ("0x1F", 31),
        ("017", 17),
        ("1_000", "1_000"),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("22:30", "22:30"),
        ("2026-03-02", "2026-03-02"),
        ("1.2.3", "1.2.3"),
        ("9" * 5000, float("inf")),
    ],
)
def test_core_schema(text, value):
    """Truth, numbers and null as in YAML 1.2; everything else is a text."""
    assert core_value(text) == value
    assert type(core_value(text)) is type(value)


def test_quotes_make_texts():
    """What stands in quotes is a text, whatever it looks like."""
    node, found = load("a: \"1\"\nb: 'true'\nc: 1\n", "f")
    assert found == []
    assert plain(node) == {"a": "1", "b": "true", "c": 1}


def marks(node):
    """Return the marks of all scalars that are no keys."""
    match node:
        case Scalar():
            return [(node.text, node.mark.line, node.mark.column)]
        case Sequence(items=items):
            return [mark for item in items for mark in marks(item)]
        case Mapping(items=items):
            return [mark for _, item in items for mark in marks(item)]


def test_marks():
    """Lines and columns count from 1, in characters."""
    node, _ = load("ä: {b: x}\nc:\n  - 'y'\n  - z\n", "f")
    assert marks(node) == [("x", 1, 8), ("y", 3, 5), ("z", 4, 5)]


@pytest.mark.parametrize(
    ("text", "offset", "line", "column"),
    [
        ("a: bcd", 2, 1, 6),
        ("a: 'b''cd'", 2, 1, 8),
        ('a: "b\\"cd"', 2, 1, 8),
        ('a: "\\x41cd"', 1, 1, 9),
        ("a: b\n  c d", 2, 2, 3),
        ("a: 'b\n  c d'", 4, 2, 5),
        ("a: |\n  one\n  two", 5, 3, 4),
        ("a: |\n  one\n  two", 99, 3, 6),
        ("a: >\n  one\n  two", 5, 1, 4),
        ("a: b", 99, 1, 5),
    ],
)
def test_places_within_a_text(text, offset, line, column):
    """A finding in the middle of a text points there, through quotes and folded lines."""
    node, _ = load(text, "f")
    mark = node.items[0][1].at(offset)
    assert (mark.line, mark.column) == (line, column)


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        ("", "yaml-syntax", "empty"),
        ("# only words", "yaml-syntax", "empty"),
        ("%TAG ! tag:x,2000:\n--- a", "yaml-syntax", "tags"),
        ("a: &x 1", "yaml-syntax", "anchors"),
        ("a: *x", "yaml-syntax", "anchors"),
        ("!!map {a: 1}", "yaml-syntax", "is a tag"),
        ("? [a]\n: 1", "yaml-syntax", "a key is a word"),
        ("? {a: 1}\n: 1", "yaml-syntax", "a key is a word"),
        ("<<: {a: 1}", "yaml-syntax", "merge keys"),
        ("a: 1\n---\nb: 1", "yaml-syntax", "one document"),
        ("[" * 60, "yaml-syntax", "nests more than"),
        ("a: \x07", "yaml-syntax", "not allowed"),
        ("a: 'b", "yaml-syntax", ""),
        ("a:\n\t- b", "tab", "use spaces"),
        ("a: @b", "yaml-syntax", ""),
        ("if: @b", "quote-expression", "write if: '@b'"),
        ("if: 'x' == y", "yaml-syntax", ""),
        ("x: {if: it's, then: [b}", "yaml-syntax", ""),
        ("- {when: a ? b : c, then: d}", "quote-expression", "write when: 'a ? b : c'"),
        ("- {then: d, when: !a}", "quote-expression", "write when: '!a'"),
        ("if: *x", "quote-expression", "write if: '*x'"),
        ("if: a: it's", "quote-expression", "write if: 'a: it''s'"),
    ],
)
def test_refused(text, name, words):
    """One finding; it says what is wrong, or the quoted form."""
    node, found = load(text, "f")
    assert node is None
    assert [each.name for each in found] == [name]
    assert words in str(found[0])


def test_the_first_of_two_keys_counts():
    """A duplicate is a finding, and the rest is read."""
    node, found = load("a: 1\na: 2\nb: 3", "f")
    assert plain(node) == {"a": 1, "b": 3}
    assert [str(each) for each in found] == [
        "f:2:1: J002 duplicate-key: 'a' stands here twice; the first is in line 1"
    ]


def test_a_byte_order_mark_is_passed_over():
    """Windows editors write it."""
    assert plain(load("\ufeffa: 1", "f")[0]) == {"a": 1}


def test_bytes():
    """A file is UTF-8 of at most a megabyte; else the finding says where it is not."""
    assert decode("ä".encode(), "f") == ("ä", [])
    text, found = decode(b"a: 1\nb: \xff", "f")
    assert text is None
    assert found[0].mark == Mark("f", 2, 4)
    assert decode(b"a" * (MAX_BYTES + 1), "f")[0] is None


@given(st.text(alphabet=st.sampled_from("ab:{}[]-'\" \n\t#!&*|>%@?,<~1.\\\u2028é")))
def test_no_text_crashes_the_loader(text):
    """Whatever stands in a file: nodes, or findings with a place."""
    node, found = load(text, "f")
    assert node is not None or found
    for each in found:
        assert each.mark.line >= 1
        assert each.mark.column >= 1


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    )
)
def test_json_nodes_hold_what_they_were_given(value):
    """JSON data as nodes is that data."""
    assert plain(node_of(value, Mark("f", 1, 1))) == value


def test_only_json_becomes_nodes():
    """Anything else is a programming error."""
    with pytest.raises(TypeError):
        node_of({1, 2}, Mark("f", 1, 1))
