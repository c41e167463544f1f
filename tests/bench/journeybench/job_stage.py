# ruff: noqa: ARG002 - protocols have arguments that the job does not need
"""The job of the peers (``../shared/peers``) as a pure stage under our engine, and its wire format.

The rules are ``job.apply`` of the peers itself, unchanged, over a state of the same fields; ours are
the stage's protocol around it, a state of MessagePack instead of JSON, and Avro read and written by
hand: of an event what the rules ask for, as a definition would; a decision as the peers' own bytes.
"""

from __future__ import annotations

import os
import sys
from functools import cache
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


class JobState(Struct, array_like=True, gc=False):
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
        return [Emit(topic="decisions", key=key, raw=write_decision(event, key, *decision))]

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


DEVICE, CHANNEL, UNSUBSCRIBED = b"device", b"channel", b"unsubscribed"


def read_event(value: bytes) -> Event:
    """Read schemaless Avro: event_id, customer_id, type, ts, props. Short strings only.

    The rules ask every event for its device, and one of unsubscribing for its channel.
    """
    at = 5
    end = at + 1 + (value[at] >> 1)
    event_id = value[at + 1 : end].decode()
    at = end + 1 + (value[end] >> 1)  # the customer is the key
    end = at + 1 + (value[at] >> 1)
    kind = value[at + 1 : end]
    byte = value[end]
    at = end + 1
    ts, shift = byte & 127, 7
    while byte & 128:
        byte = value[at]
        at += 1
        ts |= (byte & 127) << shift
        shift += 7
    props: dict[str, Any] = {}
    wanted = 2 if kind == UNSUBSCRIBED else 1
    while count := value[at] >> 1:
        at += 1
        for _ in range(count):
            end = at + 1 + (value[at] >> 1)
            name = value[at + 1 : end]
            at = end + 1 + (value[end] >> 1)
            if name == DEVICE or (wanted > 1 and name == CHANNEL):
                props[name.decode()] = value[end + 1 : at].decode()
                if len(props) == wanted:
                    break
        else:
            continue
        break
    return Event(
        event_id=event_id,
        type=kind.decode(),
        occurred_at=(ts >> 1) ^ -(ts & 1),
        identities={},
        source="",
        properties=props,
    )


def write_decision(event: Event, key: str, action: str, channel: str, reason: str) -> bytes:
    """Return the bytes of ``job.encode_decision``. Ids of less than 64 characters only."""
    event_id, customer = event.event_id.encode(), key.encode()
    length, ts, number = len(event_id), event.occurred_at << 1, bytearray()
    while ts > 127:
        number.append(ts & 127 | 128)
        ts >>= 7
    number.append(ts)
    return b"%b%cd-%b%c%b%b%b%c%b" % (
        job.DECISION_HEADER,
        length + 2 << 1,
        event_id,
        len(customer) << 1,
        customer,
        _choice(action, channel, reason),
        number,
        length << 1,
        event_id,
    )


@cache
def _choice(*words: str) -> bytes:
    return b"".join(bytes([len(word) << 1]) + word.encode() for word in words)


def state_of(value: bytes) -> dict[str, Any]:
    """Return a state of our changelog as the peers' mapping."""
    facts: dict[str, Any] = _decode(memoryview(value)[9:]).facts
    return facts
