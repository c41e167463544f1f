"""What a deployment has committed, read back from its topics."""

from __future__ import annotations

from orchestrator.codec import open_codec
from orchestrator.errors import SchemaNotLoaded
from orchestrator.kafka.reading import read_partition
from orchestrator.kafka.topics import Topology

OUTCOMES = {"message.accepted", "message.dropped", "message.failed"}
FINAL = {"sent", "dropped", "failed", "unknown"}


class Log:
    """Everything committed on the topics of a deployment."""

    def __init__(self, settings):
        self._settings, self._topology, self._codec = (
            settings,
            Topology(settings),
            open_codec(settings),
        )

    def records(self, logical):
        """Return (partition, key, record) of a topic on all its channels."""
        return [
            (partition, (message.key() or b"").decode(), self._decoded(message.value()))
            for spec in self._topology.specs()
            if spec.logical == logical
            for partition in range(spec.partitions)
            for message in read_partition(self._settings, spec.name, partition)
            if message.value() is not None
        ]

    def count(self, logical):
        """Return how many records a topic holds."""
        return sum(
            1
            for spec in self._topology.specs()
            if spec.logical == logical
            for partition in range(spec.partitions)
            for _ in read_partition(self._settings, spec.name, partition)
        )

    def timed(self, logical):
        """Return (log time, key, record) of a topic without channels."""
        topic = self._topology.name(logical)
        return [
            (
                message.timestamp()[1],
                (message.key() or b"").decode(),
                self._decoded(message.value()),
            )
            for partition in range(self._topology.partitions(logical))
            for message in read_partition(self._settings, topic, partition)
            if message.value() is not None
        ]

    def _decoded(self, value):
        try:
            return self._codec.decode(value)
        except SchemaNotLoaded as missing:
            self._codec.load(missing.schema_id)
            return self._codec.decode(value)
