"""Dead letters: original key, bytes and headers, plus why; and the guard against too many of them."""

from __future__ import annotations

from collections import deque

from orchestrator.engine.ports import DeadTally, LogRecord, Output, TaskId
from orchestrator.errors import PoisonError
from orchestrator.kafka.dead_letters import dead_letter_headers, fitted

MINUTE_S = 60.0


def cause_of(error: BaseException) -> str:
    """Return the short word for metrics and headers."""
    return error.cause if isinstance(error, PoisonError) else "stage_error"


def for_record(
    topic: str, source: str, task: TaskId, record: LogRecord, error: BaseException, now: int
) -> Output:
    """Return the dead letter of a record: its key, bytes and headers, and why."""
    headers = dead_letter_headers(
        task.stage,
        cause_of(error),
        str(error),
        topic=source,
        partition=task.partition,
        offset=record.offset,
        original=record.headers,
    )
    tally = DeadTally(task.stage, cause_of(error))
    value, told = fitted(record.key, record.value, headers)
    return Output(topic, record.key, value, list(told), now, tally)


def for_key(
    topic: str, source: str, task: TaskId, key: str, doing: str, at: int, error: BaseException
) -> Output:
    """Return the dead letter of a timer or of a catalog switch: there is no record, only a key."""
    headers = dead_letter_headers(
        task.stage,
        cause_of(error),
        str(error),
        topic=source,
        partition=task.partition,
        original=[("orchestrator.doing", doing.encode()), ("orchestrator.at", str(at).encode())],
    )
    tally = DeadTally(task.stage, cause_of(error))
    return Output(topic, key.encode(), b"", headers, at, tally)


class DeadLetterGuard:
    """Many dead letters within a minute are a schema break upstream, not poison."""

    def __init__(self, minimum: int, share: float) -> None:
        self._minimum = minimum
        self._share = share
        self._seen: deque[tuple[float, int, int]] = deque()
        self._inputs = 0
        self._dead = 0

    def note(self, mono: float, inputs: int, dead: int) -> bool:
        """Add what one turn brought; return whether the stage must stop."""
        self._seen.append((mono, inputs, dead))
        self._inputs += inputs
        self._dead += dead
        while self._seen[0][0] < mono - MINUTE_S:
            _, old_inputs, old_dead = self._seen.popleft()
            self._inputs -= old_inputs
            self._dead -= old_dead
        return self._dead >= self._minimum and self._dead > self._share * self._inputs
