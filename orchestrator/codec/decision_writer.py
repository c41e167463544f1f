"""Writing decisions and actions by hand: the bytes of ``fastavro`` at a fraction of the cost.

They leave for every third event or so, and looking every field up in the schema again costs more
than deciding. Names from the definitions come again and again (``known``), ids do not (``text``).
The order of the fields and symbols is the schema's; a test holds the two writers against each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from orchestrator.codec.pieces import (
    Unusual,
    known,
    known_optional,
    long,
    optional_double,
    optional_long,
    optional_text,
    text,
    values,
)
from orchestrator.records import Action, ActionKind, Candidate, Decision, DecisionOutcome

_MOST_INT = 2**31


def _symbols(literal: Any) -> Mapping[str, bytes]:
    return {symbol: bytes((number << 1,)) for number, symbol in enumerate(get_args(literal))}


_OUTCOMES, _KINDS = _symbols(DecisionOutcome), _symbols(ActionKind)


def write_decision(decision: Decision, prefix: bytes) -> bytes:
    """Return ``prefix`` and the decision, as our own schema has it.

    Raises one of ``pieces.NOT_PLAIN`` where ``fastavro`` must be asked.
    """
    return b"".join(
        (
            prefix,
            text(decision.decision_id),
            text(decision.customer_id),
            _OUTCOMES[decision.outcome],
            known_optional[decision.reason],
            known_optional[decision.rule],
            values(decision.rule_values),
            _candidates(decision.candidates),
            known_optional[decision.journey],
            known_optional[decision.journey_version],
            optional_text(decision.entry_id),
            known_optional[decision.step],
            known_optional[decision.message],
            known_optional[decision.channel],
            optional_text(decision.action_id),
            optional_long(decision.until),
            text(decision.caused_by),
            long(decision.decided_at),
            known[decision.catalog],
            optional_double(decision.propensity),
            known_optional[decision.model_version],
            optional_text(decision.trace),
        )
    )


def _candidates(candidates: list[Candidate]) -> bytes:
    if type(candidates) is not list:
        raise Unusual
    if not candidates:
        return b"\0"
    parts = [long(len(candidates))]
    for one in candidates:
        parts += (
            text(one.name),
            known[one.outcome],
            known_optional[one.reason],
            known_optional[one.rule],
            optional_long(one.until),
            optional_double(one.score),
        )
    parts.append(b"\0")
    return b"".join(parts)


def write_action(action: Action, prefix: bytes) -> bytes:
    """Return ``prefix`` and the action, as our own schema has it.

    Raises one of ``pieces.NOT_PLAIN`` where ``fastavro`` must be asked.
    """
    if not -_MOST_INT <= action.priority < _MOST_INT:
        raise Unusual
    return b"".join(
        (
            prefix,
            text(action.action_id),
            _KINDS[action.kind],
            text(action.customer_id),
            known[action.channel],
            known[action.message],
            known[action.template],
            values(action.content),
            optional_text(action.address),
            known[action.journey],
            known[action.journey_version],
            text(action.entry_id),
            known[action.step],
            text(action.decision_id),
            known[action.category],
            long(action.priority),
            long(action.decided_at),
            optional_long(action.expires_at),
            text(action.caused_by),
            optional_text(action.trace),
        )
    )
