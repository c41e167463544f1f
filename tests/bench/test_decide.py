"""CPU of the decide stage alone, per event: decode, apply or fire, encode.

Run: ``pytest tests/bench/test_decide.py -m bench -s``. Prints; asserts only that what it names happened.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from orchestrator.journeys import load_workspace
from orchestrator.records import Action, Event
from orchestrator.stages.decide import Decide
from orchestrator.stages.protocol import Input

pytestmark = pytest.mark.bench

WORKSPACE = Path(__file__).parents[2] / "deploy" / "example"
ROUNDS, EACH = 20, 250
"""The best of 20 rounds is printed: others work on the same machine."""
NOW = 1_772_532_000_000
"""2026-03-03T10:00Z, a Tuesday, outside all quiet hours."""


def event(number, type_, **properties):
    record = Event(
        event_id=f"e{number}",
        type=type_,
        occurred_at=NOW + number,
        identities={"customer_id": "anna"},
        source="bench",
        properties=properties,
    )
    return Input(key="anna", record=record)


def customer(stage, catalog, *events):
    """Return the bytes of a customer after some events, and what left."""
    state, left = stage.new("anna"), []
    for number, (type_, properties) in enumerate(events, start=-len(events)):
        item = event(number, type_, **properties)
        left += stage.apply("anna", state, item, NOW + number, catalog)
    return stage.encode(state), left


def microseconds(stage, catalog, data, type_, **properties):
    """Return CPU of one event on this customer (decode, apply, encode) and of its ``apply`` alone."""
    items = [event(number, type_, **properties) for number in range(EACH)]
    left = sum(len(stage.apply("anna", stage.decode(data), item, NOW, catalog)) for item in items)
    best_whole = best_apply = float("inf")
    for _ in range(ROUNDS):
        states = [stage.decode(data) for _ in items]
        begin = time.process_time()
        for item, state in zip(items, states, strict=True):
            stage.apply("anna", state, item, NOW, catalog)
        best_apply = min(best_apply, time.process_time() - begin)
        begin = time.process_time()
        for item in items:
            state = stage.decode(data)
            stage.apply("anna", state, item, NOW, catalog)
            stage.encode(state)
        best_whole = min(best_whole, time.process_time() - begin)
    return best_whole / EACH * 1e6, best_apply / EACH * 1e6, left / EACH


PROFILE = ("customer.updated", {"email": "a@example.com", "country": "DE", "plan": "free"})
GRANTED = ("consent.granted", {"channel": "email"})
STARTED = ("trial.started", {})


def test_cpu_per_event(capsys):
    """An event that concerns nobody, a trait, a live entry, and a send."""
    catalog, stage = load_workspace(WORKSPACE).catalog, Decide()
    plain, _ = customer(stage, catalog, PROFILE, GRANTED)
    live, left = customer(stage, catalog, PROFILE, GRANTED, STARTED)
    assert any(isinstance(one.record, Action) for one in left)
    rows = [
        ("an event that nobody listens to", plain, "mail.filed", {}),
        ("an event that nobody listens to, an entry live", live, "mail.filed", {}),
        ("a trait, no entry", plain, "customer.updated", {"country": "FR"}),
        ("a trait, an entry live", live, "customer.updated", {"country": "FR"}),
        ("an interesting event, an entry live", live, "pricing.viewed", {}),
        ("an entry with its first send", plain, "trial.started", {}),
    ]
    with capsys.disabled():
        for name, data, type_, properties in rows:
            whole, apply, count = microseconds(stage, catalog, data, type_, **properties)
            print(
                f"\n{name:48} {whole:7.1f} us, apply {apply:7.1f} us, "
                f"{count:.1f} records, state {len(data)} bytes",
                end="",
            )
        print()
    assert count >= 2
