"""Canonical JSON and the hashes over it: the identity of definitions and catalogs.

Sorted keys, no spaces, UTF-8 as it is, whole doubles as longs, defaults left out (by ``checking``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from orchestrator.journeys.diagnostics import Mark
from orchestrator.journeys.nodes import Node, node_of
from orchestrator.records import Definition, JourneyStatus

SINGLETONS = frozenset({"events", "profile", "policy"})
"""Kinds with one definition, named as the kind."""


def canonical_json(value: Any) -> str:
    """Return the one text for ``value``."""
    return json.dumps(
        _normal(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def _normal(value: Any) -> Any:
    match value:
        case dict():
            return {key: _normal(item) for key, item in value.items()}
        case list() | tuple():
            return [_normal(item) for item in value]
        case float() if value.is_integer() and abs(value) < 2**53:
            return int(value)
        case _:
            return value


def text_hash(text: str) -> str:
    """Return the SHA-256 of ``text`` in hex."""
    return sha256(text.encode()).hexdigest()


def definition_of(kind: str, name: str, value: Any) -> Definition:
    """Return the definition record of a checked value."""
    source = canonical_json(value)
    return Definition(kind=kind, name=name, hash=text_hash(source), source=source)


def node_of_definition(definition: Definition) -> Node:
    """Return a definition's source as nodes; findings in it stand at ``kind/name:1:1``."""
    return node_of(
        json.loads(definition.source), Mark(f"{definition.kind}/{definition.name}", 1, 1)
    )


def catalog_hash(definitions: Mapping[str, str], status: Mapping[str, JourneyStatus]) -> str:
    """Return the identity of a catalog.

    Args:
        definitions: Hash by ``kind/name``.
        status: By journey; ``live`` is the default and left out.
    """
    held = {name: word for name, word in status.items() if word != "live"}
    return text_hash(canonical_json({"definitions": dict(definitions), "status": held}))
