"""The identify stage: events to their customer, links to the others, merges, guards, erasure."""

from dataclasses import replace as changed

import pytest
from msgspec.structs import replace

from orchestrator import ids
from orchestrator.errors import InputError, JoinRefused, UnavailableError
from orchestrator.partitioning import partition_for
from orchestrator.records import Event, Forget, Link, Merge
from orchestrator.stages.catalog import EMPTY, Catalog, Identities
from orchestrator.stages.identify import Identify
from orchestrator.stages.identify.state import MAX_LINKS, Identity, row_key
from orchestrator.stages.protocol import Emit, Input, Stage

NOW = 1_780_308_000_000
RULES = Identities(
    primary="customer_id",
    also=("email", "anonymous_id"),
    block=frozenset({"email:test@example.com"}),
    join_limit=3,
)
CATALOG = Catalog(identities=RULES)
STAGE = Identify()


def event(**identities: str) -> Event:
    return Event(event_id="e1", type="t.t", occurred_at=NOW, identities=identities, source="s")


def link(b: str, customer_id: str, a: str = "email:a@b.example") -> Link:
    return Link(a=a, b=b, customer_id=customer_id, first_seen=NOW - 5, caused_by="e1")


def apply(state: Identity, record, key: str, **more) -> list[Emit]:
    item = Input(key=key, record=record, **{"raw": b"raw", **more})
    return STAGE.apply(STAGE.key(item), state, item, NOW, CATALOG)


# ------------------------------------------------------------------------------------- events


def test_it_is_a_stage():
    stage: Stage[Identity] = STAGE
    assert (stage.name, stage.source, stage.table) == ("identify", "events", "identities")
    assert not stage.sweeps


def test_the_primary_identity_is_the_customer():
    """The bytes pass through untouched, backfill and trace with them."""
    state = STAGE.new("customer_id:c1")
    emits = apply(state, event(customer_id="c1"), "customer_id:c1", backfill=True, trace="t")
    assert emits == [Emit(topic="timeline", key="c1", raw=b"raw", backfill=True, trace="t")]
    assert (state.customer_id, state.first_seen) == ("c1", NOW)


def test_an_unknown_identity_makes_a_provisional_customer():
    state = STAGE.new("anonymous_id:x")
    (emit,) = apply(state, event(anonymous_id="x"), "anonymous_id:x")
    assert emit.key == state.customer_id == ids.provisional_id("anonymous_id:x")
    assert emit.key.startswith("anon:")
    assert state.first_seen == NOW


def test_a_known_identity_leads_to_its_customer():
    state = Identity(customer_id="c1", first_seen=5)
    (emit,) = apply(state, event(anonymous_id="x"), "anonymous_id:x")
    assert emit.key == "c1"
    assert state == Identity(customer_id="c1", first_seen=5)


def test_without_bytes_the_record_itself_goes_on():
    """In tests and simulations there is no codec between the stages."""
    record = event(customer_id="c1")
    (emit,) = apply(Identity(), record, "customer_id:c1", raw=b"")
    assert (emit.record, emit.raw) == (record, None)


def test_each_other_identity_hears_of_it_once():
    state = Identity()
    record = event(customer_id="c1", email="a@b.example", anonymous_id="x")
    first = apply(state, record, "customer_id:c1", trace="t")
    assert [emit.topic for emit in first] == ["timeline", "events", "events"]
    assert first[1] == Emit(
        topic="events",
        key="email:a@b.example",
        record=Link(
            a="customer_id:c1",
            b="email:a@b.example",
            customer_id="c1",
            first_seen=NOW,
            caused_by="e1",
        ),
        trace="t",
    )
    assert first[2].key == "anonymous_id:x"
    again = apply(state, record, "customer_id:c1")
    assert [emit.topic for emit in again] == ["timeline"]


def test_a_row_remembers_64_links():
    state = Identity()
    for number in range(MAX_LINKS + 1):
        apply(state, event(customer_id="c1", anonymous_id=str(number)), "customer_id:c1")
    assert len(state.links) == MAX_LINKS
    assert state.links[-1] == row_key("", f"anonymous_id:{MAX_LINKS}")


def test_blocked_identities_are_not_linked():
    record = event(customer_id="c1", email="test@example.com")
    assert len(apply(Identity(), record, "customer_id:c1")) == 1


def test_a_blocked_identity_alone_is_a_stranger_of_its_own():
    """Also where the row belongs to somebody from the time before it was blocked."""
    state = Identity(customer_id="c1", first_seen=5)
    (emit,) = apply(state, event(email="test@example.com"), "email:test@example.com")
    assert emit.key == ids.provisional_id("email:test@example.com")
    assert state == Identity(customer_id="c1", first_seen=5)


