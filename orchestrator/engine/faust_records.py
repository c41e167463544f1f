"""Records as aiokafka's C reader makes them, without the object that it wraps around each.

``ConsumerRecord`` with its eleven fields costs more than a fifth of what applying a record does. The
reader's own records have all that the engine asks for (``ports.LogRecord``): offset, timestamp,
key, value, headers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aiokafka.consumer import fetcher


class PlainRecords(fetcher.PartitionRecords):  # type: ignore[misc]
    """Hands records through (consumer/fetcher.py: ``_consumer_record``), straight from its generator."""

    def __iter__(self) -> Iterator[Any]:
        records: Iterator[Any] = self._records_iterator
        return records

    @staticmethod
    def _consumer_record(_tp: Any, record: Any) -> Any:
        return record


def use_plain_records() -> None:
    """Let every consumer of this process fetch plain records; Faust's is the only one."""
    fetcher.PartitionRecords = PlainRecords
