"""Merges at the decide stage: one life out of two, nothing lost, nothing started by the past."""

import pytest

from orchestrator.expressions.durations import Duration
from orchestrator.records import Absorb, Event, Merge
from orchestrator.stages import catalog as c
from orchestrator.stages.decide.state import Customer
from orchestrator.stages.protocol import Input


def merge(w, loser, winner, at=None):
    """Append the Merge and carry what the loser emits to the winner, as the log does."""
    record = Merge(merge_id=f"{loser}>{winner}", loser=loser, winner=winner, caused_by="x")
    before = len(w.emitted)
    lines = w.append(Input(key=loser, record=record), at)
    for emit in w.emitted[before:]:
        if emit.topic == "timeline":
            lines += w.append(Input(key=emit.key, record=emit.record), at)
    return lines


def waiting(define, name="j", re_entry="never", **more):
    return define.journey(
        name,
        c.EntryRule(on=("go",), re_entry=re_entry),
        ("rest", c.Wait(duration=Duration(2, 0))),
        ("say", define.send("m")),
        **more,
    )


def sent(lines):
    return [line for line in lines if not line.startswith(("entered", "exited", "advanced"))]


def test_the_earlier_entry_stays_and_the_other_ends_merged(world, define, at):
    w = world(define.catalog(waiting(define)))
    w.tell("go", customer="anon:1")
    w.tell("go", after="PT1H")
    assert merge(w, "anon:1", "anna") == ["exited j merged"]
    (entry,) = w.state.entries
    assert entry.started == at("2026-03-02T10:00")
    assert sent(w.pass_time("P3D")) == ["sent m/email"]
    assert w.last("sent").customer_id == "anna"
    assert w.last("sent").decided_at == at("2026-03-04T10:00")


def test_a_wait_survives_the_merge(world, define):
    w = world(define.catalog(waiting(define)))
    w.tell("go", customer="anon:1")
    assert merge(w, "anon:1", "anna") == []
    assert sent(w.pass_time("P3D")) == ["sent m/email"]


def test_the_old_id_is_a_redirect(world, define):
    w = world(define.catalog(waiting(define)))
    w.tell("other.event", customer="anon:1")
    merge(w, "anon:1", "anna")
    before = len(w.emitted)
    event = Event(event_id="z", type="go", occurred_at=w.now, identities={}, source="s")
    w.append(Input(key="anon:1", record=event, raw=b"\x00raw", backfill=True))
    (emit,) = w.emitted[before:]
    assert (emit.topic, emit.key, emit.raw, emit.backfill) == ("timeline", "anna", b"\x00raw", True)
    assert w.harness.states["anon:1"].redirect == "anna"
    assert len(w.harness.stage.encode(w.harness.states["anon:1"])) < 60


def test_sends_unite_so_that_caps_and_repeat_hold(world, define):
    journeys = [define.journey(n, f"go.{n}", ("say", define.send(n))) for n in ("a", "b")]
    policy = define.policy(caps=(c.Cap(name="one", limit=1, per="day"),))
    w = world(define.catalog(*journeys, policy=policy))
    w.tell("customer.updated", customer="anon:1", email="anna@example.com")
    w.tell("go.a", customer="anon:1")
    merge(w, "anon:1", "anna")
    assert sent(w.tell("go.a")) == ["suppressed a/email already_sent"]
    assert sent(w.tell("go.b")) == ["deferred b/email cap"]


def test_the_same_merge_twice_is_one(world, define):
    w = world(define.catalog(waiting(define)))
    w.tell("go", customer="anon:1")
    merge(w, "anon:1", "anna")
    before = w.harness.stage.encode(w.state)
    absorb = next(e.record for e in w.emitted if isinstance(e.record, Absorb))
    assert w.append(Input(key="anna", record=absorb)) == []
    assert w.harness.stage.encode(w.state) == before


