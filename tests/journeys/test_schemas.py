"""The JSON Schemas of the editors: current, and they accept what the loader accepts."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from orchestrator.journeys.grammar import KINDS
from orchestrator.journeys.loader import load
from orchestrator.journeys.nodes import plain
from orchestrator.journeys.schemas import schema_text
from orchestrator.journeys.write_schemas import write

ROOT = Path(__file__).parents[2]
FOLDERS = {"messages": "message", "journeys": "journey", "tests": "test", "sources": "source"}
EXAMPLES = [
    path
    for path in sorted(ROOT.glob("deploy/example*/**/*.yaml"))
    if path.parent.name in FOLDERS or path.stem in KINDS
]


@pytest.mark.parametrize("kind", KINDS)
def test_current(kind):
    """What is shipped is what the grammar gives (``python -m orchestrator.journeys.write_schemas``)."""
    shipped = ROOT / "schemas" / "json" / f"{kind}.schema.json"
    assert shipped.read_text(encoding="utf-8") == schema_text(kind)


def test_written(tmp_path):
    """The command writes all of them."""
    write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {f"{kind}.schema.json" for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_valid(kind):
    """Each is a JSON Schema."""
    jsonschema.Draft7Validator.check_schema(json.loads(schema_text(kind)))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_accepts_the_examples(path):
    """The seed journey and its companions are valid in an editor too."""
    kind = FOLDERS.get(path.parent.name, path.stem)
    node, _ = load(path.read_text(encoding="utf-8"), path.name)
    jsonschema.Draft7Validator(json.loads(schema_text(kind))).validate(plain(node))


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("journey", "{journey: a, entry: {on: a.b, when: x}, steps: [{id: a, stop: true}]}"),
        ("journey", "{journey: a, entry: {when: x, key: y}, steps: [{id: a, stop: true}]}"),
        ("journey", "{journey: a, entry: {on: a.b}, steps: [{id: a, wait: {for: P1M}}]}"),
        ("journey", "{journey: a, entry: {on: a.b}, steps: [{id: a}]}"),
        ("journey", "{journey: A, entry: {on: a.b}, steps: [{id: a, stop: true}]}"),
        ("policy", "{channels: {}}"),
        ("profile", "{traits: {a: {typ: string}}}"),
        ("events", "{signup: {}}"),
    ],
)
def test_refuses(kind, text):
    """First mistakes show while one types."""
    node, _ = load(text, "f")
    validator = jsonschema.Draft7Validator(json.loads(schema_text(kind)))
    assert not validator.is_valid(plain(node))
