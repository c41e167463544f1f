"""The gate before a provider: rate, Retry-After, breaker - and what a call's answer makes of an action."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.records import Action
from orchestrator.sinks.delivery import Again, Deliverer, Outcome, Policy, Tries
from orchestrator.sinks.gate import FAILURES, MAX_PAUSE_S, PAUSE_S, PROBE_S, Gate
from orchestrator.sinks.pacing import PATIENCE_S
from orchestrator.sinks.senders.protocol import Accepted, Rejected, TryAgain, Unfit

AWAY = TryAgain("unreachable", "nobody there")
FAST = TryAgain("throttled", "HTTP 429", after=30, blame="pace")
OURS = TryAgain("credentials", "HTTP 401", blame="setup")
ONES = TryAgain("refused", "SMTP 450", blame="message")


def gate(rate: float = 0) -> Gate:
    return Gate(rate, 0.0, lambda: 1.0)


def test_five_failures_in_a_row_close_it_and_only_probes_pass():
    """A success between them counts from the beginning; those behind the fifth cost no try."""
    one = gate()
    assert [one.refused(AWAY, 0.0) for _ in range(FAILURES - 1)] == [True] * (FAILURES - 1)
    one.answered()
    counted = [one.refused(AWAY, 0.0) for _ in range(FAILURES)]
    assert counted == [True] * (FAILURES - 1) + [False]
    assert one.why == "unreachable"
    assert one.enter(0.5) == pytest.approx(PAUSE_S - 0.5)
    assert one.enter(PAUSE_S) == 0  # the probe
    assert one.enter(PAUSE_S) > 0  # and nobody beside it
    one.answered()
    assert (one.why, one.enter(PAUSE_S)) == ("", 0)


def test_pauses_grow_to_a_minute_and_echoes_do_not_count():
    one, now, pauses = gate(), 0.0, []
    for _ in range(FAILURES):
        one.refused(AWAY, now)
    for _ in range(12):
        wait = one.enter(now)
        pauses.append(wait)
        assert not one.refused(AWAY, now)  # was sent before the gate closed
        assert one.enter(now) == wait
        now += wait
        assert one.enter(now) == 0
        one.refused(AWAY, now)
    assert pauses[:4] == [1, 2, 4, 8]
    assert pauses[-1] == MAX_PAUSE_S


def test_wrong_credentials_close_it_at_once():
    one = gate()
    assert not one.refused(OURS, 0.0)
    assert (one.why, one.enter(0.0)) == ("credentials", PAUSE_S)


def test_too_fast_is_a_pause_for_all_and_no_failure():
    """A call that was under way and gets through does not cut the provider's pause short."""
    one = gate()
    assert not one.refused(FAST, 0.0)
    one.answered()
    assert (one.why, one.enter(0.0)) == ("", 30)
    assert one.enter(30.0) == 0
    one.refused(TryAgain("throttled", "", after=1e9, blame="pace"), 30.0)
    assert one.enter(30.0) == PATIENCE_S


def test_a_probe_that_never_comes_back_is_not_waited_for():
    one = gate()
    one.refused(OURS, 0.0)
    assert one.enter(2.0) == 0
    assert one.enter(2.0 + PROBE_S - 1) > 0
    assert one.enter(2.0 + PROBE_S) == 0
    one.unused()
    assert one.enter(2.0 + PROBE_S) == 0


def test_one_messages_trouble_does_not_concern_the_others():
    one = gate()
    assert all(one.refused(ONES, 0.0) for _ in range(FAILURES * 3))
    assert one.enter(0.0) == 0


@given(st.lists(st.tuples(st.sampled_from([AWAY, FAST, OURS, ONES, None]), st.floats(0, 120))))
def test_it_never_stays_closed(steps: list[tuple[TryAgain | None, float]]):
    """Whatever happened: who waits as long as told, and then for a lost probe, gets in."""
    one, now = Gate(2.0, 0.0, lambda: 0.5), 0.0
    for error, pause in steps:
        now += pause
        one.enter(now)
        one.answered() if error is None else one.refused(error, now)
    for _ in range(1000):
        wait = one.enter(now)
        if not wait:
            return
        now += wait + 1e-9
    pytest.fail("closed for good")


