"""What a condition costs, compiled and evaluated. Prints figures; asserts no time."""

from __future__ import annotations

import time

import pytest

from orchestrator.expressions import compile_expression
from tests.expressions.world import PLACE, Customer

CONDITIONS = {
    "equality": 'profile.plan != "free"',
    "list": 'profile.plan in ["free", "pro"]',
    "flag": "opened(day1)",
    "number": "profile.heat > 3.5",
    "typical": 'profile.plan == "pro" && event.amount >= 50.0',
    "large": (
        'profile.plan == "pro" && event.amount >= 50.0 && (event.plan in ["a", "b"] || profile.vip)'
        " && size(profile.tags) > 1 && !(count(pricing.viewed, P7D) > 3)"
    ),
}
ROUNDS = 50_000


@pytest.mark.bench
@pytest.mark.parametrize("name", CONDITIONS)
def test_evaluation(name, capsys):
    """Microseconds for one evaluation, and for one compilation."""
    text = CONDITIONS[name]
    customer = Customer(
        profile={"plan": "pro", "vip": True, "tags": ["a", "b"], "heat": 4.0},
        properties={"amount": 60.0, "plan": "b"},
    )
    evaluate = compile_expression(text, PLACE).evaluate
    start = time.perf_counter()
    for _ in range(ROUNDS):
        evaluate(customer)
    evaluated = (time.perf_counter() - start) / ROUNDS * 1e6
    start = time.perf_counter()
    for _ in range(200):
        compile_expression(text, PLACE)
    compiled = (time.perf_counter() - start) / 200 * 1e6
    with capsys.disabled():
        print(f"\n{name}: {evaluated:.2f} us to evaluate, {compiled:.0f} us to compile")
