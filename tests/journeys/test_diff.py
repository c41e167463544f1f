"""``journeys plan``, the pure part: what differs, what begins, where entries would go."""

from __future__ import annotations

import pytest

from orchestrator.journeys import compile_catalog, load_workspace
from orchestrator.journeys.diff import Difference, differences, plan

JOURNEY = "journeys/welcome.yaml"


class Catalogs:
    """A workspace that is changed step by step, and what it compiled to at each."""

    def __init__(self, sound):
        self.sound = sound
        self.known = {}
        self.before = self.definitions()

    def definitions(self):
        found = {f"{d.kind}/{d.name}": d for d in load_workspace(self.sound.folder).definitions}
        self.known |= {d.hash: d for d in found.values()}
        return found

    def change(self, old, new, file=JOURNEY):
        self.sound.change(file, old, new)

    def plan(self, parked=(), status=None):
        after = self.definitions()
        old = compile_catalog(self.before, status or {}, self.known.get)
        new = compile_catalog(after, status or {}, self.known.get)
        version = self.before["journey/welcome"].hash
        places = {("welcome", version, step): 1 for step in parked}
        return plan(self.before, after, old, new, places)

    def goes(self, *steps, status=None):
        """Return where each of ``steps`` would lead under follow."""
        found = self.plan(steps, status)
        (change,) = [c for c in found.changes if c.definition == "journey/welcome"]
        return {place.step: place.follow for place in change.parked}


@pytest.fixture
def catalogs(sound):
    return Catalogs(sound)


def test_nothing(catalogs):
    """The same workspace changes nothing, and nobody is looked for."""
    found = catalogs.plan(["pause"])
    assert (found.changes, found.begins, found.warnings) == ([], [], [])


def test_a_first_apply(catalogs):
    """Without a catalog in force everything is new, and everything that is counted begins."""
    after = catalogs.before
    empty = compile_catalog({}, {}, {}.get)
    found = plan({}, after, empty, compile_catalog(after, {}, {}.get), {})
    assert {change.change for change in found.changes} == {"added"}
    assert found.changes[0].definition == "journey/welcome"
    assert found.begins == ["trait heat", "trait orders", "trait recent", "trait spent"]


def test_a_readable_difference(catalogs):
    """Steps are compared by id, whatever stands between them; a default is nothing."""
    catalogs.change("wait: {for: P1D}", "wait: {for: P2D}")
    catalogs.change("{on: trial.started}", "{on: trial.started, re_entry: always}")
    catalogs.change("channel: sales}}", "channel: sales}, then: end}\n  - {id: end, stop: true}")
    (change,) = [c for c in catalogs.plan().changes if c.definition == "journey/welcome"]
    lines = {one.path: (one.before, one.after) for one in change.differences}
    assert lines == {
        "entry.re_entry": (None, "always"),
        "steps.pause.wait.for": ("P1D", "P2D"),
        "steps.second.then": (None, "end"),
        "steps.end": (None, "{id: end, stop: true}"),
    }


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ({"a": 1}, {"a": 1.0}, []),
        ({"a": 1}, {}, [("a", "1", None)]),
        ({"a": [1, 2]}, {"a": [1]}, [("a", "[1, 2]", "[1]")]),
        ({"a": [{"x": 1}]}, {"a": [{"x": 2}]}, [("a", "[{x: 1}]", "[{x: 2}]")]),
        (
            {"a": [{"id": "p"}, {"id": "q"}]},
            {"a": [{"id": "q"}, {"id": "p"}]},
            [("a (order)", "p, q", "q, p")],
        ),
        (  # two of one name: only the whole list tells them apart
            {"a": [{"on": ["x"]}, {"on": ["x"]}]},
            {"a": [{"on": ["x"]}]},
            [("a", "[{on: [x]}, {on: [x]}]", "[{on: [x]}]")],
        ),
        ({"a": {"b": None}}, {"a": "text"}, [("a", "{b: null}", "text")]),
        (1, 2, [("", "1", "2")]),
    ],
)
def test_differences(before, after, found):
    """Every place once; lists of named things by name, other lists whole."""
    expected = [Difference(path=p, before=b, after=a) for p, b, a in found]
    assert differences(before, after) == expected


