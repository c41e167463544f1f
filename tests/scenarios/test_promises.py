"""Caps, gaps, quiet hours and consent hold for every order of events, in every zone, on every day.

Random lives run through the pure pipeline; what left is counted by ``tests/checker.py``, which shares
no code with the product.
"""

from __future__ import annotations

import sys
from datetime import datetime
from functools import cache
from pathlib import Path

import msgspec
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.journeys.diagnostics import Mark
from orchestrator.journeys.scenarios import Given, Scenario
from orchestrator.records import Action, Event
from orchestrator.testing.givens import settle
from orchestrator.testing.pipeline import Pipeline
from orchestrator.testing.variants import Variants

sys.path.insert(0, str(Path(__file__).parents[1]))
from checker import is_quiet, violations, within_cap

CONTACT = Path(__file__).parent / "contact"
MINUTE = 60_000
MARK = Mark("", 1, 1)
ZONES = ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "UTC"]
STARTS = ["2026-03-02T09:00+01:00", "2026-03-27T22:00+01:00", "2026-10-24T20:00+02:00"]
"""An ordinary Monday, and the days before both clock changes of Europe."""
POLICIES = [
    {"caps": [{"name": "daily", "limit": 1, "per": "day"}]},
    {
        "caps": [
            {"name": "weekly", "limit": 3, "per": "week"},
            {"name": "news", "limit": 2, "per": "rolling P3D", "category": "news"},
            {"name": "mail", "limit": 2, "per": "day", "channel": "email"},
        ],
        "quiet_hours": [{"name": "night", "from": "21:00", "to": "08:00"}],
    },
    {
        "gap": {"any": "PT5H"},
        "quiet_hours": [
            {
                "name": "noon",
                "channels": ["email"],
                "days": ["mon", "wed", "fri"],
                "from": "12:00",
                "to": "13:30",
            },
            {"name": "weekend", "days": ["sat", "sun"], "from": "00:00", "to": "23:59"},
        ],
        "arbitration": {"window": "PT1H"},
    },
]
ENTRIES = "alpha beta gamma monthly partner receipt alarm short stale lead either again push inapp both soon".split()
HAPPENS = st.one_of(
    st.sampled_from([(f"go.{name}", {}) for name in ENTRIES]),
    st.sampled_from(["consent.granted", "consent.revoked"]).flatmap(
        lambda type_: st.builds(
            lambda channel, category: (type_, {"channel": channel, "category": category}),
            st.sampled_from(["email", "push"]),
            st.sampled_from(["news", "tips", "partners", "service"]),
        )
    ),
    st.sampled_from([("account.deleted", {}), ("order.completed", {"sku": "tea"})]),
    st.sampled_from(
        [("dropped", {}), ("failed", {}), ("failed", {"reason": "unknown"}), ("bounced", {})]
    ),
)


@cache
def _variants():
    return Variants(CONTACT)


