"""Dead letters: original key, bytes and headers, plus why; and the guard against too many of them."""

from __future__ import annotations

from collections import deque
from traceback import format_exception

from orchestrator.engine.ports import Headers, LogRecord, Output, TaskId
from orchestrator.errors import PoisonError

MINUTE_S = 60.0
_MAX_TRACE = 4_000
"""Characters: the end of a traceback tells most."""


def cause_of(error: BaseException) -> str:
    """Return the short word for metrics and headers."""
    return error.cause if isinstance(error, PoisonError) else "stage_error"


def for_record(
    topic: str, source: str, task: TaskId, record: LogRecord, error: BaseException, now: int
) -> Output:
    """Return the dead letter of a record, as Kafka Connect's tools know it."""
    headers = [*record.headers, *_why(source, task, record.offset, error)]
    return Output(topic, record.key, record.value, headers, now)


def for_key(
    topic: str, source: str, task: TaskId, key: str, doing: str, at: int, error: BaseException
) -> Output:
    """Return the dead letter of a timer or of a catalog switch: there is no record, only a key."""
    headers = [
        *_why(source, task, None, error),
        ("orchestrator.doing", doing.encode()),
        ("orchestrator.at", str(at).encode()),
    ]
    return Output(topic, key.encode(), b"", headers, at)


def _why(
    source: str, task: TaskId, offset: int | None, error: BaseException
) -> list[tuple[str, bytes]]:
    told: dict[str, str] = {
        "topic": source,
        "partition": str(task.partition),
        "offset": "" if offset is None else str(offset),
        "connector.name": task.stage,
        "stage": task.stage,
        "cause": cause_of(error),
        "exception.class.name": type(error).__name__,
        "exception.message": str(error),
    }
    if not isinstance(error, PoisonError):
        told["exception.stacktrace"] = "".join(format_exception(error))[-_MAX_TRACE:]
    return [(f"__connect.errors.{name}", text.encode()) for name, text in told.items()]


def headers_dict(headers: Headers) -> dict[str, str]:
    """Return headers as text, for reading dead letters."""
    return {name: value.decode(errors="replace") for name, value in headers}


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