def test_traits_that_a_merge_changes_count_as_changes(world, define):
    entry = c.EntryRule(when=define.when('profile.plan == "paid"'))
    on_plan = define.journey("j", entry, ("say", define.send("hot", "sales")))
    ends = waiting(define, "k", exits=(define.pattern(when='profile.plan == "paid"'),))
    catalog = define.catalog(on_plan, ends, messages=[define.message("hot", class_="mandatory")])
    w = world(catalog)
    w.tell("go")
    w.tell("customer.updated", customer="anon:1", name="x")
    state = w.harness.states["anon:1"]
    w.tell("customer.updated", customer="anon:1", plan="paid")
    assert merge(w, "anon:1", "anna") == ["exited k exit"]
    assert "j" in state.past or w.state.past
    assert w.state.truths == {"j": True}


def test_a_merge_that_reaches_a_redirect_is_re_addressed(world, define):
    w = world(define.catalog())
    for customer in ("anon:1", "anon:2"):
        w.tell("x.done", customer=customer)
    merge(w, "anon:1", "anna")
    before = len(w.emitted)
    again = Merge(merge_id="m", loser="anon:1", winner="anon:2", caused_by="y")
    w.append(Input(key="anon:1", record=again))
    (emit,) = w.emitted[before:]
    assert (emit.key, emit.record.loser, emit.record.winner) == ("anon:2", "anon:2", "anna")


def test_crossing_merges_meet_at_the_smaller_id(world, define):
    """Each was sent into the other: both lives arrive, and only one id lives on."""
    w = world(define.catalog(waiting(define)))
    w.tell("go", customer="b")
    absorbs = []
    for loser, winner in (("anna", "b"), ("b", "anna")):
        before = len(w.emitted)
        w.append(
            Input(
                key=loser, record=Merge(merge_id=loser, loser=loser, winner=winner, caused_by="x")
            )
        )
        absorbs += w.emitted[before:]
    for _ in range(6):
        if not absorbs:
            break
        emit = absorbs.pop(0)
        before = len(w.emitted)
        w.append(Input(key=emit.key, record=emit.record))
        absorbs += [e for e in w.emitted[before:] if e.topic == "timeline"]
    assert not absorbs
    assert w.harness.states["anna"].redirect == ""
    assert w.harness.states["b"].redirect == "anna"
    assert [entry.journey for entry in w.state.entries] == ["j"]


def test_an_unknown_customer_is_refused(world, define):
    w = world(define.catalog())
    event = Event(
        event_id="r",
        type="message.opened",
        occurred_at=w.now,
        identities={"customer": "who"},
        source="s",
    )
    w.harness.append(Input(key="who", record=event), w.now)
    (letter,) = w.harness.dead_letters
    assert letter.cause == "unknown_customer"
    assert w.harness.states.get("who", Customer()).first_seen == 0


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0)])
def test_the_union_does_not_depend_on_the_order(world, define, order):
    """Three customers into one, in any order: the same entries, sends, past and profile."""
    journeys = [waiting(define), define.journey("k", "go.k", ("say", define.send("k", "inapp")))]
    w = world(define.catalog(*journeys))
    for number in range(3):
        name = f"anon:{number}"
        w.tell("go", customer=name, after="PT1H", id_=f"g{number}")
        w.tell("go.k", customer=name, id_=f"k{number}")
        w.tell("consent.revoked", customer=name, channel=f"ch{number}", id_=f"c{number}")
    for number in order:
        merge(w, f"anon:{number}", "anna")
    state = w.state
    assert [e.started for e in state.entries] == [min(e.started for e in state.entries)]
    assert [s.at for s in state.sends] == sorted(s.at for s in state.sends)
    assert len(state.sends) == 3
    assert (
        state.past["k"].entry_id
        == max(
            (d for d in w.decisions if d.reason == "completed"), key=lambda d: d.decided_at
        ).entry_id
    )
    assert len(state.profile.absorbed) == 3
