"""However partitions read, commit and crash: the same links end in the same customers."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from cluster import SALT, Cluster

from orchestrator.identities import Owner
from orchestrator.records import Event, Forget, Merge
from orchestrator.stages.catalog import Catalog, Identities, Trait
from orchestrator.stages.identify.state import row_key

EXAMPLES = int(os.environ.get("INTERLEAVINGS", "40"))
"""A longer run by hand: INTERLEAVINGS=5000 pytest tests/stages/identify."""
LAW = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
VALUES = {"id": ["c1", "c2", "c3"], "email": ["e1", "e2", "e3"], "anonymous_id": ["x1", "x2", "x3"]}
RANKS = ("id", "email", "anonymous_id")


def catalog(**rules) -> Catalog:
    count = Trait(name="seen", kind="count", type="long", on=("page.viewed",))
    last = Trait(name="last", kind="last", type="long", on=("page.viewed",))
    return Catalog(
        hash="h",
        identities=Identities(primary="id", also=("email", "anonymous_id"), **rules),
        traits={"seen": count, "last": last},
        traits_by_event={"page.viewed": ("seen", "last")},
    )


identities = st.fixed_dictionaries(
    {}, optional={kind: st.sampled_from(values) for kind, values in VALUES.items()}
).filter(bool)
stories = st.lists(identities, min_size=1, max_size=14)


def tell(cluster: Cluster, number: int, known: dict[str, str]) -> None:
    cluster.send(
        Event(
            event_id=f"e{number}",
            type="page.viewed",
            occurred_at=cluster.now,
            identities=known,
            source="s",
        )
    )


def play(story, seed: int, rules: Catalog, *, crash_share: float = 0.1) -> Cluster:
    """Events at drawn moments between steps, commits and crashes of six partitions."""
    rnd = random.Random(seed)
    cluster = Cluster(rules, 3, rnd)
    for number, known in enumerate(story):
        tell(cluster, number, known)
        for _ in range(rnd.choice([0, 2, 8, 40])):
            cluster.some(crash_share)
    for _ in range(rnd.choice([0, 60])):
        cluster.some(crash_share)
    cluster.settle()
    return cluster


def groups(story) -> list[set[str]]:
    """Return the identities that were seen together, directly or through others: the truth."""
    found: list[set[str]] = []
    for known in story:
        keys = {f"{kind}:{value}" for kind, value in known.items()}
        touched = [one for one in found if one & keys]
        found = [one for one in found if not one & keys]
        found.append(keys.union(*touched))
    return found


def seen_by(cluster: Cluster) -> dict[str, int]:
    """Return how many events each living customer counts."""
    return {
        name: state.profile.traits["seen"].value
        for name, state in cluster.states("decide").items()
        if not state.redirect and "seen" in state.profile.traits
    }


@LAW
@given(story=stories, seed=st.integers(0, 2**32))
def test_the_same_links_end_in_the_same_customers(story, seed):
    """Who was seen together is one customer, the first in rank of all who were made on the way.

    And every event counts once, wherever crashes fell: nothing of a life is lost or doubled.
    """
    cluster = play(story, seed, catalog(join_limit=99, merge_known=True))
    rows, wanted = cluster.owners(), {}
    for group in groups(story):
        made = {rows[row_key(SALT, identity)] for identity in group}
        survivor = min(made, key=lambda one: one.rank).customer_id
        assert {cluster.customer_of(identity) for identity in group} == {survivor}
        wanted[survivor] = sum(
            not group.isdisjoint(f"{k}:{v}" for k, v in known.items()) for known in story
        )
    assert len(wanted) == len(groups(story)), "what was never seen together stays apart"
    assert seen_by(cluster) == wanted
    assert cluster.dead() == []
    known = {name for name in wanted if not name.startswith("anon:")}
    assert known == {
        min(
            (rows[row_key(SALT, one)] for one in group if one.startswith("id:")),
            key=lambda o: o.rank,
        ).customer_id
        for group in groups(story)
        if any(one.startswith("id:") for one in group)
    }


@LAW
@given(story=stories, seed=st.integers(0, 2**32))
def test_known_customers_never_become_one_unless_allowed(story, seed):
    """However the links cross, and through however many provisional ones in between."""
    cluster = play(story, seed, catalog(join_limit=99))
    customers = cluster.states("decide")
    known = {value for told in story for kind, value in told.items() if kind == "id"}
    for name in known:
        assert not customers[name].redirect
        assert cluster.customer_of(f"id:{name}") == name
    assert sum(seen_by(cluster).values()) == len(story)
    refused = {type(one).__name__ for one in cluster.dead()}
    assert refused <= {"Link", "Merge"}, "events are never refused"
    conflict = any(sum(one.startswith("id:") for one in group) > 1 for group in groups(story))
    assert bool(refused) == conflict, "each conflict is told, and nothing else is"


@LAW
@given(story=stories, seed=st.integers(0, 2**32), limit=st.integers(1, 3))
def test_no_identity_joins_more_than_it_may(story, seed, limit):
    """And what it may not join lives on by itself, complete."""
    cluster = play(story, seed, catalog(join_limit=limit, merge_known=True))
    for state in cluster.states("identify").values():
        assert 1 + len(state.joined) <= limit
    assert sum(seen_by(cluster).values()) == len(story)
    for told in story:
        for kind, value in told.items():
            cluster.customer_of(f"{kind}:{value}")  # leads somewhere


@LAW
@given(story=stories, seed=st.integers(0, 2**32))
def test_a_blocked_value_joins_nobody(story, seed):
    rules = catalog(
        join_limit=99, merge_known=True, block=frozenset({"email:e1", "anonymous_id:x1"})
    )
    cluster = play(story, seed, rules)
    blocked = rules.identities.block
    usable = [{k: v for k, v in told.items() if f"{k}:{v}" not in blocked} for told in story]
    together = groups([told for told in usable if told])
    for group in together:
        assert len({cluster.customer_of(identity) for identity in group}) == 1
    strangers = {
        next(f"{kind}:{told[kind]}" for kind in RANKS if kind in told)
        for told, rest in zip(story, usable, strict=True)
        if not rest
    }
    assert len(seen_by(cluster)) == len(together) + len(strangers)


@LAW
@given(story=stories, seed=st.integers(0, 2**32))
def test_a_forgotten_customer_leaves_neither_row_nor_state(story, seed):
    """Orders overtake one another between partitions: nothing comes back, and whoever returns is new."""
    cluster = play(story, seed, catalog(join_limit=99, merge_known=True))
    identity = min(groups(story)[0])
    gone = groups(story)[0]
    who = cluster.customer_of(identity)
    before = seen_by(cluster)
    alive = {
        name
        for name, state in cluster.states("decide").items()
        if name == who or _leads_to(cluster, name, who)
    }
    order = Forget(order_id="o", customer_ids=sorted(alive))
    for one in sorted(gone):
        cluster.order(order, row_key(SALT, one), one)
    for name in sorted(alive):
        cluster.order(order, f"customer:{name}", f"customer:{name}")
    for _ in range(40):
        cluster.some(0.2)
    cluster.settle()
    customers = cluster.states("decide")
    assert not alive & customers.keys()
    assert seen_by(cluster) == {k: v for k, v in before.items() if k != who}
    for one in gone:
        row = cluster.states("identify")[row_key(SALT, one)]
        assert (row.customer_id, row.links, row.joined) == ("", [], [])
        assert row.forgotten
    kind, _, value = identity.partition(":")
    tell(cluster, 1_000, {kind: value})
    cluster.settle()
    state = cluster.states("decide")[cluster.customer_of(identity)]
    assert state.profile.traits["seen"].value == 1, "who comes back is new"
    assert [one.granted for each in state.profile.consent for one in each] == [False]


def _leads_to(cluster: Cluster, name: str, who: str) -> bool:
    customers = cluster.states("decide")
    while name in customers and customers[name].redirect:
        name = customers[name].redirect
    return name == who


def test_merges_from_both_sides_at_once():
    """Two partitions find the same pair at the same time: one merge, whichever comes first."""
    for seed in range(30):
        cluster = play(
            [{"email": "e1"}, {"anonymous_id": "x1"}, {"email": "e1", "anonymous_id": "x1"}],
            seed,
            catalog(),
        )
        merges = [r for w in cluster.worlds.values() for r in w.log if r.value.startswith(b"Merge")]
        assert len(merges) == 1
        assert len(seen_by(cluster)) == 1


def test_a_long_chain_ends_in_one_customer():
    """Each visit links the next device, in the worst order, across partitions."""
    pairs = [{"email": f"e{n}", "anonymous_id": f"x{n}"} for n in range(12)]
    bridges = [{"email": f"e{n + 1}", "anonymous_id": f"x{n}"} for n in range(11)]
    for seed in range(5):
        cluster = play([*pairs, *reversed(bridges)], seed, catalog(join_limit=99))
        assert set(seen_by(cluster).values()) == {23}


def test_a_merge_that_meets_a_known_customer_elsewhere_is_refused_there():
    """Identify cannot see it: both sides are provisional in their rows, and became known later."""
    story = [
        {"email": "e1"},
        {"anonymous_id": "x1"},
        {"id": "c1", "email": "e1"},
        {"id": "c2", "anonymous_id": "x1"},
    ]
    rnd = random.Random(1)
    cluster = Cluster(catalog(), 3, rnd)
    for number, known in enumerate(story):
        tell(cluster, number, known)
    cluster.settle()
    tell(cluster, 9, {"email": "e1", "anonymous_id": "x1"})
    cluster.settle()
    (letter,) = cluster.dead()
    assert isinstance(letter, Merge)
    assert Owner(letter.winner, 0).known
    assert cluster.customer_of("email:e1") == "c1"
    assert cluster.customer_of("anonymous_id:x1") == "c2"
    alarming = sum(slot.core.processor.dead_letters for slot, _ in cluster.tasks.values())
    assert alarming == 0, "a shared identity never looks like a schema break"