def test_the_primary_value_decides_also_on_a_row_of_an_earlier_rank():
    """``email`` was a weaker kind before and its row belongs to another; now it is the primary."""
    state = Identity(customer_id="c1", first_seen=5)
    (emit,) = apply(state, event(customer_id="c2"), "customer_id:c2")
    assert emit.key == "c2"
    assert state.customer_id == "c1"


# ----------------------------------------------------------------------------- reserved kind


def test_customer_names_the_customer_itself():
    """It goes straight through, creates nothing and leaves no row of its own."""
    state = Identity()
    record = event(customer="anon:1", email="a@b.example")
    item = Input(key="customer:anon:1", record=record, raw=b"raw")
    assert STAGE.key(item) == "customer"
    assert apply(state, record, "customer:anon:1") == [
        Emit(topic="timeline", key="anon:1", raw=b"raw")
    ]
    assert state == Identity()


# ----------------------------------------------------------------------------------- forwards


def test_a_record_under_a_wrong_key_goes_round_once():
    """Nothing else happens before it is where it belongs."""
    state = Identity()
    record = event(customer_id="c1", email="a@b.example")
    (emit,) = apply(state, record, "email:a@b.example", backfill=True, trace="t")
    assert emit == Emit(topic="events", key="customer_id:c1", raw=b"raw", backfill=True, trace="t")
    assert state == Identity()
    assert apply(state, record, emit.key)[0].topic == "timeline"


def test_a_record_in_a_wrong_partition_goes_round_once():
    """A foreign producer knew the key but used another partitioner; ours puts it right."""
    state, record, key = Identity(), event(customer_id="c1"), "customer_id:c1"
    right = partition_for(key.encode(), 8)
    for partition in range(8):
        (emit,) = apply(state, record, key, partition=partition, partitions=8)
        assert emit.topic == ("timeline" if partition == right else "events")
        assert emit.key == ("c1" if partition == right else key)


def test_links_go_round_too():
    key = "email:a@b.example"
    wrong = (partition_for(key.encode(), 8) + 1) % 8
    state, record = Identity(), link(key, "c1", a="customer_id:c1")
    (emit,) = apply(state, record, key, partition=wrong, partitions=8)
    assert (emit.topic, emit.key, emit.raw) == ("events", key, b"raw")
    assert state == Identity()


# -------------------------------------------------------------------------------------- links


def test_a_link_makes_the_row():
    state = Identity()
    assert apply(state, link("anonymous_id:x", "c1"), "anonymous_id:x") == []
    assert (state.customer_id, state.first_seen) == ("c1", NOW - 5)
    assert apply(state, event(anonymous_id="x"), "anonymous_id:x")[0].key == "c1"


def test_a_link_to_a_primary_identity_never_gives_it_away():
    """Kinds may have changed their rank: the row is its own customer's, and the other one joins it."""
    state = Identity()
    (emit,) = apply(state, link("customer_id:c2", "anon:1"), "customer_id:c2")
    assert (state.customer_id, state.first_seen, state.joined) == ("c2", NOW, ["anon:1"])
    assert (emit.key, emit.record.winner, emit.record.first_seen) == ("anon:1", "c2", NOW)


def test_a_link_from_the_owner_says_nothing_new():
    state = Identity(customer_id="c1", first_seen=5)
    assert apply(state, link("anonymous_id:x", "c1"), "anonymous_id:x") == []
    assert state == Identity(customer_id="c1", first_seen=5)


# ------------------------------------------------------------------------------------- merges


@pytest.mark.parametrize(
    ("owner", "other", "loser"),
    [
        (("anon:1", 9), ("c2", 99), "anon:1"),
        (("c1", 99), ("anon:2", 9), "anon:2"),
        (("anon:1", 9), ("anon:2", 99), "anon:2"),
        (("anon:1", 99), ("anon:2", 9), "anon:1"),
        (("anon:1", 9), ("anon:2", 9), "anon:2"),
        (("c1", 99), ("c2", 9), "c1"),
    ],
)
def test_who_lives_on(owner, other, loser):
    """Known before provisional, else the one seen first, else the smaller id; the loser is told."""
    state = Identity(customer_id=owner[0], first_seen=owner[1])
    record = Link(
        a="email:a@b.example",
        b="anonymous_id:x",
        customer_id=other[0],
        first_seen=other[1],
        caused_by="e1",
    )
    item = Input(key="anonymous_id:x", record=record, trace="t")
    rules = Catalog(identities=changed(RULES, merge_known=True))
    (emit,) = STAGE.apply(STAGE.key(item), state, item, NOW, rules)
    winner = other if loser == owner[0] else owner
    assert emit == Emit(
        topic="timeline",
        key=loser,
        record=Merge(
            merge_id=ids.merge_id(loser, winner[0], "e1"),
            loser=loser,
            winner=winner[0],
            first_seen=winner[1],
            caused_by="e1",
        ),
        trace="t",
    )
    assert (state.customer_id, state.first_seen) == owner, "a row is never rewritten"
    assert state.joined == [other[0]]
    assert STAGE.apply(STAGE.key(item), state, item, NOW, rules) == [], "told once"


