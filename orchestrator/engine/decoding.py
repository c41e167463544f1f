"""From fetched bytes to records: the first of the three places where poison is told from absence."""

from __future__ import annotations

from contextlib import suppress

from orchestrator.engine.ports import Codec
from orchestrator.errors import DecodeError, SchemaNotLoaded, UnavailableError
from orchestrator.records import Record


class Blocked(Exception):  # noqa: N818 - a state of the partition, not an error of the product
    """This partition waits for something; ``remedy`` blocks until it is there, or raises.

    Raised before anything has been changed, so the same input can simply be tried again.
    """

    def __init__(self, why: UnavailableError) -> None:
        super().__init__(str(why))
        self.why = why
        self._told = False

    def remedy(self) -> None:
        """Do what ends the wait; runs in a thread. Here: say what is missing, then try once more.

        Raises:
            UnavailableError: Not yet.
        """
        if not self._told:
            self._told = True
            raise self.why


class Decoder:
    """The codec as the core sees it: a record, poison, or a block."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._decode = codec.decode

    def decode(self, value: bytes | None) -> Record:
        """Return the record.

        Raises:
            PoisonError: These bytes are no record of ours.
            Blocked: Its schema must be fetched first.
        """
        if value is None:
            raise DecodeError("a record with a key and no value", cause="tombstone")
        try:
            return self._decode(value)
        except SchemaNotLoaded as away:
            raise SchemaAway(away, self._codec) from away


class SchemaAway(Blocked):
    """The schema of a record has not been fetched yet."""

    def __init__(self, why: SchemaNotLoaded, codec: Codec) -> None:
        super().__init__(why)
        self._schema_id = why.schema_id
        self._codec = codec

    def remedy(self) -> None:
        """Fetch it. A schema that the registry does not know makes the record poison."""
        with suppress(DecodeError):  # decoding again will say so
            self._codec.load(self._schema_id)