def test_where_parked_entries_go(catalogs):
    """The same step, a renamed one, the next that survives, or the end."""
    catalogs.change("{id: pause, wait", "{id: rest, was: pause, wait")
    assert catalogs.goes("pause", "second") == {
        "pause": "stays, now called rest",
        "second": "stays",
    }
    (change,) = [c for c in catalogs.plan(["pause"]).changes if c.parked]
    assert change.in_flight == "pin"
    assert [place.pin for place in change.parked] == ["stays on its version"]


def test_a_deleted_step(catalogs):
    """Whoever is parked there goes to the next surviving step."""
    catalogs.change("  - {id: pause, wait: {for: P1D}}\n", "")
    catalogs.change("journey: welcome\n", "journey: welcome\nin_flight: follow\n")
    assert catalogs.goes("pause") == {"pause": "moves to second"}


def test_nothing_left_behind_it(catalogs):
    """Where nothing behind the deleted step survives, the entry ends."""
    catalogs.change(
        "  - {id: pause, wait: {for: P1D}}\n  - {id: second, send: {message: alert, channel: sales}}\n",
        "",
    )
    catalogs.sound.write("messages/alert.yaml", catalogs.sound.files["messages/alert.yaml"])
    assert catalogs.goes("pause", "second") == dict.fromkeys(
        ("pause", "second"), "ends: nothing behind it is left"
    )


def test_a_stopped_journey(catalogs):
    """Its entries have nowhere to go, whatever the definition says."""
    catalogs.change("wait: {for: P1D}", "wait: {for: P2D}")
    word = "ends: the journey is stopped"
    assert catalogs.goes("pause", status={"welcome": "stopped"}) == {"pause": word}


def test_a_journey_that_is_taken_out(catalogs):
    """Its entries walk on; the plan says how to end them."""
    (catalogs.sound.folder / JOURNEY).unlink()
    found = catalogs.plan(["pause"])
    (change,) = found.changes
    assert (change.change, change.in_flight) == ("removed", "")
    (place,) = change.parked
    assert (place.pin, place.follow) == ("walks on to its end", "walks on to its end")
    (warning,) = found.warnings
    assert warning == (
        "journey/welcome is taken out: its entries walk on to their end; to end them now, run "
        "`orchestrator journeys stop welcome` first"
    )


def test_an_entry_of_a_version_that_is_lost(catalogs):
    """It cannot be run: pinned it ends; following it begins with the first step."""
    catalogs.change("{id: pause, wait: {for: P1D}}", "{id: other, wait: {for: P1D}}")
    after = catalogs.definitions()
    old = compile_catalog(catalogs.before, {}, {}.get)
    new = compile_catalog(after, {}, {}.get)
    version = new.journeys["welcome"].version
    others = {("welcome", version, "other"): 2, ("elsewhere", "v", "pause"): 3}
    places = {("welcome", "lost", "pause"): 7, **others}
    (change,) = plan(catalogs.before, after, old, new, places).changes
    (place,) = change.parked
    assert place.entries == 7
    assert place.pin == "ends: its definition is gone"
    assert place.follow == "moves to first"


def test_what_begins(catalogs):
    """Counts, last times and silences that nothing asked for so far, and traits with a new rule."""
    catalogs.change(
        "{on: trial.started}",
        '{absence: {of: order.placed, for: P7D}, if: \'count(pricing.viewed, "P2D") > 1 && count(feature.used, "PT90M") > 0 && last(feature.used) != null\'}',
    )
    catalogs.change("window: P7D", "window: P9D", "profile.yaml")
    assert catalogs.plan().begins == [
        "trait recent",
        "count(feature.used, PT90M)",
        "count(pricing.viewed, P2D)",
        "last(feature.used)",
        "silence of order.placed",
    ]


def test_a_holdout_that_grows(catalogs):
    """Under one salt it takes nobody who was drawn before."""
    catalogs.change("timezone:", "holdout: {share: 5, salt: a}\ntimezone:", "policy.yaml")
    catalogs.change("journey: welcome\n", "journey: welcome\nholdout: {share: 10, salt: w}\n")
    catalogs.before = catalogs.definitions()
    catalogs.change("share: 5", "share: 7.5", "policy.yaml")
    catalogs.change("share: 10", "share: 20", JOURNEY)
    policy, journey = catalogs.plan().warnings
    assert policy.startswith("policy: the holdout grows from 5 % to 7.5 %, and nobody who")
    assert journey.startswith("journey/welcome: the holdout grows from 10 % to 20 %")
    catalogs.change("salt: a", "salt: b", "policy.yaml")
    catalogs.change("share: 20", "share: 1", JOURNEY)
    assert catalogs.plan().warnings == []
