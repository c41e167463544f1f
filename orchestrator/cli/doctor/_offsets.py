"""Where a partition begins and ends, asked with patience."""

from __future__ import annotations

import time
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

ANSWER_S: Final = 10.0
PAUSE_S: Final = 0.2
REFUSED: Final = frozenset(
    {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED}
)


def bounds(consumer: Consumer, at: TopicPartition) -> tuple[int, int]:
    """Return (first offset, end of what is committed).

    A leader that has just moved, or a topic that has just been made, gets its time.

    Raises:
        KafkaException: Still no answer, or one that will not change.
    """
    deadline = time.monotonic() + ANSWER_S
    while True:
        try:
            return consumer.get_watermark_offsets(at, timeout=ANSWER_S)
        except KafkaException as error:
            if error.args[0].code() in REFUSED or time.monotonic() > deadline:
                raise
        time.sleep(PAUSE_S)


def remedy(error: KafkaException, grant: str) -> str:
    """Return what to do about it: ``grant``, if the broker refused."""
    return grant if error.args[0].code() in REFUSED else "look at the brokers, then run it again"
