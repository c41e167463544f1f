"""What leaves a stage, as bytes: topic, key, headers, log time of the cause; sizes are checked."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from orchestrator.engine.ports import (
    ActionTally,
    Codec,
    DecisionTally,
    Envelope,
    Headers,
    MergeTally,
    Output,
    TopicNames,
)
from orchestrator.errors import OversizeError
from orchestrator.records import Action, Decision, Merge, Record
from orchestrator.stages.protocol import Emit

_BESIDE = 2_048
"""Bytes that a record's own headers and key hold at most, beside what they repeat from its value."""


class OutputEncoder:
    """Turns a stage's emits into outputs; shared by all tasks of a process."""

    def __init__(
        self, codec: Codec, envelope: Envelope, names: TopicNames, max_message: int
    ) -> None:
        self._codec = codec
        self._envelope = envelope
        self._names = names
        self._max_message = max_message
        self._surely_fits = max_message // 2 - _BESIDE
        self.dead_letters = names("dead-letters")

    def encode(self, emits: Iterable[Emit], now: int, original: Headers = ()) -> list[Output]:
        """Return the outputs of one input; what is passed through keeps ``original`` headers.

        Raises:
            OversizeError: One of them would be refused by the broker.
        """
        outputs = []
        for emit in emits:
            topic = self._names(emit.topic, emit.channel)
            record, value, tally = emit.record, emit.raw, None
            if record is not None:
                if value is None:
                    value = self._codec.encode(record, topic)
                tally = _tally(record)
            key = emit.key.encode()
            headers = self._envelope.write(emit, original)
            if record is None or len(value or b"") > self._surely_fits:
                self._check_size(topic, key, value, headers)
            outputs.append(Output(topic, key, value, headers, now, tally))
        return outputs

    def _check_size(self, topic: str, key: bytes, value: bytes | None, headers: Headers) -> None:
        size = len(key) + len(value or b"") + sum(len(n) + len(v) for n, v in headers)
        if size > self._max_message:
            raise OversizeError(f"{topic}: {size} bytes, at most {self._max_message} fit")


def _tally(record: Record) -> ActionTally | DecisionTally | MergeTally | None:
    if isinstance(record, Decision):
        return _decision(record.journey or "", record.outcome, record.reason or "")
    if isinstance(record, Action):
        return _action(record.channel, record.kind, record.caused_by.startswith("timer:"))
    if isinstance(record, Merge):
        return _MERGE
    return None


# Thousands of outputs wait for a commit: what counts as the same is the same object.
_decision = lru_cache(maxsize=4_096)(DecisionTally)
_action = lru_cache(maxsize=1_024)(ActionTally)
_MERGE = MergeTally()
