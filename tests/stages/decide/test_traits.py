"""Every kind of trait: what events make of it, in whatever order they come."""

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.expressions import ANYTHING, Environment, compile_expression
from orchestrator.records import Event
from orchestrator.stages.catalog import Catalog, Policy, Trait
from orchestrator.stages.decide import state as states
from orchestrator.stages.decide.scope import CustomerScope
from orchestrator.stages.decide.state import Customer, TraitState
from orchestrator.stages.decide.traits import apply_event, set_trait

NOW = 1_780_308_000_000  # 2026-06-01T10:00:00Z
HOUR = 3_600_000
DAY = 24 * HOUR


def expression(text: str):
    return compile_expression(text, Environment(profile=ANYTHING, event=ANYTHING))


def catalog_of(*traits: Trait, **more) -> Catalog:
    by_event: dict[str, tuple[str, ...]] = {}
    for trait in traits:
        for type_ in {*trait.on, *trait.scores, *([trait.down] if trait.down else [])}:
            by_event[type_] = (*by_event.get(type_, ()), trait.name)
    return Catalog(traits={trait.name: trait for trait in traits}, traits_by_event=by_event, **more)


class World:
    """One customer under one catalog."""

    def __init__(self, *traits: Trait, **more) -> None:
        self.catalog = catalog_of(*traits, **more)
        self.customer = Customer()
        self.scope = CustomerScope("c", self.customer, self.catalog, NOW)

    def event(self, type_: str, at: int = NOW, now: int | None = None, **properties) -> set[str]:
        now = max(at, self.scope.now) if now is None else now
        event = Event(
            event_id="1",
            type=type_,
            occurred_at=at,
            identities={},
            source="s",
            properties=properties,
        )
        self.scope.reset(now)
        self.scope.set_event(event)
        return apply_event(self.customer, event, now, self.catalog, self.scope)

    def read(self, name: str = "t", now: int | None = None):
        self.scope.reset(self.scope.now if now is None else now)
        return self.scope.trait(name)


# ------------------------------------------------------------------------------- plain traits


def test_plain_traits_come_by_customer_updated():
    """Null clears; a wrong type and unknown or computed traits are passed over."""
    world = World(
        Trait(name="t", kind="plain", type="string", default="none"),
        Trait(name="n", kind="count", type="long", on=("x.x",)),
    )
    assert world.read() == "none"
    assert world.event("customer.updated", t="a", n=5, unknown=1) == {"t"}
    assert world.read() == "a"
    assert world.read("n") == 0
    assert world.event("customer.updated", t="a") == set()
    assert world.event("customer.updated", t=5) == set()
    assert world.read() == "a"
    assert world.event("customer.updated", t=None) == {"t"}
    assert world.read() == "none"


def test_an_older_update_does_not_overwrite_a_newer_one():
    """occurred_at decides, also about a clearing; of two equal ones the later in the log."""
    world = World(Trait(name="t", kind="plain", type="long"))
    world.event("customer.updated", at=NOW, t=1)
    assert world.event("customer.updated", at=NOW - 1, now=NOW + 5, t=2) == set()
    assert world.event("customer.updated", at=NOW, now=NOW + 5, t=3) == {"t"}
    world.event("customer.updated", at=NOW + 9, t=None)
    assert world.event("customer.updated", at=NOW, now=NOW + 9, t=4) == set()
    assert world.read() is None


def test_a_trait_that_changes_its_type_only_has_changed():
    """1 becomes true: equal in Python, not for a customer."""
    world = World(Trait(name="t", kind="plain", type="any"))
    world.event("customer.updated", t=1)
    assert world.event("customer.updated", at=NOW + 1, t=True) == {"t"}
    assert world.read() is True


def test_clearing_what_was_never_set_changes_nothing():
    world = World(Trait(name="t", kind="plain", type="long"))
    assert world.event("customer.updated", t=None) == set()


def test_dates_are_meant_in_the_zone_that_comes_with_them():
    """The zone trait is applied first, whatever its place in the event."""
    world = World(
        Trait(name="born", kind="plain", type="timestamp"),
        Trait(name="zone", kind="plain", type="string"),
        timezone_trait="zone",
        policy=Policy(timezone="UTC"),
    )
    assert world.event("customer.updated", born="2026-06-01", zone="Asia/Tokyo") == {"born", "zone"}
    assert world.read("born") == 1_780_272_000_000 - 9 * HOUR
    assert world.scope.calendar.zone == "Asia/Tokyo"
    world.event("customer.updated", at=NOW + 1, zone="Nowhere/Atall")
    assert world.scope.calendar.zone == "UTC"