def _classes():
    some = [yaml.safe_load(path.read_text()) for path in CONTACT.glob("messages/*.yaml")]
    return {one["message"]: one.get("class", "promotional") for one in some}


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(POLICIES),
    st.sampled_from(ZONES),
    st.sampled_from(STARTS),
    st.booleans(),
    st.lists(st.tuples(st.integers(0, 900), HAPPENS), max_size=40),
)
def test_no_life_breaks_the_contract(policy, zone, start, accepts, life):
    """Receipts of dropped and failed sends give slots back, unless nobody knows: what was given back is not counted."""
    scenario = Scenario(mark=MARK, name="life", policy=policy)
    catalog = _variants().catalog(scenario)
    now = round(datetime.fromisoformat(start).timestamp() * 1000)
    pipeline = Pipeline(catalog, now, assume_accepted=accepts)
    profile = {"email": "c@example.com", "token": "t", "timezone": zone}
    settle(pipeline, Given(id="c", profile=profile), catalog, now)
    left, returned, consents = [], set(), []
    for number, (minutes, (name, details)) in enumerate(life):
        type_, properties = name, details
        now += minutes * MINUTE
        left += [output.emit.record for output in pipeline.advance(now)]
        identities = {"id": "c"}
        if "." not in type_:
            actions = [one for one in left if isinstance(one, Action) and one.kind == "send"]
            if not actions or accepts:
                continue
            if type_ != "bounced" and not details:  # what is in doubt may have arrived
                returned.add(actions[-1].action_id)
            properties = {"action_id": actions[-1].action_id, **details}
            identities = {"customer": "c"}
            type_ = f"message.{type_}"
        if type_.startswith("consent"):
            granted = type_ == "consent.granted"
            consents.append((now, properties["channel"], properties["category"], granted))
        event = Event(
            event_id=str(number),
            type=type_,
            occurred_at=now,
            identities=identities,
            source="life",
            properties=properties,
        )
        left += [output.emit.record for output in pipeline.append(event, now)]
    left += [output.emit.record for output in pipeline.advance(now + 40 * 1440 * MINUTE)]
    assert not pipeline.dead_letters
    sends = [
        (one.decided_at, one.message, one.channel, one.category)
        for one in left
        if isinstance(one, Action) and one.kind == "send" and one.action_id not in returned
    ]
    written = yaml.safe_load((CONTACT / "policy.yaml").read_text()) | policy
    assert sends == sorted(sends, key=lambda send: send[0])
    assert not list(violations(sends, zone, written, _classes(), consents))
    for state in pipeline.decide.states.values():
        assert not state.due or state.due > pipeline.now
        assert pipeline.decide.stage.decode(pipeline.decide.stage.encode(state)) == state
        assert all(entry.wake or entry.pending or entry.ends_at for entry in state.entries)


def test_the_checker_catches_what_it_should():
    """A judge that never says no proves nothing."""

    def at(text):
        return round(datetime.fromisoformat(text).timestamp() * 1000)

    night = {"name": "night", "from": "21:00", "to": "08:00", "days": ["fri"]}
    assert is_quiet(at("2026-03-07T03:00+01:00"), "Europe/Berlin", night)
    assert not is_quiet(at("2026-03-07T22:00+01:00"), "Europe/Berlin", night)
    assert not is_quiet(at("2026-03-07T08:00+01:00"), "Europe/Berlin", night)
    times = [
        at("2026-03-02T10:00+01:00"),
        at("2026-03-04T10:00+01:00"),
        at("2026-03-05T10:00+01:00"),
    ]
    assert within_cap(times, "Europe/Berlin", {"limit": 2, "per": "rolling P3D"})
    assert not within_cap(
        [*times[:2], times[2] - 1], "Europe/Berlin", {"limit": 2, "per": "rolling P3D"}
    )
    assert not within_cap(times, "Europe/Berlin", {"limit": 2, "per": "week"})
    policy = {
        "channels": {"email": {}},
        "consent": {"default": {"news": "opt_in"}},
        "quiet_hours": [{"name": "noon", "from": "12:00", "to": "13:00"}],
        "caps": [{"name": "one", "limit": 1, "per": "day"}],
        "gap": {"any": "PT2H"},
    }
    sends = [(at(f"2026-03-02T{hour}:00+01:00"), "m", "email", "news") for hour in (11, 12)]
    told = list(violations(sends, "Europe/Berlin", policy, {"m": "promotional"}))
    assert [one.split()[0] for one in told] == ["m", "m", "m", "cap", "gap:"]


def test_a_life_is_a_function_of_its_log():
    """The same lines give the same decisions and the same bytes, whoever runs them."""
    scenario = Scenario(mark=MARK, name="twice", policy=POLICIES[1])
    runs = []
    for _ in range(2):
        catalog = Variants(CONTACT).catalog(scenario)
        pipeline = Pipeline(catalog, 0)
        told = []
        for number, name in enumerate(ENTRIES * 3):
            event = Event(
                event_id=str(number),
                type=f"go.{name}",
                occurred_at=number * 7_000_000,
                identities={"id": f"c{number % 2}"},
                source="life",
            )
            told += pipeline.append(event, event.occurred_at)
        told += pipeline.advance(10**10)
        states = {
            key: pipeline.decide.stage.encode(one) for key, one in pipeline.decide.states.items()
        }
        runs.append((msgspec.json.encode([output.emit for output in told]), states))
    assert runs[0] == runs[1]