def test_known_customers_are_kept_apart():
    """Also when the row itself is provisional and has joined one of them before."""
    for state in (Identity(customer_id="c1"), Identity(customer_id="anon:1", joined=["c1"])):
        before = STAGE.encode(state)
        with pytest.raises(JoinRefused, match="belongs to c1 and was now seen with c2") as refused:
            apply(state, link("anonymous_id:x", "c2"), "anonymous_id:x")
        assert refused.value.cause == "known_customers"
        assert STAGE.encode(state) == before


def test_no_more_than_join_limit_customers_meet_at_an_identity():
    state = Identity(customer_id="c1", first_seen=5)
    for number in (2, 3):
        assert apply(state, link("anonymous_id:x", f"anon:{number}"), "anonymous_id:x")
    with pytest.raises(JoinRefused, match=r"join_limit of profile\.yaml is 3") as refused:
        apply(state, link("anonymous_id:x", "anon:4"), "anonymous_id:x")
    assert refused.value.cause == "join_limit"
    assert state.joined == ["anon:2", "anon:3"]
    assert apply(state, link("anonymous_id:x", "anon:2"), "anonymous_id:x") == [], "nothing new"


@pytest.mark.parametrize(
    ("state", "customer_id", "rule"),
    [
        (Identity(customer_id="c1"), "c2", {"merge_known": True}),
        (Identity(customer_id="c1", joined=["anon:1", "anon:2"]), "anon:3", {"join_limit": 4}),
    ],
)
def test_a_refused_link_joins_when_it_is_replayed_under_another_profile(state, customer_id, rule):
    """What the runbook promises: refusing leaves no trace that would stand in the way."""
    state = replace(state)
    item = Input(key="anonymous_id:x", record=link("anonymous_id:x", customer_id), raw=b"raw")
    with pytest.raises(JoinRefused):
        STAGE.apply("k", state, item, NOW, CATALOG)
    later = Catalog(identities=changed(RULES, **rule))
    (emit,) = STAGE.apply("k", state, item, NOW + 5, later)
    assert {emit.record.loser, emit.record.winner} == {"c1", customer_id}


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("email:test@example.com", "anonymous_id:x"),
        ("customer_id:c1", "email:test@example.com"),
    ],
)
def test_links_of_blocked_identities_are_refused(a, b):
    """They can only come from before the value was blocked; the row does not become anybody's."""
    state = Identity()
    with pytest.raises(JoinRefused, match="block list") as refused:
        apply(state, link(b, "c1", a=a), b)
    assert refused.value.cause == "blocked_identity"
    assert state == Identity()


# ------------------------------------------------------------------------------------ forgetting


def test_an_order_to_forget_erases_the_row_and_goes_on_to_its_customer():
    """It names the row, not the person; what remains is that there was one, and when it went."""
    state = Identity(customer_id="anon:1", first_seen=5, links=["r"], joined=["c1"])
    order = Forget(order_id="o", customer_ids=["c1", "anon:1"])
    item = Input(key=row_key("", "email:a@b.example"), record=order, raw=b"raw")
    assert STAGE.key(item) == item.key
    emits = STAGE.apply(item.key, state, item, NOW, CATALOG)
    assert emits == [Emit(topic="timeline", key="anon:1", record=order)]
    assert state == Identity(forgotten=NOW)
    assert STAGE.apply(item.key, state, item, NOW + 1, CATALOG) == [], "once"
    assert state == Identity(forgotten=NOW)


def test_a_row_of_somebody_else_only_forgets_the_names():
    state = Identity(customer_id="c2", first_seen=5, joined=["anon:1", "anon:2"])
    item = Input(key="r", record=Forget(order_id="o", customer_ids=["c1", "anon:1"]))
    assert STAGE.apply("r", state, item, NOW, CATALOG) == []
    assert state == Identity(customer_id="c2", first_seen=5, joined=["anon:2"])


