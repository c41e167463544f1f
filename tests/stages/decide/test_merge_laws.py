"""Merges of whole customers: the order and the grouping of merges leave the same state."""

from collections import Counter
from itertools import permutations

from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from orchestrator.expressions.durations import Duration
from orchestrator.records import Merge
from orchestrator.stages import catalog as c
from orchestrator.stages.protocol import Input
from tests.stages.decide.parts import NIGHT

MINUTE = 60_000
NAMES = ("anon:0", "anon:1", "anon:2")
ZONES = ("Europe/Berlin", "Asia/Tokyo", "America/New_York")

happenings = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        st.integers(0, 500),
        st.sampled_from(
            [
                ("go", {}),
                ("say", {}),
                ("soon", {}),
                ("cart.left", {"id": "a"}),
                ("cart.left", {"id": "b"}),
                ("item.bought", {"price": 3}),
                ("item.bought", {"price": 5}),
                ("consent.revoked", {"channel": "push"}),
                ("consent.granted", {"channel": "push"}),
                ("customer.updated", {"email": "x@example.com", "name": "X"}),
                *[("customer.updated", {"timezone": zone}) for zone in ZONES],
            ]
        ),
    ),
    min_size=3,
    max_size=20,
)


def catalog_of(define):
    keyed = c.EntryRule(on=("cart.left",), key=define.ex("event.id"), re_entry="never")
    rest = c.Wait(duration=Duration(3, 0))
    journeys = [
        define.journey("j", c.EntryRule(on=("go",)), ("rest", rest), ("m", define.send("m"))),
        define.journey("k", keyed, ("rest", rest), ("n", define.send("n", "inapp"))),
        define.journey("s", "say", ("now", define.send("now", "inapp"))),
        define.journey("t", "soon", ("mail", define.send("mail", "inapp", "email"))),
    ]
    spent = c.Trait(
        name="spent", kind="sum", type="long", on=("item.bought",), take=define.ex("event.price")
    )
    seen = c.Trait(
        name="prices", kind="set", type="long", on=("item.bought",), take=define.ex("event.price")
    )
    policy = define.policy(
        quiet_hours=(NIGHT,),
        caps=(c.Cap(name="two", limit=2, per="day"),),
        holdout=c.Holdout(share=3_000, salt="s"),
    )
    messages = [define.message("now", repeat="always"), define.message("mail", repeat="always")]
    return define.catalog(*journeys, policy=policy, traits=(spent, seen), messages=messages)


def merged(world, catalog, script, pairs):
    """Return what is left of three lives after the merges, all of one instant.

    In another zone a wait or a quiet night may be over. What goes on before the last merge is decided
    by what is known by then, as between any two records: lives in which that matters are not compared.
    """
    w = world(catalog, "2026-03-26T10:00", accept=False)
    for number, (name, wait, (type_, properties)) in enumerate(script):
        at = w.now + wait * MINUTE
        w.tell(type_, customer=name, at=at, id_=str(number), **properties)
    w.pass_time(to=w.now + 1)
    live = [entry for state in w.harness.states.values() for entry in state.entries]
    places = Counter((entry.journey, entry.key) for entry in live)
    open_ = {one.id for one in live if one.wake or places[one.journey, one.key] > 1}
    for number, (loser, winner) in enumerate(pairs, start=1):
        record = Merge(merge_id=loser, loser=loser, winner=winner, caused_by="x")
        before, decided = len(w.emitted), len(w.decisions)
        w.append(Input(key=loser, record=record))
        for emit in w.emitted[before:]:
            if emit.topic == "timeline":
                w.append(Input(key=emit.key, record=emit.record))
        if number < len(pairs):
            for one in w.decisions[decided:]:
                assume(one.outcome not in {"sent", "suppressed"})
                assume(one.entry_id not in open_ or one.reason == "merged")
    return w.state


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(script=happenings, order=st.sampled_from(list(permutations(NAMES))), hops=st.integers(0, 2))
@example(
    script=[("anon:0", 0, ("go", {})), ("anon:1", 160, ("say", {})), ("anon:2", 500, ("soon", {}))],
    order=("anon:0", "anon:2", "anon:1"),
    hops=0,
)  # control and a send that quiet hours hold come together last
def test_order_and_grouping_of_merges_do_not_matter(world, define, script, order, hops):
    """Each into the winner at once, or first into one another: one state, in all its fields."""
    catalog = catalog_of(define)
    plain = [(name, "anna") for name in NAMES]
    a, b, d = order
    other = [
        [(a, "anna"), (b, "anna"), (d, "anna")],
        [(a, b), (b, "anna"), (d, "anna")],
        [(a, b), (b, d), (d, "anna")],
    ][hops]
    assert merged(world, catalog, script, plain) == merged(world, catalog, script, other)