def test_set_steps():
    """They set plain traits alone, never lose against an event that came before, and clear by null."""
    world = World(
        Trait(name="t", kind="plain", type="long"),
        Trait(name="n", kind="count", type="long", on=("x.x",)),
    )
    customer, catalog = world.customer, world.catalog
    assert set_trait(customer, "t", 5, NOW, catalog)
    assert not set_trait(customer, "t", 5, NOW, catalog)
    assert not set_trait(customer, "t", "five", NOW, catalog)
    assert not set_trait(customer, "n", 5, NOW, catalog)
    assert not set_trait(customer, "unknown", 5, NOW, catalog)
    world.event("customer.updated", at=NOW + 1000, now=NOW, t=6)
    assert set_trait(customer, "t", 7, NOW, catalog)
    assert world.read() == 7
    assert set_trait(customer, "t", None, NOW, catalog)
    assert world.read() is None


# ---------------------------------------------------------------------------- computed traits


@pytest.mark.parametrize(("kind", "expected"), [("last", 3), ("first", 9), ("min", 1), ("max", 9)])
def test_last_first_min_max_whatever_the_order_of_arrival(kind, expected):
    """Events carry 9, 1, 3 in the order of occurred_at; a null and a text are no values."""
    trait = Trait(name="t", kind=kind, type="long", on=("x.x",), take=expression("event.v"))
    hits = [(NOW - 3, 9), (NOW - 2, 1), (NOW - 1, 3), (NOW, None), (NOW + 1, "text")]
    for order in permutations(hits):
        world = World(trait)
        for at, value in order:
            world.event("x.x", at=at, v=value)
        assert world.read() == expected


@pytest.mark.parametrize("kind", ["last", "first", "min", "max"])
def test_a_change_is_reported_once(kind):
    trait = Trait(name="t", kind=kind, type="long", on=("x.x",), take=expression("event.v"))
    world = World(trait)
    assert world.event("x.x", v=5) == {"t"}
    assert world.event("x.x", v=5) == set()
    assert world.event("x.x") == set()


def test_without_take_the_time_is_taken():
    world = World(Trait(name="t", kind="last", type="timestamp", on=("x.x",)))
    world.event("x.x", at=NOW - 5)
    assert world.read() == NOW - 5


def test_a_time_far_in_the_future_is_the_log_time():
    world = World(Trait(name="t", kind="last", type="timestamp", on=("x.x",)))
    world.event("x.x", at=NOW + DAY, now=NOW)
    assert world.read() == NOW


def test_conditions_choose():
    trait = Trait(
        name="t", kind="count", type="long", on=("x.x",), condition=expression("event.v > 1")
    )
    world = World(trait)
    assert world.event("x.x", v=1) == set()
    assert world.event("x.x") == set()
    assert world.event("x.x", v=2) == {"t"}
    assert world.event("y.y", v=2) == set()
    assert world.read() == 1


def test_counts_and_sums_for_life():
    world = World(
        Trait(name="t", kind="count", type="long", on=("x.x",)),
        Trait(name="d", kind="sum", type="double", on=("x.x",), take=expression("event.v")),
        Trait(name="n", kind="sum", type="long", on=("x.x",), take=expression("event.v")),
        Trait(name="one", kind="sum", type="long", on=("x.x",)),
    )
    assert [world.read(name) for name in ("t", "d", "n", "one")] == [0, 0.0, 0, 0]
    assert world.event("x.x", v=2) == {"t", "d", "n", "one"}
    assert world.event("x.x", v=0) == {"t", "one"}
    assert world.event("x.x", v=1.5) == {"t", "d", "one"}
    assert world.event("x.x", v="x") == {"t", "one"}
    assert [world.read(name) for name in ("t", "d", "n", "one")] == [4, 3.5, 2, 4]
    assert isinstance(world.read("d"), float)
    assert isinstance(world.read("n"), int)


def test_up_and_down_never_below_zero():
    world = World(Trait(name="t", kind="up", type="long", on=("a.opened",), down="a.closed"))
    assert world.event("a.closed") == set()
    assert world.event("a.opened") == {"t"}
    assert world.event("a.opened") == {"t"}
    assert world.event("a.closed") == {"t"}
    assert world.read() == 1


def test_up_and_down_by_counts_distinct_open_values():
    by = expression("event.ticket")
    world = World(Trait(name="t", kind="up", type="long", on=("a.opened",), down="a.closed", by=by))
    assert world.event("a.opened", ticket="1") == {"t"}
    assert world.event("a.opened", ticket="1") == set()
    assert world.event("a.opened", ticket="2") == {"t"}
    assert world.event("a.opened") == set()
    assert world.event("a.closed", ticket="3") == set()
    assert world.event("a.closed", ticket="1") == {"t"}
    assert world.read() == 1
    for number in range(300):
        world.event("a.opened", ticket=f"t{number}")
    assert world.read() == 256


