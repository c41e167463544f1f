"""Bytes of the decide stage: what comes in per event, what leaves, what is kept of a customer.

Run: ``pytest tests/bench/test_bytes.py -m bench -s``. Prints; asserts the bound of a typical state.
"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from orchestrator.codec import wire
from orchestrator.codec.avro import encoder
from orchestrator.journeys import load_workspace
from orchestrator.records import Action, Decision, Event
from orchestrator.stages.decide import Decide
from orchestrator.stages.protocol import Input

pytestmark = pytest.mark.bench

DEPLOY = Path(__file__).parents[2] / "deploy"
PREFIX = wire.prefix(1)
START = 1_767_600_000_000
HOUR = 3_600_000
TYPICAL = 1_536
"""A typical state is smaller than this, in bytes."""
WRITE = {kind: encoder(kind) for kind in (Event, Decision, Action)}


class Life:
    """One customer of the example, who does this and that every few hours."""

    def __init__(self, catalog, seed):
        self.catalog, self.stage, self.pick = (
            catalog,
            Decide(assume_accepted=True),
            random.Random(seed),
        )
        self.state, self.now, self.number = self.stage.new("acme-1"), START, 0
        self.bytes, self.records, self.sizes = Counter(), Counter(), []

    def does(self, type_, **properties):
        self.number += 1
        event = Event(
            event_id=f"3f2b8c1e-77aa-4a6e-9d0f-{self.number:012}", type=type_, occurred_at=self.now,
            identities={"account_id": "acme-1"}, source="app", properties=properties,
        )  # fmt: skip
        self._count("event in", WRITE[Event](event, PREFIX))
        left = self.stage.fire("acme-1", self.state, self.now, self.catalog)
        item = Input(key="acme-1", record=event)
        left += self.stage.apply("acme-1", self.state, item, self.now, self.catalog)
        for emit in left:
            kind = type(emit.record)
            self._count(kind.__name__.lower(), WRITE[kind](emit.record, PREFIX))
        data = self.stage.encode(self.state)
        self._count("state", data)
        self.sizes.append(len(data))

    def _count(self, name, data):
        self.bytes[name] += len(data)
        self.records[name] += 1

    def lives(self, events, every, counted):
        self.does(
            "customer.updated", name="Anna Beispiel", email="anna@example.com", country="DE",
            timezone="Europe/Berlin",
        )  # fmt: skip
        self.does("consent.granted", channel="email", category="education")
        self.does("trial.started")
        while self.number < events:
            self.now += self.pick.randint(1, 2 * every)
            match self.pick.random():
                case x if x < counted:
                    self.does("feature.used", feature=self.pick.choice(["alerts", "maps", "api"]))
                case x if x < 0.95:
                    self.does("page.viewed", path="/docs/" + str(self.pick.randint(1, 99)))
                case x if x < 0.99:
                    self.does("pricing.viewed", plan="team")
                case _:
                    self.does("trial.started")


@pytest.mark.parametrize(
    ("name", "events", "every", "counted", "most"),
    [
        ("a trial: 40 events in ten days", 40, 6 * HOUR, 0.7, TYPICAL),
        ("a year: 500 events", 500, 18 * HOUR, 0.7, TYPICAL),
        ("10,000 events in three years, 20 % in a window", 10_000, 5 * HOUR // 2, 0.2, TYPICAL),
        ("the same, 70 %: 9 bytes for each in the window", 10_000, 5 * HOUR // 2, 0.7, 2_560),
    ],
)
def test_bytes_per_event(capsys, name, events, every, counted, most):
    """Of the records in and out, and of the state."""
    life = Life(load_workspace(DEPLOY / "example").catalog, 7)
    life.lives(events, every, counted)
    half = sorted(life.sizes)[len(life.sizes) // 2]
    with capsys.disabled():
        print(
            f"\n{name}: state {life.sizes[-1]} bytes at the end, {half} median, {max(life.sizes)} most"
        )
        for kind, total in life.bytes.items():
            count = life.records[kind]
            print(
                f"  {kind:9} {count:6} records of {total / count:6.0f} bytes, "
                f"{total / events:7.1f} bytes per event"
            )
    assert half < most
