"""States written under earlier catalogs by earlier releases live on: read, pinned or following, to the end.

A file in ``golden/`` is made once per release and never changed:
``python -m tests.stages.decide.test_golden_states 0.2.0``.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path

import msgspec
import pytest

from orchestrator.journeys import compile_catalog, definition_of, load_workspace
from orchestrator.journeys.canonical import node_of_definition
from orchestrator.journeys.checking import check
from orchestrator.journeys.grammar import KINDS
from orchestrator.journeys.spots import strip
from orchestrator.records import Decision, Definition, Event
from orchestrator.stages.decide import Decide
from orchestrator.stages.decide.state import Customer
from orchestrator.stages.protocol import Input
from orchestrator.testing.harness import Harness

ROOT = Path(__file__).parents[3]
GOLDEN = Path(__file__).parent / "golden"
DAY = 86_400_000
START = int(datetime.fromisoformat("2026-03-02T10:00+01:00").timestamp() * 1000)
SENT = {"action_id": "of the first send"}
LIVES = {
    "tests/scenarios/versions": [
        (0, "go.follows", {}),
        (0, "go.pinned", {}),
        (0, "go.two_waits", {}),
        (1, "customer.updated", {"level": 5}),
    ],
    "deploy/example": [
        (0, "customer.updated", {"name": "Anna", "email": "a@example.com", "country": "DE"}),
        (0, "consent.granted", {"channel": "email", "category": "education"}),
        (0, "trial.started", {}),
        (1, "message.accepted", SENT),
        (2, "message.opened", SENT),
        (3, "feature.used", {"feature": "maps"}),
    ],
}
LAID = ["", "over/longer", "over/shorter", "over/renamed", "over/deleted"]


def catalog_of(definitions):
    by_hash = {one.hash: one for one in definitions}
    return compile_catalog({f"{d.kind}/{d.name}": d for d in definitions}, {}, by_hash.get)


def short(output):
    one = output.emit.record
    if isinstance(one, Decision):
        return [
            output.at, one.outcome, one.journey, one.journey_version, one.entry_id, one.step,
            one.message, one.reason, one.rule, one.until,
        ]  # fmt: skip
    return [output.at, type(one).__name__, getattr(one, "action_id", "")]


def carried_on(before, after, state, at):
    """Return what becomes of a state: the catalog ``after`` a day later, then two weeks and an event."""
    harness = Harness(Decide(), catalog_of(before), at)
    harness.put("anna", state)
    known = {one.hash: one for one in (*before, *after)}
    catalog = compile_catalog({f"{d.kind}/{d.name}": d for d in after}, {}, known.get)
    outputs = harness.switch(catalog, at + DAY // 2)
    outputs += harness.advance(at + 14 * DAY)
    return [short(output) for output in outputs]


def write(release):
    """Live the lives under today's definitions and put down what is left of them."""
    told = []
    for folder, life in LIVES.items():
        before = load_workspace(ROOT / folder).definitions
        harness, first = Harness(Decide(), catalog_of(before), START), ""
        for number, (hours, type_, properties) in enumerate(life):
            given = {"action_id": first} if properties is SENT else properties
            event = Event(
                event_id=f"e{number}", type=type_, occurred_at=START + hours * 3_600_000,
                identities={"id": "anna"}, source="golden", properties=given,
            )  # fmt: skip
            outputs = harness.append(Input(key="anna", record=event), event.occurred_at)
            ids = [getattr(one.emit.record, "action_id", None) for one in outputs]
            first = first or next((one for one in ids if one), "")
        data = harness.stage.encode(harness.states["anna"])
        for laid in LAID if (ROOT / folder / "over").is_dir() else [""]:
            after = load_workspace(ROOT / folder, *([ROOT / folder / laid] if laid else []))
            state = harness.stage.decode(data)
            told.append(
                {
                    "case": f"{folder} {laid}".strip(),
                    "at": harness.now,
                    "before": msgspec.to_builtins(before),
                    "after": msgspec.to_builtins(after.definitions),
                    "state": data.hex(),
                    "then": carried_on(before, after.definitions, state, harness.now),
                }
            )
    path = GOLDEN / f"{release}.json"
    path.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


CASES = [
    pytest.param(case, id=f"{path.stem}: {case['case']}")
    for path in sorted(GOLDEN.glob("*.json"))
    for case in json.loads(path.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize("case", CASES)
def test_an_earlier_state_lives_on_under_a_later_catalog(case):
    """Entries find their version, wait, move and send as they did when the file was written."""
    before, after = (msgspec.convert(case[key], list[Definition]) for key in ("before", "after"))
    stage = Decide()
    data = bytes.fromhex(case["state"])
    state = stage.decode(data)
    assert isinstance(state, Customer)
    assert state.entries
    assert stage.decode(stage.encode(state)) == state
    live = {(one.name, one.hash) for one in before}
    assert {(entry.journey, entry.version) for entry in state.entries} <= live
    assert carried_on(before, after, state, case["at"]) == case["then"]
    assert any(line[1] in {"sent", "suppressed"} for line in case["then"])


@pytest.mark.parametrize("case", CASES)
def test_a_definition_keeps_its_hash(case):
    """The version of a journey is its hash: pinned entries would lose theirs if it were made anew."""
    for one in msgspec.convert(case["before"], list[Definition]):
        spot = check(node_of_definition(one), KINDS[one.kind], [])
        assert definition_of(one.kind, one.name, strip(spot)) == one


if __name__ == "__main__":
    write(sys.argv[1])
