"""Every limit holds to the millisecond, and each planted slip of one is caught.

A probe plays one rule up to its boundary. The same probes run against mutants of the stage: a suite
that lets a mutant live proves nothing.
"""

import pytest

from orchestrator import ids
from orchestrator.expressions.durations import Duration
from orchestrator.stages import catalog as c
from orchestrator.stages.decide import (
    caps,
    consent,
    entries,
    history,
    pipeline,
    quiet,
    waits,
)
from tests.stages.decide.parts import NIGHT

HOUR = 3_600_000


def said(lines):
    return [
        line for line in lines if line.startswith(("sent", "deferred", "suppressed", "expired"))
    ]


def one(define, *, policy=None, **message):
    journey = define.journey("j", "go", ("say", define.send("m")))
    return define.catalog(
        journey,
        policy=define.policy(**(policy or {})),
        messages=[define.message("m", **{"repeat": "always", **message})],
    )


def holds_until(w, type_, until, reason):
    """A send is deferred a millisecond before ``until`` and leaves at it, neither sooner nor later."""
    assert said(w.tell(type_)) == [f"deferred m/email {reason}"]
    assert w.last("deferred").until == until
    assert said(w.pass_time(to=until - 1)) == []
    assert said(w.pass_time(to=until)) == ["sent m/email"]
    assert w.last("sent").decided_at == until


def refuses_until(w, until, reason):
    """An event a millisecond early is refused, one at ``until`` is not."""
    assert said(w.tell("go", at=until - 1)) == [f"suppressed m/email {reason}"]
    assert said(w.tell("go", at=until)) == ["sent m/email"]


def gap(world, define, _at):
    w = world(one(define, policy={"gap": {"any": Duration(0, 2 * HOUR)}}))
    w.tell("go")
    holds_until(w, "go", w.now + 2 * HOUR, "gap")


def gap_by_the_event(world, define, at):
    """The event itself comes at the boundary: no timer has computed it."""
    for early, outcome in ((1, "deferred m/email gap"), (0, "sent m/email")):
        w = world(one(define, policy={"gap": {"email": Duration(1, 0)}}))
        w.tell("go")
        assert said(w.tell("go", at=at("2026-03-03T10:00") - early)) == [outcome]


def rolling_cap(world, define, _at):
    cap = c.Cap(name="two", limit=2, per="rolling", rolling=Duration(0, 5 * HOUR))
    w = world(one(define, policy={"caps": (cap,)}))
    first = w.now
    w.tell("go")
    w.tell("go", after="PT1H")
    holds_until(w, "go", first + 5 * HOUR, "cap")


def day_cap(world, define, at):
    """The day of the change to summer time has 23 hours."""
    cap = c.Cap(name="one", limit=1, per="day")
    w = world(one(define, policy={"caps": (cap,)}), "2026-03-29T01:30")
    w.tell("go")
    holds_until(w, "go", at("2026-03-30T00:00"), "cap")


def night(world, define, at):
    w = world(one(define, policy={"quiet_hours": (NIGHT,)}), "2026-03-28T20:59:59.999")
    assert said(w.tell("go")) == ["sent m/email"]
    assert w.actions[-1].expires_at == at("2026-03-28T21:00")
    w.pass_time(to=at("2026-03-28T21:00"))
    holds_until(w, "go", at("2026-03-29T08:00"), "quiet_hours")


def repeat(world, define, at):
    """Two calendar days, over the change to summer time: the same wall time, 47 hours on."""
    w = world(one(define, repeat=Duration(2, 0)), "2026-03-28T10:00")
    w.tell("go")
    refuses_until(w, at("2026-03-30T10:00"), "already_sent")


def expiry(world, define, at):
    policy = {"quiet_hours": (NIGHT,)}
    w = world(one(define, policy=policy, expires=Duration(0, 3 * HOUR)), "2026-03-02T22:00")
    w.tell("go")
    assert said(w.pass_time(to=at("2026-03-03T01:00") - 1)) == []
    assert said(w.pass_time(to=at("2026-03-03T01:00"))) == ["expired m/email expired"]


def re_entry(world, define, at):
    rule = c.EntryRule(on=("go",), re_entry=Duration(1, 0))
    journey = define.journey("j", rule, ("out", c.Stop()))
    w = world(define.catalog(journey), "2026-03-28T10:00")
    w.tell("go")
    until = at("2026-03-29T10:00")
    assert w.tell("go", at=until - 1) == ["nothing j re_entry"]
    assert "entered j" in w.tell("go", at=until)


