"""From fetched bytes to records: the first of the three places where poison is told from absence."""

from __future__ import annotations

from orchestrator.engine.ports import Codec
from orchestrator.errors import DecodeError, UnavailableError
from orchestrator.records import Record


class Blocked(Exception):  # noqa: N818 - a state of the partition, not an error of the product
    """This partition waits for something; ``remedy`` blocks until it is there, or raises.

    Raised before anything has been changed, so the same input can simply be tried again.
    """

    def __init__(self, why: UnavailableError) -> None:
        super().__init__(str(why))
        self.why = why

    def remedy(self) -> None:
        """Do what ends the wait; runs in a thread.

        Raises:
            UnavailableError: Not yet.
        """


class SchemaAway(Blocked):
    """The schema of a record has not been fetched yet."""

    def __init__(self, why: UnavailableError, decoder: Decoder, schema_id: int) -> None:
        super().__init__(why)
        self._decoder = decoder
        self._schema_id = schema_id

    def remedy(self) -> None:
        """Fetch it."""
        self._decoder.load(self._schema_id)


class Decoder:
    """The codec, and which schema ids the registry does not know."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._unknown: dict[int, DecodeError] = {}

    def decode(self, value: bytes | None) -> Record:
        """Return the record.

        Raises:
            PoisonError: These bytes are no record of ours.
            Blocked: Its schema must be fetched first.
        """
        if value is None:
            raise DecodeError("a record with a key and no value", cause="tombstone")
        try:
            return self._codec.decode(value)
        except UnavailableError as away:
            schema_id = getattr(away, "schema_id", None)
            if schema_id is None:
                raise Blocked(away) from away
            unknown = self._unknown.get(schema_id)
            if unknown is not None:
                raise unknown from None
            raise SchemaAway(away, self, schema_id) from away

    def load(self, schema_id: int) -> None:
        """Fetch a schema; blocks.

        Raises:
            UnavailableError: The registry is away.
        """
        try:
            self._codec.load(schema_id)
        except DecodeError as unknown:
            self._unknown[schema_id] = unknown
