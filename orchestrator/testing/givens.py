"""A customer as a test gives it, laid down as if an earlier log had made it.

Everything is silent: lifecycle and the truth of entry conditions are recorded from the given profile,
so that a test begins with a customer who is what he is, and not with one who just became it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.identities import normalise
from orchestrator.ids import BUCKETS, make_id
from orchestrator.stages.calendar import Calendar, calendar_for
from orchestrator.stages.decide.pipeline import holdout_key
from orchestrator.stages.decide.state import Customer, Profile, Statement, TraitState
from orchestrator.stages.decide.values import fit
from orchestrator.stages.decide.windows import EXACT
from orchestrator.stages.identify.state import Identity, row_key

if TYPE_CHECKING:
    from orchestrator.expressions.scope import Value
    from orchestrator.journeys.scenarios import Given
    from orchestrator.stages.catalog import Catalog, Trait
    from orchestrator.testing.pipeline import Pipeline


def settle(pipeline: Pipeline, customer: Given, catalog: Catalog, now: int) -> None:
    """Lay ``customer`` down in both stages at log time ``now``."""
    primary = catalog.identities.primary
    for kind, value in {**customer.identities, primary: customer.id}.items():
        identity = Identity(customer_id=customer.id, first_seen=now)
        pipeline.identify.put(row_key("", f"{kind}:{normalise(kind, value)}"), identity)
    state = Customer(first_seen=now, profile=_profile(customer, catalog, now))
    # As if this catalog had been in force all along: conditions are recorded and start nothing.
    pipeline.decide.stage.switch(customer.id, state, catalog, catalog, now)
    pipeline.decide.put(customer.id, state)


def _profile(customer: Given, catalog: Catalog, now: int) -> Profile:
    zone = customer.profile.get(catalog.timezone_trait or "")
    calendar = calendar_for(zone, catalog.policy.timezone)
    traits = {
        name: _trait(catalog.traits[name], value, now, calendar)
        for name, value in customer.profile.items()
    }
    consent = [
        Statement(channel=channel, category=category, granted=True, at=0)
        for channel, categories in customer.consent.items()
        for category in categories
    ]
    holdouts = [("", catalog.policy.holdout)]
    holdouts += [(journey.name, journey.holdout) for journey in catalog.journeys.values()]
    draws = {holdout_key(holdout, name) for name, holdout in holdouts if holdout is not None}
    return Profile(
        traits=traits,
        consent=(tuple(consent),) if consent else (),
        holdout=dict.fromkeys(sorted(draws), 0 if customer.holdout else BUCKETS),
    )


def _trait(trait: Trait, value: Value, now: int, calendar: Calendar) -> TraitState:
    """Return the stored form of a value that is known since ever; scores and windows begin ``now``."""
    if isinstance(value, list):
        return TraitState(open=tuple(value), hits=(now,) * len(value))
    if trait.kind == "up" and trait.by is not None and isinstance(value, int):
        given = tuple(make_id("given", str(number)) for number in range(value))
        return TraitState(open=given, hits=(now,) * value)
    if trait.window_ms is not None and isinstance(value, int | float):
        if trait.kind == "sum":
            return TraitState(hits=(now,), amounts=(value,))
        hits, older = min(int(value), EXACT), max(int(value) - EXACT, 0)
        return TraitState(
            hits=(now,) * hits,
            older=(now,) if older else (),
            older_amounts=(older,) if older else (),
        )
    fitted = fit(value, trait.type, calendar)
    return TraitState(value=fitted, at=now if trait.kind == "score" else 0)
