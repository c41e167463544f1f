"""Avro, the schema registry, the wire format and CloudEvents headers: records at the edge of Kafka."""

from orchestrator.codec.codec import SUBJECT_STRATEGIES, TOPIC_RECORDS, Codec
from orchestrator.codec.headers import RecordHeaders, headers_for, read_headers
from orchestrator.codec.opening import open_codec, open_registry
from orchestrator.codec.registry import RegistryClient

__all__ = [
    "SUBJECT_STRATEGIES",
    "TOPIC_RECORDS",
    "Codec",
    "RecordHeaders",
    "RegistryClient",
    "headers_for",
    "open_codec",
    "open_registry",
    "read_headers",
]