def test_sets_keep_the_values_seen_last():
    trait = Trait(
        name="t", kind="set", type="string", on=("x.x",), take=expression("event.v"), limit=3
    )
    world = World(trait)
    for number, value in enumerate("abcab"):
        world.event("x.x", at=NOW + number, v=value)
    assert world.read() == ["c", "a", "b"]
    assert world.event("x.x", at=NOW + 9, v="d") == {"t"}
    assert world.read() == ["a", "b", "d"]
    assert world.event("x.x", at=NOW - 9, v="z") == set()
    assert world.event("x.x", at=NOW - 9, v="d") == set()
    assert world.event("x.x", at=NOW + 10, v="d") == set()
    assert world.event("x.x", v=5) == set()
    assert world.read() == ["a", "b", "d"]


def test_one_and_true_are_different_values():
    trait = Trait(name="t", kind="set", type="any", on=("x.x",), take=expression("event.v"))
    world = World(trait)
    for number, value in enumerate([1, True, 1.0, True]):
        world.event("x.x", at=NOW + number, v=value)
    assert [repr(value) for value in world.read()] == ["1", "1.0", "True"]


def test_scores_decay_by_half_lives():
    trait = Trait(
        name="t", kind="score", type="double", scores={"x.x": 8.0, "n.n": 0.0}, half_life_ms=DAY
    )
    world = World(trait)
    assert world.read() == 0.0
    assert world.event("x.x") == {"t"}
    assert world.event("n.n") == set()
    assert world.read(now=NOW + DAY) == 4.0
    assert world.read(now=NOW + 3 * DAY) == 1.0
    assert world.read(now=NOW + 5_000 * DAY) == 0.0
    world.event("x.x", at=NOW - DAY, now=NOW + DAY)
    assert world.read(now=NOW + DAY) == pytest.approx(6.0)


def test_derived_traits_are_read_not_stored():
    world = World(
        Trait(name="t", kind="expr", type="boolean", expression=expression("profile.n > 1")),
        Trait(name="n", kind="count", type="long", on=("x.x", "customer.updated")),
    )
    world.event("x.x")
    assert world.read() is False
    assert world.event("customer.updated", t=True) == {"n"}
    assert world.read() is True
    assert "t" not in world.customer.profile.traits


def test_a_derived_trait_is_never_fed():
    """Even if an index says so."""
    trait = Trait(name="t", kind="expr", type="long", on=("x.x",), expression=expression("1"))
    assert World(trait).event("x.x") == set()


# ------------------------------------------------------------------------------------ windows


def test_windows_go_by_occurred_at_and_are_half_open():
    trait = Trait(name="t", kind="count", type="long", on=("x.x",), window_ms=DAY)
    world = World(trait)
    assert world.event("x.x", at=NOW) == {"t"}
    assert world.event("x.x", at=NOW - HOUR, now=NOW) == {"t"}
    assert world.event("x.x", at=NOW - DAY, now=NOW) == set()
    assert world.read(now=NOW) == 2
    assert world.read(now=NOW + DAY - HOUR - 1) == 2
    assert world.read(now=NOW + DAY - HOUR) == 1
    assert world.read(now=NOW + DAY) == 0


def test_windowed_sums():
    trait = Trait(
        name="t",
        kind="sum",
        type="double",
        on=("x.x",),
        take=expression("event.v"),
        window_ms=DAY,
    )
    world = World(trait)
    assert world.event("x.x", at=NOW, v=5) == {"t"}
    assert world.event("x.x", at=NOW - HOUR, now=NOW, v=-2.5) == {"t"}
    assert world.event("x.x", at=NOW, now=NOW, v=0) == set()
    assert world.read(now=NOW) == 2.5
    assert world.read(now=NOW + DAY - HOUR) == 5.0
    assert world.read(now=NOW + DAY) == 0.0


def test_beyond_256_hits_are_bucketed_and_nothing_is_lost():
    """The newest 256 leave exactly; older ones leave late by at most 1/63 of the window."""
    window = 63 * HOUR
    trait = Trait(name="t", kind="count", type="long", on=("x.x",), window_ms=window)
    world = World(trait)
    step = window // 1000
    instants = [NOW + number * step for number in range(1000)]
    for at in instants:
        world.event("x.x", at=at)
    last = instants[-1]
    state = world.customer.profile.traits["t"]
    assert len(state.hits) == 256
    assert len(state.older) <= 64
    assert world.read(now=last) == 1000
    for now in range(last, last + window, 7 * step):
        exact = sum(at > now - window for at in instants)
        late = sum(at > now - window - HOUR for at in instants)
        assert exact <= world.read(now=now) <= late
        if exact <= 256:
            assert world.read(now=now) == exact