def waiting(world, define, at):
    """A day is a calendar day: 23 hours here."""
    journey = define.journey("j", "go", ("rest", c.Wait(duration=Duration(1, 0))), ("say", define.send("m")))  # fmt: skip
    w = world(define.catalog(journey), "2026-03-28T10:00")
    w.tell("go")
    assert w.pass_time(to=at("2026-03-29T10:00") - 1) == []
    assert said(w.pass_time(to=at("2026-03-29T10:00"))) == ["sent m/email"]


def goal_window(world, define, at):
    goal = c.Goal(pattern=define.pattern("paid"), within=Duration(1, 0))
    for early, counted in ((1, True), (0, False)):
        journey = define.journey("j", "go", ("out", c.Stop()), goal=goal)
        w = world(define.catalog(journey), "2026-03-28T10:00")
        w.tell("go")
        lines = w.tell("paid", at=at("2026-03-29T10:00") - early)
        assert (lines == ["advanced j goal"]) is counted


def word(world, define, _at):
    w = world(one(define))
    w.tell("consent.revoked", channel="email")
    assert said(w.tell("go")) == ["suppressed m/email no_consent"]
    w.tell("consent.granted", channel="email", after="PT1M")
    assert said(w.tell("go")) == ["sent m/email"]


def control(world, define, _at):
    """A share that ends at her bucket spares her, one hundredth of a percent more does not."""
    bucket = ids.bucket("salt", "anna")
    for share, line in ((bucket, "sent m/email"), (bucket + 1, "held_out m/email holdout")):
        w = world(one(define, policy={"holdout": c.Holdout(share=share, salt="salt")}))
        assert [x for x in w.tell("go") if x.startswith(("sent", "held_out"))] == [line]


def dropped(world, define, _at):
    """A slot that was given back is free at once."""
    cap = c.Cap(name="one", limit=1, per="day")
    w = world(one(define, policy={"caps": (cap,)}), accept=False)
    w.tell("go")
    w.tell("go")
    assert said(w.receipt("dropped", w.actions[0])) == ["sent m/email"]


PROBES = [
    gap, gap_by_the_event, rolling_cap, day_cap, night, repeat, expiry, re_entry, waiting,
    goal_window, word, control, dropped,
]  # fmt: skip


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.__name__)
def test_to_the_millisecond(world, define, at, probe):
    probe(world, define, at)


def earlier(function, field="until"):
    """The same answer, one millisecond early."""

    def mutant(*args, **kwargs):
        found = function(*args, **kwargs)
        return None if found is None else found._replace(**{field: getattr(found, field) - 1})

    return mutant


def mutants():
    gapped, capped, current = caps.gapped, caps.capped, quiet.current
    already, next_start, over = history.already_sent, quiet.next_start, entries._may_enter_again
    yield "gap 1 ms early", caps, "gapped", earlier(gapped)
    yield (
        "gap off by one",
        caps,
        "gapped",
        lambda turn, channel, sent: (
            None if (hold := gapped(turn, channel, sent)) and hold.until - 1 <= turn.now else hold
        ),
    )
    yield "no gap", caps, "gapped", lambda *_: None
    yield "cap 1 ms early", caps, "capped", earlier(capped)
    yield "no cap", caps, "capped", lambda *_: None
    yield "quiet hours end early", quiet, "current", earlier(current, "end")
    yield "no quiet hours", quiet, "current", lambda *_: None
    yield (
        "sinks keep into the night",
        quiet,
        "next_start",
        lambda *args: None if (start := next_start(*args)) is None else start + 1,
    )
    yield (
        "repeat 1 ms early",
        pipeline,
        "already_sent",
        lambda customer, message, now, *rest, **more: already(
            customer, message, now + 1, *rest, **more
        ),
    )
    yield (
        "re-entry 1 ms early",
        entries,
        "_may_enter_again",
        lambda turn, rule, past: (
            None
            if (until := over(turn, rule, past)) is not None and until - 1 <= turn.now
            else until
        ),
    )
    yield "revoked is granted", consent, "allowed", lambda *_: (True, "granted")
    yield "nobody is held out", pipeline, "control", lambda *_: False
    yield (
        "days of 24 hours",
        waits,
        "deadline",
        lambda _, entry, wait: entry.arrived + wait.duration.milliseconds(),
    )
    yield (
        "slots are never given back",
        caps,
        "counted",
        lambda turn, without=(): [
            one for one in turn.customer.sends if one.counts and one not in list(without)
        ],
    )


@pytest.mark.parametrize(("module", "name", "mutant"), [m[1:] for m in mutants()], ids=[m[0] for m in mutants()])  # fmt: skip
def test_a_planted_slip_is_caught(world, define, at, monkeypatch, module, name, mutant):
    """At least one probe fails."""
    monkeypatch.setattr(module, name, mutant)
    caught = []
    for probe in PROBES:
        try:
            probe(world, define, at)
        except AssertionError:
            caught.append(probe.__name__)
    assert caught
