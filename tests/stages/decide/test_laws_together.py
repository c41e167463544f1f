"""The laws of the stage where everything moves: zones, consent, merges, catalogs, suppression, holdout.

Two customers live side by side until they turn out to be one. The judge below knows the actions, what
was said and when, and the standard library's calendar; it shares no code with the stage.
"""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from orchestrator.expressions.durations import Duration
from orchestrator.records import Decision, Merge
from orchestrator.stages import catalog as c
from orchestrator.stages.decide import caps, consent, pipeline, quiet
from orchestrator.stages.protocol import Input

HOUR, MINUTE = 3_600_000, 60_000
ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia")
STARTS = ("2026-03-02T09:00", "2026-03-27T20:00", "2026-04-03T20:00", "2026-10-24T20:00")
"""An ordinary Monday; the days before the changes of Europe, of Lord Howe, and of Europe again."""
NAMES = ("anna", "anon:1")
MESSAGES = {"m0": "news", "m1": "news", "m2": "offers"}
DEFAULTS = {"news": True, "offers": False}


@st.composite
def policies(draw):
    per = draw(st.sampled_from(["day", "week", "month"]))
    start, end = draw(
        st.tuples(st.integers(0, 23), st.integers(0, 23)).filter(lambda x: x[0] != x[1])
    )
    return {
        "caps": (c.Cap(name="cap", limit=draw(st.integers(1, 3)), per=per),),
        "gap": {"any": Duration(0, draw(st.integers(1, 30)) * HOUR)} if draw(st.booleans()) else {},
        "quiet_hours": (c.QuietHours(name="night", start=start * 60, end=end * 60),),
        "holdout": c.Holdout(share=draw(st.sampled_from([0, 3_000])), salt=draw(st.sampled_from("ab"))),
        "spread_ms": draw(st.sampled_from([0, 600_000])),
    }  # fmt: skip


happenings = st.one_of(
    st.sampled_from([f"go.{number}" for number in range(3)]),
    st.sampled_from(["granted", "revoked", "ticket", "solved", "merge", "switch"]),
    st.sampled_from(ZONES),
)
lives = st.lists(
    st.tuples(st.integers(0, 20 * 60), st.sampled_from(NAMES), happenings), min_size=3, max_size=25
)


def catalog_of(define, policy, name):
    ticket = c.Suppression(name="ticket", condition=define.when('profile.plan == "ticket"'))
    rest = c.Wait(duration=Duration(0, 7 * HOUR))
    journeys = [
        define.journey(f"j{n}", f"go.{n}", ("a", define.send(f"m{n}")), ("rest", rest), ("b", define.send(f"m{(n + 1) % 3}", "push", "email")))
        for n in range(3)
    ]  # fmt: skip
    messages = [
        define.message(m, category=category, repeat="always", expires=Duration(4, 0))
        for m, category in MESSAGES.items()
    ]
    policy = define.policy(suppress=(ticket,), **policy)
    return define.catalog(*journeys, messages=messages, policy=policy, hash=name)


class Judge:
    """What is true of each customer, line by line; ``check`` looks at the actions since the last."""

    def __init__(self, w, policy):
        self.w, self.policy = w, policy
        self.zone = dict.fromkeys(NAMES, "Europe/Berlin")
        self.word, self.ticket = {}, dict.fromkeys(NAMES, False)
        self.lives = {name: {name} for name in NAMES}
        self.sends, self.seen, self.drawn = [], 0, set()

    def check(self):
        for emit in self.w.emitted[self.seen :]:
            record = emit.record
            if isinstance(record, Decision):
                if record.outcome == "held_out":
                    self.drawn.add((record.customer_id, self.policy["holdout"].salt))
                continue
            if getattr(record, "kind", "") == "send":
                self._send(record)
                self.sends.append(record)
        self.seen = len(self.w.emitted)

    def switch(self, policy):
        """A smaller share lets go those beyond it, and nobody else."""
        self.policy, holdout = policy, policy["holdout"]
        self.drawn = {
            (life, salt)
            for life, salt in self.drawn
            if salt != holdout.salt or self._place(life, salt) < holdout.share
        }

    @staticmethod
    def _place(life, salt):
        return int.from_bytes(sha256(f"{salt}\x1f{life}".encode()).digest()[:8], "big") % 10_000

    def _send(self, send):
        who, zone = send.customer_id, ZoneInfo(self.zone[send.customer_id])
        wall = datetime.fromtimestamp(send.decided_at / 1000, UTC).astimezone(zone)
        (night,) = self.policy["quiet_hours"]
        minute = wall.hour * 60 + wall.minute
        quiet = night.start <= minute < night.end if night.start < night.end else (
            minute >= night.start or minute < night.end
        )  # fmt: skip
        assert not quiet, ("quiet", wall, night)
        assert not self.ticket[who], "suppressed"
        said = self.word.get(who, DEFAULTS[MESSAGES[send.message]])
        assert said, "no consent"
        holdout = self.policy["holdout"]
        control = any((life, holdout.salt) in self.drawn for life in self.lives[who])
        assert not control, "held out before"
        before = [one for one in self.sends if one.customer_id in self.lives[who]]
        (cap,) = self.policy["caps"]
        assert sum(self._shares(cap.per, zone, one, send) for one in before) < cap.limit, (
            cap,
            wall,
        )
        for span in self.policy["gap"].values():
            assert all(send.decided_at >= one.decided_at + span.ms for one in before), "gap"

    @staticmethod
    def _shares(per, zone, one, other):
        days = [
            datetime.fromtimestamp(x.decided_at / 1000, UTC).astimezone(zone).date() for x in (one, other)
        ]  # fmt: skip
        keys = {
            "day": lambda day: day,
            "week": lambda day: day.isocalendar()[:2],
            "month": lambda day: (day.year, day.month),
        }
        return keys[per](days[0]) == keys[per](days[1])


