"""What a record costs in the codec: microseconds, and the ratio to MessagePack of the same struct."""

from __future__ import annotations

import timeit

import msgspec
import pytest

from orchestrator.codec import headers_for, read_headers, wire
from orchestrator.codec.avro import decoder, encoder, schema_text
from orchestrator.records import Action, Decision, Event
from tests.codec.samples import SAMPLES

pytestmark = pytest.mark.bench
ROUNDS = 2_000


def best(work):
    return min(timeit.repeat(work, number=ROUNDS, repeat=7)) / ROUNDS * 1e6


@pytest.mark.parametrize("record", [Event, Action, Decision], ids=lambda each: each.__name__)
def test_cost_of_a_record(record, capsys):
    sample = next(each for each in SAMPLES if type(each) is record)
    encode, decode = encoder(record), decoder(schema_text(record))
    value = encode(sample, wire.prefix(1))
    packed = msgspec.msgpack.encode(sample)
    pack, unpack = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(record)
    headers = headers_for(sample, "app")
    us = {
        "encode": best(lambda: encode(sample, b"\0\0\0\0\1")),
        "decode": best(lambda: decode(value)),
        "headers": best(lambda: headers_for(sample, "app")),
        "read headers": best(lambda: read_headers(headers)),
    }
    floor = {
        "encode": best(lambda: pack.encode(sample)),
        "decode": best(lambda: unpack.decode(packed)),
    }
    assert decode(value) == sample
    with capsys.disabled():
        print(f"\n{record.__name__}, {len(value)} bytes")
        for name, cost in us.items():
            ratio = f", {cost / floor[name]:.1f} x msgpack" if name in floor else ""
            print(f"  {name:13} {cost:6.2f} us{ratio}")
