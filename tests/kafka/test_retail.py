"""A real year of real households through real Kafka, with a worker that dies in the middle.

``simulate`` on the same file gives the same decisions, each once. The data is not part of this
repository; without it this test is skipped.
"""

from __future__ import annotations

import runpy
import time
from collections import Counter
from pathlib import Path
from threading import Event

import msgspec
import pytest

from orchestrator.codec import open_codec
from orchestrator.journeys import load_workspace
from orchestrator.kafka.decoding import decode_blocking
from orchestrator.kafka.reading import read_partition
from orchestrator.kafka.topics import Topology
from orchestrator.records import Decision
from orchestrator.sources.ndjson import file_identity, parse_line, read_lines
from orchestrator.testing.simulation import simulate
from orchestrator.testing.stack import Stack

ROOT = Path(__file__).parents[2]
RETAIL = ROOT / "deploy" / "example-retail"
DATA = ROOT.parent / "shared" / "data"
UNTIL, UNTIL_MS = "2018-03-01T00:00:00Z", 1519862400000
SENDERS = {channel: {"sender": "log"} for channel in ("mail", "app", "inapp")}
PATIENCE_S = 500

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not (DATA / "cj_transactions_sample.csv.gz").exists(),
        reason="the Complete Journey data is not here (../shared/data)",
    ),
]


def said(decision: Decision) -> bytes:
    """What a decision says, byte for byte; the trace is the transport's own."""
    return msgspec.json.encode(msgspec.structs.replace(decision, trace=None), order="deterministic")


def simulated(file):
    left = []
    identity = file_identity(file)
    events = (parse_line(line.data, "retail", identity, line.offset) for line in read_lines(file))
    simulate(load_workspace(RETAIL).catalog, events, until=UNTIL_MS, each=left.append)
    return [one.emit.record for one in left if isinstance(one.emit.record, Decision)]


def read(stack, start=0):
    """Return the decisions on the topic from offset ``start`` on, and the offset behind them."""
    codec, topology = open_codec(stack.settings), Topology(stack.settings)
    found = []
    for message in read_partition(stack.settings, topology.name("decisions"), 0, start):
        found.append(decode_blocking(codec, message.value(), Event()))
        start = message.offset() + 1
    return found, start


def test_real_households_through_a_killed_worker(broker, prefix, tmp_path):
    """Every decision that the pure pipeline makes, in its order, and no other."""
    events = tmp_path / "events.ndjson.gz"
    runpy.run_path(str(RETAIL / "convert.py"))["main"](str(DATA), str(events))
    expected = simulated(events)
    settings = {"worker": {"assume_accepted": True}, "deliver": SENDERS}
    with Stack(RETAIL, clock="log", settings=settings, broker=broker, prefix=prefix) as stack:
        began = time.monotonic()
        stack.start("worker")
        load = stack.start("load", str(events), "--source", "retail", "--until", UNTIL, name="load")
        came, behind, killed = [], 0, False
        while len(came) < len(expected) and time.monotonic() - began < PATIENCE_S:
            time.sleep(3)
            some, behind = read(stack, behind)
            came += some
            if not killed and len(came) > len(expected) // 3:
                stack.kill("worker")
                stack.start("worker")
                killed = True
        seconds = time.monotonic() - began
        assert load.process.wait(60) == 0, load.tail()
    print(f"\n{len(expected)} decisions in {seconds:.0f} s, one kill -9")  # noqa: T201 - for the record
    assert killed
    assert Counter(map(said, came)) == Counter(map(said, expected))
    assert [one.decision_id for one in came] == [one.decision_id for one in expected]
