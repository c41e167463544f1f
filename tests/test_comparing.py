"""Two courses side by side: counted by what was sent, by reason, by rule, by customer."""

from __future__ import annotations

from orchestrator.comparing import Comparer, Count, Customer
from orchestrator.records import Decision


def decision(outcome, customer="anna", **more):
    base = {"decision_id": "d", "caused_by": "e", "decided_at": 1, "catalog": "c"}
    return Decision(customer_id=customer, outcome=outcome, **base, **more)


def test_nothing_happened():
    """No decisions: no numbers, and nobody is different."""
    found = Comparer().result()
    assert (found.sent, found.customers, found.pressure["actual"].messages) == ([], [], 0)


def test_both_sides():
    """Each table counts its own kind of decision; advanced and nothing are in none."""
    comparer = Comparer()
    mail = {"message": "hello", "channel": "email", "journey": "welcome"}
    for side in ("actual", "candidate"):
        comparer.add(side, decision("entered", journey="welcome"))
        comparer.add(side, decision("sent", **mail))
        comparer.add(side, decision("advanced", journey="welcome"))
    comparer.add("actual", decision("sent", "bob", **mail))
    comparer.add("candidate", decision("deferred", "bob", reason="cap", rule="daily", **mail))
    comparer.add("candidate", decision("suppressed", "bob", reason="no_consent", **mail))
    comparer.add("candidate", decision("exited", journey="welcome", reason="goal"))
    comparer.add("candidate", decision("sent", "left-out", **mail))
    found = comparer.result(but=["left-out"])
    assert found.sent == [Count(what="hello on email", actual=2, candidate=2)]
    assert found.entries == [Count(what="welcome", actual=1, candidate=1)]
    assert found.exits == [Count(what="welcome: goal", actual=0, candidate=1)]
    assert [one.what for one in found.reasons] == [
        "hello: deferred, cap",
        "hello: suppressed, no_consent",
    ]
    assert found.rules == [Count(what="cap daily", actual=0, candidate=1)]
    assert found.customers == [Customer(customer="bob", more=[], less=["hello on email"])]


def test_pressure():
    """Messages per customer, of those who got any: 95 of 100 got at most."""
    comparer = Comparer()
    for number in range(1, 21):
        for _ in range(number):
            comparer.add("actual", decision("sent", f"c{number}", message="m", channel="email"))
    pressure = comparer.result().pressure["actual"]
    assert (pressure.messages, pressure.customers, pressure.mean) == (210, 20, 10.5)
    assert (pressure.p95, pressure.most) == (19, 20)
