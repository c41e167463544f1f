"""What stands between a customer and a message, asked of the real stages on the shipped examples."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from orchestrator.cli.customer.why import _at_a_glance, _way, _where
from orchestrator.explain import PIPELINE, instant, stage_of
from orchestrator.expressions.durations import Duration
from orchestrator.journeys import compile_catalog, load_workspace
from orchestrator.outlook import outlook
from orchestrator.records import REASONS, Event
from orchestrator.testing.pipeline import Pipeline

DEPLOY = Path(__file__).parents[1] / "deploy"
HOUR = 3_600_000
DAY = 24 * HOUR


def at(text):
    return int(datetime.fromisoformat(text).timestamp() * 1000)


MORNING = at("2026-03-02T10:00:00+01:00")


class Life:
    """One customer of an example, and what is ahead of them."""

    def __init__(self, example="example", primary="account_id", status=None):
        workspace = load_workspace(DEPLOY / example)
        definitions = {f"{d.kind}/{d.name}": d for d in workspace.definitions}
        by_hash = {d.hash: d for d in workspace.definitions}
        self.catalog = compile_catalog(definitions, status or {}, by_hash.get)
        self.pipeline = Pipeline(self.catalog, 1)
        self.primary, self.number = primary, 0

    def does(self, type_, when, **properties):
        self.number += 1
        event = Event(
            event_id=f"e{self.number}",
            type=type_,
            occurred_at=when,
            identities={self.primary: "anna"},
            source="test",
            properties=properties,
        )
        self.pipeline.append(event, when)
        return self

    def ahead(self, message, when, catalog=None):
        self.pipeline.advance(when)
        state = self.pipeline.decide.states["anna"]
        before = self.pipeline.decide.stage.encode(state)
        found = outlook("anna", state, catalog or self.catalog, message, when)
        assert self.pipeline.decide.stage.encode(state) == before
        return found


@pytest.fixture
def anna():
    """Known, with consent, not on trial yet."""
    life = Life()
    when = MORNING - DAY
    life.does("customer.updated", when, name="Anna", email="anna@example.com", country="DE")
    return life.does("consent.granted", when + 1, channel="email", category="education")


def test_every_reason_of_a_send_has_its_stage():
    """A reason is in one stage at most, and every stage's reasons are reasons."""
    told = [reason for _, reasons in PIPELINE for reason in reasons]
    assert len(told) == len(set(told))
    assert set(told) <= REASONS
    assert stage_of("quiet_hours") == "quiet hours, stage 10 of 14"
    assert stage_of("goal") == ""


def test_before_the_journey(anna):
    """Nothing was decided: which journey sends it, what begins it, and that it could be sent."""
    found = anna.ahead("follow-up", MORNING)
    (one,) = found.prospects
    assert (one.journey, one.step, one.stands) == ("trial-to-paid", "day3", "")
    assert one.begins == 'trial.started, if profile.country in ["DE", "FR"]'
    assert one.refused == ""
    assert [(way.channel, way.reason) for way in one.ways] == [
        ("email", ""),
        ("push", "no_consent"),
    ]
    assert one.ways[1].needs == "consent.granted for push, education"
    assert _at_a_glance(found) == "the customer is not in trial-to-paid"
    assert _where(one).startswith("no live entry; one begins with trial.started")
    assert _way(one.ways[0]) == "sent on email"
    assert "consent, stage 7 of 14; it needs consent.granted" in _way(one.ways[1])


def test_on_the_way(anna):
    """The entry waits: where, until when, and what waits are still to come."""
    anna.does("trial.started", MORNING)
    found = anna.ahead("follow-up", MORNING + HOUR)
    (one,) = found.prospects
    assert (one.stands, one.waits, one.due) == ("reaction", ["reaction"], MORNING + 2 * DAY)
    assert [way.reason for way in one.ways] == ["gap", "no_consent"]
    assert one.ways[0].until == MORNING + 4 * HOUR
    assert one.ways[0].values["gap_ms"] == 4 * HOUR
    assert _at_a_glance(found) == "trial-to-paid is under way and has not come to it"
    assert _where(one) == f"its entry waits at reaction until {instant(MORNING + 2 * DAY)}"


def test_deferred(anna):
    """It fell due at night: it stands at its own step."""
    night = at("2026-03-02T22:00:00+01:00")
    anna.does("trial.started", night)
    day1, in_app = anna.ahead("why-acme", night + HOUR).prospects
    assert (day1.step, day1.stands) == ("day1", "day1")
    assert day1.ways[0].reason == "quiet_hours"
    assert day1.ways[0].rule == "night"
    assert _where(day1) == f"its entry stands here, deferred until {instant(day1.due)}"
    assert in_app.waits == ["reaction"]
    assert _where(in_app).endswith("then reaction")


