"""The size of an output counts key, value and headers, whichever way it is found out."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from orchestrator.engine.envelope import CloudEvents
from orchestrator.engine.outputs import OutputEncoder
from orchestrator.errors import OversizeError
from orchestrator.records import Merge
from orchestrator.stages.protocol import Emit

MERGE = Merge(merge_id="m", loser="a", winner="b", caused_by="e")


def encoder(value: bytes, limit: int) -> OutputEncoder:
    codec = SimpleNamespace(encode=lambda *_: value)
    return OutputEncoder(codec, CloudEvents("app"), lambda logical, *_: logical, limit)


@pytest.mark.parametrize("limit", [1_000, 10_000, 1_000_000])
def test_an_output_of_the_size_that_fits_leaves_and_one_byte_more_does_not(limit):
    emit = Emit(topic="timeline", key="a", record=MERGE)
    (small,) = encoder(b"", limit).encode([emit], 1)
    beside = len(small.key) + sum(len(name) + len(said) for name, said in small.headers)
    value = b"x" * (limit - beside)
    assert encoder(value, limit).encode([emit], 1)[0].value == value
    with pytest.raises(OversizeError, match=f"{limit + 1} bytes, at most {limit} fit"):
        encoder(value + b"x", limit).encode([emit], 1)


def test_the_headers_of_what_passes_through_count_however_small_its_value():
    passing = Emit(topic="timeline", key="a", raw=b"x")
    assert encoder(b"", 10_000).encode([passing], 1, [("h", b"y" * 9_997)])
    with pytest.raises(OversizeError):
        encoder(b"", 10_000).encode([passing], 1, [("h", b"y" * 9_998)])


def test_what_counts_as_the_same_is_one_object():
    """Thousands of outputs wait for a commit."""
    first, second = encoder(b"", 1_000).encode(
        [Emit(topic="timeline", key="a", record=MERGE)] * 2, 1
    )
    assert first.tally is second.tally
