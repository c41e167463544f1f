"""What passes by itself is waited for: asked at a bad moment, a partition is still there."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from orchestrator.errors import BrokerUnavailable
from orchestrator.kafka import reading
from orchestrator.kafka.reading import PASSING, PartitionReader


class Asked(PartitionReader):
    """A reader whose client answers as it is told."""

    def __init__(self, *answers: int | tuple[int, int]) -> None:
        self._answers = list(answers)
        self._at, self._away = TopicPartition("t", 0), "t cannot be read"
        self._consumer = self

    def get_watermark_offsets(self, *_: object, **__: object) -> tuple[int, int]:
        answer = self._answers.pop(0)
        if isinstance(answer, int):
            raise KafkaException(KafkaError(answer))
        return answer


@pytest.mark.parametrize("code", sorted(PASSING))
def test_what_passes_by_itself_is_asked_again(code):
    assert Asked(code, code, (3, 9)).bounds() == (3, 9)


def test_what_does_not_pass_is_told(monkeypatch):
    """Another error at once, a passing one when it does not pass."""
    with pytest.raises(BrokerUnavailable, match="t cannot be read"):
        Asked(KafkaError._TRANSPORT, (3, 9)).bounds()
    monkeypatch.setattr(reading, "SILENT_S", 0)
    with pytest.raises(BrokerUnavailable, match="t cannot be read"):
        Asked(KafkaError._UNKNOWN_PARTITION, KafkaError._UNKNOWN_PARTITION, (3, 9)).bounds()
