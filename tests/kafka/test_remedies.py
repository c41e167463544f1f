"""Whatever becomes a dead letter: an operator is told what to do about it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from orchestrator import errors
from orchestrator.kafka.dead_letters import REMEDIES, read, remedy

PRODUCT = Path(errors.__file__).parent
RAISED = {"InputError", "DecodeError", "OversizeError", "JoinRefused"}
NO_LETTER = {"forbidden", "poison", "join_refused"}
"""A forbidden event leaves none; the others are names of whole kinds, which are never raised bare."""


def causes() -> Iterator[str]:
    """Every closed word that stands in the code as a cause."""
    for path in PRODUCT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Assign([ast.Name("cause")], ast.Constant(str(text))):
                    yield text
                case ast.Call(ast.Name(name), args, keywords) if name in RAISED:
                    said = [*args[1:2], *(one.value for one in keywords if one.arg == "cause")]
                    for one in said:
                        match one:
                            case ast.Constant(str(text)):
                                yield text
                            case ast.Name("BAD_RECORD"):
                                yield "bad_record"
                case ast.Call(ast.Attribute(attr="_poison"), [_, _, ast.Constant(str(text)), _]):
                    yield text


def test_every_cause_has_a_remedy():
    found = set(causes())
    assert {"bad_record", "wrong_magic", "unknown_kind", "skipped", "no_identity"} <= found
    assert found - NO_LETTER - REMEDIES.keys() == set()


def test_a_cause_of_somebody_elses_program_has_one_too():
    """Kafka Connect writes letters under the same headers."""
    letter = read(0, 1, 2, None, b"x", [("__connect.errors.exception.class.name", b"Boom")])
    assert letter.cause == "Boom"
    assert remedy(letter)
