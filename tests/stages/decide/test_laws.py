"""The laws of the stage, over random policies, journeys and histories.

An independent checker looks at the actions alone, with the standard library's own calendar: never
above a cap, never inside a gap, never in quiet hours, never without consent, never the same message
twice inside ``repeat``. The world itself asserts, after every input, that a checkpoint changes
nothing, that every live entry has a wake-up, and that no timer is left behind.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.expressions.durations import Duration
from orchestrator.stages import catalog as c

HOUR = 3_600_000
ZONE = ZoneInfo("Europe/Berlin")
CHANNELS = ("email", "push", "inapp")
MESSAGES = ("m0", "m1", "m2", "m3")
EVENTS = ("go.0", "go.1", "go.2", "x.done", "y.done", "z.done")

hours = st.integers(1, 60)
minutes = st.integers(0, 23).map(lambda hour: hour * 60)


@st.composite
def policies(draw):
    caps = []
    for number in range(draw(st.integers(0, 3))):
        per = draw(st.sampled_from(["day", "week", "month", "rolling"]))
        caps.append(
            c.Cap(
                name=f"cap{number}",
                limit=draw(st.integers(1, 3)),
                per=per,
                rolling=Duration(0, draw(hours) * HOUR) if per == "rolling" else None,
                channels=frozenset(draw(st.sets(st.sampled_from(CHANNELS), max_size=2))),
                message=draw(st.sampled_from([None, None, *MESSAGES])),
            )
        )
    quiet = [
        c.QuietHours(
            name=f"quiet{number}",
            start=draw(minutes),
            end=draw(minutes),
            channels=frozenset(draw(st.sets(st.sampled_from(CHANNELS), max_size=2))),
            days=frozenset(draw(st.sets(st.sampled_from(["mon", "wed", "sat"])))),
        )
        for number in range(draw(st.integers(0, 2)))
    ]
    gap = draw(
        st.dictionaries(
            st.sampled_from(["any", *CHANNELS]), hours.map(lambda h: Duration(0, h * HOUR // 4))
        )
    )
    window = draw(st.sampled_from([None, None, Duration(0, HOUR)]))
    protect = draw(st.sampled_from([None, None, Duration(0, 12 * HOUR)]))
    spread = draw(st.sampled_from([0, 600_000]))
    return {
        "caps": tuple(caps),
        "quiet_hours": tuple(quiet),
        "gap": gap,
        "arbitration_window": window,
        "protect": protect,
        "spread_ms": spread,
    }


@st.composite
def step_lists(draw, define):
    steps = []
    size = draw(st.integers(1, 6))
    for number in range(size):
        kind = draw(st.sampled_from(["send", "send", "wait", "wait_for", "next"]))
        target = f"s{draw(st.integers(0, size - 1))}"
        if kind == "send":
            channels = draw(st.lists(st.sampled_from(CHANNELS), min_size=1, unique=True))
            do = define.send(draw(st.sampled_from(MESSAGES)), *channels)
        elif kind == "wait":
            do = c.Wait(duration=Duration(0, draw(hours) * HOUR))
        elif kind == "next":
            do = c.Wait(next_time=draw(minutes))
        else:
            do = c.WaitFor(
                mode=draw(st.sampled_from(["first", "best"])),
                patterns=(
                    define.pattern("x.done", then=target),
                    define.pattern("message.opened", then=None),
                ),
                timeout=Duration(0, draw(hours) * HOUR),
                since=draw(st.sampled_from(["step", "entry"])),
                restart=("y.done",),
            )
        steps.append((f"s{number}", do))
    return steps


@st.composite
def worlds(draw, define):
    repeat = st.sampled_from(["never", "always", Duration(2, 0)])
    messages = [
        define.message(name, repeat=draw(repeat), expires=Duration(draw(st.integers(1, 5)), 0))
        for name in MESSAGES
    ]
    journeys = []
    for number in range(draw(st.integers(1, 3))):
        more = {}
        if draw(st.booleans()):
            more["exits"] = (define.pattern("z.done"),)
        if draw(st.booleans()):
            more["interrupts"] = (define.pattern("y.done", then="s0", again=draw(st.booleans())),)
        journeys.append(
            define.journey(
                f"j{number}",
                f"go.{number}",
                *draw(step_lists(define)),
                priority=draw(st.integers(0, 100)),
                **more,
            )
        )
    return define.catalog(*journeys, messages=messages, policy=define.policy(**draw(policies())))


lines = st.lists(
    st.tuples(
        st.integers(0, 30 * HOUR),
        st.one_of(
            st.sampled_from(EVENTS),
            st.sampled_from(["revoke", "grant", "opened", "dropped", "window", "failed"]),
        ),
        st.sampled_from(CHANNELS),
    ),
    min_size=1,
    max_size=25,
)


def play(world, catalog, script, *, accept):
    """Return the world, the consent log (actions before it, channel, granted), slots given back."""
    w = world(catalog, "2026-03-26T10:00", accept=accept)
    said, returned = [], {}
    for wait, what, channel in script:
        at = w.now + wait
        sends = [a for a in w.actions if a.kind == "send"]
        if what in {"revoke", "grant"}:
            w.pass_time(to=at)
            said.append((len(w.actions), channel, what == "grant"))
            w.tell(f"consent.{'granted' if what == 'grant' else 'revoked'}", at=at, channel=channel)
        elif what in {"dropped", "window", "failed"}:
            if sends and not accept:
                returned.setdefault(sends[-1].action_id, at)
                status = "failed" if what == "failed" else "dropped"
                w.receipt(status, sends[-1], at=at, reason=what)
        elif what == "opened":
            if sends:
                w.receipt("opened", sends[-1], at=at)
        else:
            w.tell(what, at=at)
    w.pass_time("P40D")
    return w, said, returned


# ------------------------------------------------------------- the checker, from actions alone


def check(catalog, actions, said, returned):
    """Raise if any action breaks the policy."""
    policy = catalog.policy
    places = [place for place, a in enumerate(actions) if a.kind == "send"]
    sends = [actions[place] for place in places]
    for number, send in enumerate(sends):
        wall = datetime.fromtimestamp(send.decided_at / 1000, UTC).astimezone(ZONE)
        for rule in policy.quiet_hours:
            assert not is_quiet(rule, send.channel, wall), (rule, wall)
        if send.channel != "inapp":
            words = [word for at, ch, word in said if ch == send.channel and at <= places[number]]
            assert not words or words[-1], "sent without consent"
        before = [
            one
            for one in sends[:number]
            if returned.get(one.action_id, send.decided_at + 1) > send.decided_at
        ]
        for cap in policy.caps:
            if under(cap, send):
                held = [one for one in before if under(cap, one) and shares(cap, one, send)]
                assert len(held) < cap.limit, (cap, [one.decided_at for one in held], send)
        for name, span in policy.gap.items():
            if name in {"any", send.channel}:
                for one in before:
                    if name in {"any", one.channel}:
                        assert send.decided_at >= one.decided_at + span.ms, (name, one, send)
        repeat = catalog.messages[send.message].repeat
        same = [one for one in before if one.message == send.message]
        if repeat == "never":
            assert not same
        elif repeat != "always":
            for one in same:
                sent = datetime.fromtimestamp(one.decided_at / 1000, UTC).astimezone(ZONE)
                assert wall.replace(tzinfo=None) >= sent.replace(tzinfo=None) + timedelta(
                    repeat.days
                )


def is_quiet(rule, channel, wall):
    if rule.channels and channel not in rule.channels:
        return False
    minute = wall.hour * 60 + wall.minute
    today, yesterday = ((wall - timedelta(days=back)).strftime("%a").lower() for back in (0, 1))
    crosses = rule.start >= rule.end
    tonight = minute >= rule.start and (crosses or minute < rule.end)
    last_night = crosses and minute < rule.end
    names = rule.days or {today, yesterday}
    return (tonight and today in names) or (last_night and yesterday in names)


def under(cap, send):
    return (not cap.channels or send.channel in cap.channels) and cap.message in {
        None,
        send.message,
    }


def shares(cap, one, other):
    a, b = (
        datetime.fromtimestamp(s.decided_at / 1000, UTC).astimezone(ZONE).date()
        for s in (one, other)
    )
    match cap.per:
        case "day":
            return a == b
        case "week":
            return a.isocalendar()[:2] == b.isocalendar()[:2]
        case "month":
            return (a.year, a.month) == (b.year, b.month)
    return one.decided_at > other.decided_at - cap.rolling.ms


# ---------------------------------------------------------------------------------------- laws

LAWS = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@pytest.mark.parametrize("accept", [True, False])
def test_policy_holds_whatever_happens(world, define, accept):
    @LAWS
    @given(worlds(define), lines)
    def law(catalog, script):
        w, said, returned = play(world, catalog, script, accept=accept)
        check(catalog, w.actions, said, returned)

    law()


def test_the_same_log_gives_the_same_bytes(world, define):
    """Replay determinism: decisions, actions and state, byte for byte."""

    @settings(LAWS, max_examples=50)
    @given(worlds(define), lines)
    def law(catalog, script):
        one, _, _ = play(world, catalog, script, accept=False)
        two, _, _ = play(world, catalog, script, accept=False)
        assert one.emitted == two.emitted
        encode = one.harness.stage.encode
        assert encode(one.state) == encode(two.state)

    law()


def test_every_message_ends_in_exactly_one_outcome(world, define):
    """Each pass of a send step that fell due is concluded, cancelled or still waiting."""

    @settings(LAWS, max_examples=50)
    @given(worlds(define), lines)
    def law(catalog, script):
        w, _, _ = play(world, catalog, script, accept=True)
        waiting = {(e.id, e.step) for e in w.state.entries if e.pending}
        open_ = {}
        for decision in w.decisions:
            place = (decision.entry_id, decision.step)
            if decision.outcome in {"deferred", "lost"} and decision.until is not None:
                open_[place] = decision
            elif decision.message is not None:
                open_.pop(place, None)
        assert set(open_) <= waiting

    law()
