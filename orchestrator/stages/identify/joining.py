"""Two customers turn out to be one: who lives on, and when they must be kept apart.

Data platforms are poisoned by values that many people share: a kiosk's cookie, the address of a
test, a support desk that types its own phone number. The guards of profile.yaml stop them here.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

from orchestrator import ids
from orchestrator.errors import JoinRefused
from orchestrator.identities import Owner, may_join
from orchestrator.records import Merge
from orchestrator.stages.protocol import Emit

if TYPE_CHECKING:
    from orchestrator.records import Link
    from orchestrator.stages.catalog import Identities
    from orchestrator.stages.identify.state import Identity


def join(state: Identity, link: Link, trace: str | None, rules: Identities) -> list[Emit]:
    """Return the merge that follows from a link to this row, if any.

    Raises:
        JoinRefused: A guard forbids it.
    """
    if blocked := sorted(rules.block & {link.a, link.b}):
        raise JoinRefused(
            f"{link.a} and {link.b} were seen together, but {blocked[0]} is on the block list of"
            " profile.yaml: it joins nobody",
            "blocked_identity",
        )
    ours, theirs = (
        Owner(state.customer_id, state.first_seen),
        Owner(link.customer_id, link.first_seen),
    )
    met = [state.customer_id, *state.joined]
    if theirs.customer_id in met:
        return []
    for one in met:
        if not may_join(Owner(one, 0), theirs, merge_known=rules.merge_known):
            raise JoinRefused(
                f"{link.b} belongs to {one} and was now seen with {theirs.customer_id} (by"
                f" {link.a}): both are known, and {rules.primary} keeps them apart (profile.yaml:"
                " merge_known)",
                "known_customers",
            )
    if len(met) >= rules.join_limit:
        raise JoinRefused(
            f"{link.b} has joined {len(met)} customers and was now seen with {theirs.customer_id}"
            f" (by {link.a}): join_limit of profile.yaml is {rules.join_limit}; it is probably"
            " shared by many people",
            "join_limit",
        )
    state.joined = [*state.joined, theirs.customer_id]
    winner, loser = sorted((ours, theirs), key=attrgetter("rank"))
    merge = Merge(
        merge_id=ids.merge_id(loser.customer_id, winner.customer_id, link.caused_by),
        loser=loser.customer_id,
        winner=winner.customer_id,
        first_seen=winner.first_seen,
        caused_by=link.caused_by,
    )
    return [Emit(topic="timeline", key=loser.customer_id, record=merge, trace=trace)]
