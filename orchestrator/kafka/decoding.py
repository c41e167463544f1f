"""Decoding in a thread that may block: a schema not met before is fetched, an outage is waited out."""

from __future__ import annotations

from threading import Event as Flag

from orchestrator.codec import Codec
from orchestrator.errors import RegistryUnavailable, SchemaNotLoaded
from orchestrator.observability import get_logger
from orchestrator.records import Record

RETRY_S = 1.0
_log = get_logger(__name__)


def decode_blocking(codec: Codec, value: bytes, stopped: Flag) -> Record:
    """Return the record of ``value``.

    Raises:
        DecodeError: No record of ours.
        RegistryUnavailable: Only when ``stopped`` was set while the registry was away.
    """
    while True:
        try:
            return codec.decode(value)
        except SchemaNotLoaded as missing:
            try:
                codec.load(missing.schema_id)
            except RegistryUnavailable as error:
                _log.warning("waiting for the schema registry", error=str(error))
                if stopped.wait(RETRY_S):
                    raise