def play(world, define, start, first, second, life):
    one, two = (catalog_of(define, policy, name) for policy, name in ((first, "1"), (second, "2")))
    w = world(one, start)
    w.tell("customer.updated", customer="anon:1", email="x@example.com", push_token="t")
    judge = Judge(w, first)
    for number, (wait, name, what) in enumerate(life):
        w.pass_time(to=w.now + wait * MINUTE)
        judge.check()
        who = name if len(judge.lives["anna"]) == 1 else "anna"
        if what in {"granted", "revoked"}:
            judge.word[who] = what == "granted"
            w.tell(f"consent.{what}", customer=who, id_=str(number))
        elif what in {"ticket", "solved"}:
            judge.ticket[who] = what == "ticket"
            w.tell("customer.updated", customer=who, id_=str(number), plan=what)
        elif what in ZONES:
            judge.zone[who] = what
            w.tell("customer.updated", customer=who, id_=str(number), timezone=what)
        elif what == "switch":
            judge.switch(second if judge.policy is first else first)
            w.apply(two if judge.policy is second else one)
        elif what == "merge":
            if len(judge.lives["anna"]) == 1:
                _merge(w, judge)
        else:
            w.tell(what, customer=who, id_=str(number))
        judge.check()
    w.pass_time("P20D")
    judge.check()
    return w


def _merge(w, judge):
    """One customer from here: what he said is what either said, revoked first; the rest by last write."""
    before = len(w.emitted)
    record = Merge(merge_id="m", loser="anon:1", winner="anna", caused_by="x")
    w.append(Input(key="anon:1", record=record))
    traits = {n: w.harness.states[n].profile.traits for n in ("anna",)}
    absorb = next(e for e in w.emitted[before:] if e.topic == "timeline")
    life = w.harness.stage.decode(absorb.record.state).profile.traits
    for name, ours in (("timezone", judge.zone), ("plan", judge.ticket)):
        theirs, mine = life.get(name), traits["anna"].get(name)
        newer = theirs is not None and (mine is None or theirs.at > mine.at or (
            theirs.at == mine.at and str(theirs.value) > str(mine.value)
        ))  # fmt: skip
        if newer:
            ours["anna"] = ours["anon:1"]
    words = [judge.word[name] for name in NAMES if name in judge.word]
    if words:
        judge.word["anna"] = all(words)
    judge.lives["anna"] = set(NAMES)
    w.append(Input(key=absorb.key, record=absorb.record))


def law_for(world, define, **more):
    @settings(
        max_examples=120,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
        **more,
    )
    @given(st.sampled_from(STARTS), policies(), policies(), lives)
    def law(start, first, second, life):
        play(world, define, start, first, second, life)

    return law


def test_nothing_that_moves_breaks_the_contract(world, define):
    """Caps over both lives, quiet hours of the zone of the day, one word for both, control wins."""
    law_for(world, define)()


@pytest.mark.parametrize(
    ("module", "name", "mutant"),
    [
        (caps, "capped", lambda *_: None),
        (caps, "gapped", lambda *_: None),
        (quiet, "current", lambda *_: None),
        (consent, "allowed", lambda *_: (True, "granted")),
        (pipeline, "_suppressed", lambda *_: None),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_the_judge_says_no(world, define, monkeypatch, module, name, mutant):
    """Without a rule, a life is soon found that breaks it."""
    monkeypatch.setattr(module, name, mutant)
    with pytest.raises((AssertionError, ExceptionGroup)):
        law_for(world, define, phases=[Phase.generate], database=None, derandomize=True)()
