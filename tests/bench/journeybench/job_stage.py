# ruff: noqa: ARG002 - protocols have arguments that the job does not need
"""The job of the peers (``../shared/peers``) as a pure stage under our engine, and its wire format.

The rules are ``job.apply`` of the peers itself, unchanged, over a state of the same fields; ours are
the stage's protocol around it, a state of MessagePack instead of JSON, and reading an event by hand.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

PEERS = Path(os.environ.get("JB_PEERS", Path(__file__).parents[4] / "shared" / "peers"))
sys.path.insert(0, str(PEERS))

import job  # noqa: E402 - the peers lie outside the repository

from orchestrator.errors import DecodeError  # noqa: E402
from orchestrator.records import Event, Record  # noqa: E402
from orchestrator.stages.catalog import Catalog  # noqa: E402
from orchestrator.stages.protocol import Emit, Input  # noqa: E402


class JobState(Struct, array_like=True):
    """``facts`` is the job's own state, as ``job.new_state`` makes it."""

    due: int = 0
    """The job has no timers."""
    catalog: int = 0
    facts: dict[str, Any] = {}


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(JobState).decode


class JobStage:
    """See the module docstring."""

    name = "decide"
    source = "timeline"
    table = "customers"
    sweeps = False

    def key(self, item: Input) -> str:
        """The log's own key."""
        return item.key

    def new(self, key: str) -> JobState:
        """As the peers begin."""
        return JobState(facts=job.new_state(key))

    def encode(self, state: JobState) -> bytes:
        return b"\x01" + _encode(state)

    def decode(self, data: bytes) -> JobState:
        return _decode(memoryview(data)[1:])

    def apply(
        self, key: str, state: JobState, item: Input, now: int, catalog: Catalog
    ) -> list[Emit]:
        """One event of the job; its decision leaves in the peers' own Avro."""
        del now, catalog
        event = item.record
        fields = {
            "event_id": event.event_id,
            "customer_id": key,
            "type": event.type,
            "ts": event.occurred_at,
            "props": event.properties,
        }
        decision = job.apply(state.facts, fields)
        if not decision:
            return []
        return [Emit(topic="decisions", key=key, raw=job.encode_decision(fields, decision))]

    def fire(self, key: str, state: JobState, now: int, catalog: Catalog) -> list[Emit]:
        raise AssertionError("the job has no timers")

    def switch(self, key: str, state: JobState, old: Catalog, new: Catalog, at: int) -> list[Emit]:
        raise AssertionError("the job has no catalogs")


class JobCodec:
    """The peers' bytes as our records, the properties of the job only."""

    def encode(self, record: Record, topic: str) -> bytes:
        raise AssertionError(f"the job passes its bytes through: {topic}")

    def decode(self, value: bytes) -> Record:
        try:
            return read_event(value)
        except (IndexError, UnicodeDecodeError) as error:
            raise DecodeError(repr(error)) from error

    def load(self, schema_id: int) -> None:
        raise AssertionError("no registry")


WANTED = frozenset({b"device", b"channel"})


def read_event(value: bytes) -> Event:
    """Read schemaless Avro: event_id, customer_id, type, ts, props. Short strings only."""
    at = 5
    length = value[at] >> 1
    event_id = value[at + 1 : at + 1 + length].decode()
    at += 1 + length
    at += 1 + (value[at] >> 1)  # the customer is the key
    length = value[at] >> 1
    kind = value[at + 1 : at + 1 + length].decode()
    at += 1 + length
    byte = value[at]
    at += 1
    ts, shift = byte & 127, 7
    while byte & 128:
        byte = value[at]
        at += 1
        ts |= (byte & 127) << shift
        shift += 7
    props = {}
    while count := value[at] >> 1:
        at += 1
        for _ in range(count):
            end = at + 1 + (value[at] >> 1)
            name = value[at + 1 : end]
            at = end + 1 + (value[end] >> 1)
            if name in WANTED:
                props[name.decode()] = value[end + 1 : at].decode()
    return Event(
        event_id=event_id,
        type=kind,
        occurred_at=(ts >> 1) ^ -(ts & 1),
        identities={},
        source="",
        properties=props,
    )


def state_of(value: bytes) -> dict[str, Any]:
    """Return a state of our changelog as the peers' mapping."""
    facts: dict[str, Any] = _decode(memoryview(value)[9:]).facts
    return facts
