"""What leaves a stage, as bytes: topic, key, headers, log time of the cause; sizes are checked."""

from __future__ import annotations

from collections.abc import Iterable

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
from orchestrator.records import Action, Decision, Merge
from orchestrator.stages.protocol import Emit


class OutputEncoder:
    """Turns a stage's emits into outputs; shared by all tasks of a process."""

    def __init__(
        self, codec: Codec, envelope: Envelope, names: TopicNames, max_message: int
    ) -> None:
        self._codec = codec
        self._envelope = envelope
        self._names = names
        self._max_message = max_message
        self.dead_letters = names("dead-letters")

    def encode(self, emits: Iterable[Emit], now: int, original: Headers = ()) -> list[Output]:
        """Return the outputs of one input; what is passed through keeps ``original`` headers.

        Raises:
            OversizeError: One of them would be refused by the broker.
        """
        outputs = []
        for emit in emits:
            topic = self._names(emit.topic, emit.channel)
            value = emit.raw
            if value is None and emit.record is not None:
                value = self._codec.encode(emit.record, topic)
            key = emit.key.encode()
            headers = self._envelope.write(emit, original)
            size = len(key) + len(value or b"") + sum(len(n) + len(v) for n, v in headers)
            if size > self._max_message:
                raise OversizeError(f"{topic}: {size} bytes, at most {self._max_message} fit")
            outputs.append(Output(topic, key, value, headers, now, _tally(emit)))
        return outputs


def _tally(emit: Emit) -> ActionTally | DecisionTally | MergeTally | None:
    record = emit.record
    if record is None:
        return None
    if isinstance(record, Decision):
        return DecisionTally(record.journey or "", record.outcome, record.reason or "")
    if isinstance(record, Action):
        return ActionTally(record.channel, record.kind, record.caused_by.startswith("timer:"))
    if isinstance(record, Merge):
        return MergeTally()
    return None
