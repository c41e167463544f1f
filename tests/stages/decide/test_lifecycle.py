"""Lifecycle: the first rule that is true."""

from orchestrator.expressions import Environment, Names, compile_expression
from orchestrator.stages.catalog import Catalog, LifecycleRule, Trait
from orchestrator.stages.decide import lifecycle
from orchestrator.stages.decide.lifecycle import Change
from orchestrator.stages.decide.scope import CustomerScope
from orchestrator.stages.decide.state import Customer, TraitState

NOW = 1_780_308_000_000
DAY = 86_400_000
PROFILE = Names({"score": "double", "plan": "string"})
TRAITS = {
    "score": Trait(name="score", kind="score", type="double", scores={"x": 1.0}, half_life_ms=DAY),
    "plan": Trait(name="plan", kind="plain", type="string"),
}


def rule(name: str, text: str | None) -> LifecycleRule:
    environment = Environment(profile=PROFILE, timed=frozenset({"score"}))
    condition = None if text is None else compile_expression(text, environment, watched=True)
    return LifecycleRule(name=name, condition=condition)


RULES = (
    rule("paying", 'profile.plan == "pro"'),
    rule("hot", "profile.score > 4.0"),
    rule("warm", "profile.score > 1.0"),
    rule("cold", None),
)


def scope_of(*, plan: str | None = None, score: float = 0.0, rules=RULES) -> CustomerScope:
    customer = Customer()
    customer.profile.traits["plan"] = TraitState(value=plan)
    customer.profile.traits["score"] = TraitState(value=score, at=NOW)
    return CustomerScope("c", customer, Catalog(traits=TRAITS, lifecycle=rules), NOW)


def name_of(scope: CustomerScope) -> str:
    return lifecycle.current(scope, scope.catalog)


def test_the_first_true_rule_names_it():
    assert name_of(scope_of(plan="pro", score=9.0)) == "paying"
    assert name_of(scope_of(score=9.0)) == "hot"
    assert name_of(scope_of(score=2.0)) == "warm"
    assert name_of(scope_of()) == "cold"


def test_without_a_true_rule_it_is_empty():
    """The language demands a last rule without condition; a catalog without rules has none."""
    assert name_of(scope_of(rules=())) == ""
    assert name_of(scope_of(rules=RULES[:1])) == ""


def test_update_tells_the_change_once():
    scope = scope_of(score=2.0)
    profile = scope.customer.profile
    assert lifecycle.update(profile, scope, scope.catalog) == Change("", "warm")
    assert profile.lifecycle == "warm"
    assert lifecycle.update(profile, scope, scope.catalog) is None
    scope.now = NOW + DAY
    assert lifecycle.update(profile, scope, scope.catalog) == Change("warm", "cold")


def test_time_changes_it_at_the_exact_instant():
    """Only rules down to the first true one can turn the answer."""
    hot = scope_of(score=8.0)
    then = lifecycle.next_change(hot, hot.catalog)
    assert then == NOW + DAY
    hot.now = then - 1
    assert name_of(hot) == "hot"
    hot.now = then
    assert name_of(hot) == "warm"
    assert lifecycle.next_change(hot, hot.catalog) == NOW + 3 * DAY
    paying = scope_of(plan="pro", score=8.0)
    assert lifecycle.next_change(paying, paying.catalog) is None
    cold = scope_of()
    assert lifecycle.next_change(cold, cold.catalog) is None
    none = scope_of(rules=())
    assert lifecycle.next_change(none, none.catalog) is None


def test_the_earliest_of_several_instants_counts():
    rules = (rule("both", "profile.score > 100.0"), *RULES[1:])
    scope = scope_of(score=8.0, rules=(rule("cool", "profile.score < 6.0"), *rules))
    then = lifecycle.next_change(scope, scope.catalog)
    scope.now = then
    assert NOW < then < NOW + DAY
    assert name_of(scope) == "cool"


def test_the_derived_event():
    """Its id repeats with its cause; an empty lifecycle is null."""
    event = lifecycle.changed_event("c", Change("", "warm"), NOW, "cause", 1)
    assert event == lifecycle.changed_event("c", Change("", "warm"), NOW, "cause", 1)
    assert event.event_id != lifecycle.changed_event("c", Change("", "warm"), NOW, "c2", 1).event_id
    assert event.type == "lifecycle.changed"
    assert event.properties == {"from": None, "to": "warm"}
    assert event.identities == {"customer": "c"}
