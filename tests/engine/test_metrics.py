"""The engine's metrics: counted once, at the commit, from the snapshot."""

from __future__ import annotations

from types import SimpleNamespace

from prometheus_client import REGISTRY

from orchestrator.engine.clock import TickState
from orchestrator.engine.meta import Meta
from orchestrator.engine.metrics import CommitObserver
from orchestrator.engine.outputs import OutputEncoder
from orchestrator.engine.ports import (
    ActionTally,
    DeadTally,
    DecisionTally,
    MergeTally,
    Output,
    Snapshot,
    StateWrite,
    TaskId,
)
from orchestrator.engine.replay import Progress
from orchestrator.records import Action, Merge
from orchestrator.stages.protocol import Emit

SLOT = SimpleNamespace(id=TaskId("toy", 3))


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"orchestrator_{name}", labels) or 0.0


def output(tally, at_ms: int = 0) -> Output:
    return Output("t", b"k", b"12345", [], at_ms, tally)


def snapshot(*outputs: Output, fired=()) -> Snapshot:
    return Snapshot([StateWrite(b"k", b"123", 0)], list(outputs), Meta(), [], fired)


def test_outputs_count_as_what_they_are():
    """Two equal decisions, one action, one dead letter, one record that counts as nothing."""
    before = value("decisions_total", journey="toys", outcome="suppressed", reason="cap")
    same = output(DecisionTally("toys", "suppressed", "cap"))
    observe = CommitObserver(live=False)
    observe(
        SLOT,
        snapshot(
            same,
            same,
            output(ActionTally("toy", "send", timer=False)),
            output(DeadTally("toy", "x")),
            output(MergeTally()),
            output(None),
        ),
        0.02,
    )
    assert (
        value("decisions_total", journey="toys", outcome="suppressed", reason="cap") - before == 2
    )
    assert value("actions_total", channel="toy", kind="send") == 1
    assert value("dead_letters_total", role="toy", cause="x") == 1
    assert value("merges_total", stage="toy") == 1
    assert value("transaction_records_sum", stage="toy") == 7
    assert value("transaction_bytes_sum", stage="toy") == 6 * 5 + 3
    assert value("transaction_seconds_count", stage="toy") == 1


def test_latency_is_of_events_lateness_of_timers():
    """An action that a timer caused says nothing about latency; of timers the ends count."""
    latency, lateness = value("event_to_action_seconds_sum"), value("timer_lateness_seconds_count")
    observe = CommitObserver(live=True, wall=lambda: 110.0)
    observe(
        SLOT,
        snapshot(
            output(ActionTally("toy", "send", timer=False), 108_000),
            output(ActionTally("toy", "send", timer=True), 1_000),
            fired=[100_000, 100_500, 101_000],
        ),
        0.02,
    )
    assert value("event_to_action_seconds_sum") - latency == 2.0
    assert value("timer_lateness_seconds_count") - lateness == 2


def test_on_the_log_clock_nobody_is_late():
    lateness = value("timer_lateness_seconds_count")
    CommitObserver(live=False)(SLOT, snapshot(fired=[1]), 0.02)
    assert value("timer_lateness_seconds_count") == lateness


def test_the_cause_of_an_action_tells_whether_a_timer_fired():
    """By the cause's recipe (ids.py), so that stages need not say it again."""
    plain = SimpleNamespace(encode=lambda *_: b"x", write=lambda *_: [])
    encoder = OutputEncoder(plain, plain, lambda logical, *_: logical, 1_000)
    action = Action(
        action_id="a", customer_id="c", channel="email", message="m", template="t", journey="j",
        journey_version="v", entry_id="e", step="s", decision_id="d", category="k", priority=1,
        decided_at=1, caused_by="timer:17",
    )  # fmt: skip
    (late,) = encoder.encode([Emit(topic="actions", key="c", record=action, channel="email")], 17)
    assert late.tally == ActionTally("email", "send", timer=True)


def test_a_merge_counts_where_it_was_found():
    plain = SimpleNamespace(encode=lambda *_: b"x", write=lambda *_: [])
    encoder = OutputEncoder(plain, plain, lambda logical, *_: logical, 1_000)
    merge = Merge(merge_id="m", loser="a", winner="b", caused_by="e")
    (found,) = encoder.encode([Emit(topic="timeline", key="a", record=merge)], 17)
    assert found.tally == MergeTally()


def test_a_tick_is_outstanding_until_it_has_been_consumed():
    tick = TickState(gap=0.25, lost=10, stuck=30)
    assert tick.outstanding(100.0, 0) == 0
    tick.sent(100.0)
    assert tick.outstanding(104.0, 7) == 4
    tick.acknowledged(7, 100.0)
    assert tick.outstanding(140.0, 7) == 40  # acknowledged and not seen: the log is held
    assert tick.outstanding(140.0, 8) == 0


def test_progress_counts_down():
    progress = Progress(position=10, end=25)
    assert progress.remaining == 15
