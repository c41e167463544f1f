"""JSON Schemas for editors, from the grammar: completion and first findings while one types."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, assert_never

from orchestrator.journeys.grammar import KINDS
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
    Field,
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

_TITLES = {
    "events": "events.yaml: the events that our systems tell",
    "profile": "profile.yaml: identities, traits, lifecycle",
    "policy": "policy.yaml: the contract with every customer",
    "source": "sources/*.yaml: how records become events",
    "message": "messages/*.yaml: one message",
    "journey": "journeys/*.yaml: one journey",
    "test": "tests/*.yaml: scenarios",
}
_DURATION = r"^P(?=\d|T\d)(\d+W)?(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+S)?)?$"
_DURATION_HINT = "ISO 8601: P2D, PT48H, P1DT12H; no years, no months"
_SCALAR = ["string", "number", "boolean"]


def schema_text(kind: str) -> str:
    """Return the JSON Schema of a kind of file, as it is shipped."""
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": f"{kind}.schema.json",
        "title": _TITLES[kind],
        **schema_of(KINDS[kind]),
    }
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def schema_of(shape: Shape) -> dict[str, Any]:  # noqa: C901, PLR0911, PLR0912 - one case for each form
    """Return what JSON Schema can say of a shape."""
    match shape:
        case Field():
            return {"type": "string"}
        case Text(what=what, pattern=pattern):
            # The dialect of JSON Schema has no flags: texts of several lines are not checked here.
            checked = {} if pattern.startswith("(?") else {"pattern": f"^(?:{pattern})$"}
            return {"type": "string", "description": what, **checked}
        case Word(words):
            return {"enum": list(words)}
        case Again(words, prefix):
            after = {
                "type": "string",
                "pattern": f"^{prefix} P",
                "description": f"{prefix} DURATION",
            }
            return {"anyOf": [{"enum": list(words)}, after]}
        case Boolean():
            return {"type": "boolean"}
        case Number():
            return _number(shape)
        case Percent():
            percent = {"type": "string", "pattern": r"^\d+(\.\d+)?%$"}
            return {"anyOf": [{"type": "number", "minimum": 0, "maximum": 100}, percent]}
        case DurationText():
            return {"type": "string", "pattern": _DURATION, "description": _DURATION_HINT}
        case Clock():
            return {
                "type": "string",
                "pattern": r"^([01]\d|2[0-3]):[0-5]\d$",
                "description": "HH:MM",
            }
        case Instant():
            return {"type": "string", "description": "an instant such as 2026-03-02T10:00:00+01:00"}
        case Zone():
            return {"type": "string", "description": "an IANA time zone such as Europe/Berlin"}
        case Until():
            return {"type": _SCALAR, "description": "an expression, or next HH:MM"}
        case Expr():
            return {"type": _SCALAR, "description": "an expression"}
        case AnyScalar():
            return {"type": _SCALAR}
        case Anything():
            return {}
        case Many(of, least):
            return {
                "type": "array",
                "items": schema_of(of),
                **({"minItems": least} if least else {}),
            }
        case OneOrMany(of):
            inner = schema_of(of)
            return {"anyOf": [inner, {"type": "array", "items": inner, "minItems": 1}]}
        case MapOf():
            return _map(shape)
        case Keys():
            return _keys(shape)
        case ByKey(variants, _):
            return {"anyOf": [_keys(keys) for keys in variants.values()]}
        case _:
            assert_never(shape)


def _number(shape: Number) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "integer" if shape.whole else "number"}
    if shape.minimum is not None:
        found["minimum"] = shape.minimum
    if shape.maximum is not None:
        found["maximum"] = shape.maximum
    return found


def _map(shape: MapOf) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "object", "additionalProperties": schema_of(shape.value)}
    if not shape.key.pattern.startswith("(?"):
        found["propertyNames"] = {"pattern": f"^(?:{shape.key.pattern})$"}
    if shape.least:
        found["minProperties"] = shape.least
    return found


def _keys(shape: Keys) -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: _key(key) for name, key in shape.keys.items()},
    }
    required = [name for name, key in shape.keys.items() if key.required]
    if required:
        found["required"] = required
    if shape.one_of:
        found["oneOf"] = [{"required": [name]} for name in shape.one_of]
    beside = _beside(shape.keys)
    if beside:
        found["dependencies"] = beside
    return found


def _key(key: Key) -> dict[str, Any]:
    schema = schema_of(key.shape)
    if key.default is NOTHING or key.default in ([], {}):
        return schema
    return {**schema, "default": key.default}


def _beside(keys: Mapping[str, Key]) -> dict[str, Any]:
    return {
        name: {"anyOf": [{"required": [word]} for word in key.beside]}
        for name, key in keys.items()
        if key.beside
    }