def test_an_order_for_a_customer_without_rows_goes_straight_through():
    order = Forget(order_id="o", customer_ids=["c1"])
    item = Input(key="customer:c1", record=order)
    state = Identity()
    assert STAGE.key(item) == "customer"
    assert STAGE.apply("customer", state, item, NOW, CATALOG) == [
        Emit(topic="timeline", key="c1", record=order)
    ]
    assert state == Identity()


def test_whoever_comes_after_a_forgotten_one_starts_without_consent():
    """By an event or by a link, once, as of the erasure: what is granted after it counts."""
    by_event = Identity(forgotten=NOW - 9)
    first = apply(by_event, event(email="a@b.example"), "email:a@b.example")
    by_link = Identity(forgotten=NOW - 9)
    (revocation,) = apply(by_link, link("anonymous_id:x", "c1"), "anonymous_id:x")
    for emit in (first[0], revocation):
        assert (emit.topic, emit.record.type) == ("timeline", "consent.revoked")
        assert (emit.record.occurred_at, emit.record.properties) == (NOW - 9, {})
        assert "customer" not in emit.record.identities, "it may be the customer's first event"
    assert first[0].key == first[1].key == by_event.customer_id
    assert revocation.key == "c1"
    assert len(apply(by_event, event(email="a@b.example"), "email:a@b.example")) == 1
    assert by_event.forgotten == by_link.forgotten == NOW - 9


def test_rows_are_named_by_a_salted_hash():
    """The table says of nobody that he is known."""
    item = Input(key="email:a@b.example", record=event(email="a@b.example"))
    keys = {Identify(salt).key(item) for salt in ("", "one", "two")}
    assert len(keys) == 3
    assert not any("a@b" in key for key in keys)
    assert Identify("one").key(item) == row_key("one", "email:a@b.example")


# ---------------------------------------------------------------------------------------- poison


@pytest.mark.parametrize(
    ("b", "customer_id"),
    [("nokind", "c1"), ("email:", "c1"), ("customer:c", "c1"), ("email:x", "")],
)
def test_links_that_cannot_be_are_dead_letters(b, customer_id):
    with pytest.raises(InputError, match="cannot be") as refused:
        apply(Identity(), link(b, customer_id), b)
    assert refused.value.cause == "bad_link"


# --------------------------------------------------------------------------------------- rest


def test_a_record_needs_a_key():
    with pytest.raises(InputError, match="strongest identity") as refused:
        STAGE.key(Input(key="", record=event(customer_id="c1")))
    assert refused.value.cause == "bad_key"


def test_an_event_without_identity_is_a_dead_letter():
    with pytest.raises(InputError) as refused:
        apply(Identity(), event(), "x")
    assert refused.value.cause == "no_identity"


def test_records_of_the_timeline_do_not_belong_here():
    merge = Merge(merge_id="m", loser="a", winner="b", caused_by="e")
    with pytest.raises(InputError, match="Merge records") as refused:
        apply(Identity(), merge, "x")
    assert refused.value.cause == "unexpected_record"


def test_there_are_no_timers_and_no_switches():
    state = Identity(customer_id="c1")
    assert STAGE.fire("k", state, NOW, CATALOG) == []
    assert STAGE.switch("k", state, EMPTY, CATALOG, NOW) == []
    assert state == Identity(customer_id="c1")


def test_golden_bytes():
    """Rows of the first layout are read for ever, and written alike."""
    state = Identity(
        due=0,
        catalog=2,
        customer_id="c1",
        first_seen=NOW,
        links=["email:a@b.example"],
        joined=["anon:1"],
        refused=1,
        forgotten=7,
    )
    data = bytes.fromhex(
        "01980002a26331cf0000019e82a03d0091b1656d61696c3a6140622e6578616d706c6591a6616e6f6e3a310107"
    )
    assert STAGE.encode(state) == data
    assert STAGE.decode(b"\x01\x97" + data[2:-1]) == replace(state, forgotten=0)
    assert STAGE.decode(data) == state
    first = bytes.fromhex("01940002a26331cf0000019e82a03d00")
    assert STAGE.decode(first) == Identity(catalog=2, customer_id="c1", first_seen=NOW)
    assert STAGE.decode(bytes.fromhex("0190")) == Identity()


def test_a_newer_layout_waits_for_the_upgrade():
    with pytest.raises(UnavailableError, match="upgrade"):
        STAGE.decode(b"\x02\x90")
