"""When to tick: an estimate of the log's clock, and one tick under way at a time."""

from __future__ import annotations

from orchestrator.engine.clock import LogClock, TickState


def test_a_record_ahead_raises_the_estimate_and_an_old_one_does_not_lower_it():
    """With an old backlog the clock must not run hours late in a silent partition."""
    clock = LogClock()
    clock.saw(10_500, wall=10_000)
    assert clock.now(20_000) == 20_500
    clock.saw(1_000, wall=30_000)
    assert clock.now(40_000) == 40_500


def test_a_prompt_acknowledgement_replaces_the_estimate_a_late_one_does_not():
    """It follows a clock that went back, but not a broker that paused."""
    clock = LogClock(offset=900.0)
    assert not clock.acknowledged(10_000, wall=10_200, took=0.01)
    assert clock.offset == -200
    assert not clock.acknowledged(90_000, wall=10_200, took=3.0)
    assert clock.offset == -200
    assert clock.acknowledged(90_000, wall=10_200, took=0.1), "far apart: an alarm"


def tick() -> TickState:
    return TickState(gap=0.25, lost=10, stuck=30)


def test_one_tick_until_it_is_consumed():
    """An acknowledged tick behind an open upstream transaction is not followed by a flood."""
    state = tick()
    assert not state.may_send(0.1, silent_since=0.0, position=0), "not silent for the gap yet"
    assert state.may_send(1.0, silent_since=0.0, position=0)
    state.sent(1.0)
    state.acknowledged(7, 1.0)
    assert not state.may_send(29.0, 0.0, position=7)
    assert state.may_send(29.0, 0.0, position=8)


def test_lost_and_unseen_ticks_are_given_up():
    """Neither acknowledged for 10 s, nor consumed for 30 s, nor refused."""
    state = tick()
    state.sent(0.0)
    assert not state.may_send(9.0, 0.0, 0)
    assert state.may_send(11.0, 0.0, 0)
    state.sent(11.0)
    state.acknowledged(3, 11.0)
    assert not state.may_send(40.0, 0.0, 0)
    assert state.may_send(42.0, 0.0, 0)
    assert state.given_up == 2
    state.sent(42.0)
    state.failed(42.0)
    assert state.may_send(43.0, 0.0, 0)


def test_an_answer_to_an_earlier_tick_means_nothing():
    """Its callback may come after it was given up."""
    state = tick()
    state.sent(1.0)
    state.reset()
    state.sent(2.0)
    state.acknowledged(5, 1.0)
    state.failed(1.0)
    assert (state.sent_at, state.offset) == (2.0, None)
