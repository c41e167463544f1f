"""A customer who asks to be forgotten: what is under way ends, nothing is kept, nothing comes back."""

import pytest

from orchestrator.expressions.durations import Duration
from orchestrator.records import Event, Forget, Merge
from orchestrator.stages import catalog as c
from orchestrator.stages.decide import Decide
from orchestrator.stages.decide.merging import MAX_MERGED, note
from orchestrator.stages.decide.state import Customer
from orchestrator.stages.protocol import Input

ORDER = Forget(order_id="o", customer_ids=["anna", "anon:1"])


def forget(w, customer="anna"):
    return w.append(Input(key=customer, record=ORDER))


def merge(w, loser, winner):
    record = Merge(merge_id=loser, loser=loser, winner=winner, caused_by="x")
    before = len(w.emitted)
    w.append(Input(key=loser, record=record))
    for emit in w.emitted[before:]:
        w.append(Input(key=emit.key, record=emit.record))


def test_nothing_is_kept(world, define):
    """No state, so no timer; the customer who comes next under this id is new."""
    journey = define.journey(
        "j", "go", ("rest", c.Wait(duration=Duration(2, 0))), ("say", define.send("m"))
    )
    w = world(define.catalog(journey))
    w.tell("go")
    assert forget(w) == ["exited j exit"]
    assert (w.decisions[-1].rule, w.decisions[-1].caused_by) == ("forgotten", "o")
    assert "anna" not in w.harness.states
    assert w.harness.next_due == 0
    assert w.pass_time("P9D") == []
    assert w.tell("go") == ["entered j"]
    assert w.state.profile.traits == {}


def test_a_deferred_send_is_cancelled(world, define):
    night = c.QuietHours(name="night", start=21 * 60, end=8 * 60)
    journey = define.journey("j", "go", ("say", define.send("m", "inapp")))
    w = world(
        define.catalog(journey, policy=define.policy(quiet_hours=(night,))), "2026-03-02T22:00"
    )
    w.tell("go")
    assert forget(w) == ["cancelled m/inapp exit", "exited j exit"]
    assert w.pass_time("P1D") == []


def test_what_a_sink_still_holds_is_cancelled_but_what_must_be_sent(world, define):
    """Also after the entry has ended; a mandatory message is what the person asks for."""
    journeys = [define.journey(name, name, ("say", define.send(name))) for name in ("news", "must")]
    messages = [define.message("must", class_="mandatory")]
    w = world(define.catalog(*journeys, messages=messages), accept=False)
    w.tell("news")
    w.tell("must")
    (held, _) = w.actions
    assert forget(w) == ["cancelled news/email no_consent"]
    cancel = w.actions[-1]
    assert (cancel.kind, cancel.action_id) == ("cancel", held.action_id)


def test_a_message_that_is_gone_from_the_catalog_is_cancelled_too(world, define):
    journey = define.journey("j", "go", ("say", define.send("m")))
    w = world(define.catalog(journey), accept=False)
    w.tell("go")
    w.harness.switch(define.catalog(), w.now)
    assert "cancelled m/email no_consent" in forget(w)


def test_one_who_was_merged_sends_the_order_on(world, define):
    """Behind all that he forwarded before; afterwards he is nobody."""
    w = world(define.catalog())
    w.tell("x.done", customer="anon:1")
    merge(w, "anon:1", "anna")
    assert w.state.merged == ("anon:1",)
    before = len(w.emitted)
    forget(w, "anon:1")
    (emit,) = w.emitted[before:]
    assert (emit.topic, emit.key, emit.record) == ("timeline", "anna", ORDER)
    assert "anon:1" not in w.harness.states
    assert "anna" in w.harness.states


def test_an_order_for_nobody_does_nothing(world, define):
    w = world(define.catalog())
    assert forget(w, "who") == []
    assert "who" not in w.harness.states


def test_receipts_that_come_later_bring_nobody_back(world, define):
    w = world(define.catalog())
    forget(w)
    late = Event(
        event_id="r",
        type="message.opened",
        occurred_at=w.now,
        identities={"customer": "anna"},
        source="s",
    )
    w.harness.append(Input(key="anna", record=late), w.now)
    assert [letter.cause for letter in w.harness.dead_letters] == ["unknown_customer"]
    assert "anna" not in w.harness.states


def test_only_a_customer_of_whom_nothing_is_known_has_no_bytes():
    stage = Decide()
    assert stage.encode(Customer(catalog=3)) == b""
    for state in (Customer(first_seen=1), Customer(redirect="x"), Customer(due=5)):
        assert stage.decode(stage.encode(state)) == state


@pytest.mark.parametrize("merge_known", [True, False])
def test_known_customers_meet_at_a_redirect_only_where_the_profile_allows_it(
    world, define, merge_known
):
    """Both belong to provisional ones that turn out to be one: told, and refused, unless allowed."""
    rules = c.Identities(merge_known=merge_known)
    w = world(define.catalog(identities=rules))
    w.tell("x.done", customer="anon:1")
    merge(w, "anon:1", "anna")
    before = len(w.emitted)
    again = Merge(merge_id="m", loser="anon:1", winner="bert", caused_by="y", first_seen=9)
    for output in w.harness.append(Input(key="anon:1", record=again), w.now):
        w.emitted.append(output.emit)
    letters = [(letter.cause, "anna" in letter.text) for letter in w.harness.dead_letters]
    if merge_known:
        (emit,) = w.emitted[before:]
        assert (emit.key, emit.record.winner, letters) == ("bert", "anna", [])
    else:
        assert letters == [("known_customers", True)]


def test_the_better_rank_lives_on_also_behind_a_redirect(world, define):
    """First seen first: the Merge tells of its winner, the redirect of where the loser went."""
    w = world(define.catalog())
    w.tell("x.done", customer="anon:3")
    first = Merge(merge_id="a", loser="anon:3", winner="anon:2", caused_by="x", first_seen=50)
    w.append(Input(key="anon:3", record=first))
    before = len(w.emitted)
    for winner, seen in (("anon:1", 90), ("anon:9", 10)):
        record = Merge(
            merge_id=winner, loser="anon:3", winner=winner, caused_by="y", first_seen=seen
        )
        w.append(Input(key="anon:3", record=record))
    emits = [(e.record.loser, e.record.winner, e.record.first_seen) for e in w.emitted[before:]]
    assert emits == [("anon:1", "anon:2", 50), ("anon:2", "anon:9", 10)]


def test_names_are_remembered_to_a_limit():
    into = Customer(merged=("b",))
    other = Customer(merged=tuple(f"x{n:03}" for n in range(MAX_MERGED)))
    note(into, other, "a")
    assert into.merged == ("a", "b", *other.merged)[:MAX_MERGED]
