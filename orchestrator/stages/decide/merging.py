"""Merges: the loser's life travels to the winner (2-semantics 2.7).

The union is commutative, associative and idempotent; what lives on in the winner then draws the
consequences: of two live entries of one journey and key the earlier one stays, and changed traits
count as changes. Past events never start anything.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

from msgspec import structs

from orchestrator import ids
from orchestrator.errors import JoinRefused
from orchestrator.identities import Owner, may_join
from orchestrator.records import Absorb, Merge
from orchestrator.stages.decide import history, state
from orchestrator.stages.decide.entries import MAX_PAST, end, forget, past_key
from orchestrator.stages.decide.forgetting import clear
from orchestrator.stages.decide.merge_profile import merge
from orchestrator.stages.decide.state import Customer, Past
from orchestrator.stages.protocol import Emit

if TYPE_CHECKING:
    from orchestrator.stages.catalog import Catalog, Identities
    from orchestrator.stages.decide.turn import Turn

MAX_MERGED = 64


def export(key: str, customer: Customer, merge: Merge) -> list[Emit]:
    """Send the loser's state to the winner; leave a redirect."""
    if merge.winner == key:
        return []
    absorb = Absorb(
        merge_id=merge.merge_id,
        loser=key,
        state=state.encode(customer),
        state_version=state.VERSION,
    )
    clear(customer)
    customer.redirect, customer.winner_seen = merge.winner, merge.first_seen
    return [Emit(topic="timeline", key=merge.winner, record=absorb)]


def readdress(key: str, customer: Customer, merge: Merge, rules: Identities) -> list[Emit]:
    """Choose anew whom a merge of an already merged customer joins.

    The loser's place is taken by the customer into which it went; the better in rank wins.

    Raises:
        JoinRefused: Both are known by now, and the profile keeps known customers apart.
    """
    target, other = (
        Owner(customer.redirect, customer.winner_seen),
        Owner(merge.winner, merge.first_seen),
    )
    if other.customer_id in {target.customer_id, key}:
        return []
    if not may_join(target, other, merge_known=rules.merge_known):
        raise JoinRefused(
            f"{key} is to join {other.customer_id}, but it already belongs to {target.customer_id}:"
            f" both are known, and {rules.primary} keeps them apart (profile.yaml: merge_known)",
            "known_customers",
        )
    winner, loser = sorted((target, other), key=attrgetter("rank"))
    anew = Merge(
        merge_id=ids.merge_id(loser.customer_id, winner.customer_id, merge.caused_by),
        loser=loser.customer_id,
        winner=winner.customer_id,
        first_seen=winner.first_seen,
        caused_by=merge.caused_by,
    )
    return [Emit(topic="timeline", key=loser.customer_id, record=anew)]


def _rank(customer_id: str) -> tuple[bool, str]:
    return customer_id.startswith(ids.PROVISIONAL_PREFIX), customer_id


def forward(key: str, customer: Customer, absorb: Absorb, trace: str | None) -> list[Emit] | None:
    """Send a life that reached a merged customer on to the winner; None = take it here.

    Merges that cross may point round in a circle. ``loser`` becomes the first in rank of all whom the
    life has passed: who reads its own name there is that one, and all lives of the circle meet there.
    """
    if absorb.loser == key:
        customer.redirect = ""
        return None
    least = min(absorb.loser, key, key=_rank)
    return [
        Emit(
            topic="timeline",
            key=customer.redirect,
            record=structs.replace(absorb, loser=least),
            trace=trace,
        )
    ]


def note(into: Customer, other: Customer, loser: str) -> None:
    """Remember by which names the customer went."""
    into.merged = tuple(sorted({*into.merged, *other.merged, loser})[:MAX_MERGED])


def unite(into: Customer, other: Customer, merge_id: str, catalog: Catalog) -> set[str]:
    """Unite everything but the choice between rival live entries.

    Return the traits that have another state than before, for either of the two: the waits and
    conditions of both look at them anew.
    """
    former, into.profile = into.profile, merge(into.profile, other.profile, merge_id, catalog)
    into.profile.lifecycle = former.lifecycle  # evaluated anew, from here
    changed = {
        name
        for name, trait in into.profile.traits.items()
        if former.traits.get(name) != trait or other.profile.traits.get(name) != trait
    }
    known = {s for s in (into.first_seen, other.first_seen) if s}
    into.first_seen = min(known, default=0)
    sends = {sent.action: sent for sent in other.sends}
    for sent in into.sends:
        twin = sends.get(sent.action)
        if twin is not None:
            sent.flags |= twin.flags
        sends[sent.action] = sent
    into.sends = tuple(sorted(sends.values(), key=lambda sent: (sent.at, sent.action)))
    entries = {entry.id: entry for entry in (*other.entries, *into.entries)}
    into.entries = tuple(sorted(entries.values(), key=lambda entry: (entry.started, entry.id)))
    for key, past in other.past.items():
        mine = into.past.get(key)
        into.past[key] = past if mine is None else _past_of_both(mine, past)
    for name in other.truths:
        into.truths[name] = True
    _latest(into.absences, other.absences)
    _latest(into.silences, other.silences)
    _latest(into.ever, other.ever)
    for name, due in other.scheduled.items():
        into.scheduled[name] = min(due, into.scheduled.get(name, due))
    into.contest = max(into.contest, other.contest)
    return changed


def _past_of_both(mine: Past, other: Past) -> Past:
    """Return what both together leave: re-entry counts from the later end, a goal in the longer window."""
    counted = max(mine, other, key=lambda past: (past.goal_until, past.entry_id))
    return structs.replace(counted, ended=max(mine.ended, other.ended))


def _latest(mine: dict[str, int], theirs: dict[str, int]) -> None:
    for name, instant in theirs.items():
        mine[name] = max(instant, mine.get(name, instant))


def settle_rivals(turn: Turn) -> None:
    """End, of two live entries of one journey and key, the later one (then the greater id)."""
    kept: set[str] = set()
    for entry in list(turn.customer.entries):
        place = past_key(entry.journey, entry.key)
        if place in kept:
            end(turn, entry, "merged", leaving=True)
        kept.add(place)
    if len(turn.customer.sends) > history.KEPT:
        history.trim(turn.customer, turn.now, turn.catalog)
    if len(turn.customer.past) > MAX_PAST:
        forget(turn)
