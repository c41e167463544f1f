"""The engine's numbers. Each says its unit and its reason; few of them are settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """Times in seconds unless the name says ``_ms``; sizes in bytes."""

    clock: Literal["broker", "log"] = "broker"
    """``log``: the driver writes the ticks, the worker writes none."""

    # ------------------------------------------------------------------------- checkpoints
    linger: float = 0.05
    """Least time between two checkpoint starts while effects are pending."""
    backlog_linger: float = 0.2
    """The same while input is queued up: who waits, waits for the queue, and a larger transaction
    empties it sooner (each costs broker and worker the same few milliseconds)."""
    state_linger: float = 1.0
    """The same while only states are dirty: nobody waits for them."""
    idle_linger: float = 10.0
    """The same for progress without states or effects (ticks)."""
    max_inputs: int = 2_000
    """Uncommitted inputs (records, timers, swept states) beside the transaction in flight."""
    turn_inputs: int = 100
    """Inputs of one partition per turn of the loop, so that a burst does not hold the others."""
    transaction_timeout: float = 15.0
    """Bounds the flush too: a broker restart is waited out there."""
    commit_timeout: float = 10.0
    """Below the producers' ``socket.timeout.ms``: librdkafka must never repeat an EndTxn itself."""
    suspend_deadline: float = 3.0
    """For the last commits before partitions may move."""
    keep_deadline: float = 5.0
    """For a commit that was in flight when a rebalance ended."""
    claim_pause: float = 0.5
    """Between two questions to the group whether a dead partition is still ours."""

    # ------------------------------------------------------------------------------- sizes
    max_state: int = 256 * 1024
    max_message: int = 1_000_000
    """A little under Kafka's default ``max.message.bytes`` (1,048,588), record overhead included."""
    cached_bytes: int = 128 * 1024 * 1024
    """Memory for the states of a whole process, about: see ``states.Room``."""
    decoded: int = 16
    """States of one task that stay decoded; more than the processor's cache holds cost more than
    decoding them anew, unless a stage decodes slowly."""
    cached_timers: int = 50_000
    """Index entries that one load may bring into the heap."""
    timers_ahead_ms: int = 60_000
    """How far beyond the log time a load looks."""
    max_queue: int = 10_000
    """Records fetched and not applied; beyond it the partition is paused in the consumer."""

    # ------------------------------------------------------------------------------- ticks
    tick_gap: float = 0.25
    """Least silence of a partition before a tick: 30 ticks/s over 8 idle partitions with timers."""
    tick_lost: float = 10.0
    """A tick neither acknowledged nor consumed for so long is given up."""
    tick_stuck: float = 30.0
    """A tick acknowledged, but not consumed: an open upstream transaction stops time."""

    # --------------------------------------------------------------------------- watchdogs
    start_deadline: float = 30.0
    """Assigned, but nobody starts the task: a silent stall."""
    progress_deadline: float = 60.0
    """Input waits, nothing is applied or committed: a silent stall."""
    stuck_changelog: float = 120.0
    """A changelog that cannot be read to its end for so long has a hanging transaction."""
    retry: float = 1.0
    """Between two attempts at something that is unavailable."""
    period: float = 0.01
    """The loop's pause when nothing is to be done."""
    threads: int = 8
    """For openings and commits."""

    # ------------------------------------------------------------------------ dead letters
    dead_letters_minimum: int = 500
    dead_letters_share: float = 0.2
    """More within a minute than both is a schema break, not poison: the stage stops."""
