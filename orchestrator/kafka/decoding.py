"""Decoding where one may block: a schema not met before is fetched.

A role waits an outage of the registry out, a tool reports it.
"""

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


def decode_now(codec: Codec, value: bytes) -> Record:
    """Return the record of ``value``; for tools.

    Raises:
        DecodeError: No record of ours.
        RegistryUnavailable: Its schema cannot be looked up.
    """
    try:
        return codec.decode(value)
    except SchemaNotLoaded as missing:
        codec.load(missing.schema_id)
        return codec.decode(value)