def test_passed(anna):
    """Behind the alert to sales there is nothing."""
    anna.does("trial.started", MORNING)
    state = anna.pipeline.decide.states["anna"]
    state.entries[0].step = "sales"
    (one,) = outlook("anna", state, anna.catalog, "follow-up", MORNING).prospects
    assert one.passed
    assert one.ways == []
    assert "does not come here any more" in _where(one)
    found = outlook("anna", state, anna.catalog, "follow-up", MORNING)
    assert "cannot come" in _at_a_glance(found)


def test_why_an_entry_would_be_refused(anna):
    """Re-entry, the entry's own condition, an exit that is true already, a paused journey."""
    anna.does("trial.started", MORNING).does("account.deleted", MORNING + HOUR)
    (one,) = anna.ahead("follow-up", MORNING + DAY).prospects
    assert one.refused.startswith("re_entry until ")
    anna.does("customer.updated", MORNING + DAY, country="US")
    assert "not_eligible" in anna.ahead("follow-up", MORNING + DAY).prospects[0].refused
    anna.does("customer.updated", MORNING + 200 * DAY, country="DE", plan="team")
    (one,) = anna.ahead("follow-up", MORNING + 200 * DAY).prospects
    assert one.refused == 'exit_true (profile.plan != "free")'
    assert [(way.reason, way.needs) for way in one.ways] == [
        ("obsolete", 'profile.plan != "free" becoming false')
    ] * 2


def test_a_paused_journey():
    """Entries are refused and sends held; resuming is the remedy."""
    life = Life(status={"trial-to-paid": "paused"})
    life.does("customer.updated", MORNING, country="DE")
    (one,) = life.ahead("follow-up", MORNING).prospects
    assert one.status == "paused"
    assert one.refused == "paused (paused)"
    assert {way.needs for way in one.ways} == {"orchestrator journeys resume trial-to-paid"}


def test_unknown_and_unsent(anna):
    """A name that there is not, and a message that no journey sends."""
    found = anna.ahead("nothing", MORNING)
    assert (found.known, found.prospects) == (False, [])
    assert "no message of this name" in _at_a_glance(found)
    without = replace(anna.catalog, journeys={})
    found = anna.ahead("follow-up", MORNING, without)
    assert _at_a_glance(found) == "no journey in force sends it"


def test_a_pinned_version(anna):
    """Who walks an earlier version is shown where that version would send it."""
    anna.does("trial.started", MORNING)
    earlier = anna.catalog.journeys["trial-to-paid"]
    newer = replace(earlier, version="newer")
    catalog = replace(
        anna.catalog,
        journeys={"trial-to-paid": newer},
        pinned=lambda _, version: earlier if version == earlier.version else None,
    )
    live, pinned = anna.ahead("follow-up", MORNING + HOUR, catalog).prospects
    assert live.refused == "already_live"
    assert pinned.stands == "reaction"


def test_conditions_silences_and_keys():
    """Other beginnings: a condition that must turn true anew, a silence, a key that the event brings."""
    life = Life("examples/renewal-and-expansion")
    life.does("customer.updated", MORNING, seats=10)
    (one,) = life.ahead("seats-running-out", MORNING).prospects
    assert one.begins == "profile.seats_used * 10 >= profile.seats * 9 becoming true"
    assert one.refused == ""
    life.does("seats.used", MORNING + 1, used=10).does("seats.bought", MORNING + 2, count=1)
    (one,) = life.ahead("seats-running-out", MORNING + 70 * DAY).prospects
    assert one.refused == "its condition is true already: it must become false first"
    (one,) = life.ahead("growing-team", MORNING + 70 * DAY).prospects
    assert _way(one.ways[0]) == "sent on sales"

    life = Life("examples/win-back", "customer_id").does("order.placed", MORNING, amount=5.0)
    (one,) = life.ahead("goodbye", MORNING).prospects
    assert one.begins == "60 days without order.placed, if profile.orders >= 2"

    life = Life("examples/abandoned-cart", "customer_id").does("cart.emptied", MORNING, cart_id="c")
    (one,) = life.ahead("cart-reminder", MORNING).prospects
    assert one.begins == "cart.updated, if event.total >= 20.0"
    assert one.refused == ""
    last = life.ahead("cart-last-word", MORNING).prospects[0]
    assert last.ways[0].reason == "condition"
    assert last.ways[0].needs == "latest.total >= 100.0 becoming true"


def test_a_message_that_goes_out_again_later(anna):
    """With ``repeat: after`` time helps: the instant is said, and times are told as times."""
    rare = replace(anna.catalog.messages["why-acme"], repeat=Duration(30, 0))
    catalog = replace(anna.catalog, messages={**anna.catalog.messages, "why-acme": rare})
    anna.does("trial.started", MORNING).does("account.deleted", MORNING + 1)
    found = anna.ahead("why-acme", MORNING + HOUR, catalog)
    way = next(way for one in found.prospects for way in one.ways if way.channel == "email")
    assert (way.reason, way.until) == ("already_sent", at("2026-04-01T10:00:00+02:00"))
    assert "last: Mon 2026-03-02 09:00:00" in _way(way)
    assert "possible from Wed 2026-04-01 08:00:00" in _way(way)