@given(st.permutations(range(300)), st.sampled_from(["count", "sum"]))
@settings(max_examples=20, deadline=None)
def test_windows_do_not_depend_on_the_order_of_arrival(order, kind):
    """As long as nothing has left the window: same hits, same state."""
    trait = Trait(
        name="t", kind=kind, type="long", on=("x.x",), window_ms=DAY, take=expression("event.v")
    )

    def state_after(numbers):
        world = World(trait)
        for number in numbers:
            world.event("x.x", at=NOW - number * 60_000, now=NOW, v=number)
        return world.customer.profile.traits["t"]

    assert state_after(order) == state_after(range(300))


def test_states_stay_small():
    """Ten thousand events of a customer with one trait of each growing kind."""
    world = World(
        Trait(name="c", kind="count", type="long", on=("x.x",), window_ms=30 * DAY),
        Trait(name="s", kind="set", type="string", on=("x.x",), take=expression("event.v")),
        Trait(name="u", kind="up", type="long", on=("x.x",), by=expression("event.v")),
        counts=frozenset({("x.x", 7 * DAY)}),
        lasts=frozenset({"x.x"}),
    )
    for number in range(10_000):
        world.event("x.x", at=NOW + number * 60_000, v=f"value-{number}")
    assert len(states.encode(world.customer)) < 24_000


# --------------------------------------------------------------------------- live expressions


def test_what_live_expressions_ask_is_tracked():
    world = World(counts=frozenset({("x.x", DAY), ("x.x", HOUR)}), lasts=frozenset({"x.x"}))
    names = {f"#x.x/{DAY}", f"#x.x/{HOUR}", "@x.x"}
    assert world.scope.last("x.x") is None
    assert world.scope.count("x.x", DAY) == 0
    assert world.event("x.x", at=NOW - HOUR, now=NOW) == names - {f"#x.x/{HOUR}"}
    assert world.event("x.x") == names
    assert world.event("x.x", at=NOW - 1, now=NOW) == names - {"@x.x"}
    assert world.event("y.y") == set()
    assert (world.scope.count("x.x", DAY), world.scope.count("x.x", HOUR)) == (3, 2)
    assert world.scope.last("x.x") == NOW
    assert world.scope.last("y.y") is None
    assert world.scope.count("y.y", DAY) == 0


# ---------------------------------------------------------------- a trait that changed its kind


KINDS = [
    Trait(name="t", kind="plain", type="string"),
    Trait(name="t", kind="last", type="long", on=("x.x",), take=expression("event.v")),
    Trait(name="t", kind="count", type="long", on=("x.x",)),
    Trait(name="t", kind="count", type="long", on=("x.x",), window_ms=DAY),
    Trait(
        name="t", kind="sum", type="double", on=("x.x",), take=expression("event.v"), window_ms=DAY
    ),
    Trait(name="t", kind="up", type="long", on=("x.x",), by=expression("event.v")),
    Trait(name="t", kind="up", type="long", on=("x.x",), down="y.y"),
    Trait(name="t", kind="set", type="long", on=("x.x",), take=expression("event.v")),
    Trait(name="t", kind="score", type="double", scores={"x.x": 2.0}, half_life_ms=DAY),
]


@pytest.mark.parametrize("after", KINDS, ids=lambda trait: f"{trait.kind}-{trait.window_ms}")
@pytest.mark.parametrize("before", KINDS, ids=lambda trait: f"{trait.kind}-{trait.window_ms}")
def test_a_trait_may_change_its_kind(before, after):
    """What an earlier catalog left behind under a name never raises: at worst it begins anew."""
    world = World(before)
    world.event("x.x", v=3)
    world.event("customer.updated", t="text")
    world.catalog = world.scope.catalog = catalog_of(after)
    world.read()
    world.event("x.x", v=3)
    world.event("y.y", v=3)
    world.read()
    states.decode(states.encode(world.customer))


def test_states_come_back_as_they_were():
    """Also whole doubles and longs beside them: the bytes of a state survive a restart."""
    customer = Customer()
    customer.profile.traits["t"] = TraitState(
        value=1.0, hits=[1], amounts=[2.0, 2], older_amounts=[3]
    )
    data = states.encode(customer)
    assert states.encode(states.decode(data)) == data