# ------------------------------------------------------------------------------- one call


ACTION = Action(
    action_id="a1",
    customer_id="ada",
    channel="email",
    message="welcome",
    template="t",
    journey="trial",
    journey_version="v1",
    entry_id="e1",
    step="day1",
    decision_id="d1",
    category="news",
    priority=50,
    decided_at=0,
    expires_at=1000,
    caused_by="event",
)


class Says:
    """A sender that answers as told."""

    def __init__(self, answer):
        self.answer = answer

    async def send(self, _):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def deliverer(answer, on_unknown="resend", attempts=3, one=None):
    return Deliverer(
        Says(answer), Policy(attempts, on_unknown), one or gate(), lambda _: 500, lambda: 0.5
    )


async def outcome(answer, tries=None, **policy):
    return await deliverer(answer, **policy).attempt(ACTION, {}, tries or Tries())


async def test_what_an_answer_makes_of_an_action():
    assert await outcome(Accepted("p1")) == Outcome("sent", None, 1, "p1")
    assert await outcome(Rejected("gone", "HTTP 410", report="bounced")) == Outcome(
        "failed", "gone", 1, "HTTP 410", report="bounced"
    )
    assert await outcome(RuntimeError("a customer's address")) == Outcome(
        "failed", "error", 1, "RuntimeError"
    )
    assert isinstance(await outcome(ONES), Again)


async def test_unknown_is_given_up_or_tried_again_and_never_forgotten():
    """Once nobody knows, the end is ``sent`` or ``unknown``: never ``failed`` or ``dropped``."""
    broke = TryAgain("connection", "reset", unknown=True)
    assert await outcome(broke, on_unknown="give_up") == Outcome("unknown", "unknown", 1, "reset")
    tries = Tries()
    assert isinstance(await outcome(broke, tries), Again)
    assert tries.maybe_sent
    assert isinstance(await outcome(ONES, tries), Again)
    assert await outcome(ONES, tries) == Outcome("unknown", "unknown", 3, "SMTP 450")
    taken = await outcome(Accepted("p1"), tries)
    assert (taken.state, taken.maybe_twice) == ("sent", True)
    late = deliverer(broke).invalid(ACTION, tries, cancelled=True)
    assert late == Outcome("unknown", "unknown", 4)


async def test_tries_end_and_an_outage_is_no_try():
    tries = Tries()
    for _ in range(2):
        assert isinstance(await outcome(ONES, tries), Again)
    assert (await outcome(ONES, tries)).reason == "refused"
    one, tries = gate(), Tries()
    for _ in range(20):
        assert isinstance(await deliverer(FAST, one=one).attempt(ACTION, {}, tries), Again)
    assert (tries.asked, tries.counted) == (20, 0)


async def test_validity():
    one = deliverer(Accepted())
    assert one.invalid(ACTION, None, cancelled=False) is None
    assert one.invalid(ACTION, None, cancelled=True).reason == "cancel"
    late = Deliverer(Says(None), Policy(1, "resend"), gate(), lambda _: 1000, lambda: 0.5)
    assert late.invalid(ACTION, None, cancelled=False) == Outcome("dropped", "window")


async def test_what_was_not_shown_to_the_provider_says_nothing_about_it():
    """An action without an address passes a closed gate as a probe: the gate stays closed."""
    one = gate()
    one.refused(OURS, 0.0)
    assert one.enter(2.0) == 0
    await deliverer(Unfit("no_address", ""), one=one).attempt(ACTION, {}, Tries())
    assert one.why == "credentials"
    assert one.enter(2.0) == 0

    class Hangs:
        async def send(self, _):
            await asyncio.sleep(60)

    calling = Deliverer(Hangs(), Policy(1, "resend"), one, lambda _: 0, lambda: 0.5)
    task = asyncio.create_task(calling.attempt(ACTION, {}, Tries()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert one.enter(2.0) == 0
