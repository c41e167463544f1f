"""A real year of real households, from the raw files, through real Kafka: the same decisions as ``simulate``, each once.

The worker is killed (-9) three times while the file is loaded. The data stays outside this
repository; without it the test is skipped and says so.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from orchestrator.codec import open_codec
from orchestrator.errors import SchemaNotLoaded
from orchestrator.kafka.reading import PartitionReader, read_partition
from orchestrator.kafka.topics import Topology
from orchestrator.records import Decision
from orchestrator.testing.stack import Stack

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
RETAIL = ROOT / "deploy" / "example-retail"
UNTIL = "2018-03-01T00:00:00Z"
KILLS = 3

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is missing: no real retail data"),
]


def canonical(decision: Decision) -> bytes:
    return msgspec.json.encode(decision, order="sorted")


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> Counter[bytes]:
    out = tmp_path_factory.mktemp("retail") / "decisions.ndjson"
    command = [sys.executable, "-m", "orchestrator", "simulate", RETAIL, "--data", DATA]
    command += ["--until", UNTIL, "--decisions", out]
    subprocess.run(command, check=True, capture_output=True)
    with out.open("rb") as lines:
        return Counter(canonical(msgspec.json.decode(line, type=Decision)) for line in lines)


def test_the_same_decisions_as_simulate_across_kills(broker, simulated):
    settings = {
        "worker": {"assume_accepted": True},
        "topics": {"prefix": "retail", "channels": ["mail", "app", "inapp"]},
        "deliver": {},
    }
    with Stack(RETAIL, clock="log", settings=settings, broker=broker) as stack:
        stack.start("worker")
        stack.wait_ready("worker", f"{stack.worker_url}/readyz")
        words = ("load", "--workspace", str(RETAIL), "--data", str(DATA), "--clock", "log")
        load = stack.start(*words, "--until", UNTIL, name="load")
        for number in range(1, KILLS + 1):
            _wait_for_decisions(stack, number * len(simulated) // (KILLS + 2))
            stack.kill("worker")
            stack.start("worker")
        assert load.process.wait(600) == 0, load.tail()
        decided = Counter(map(canonical, _decisions(stack)))
    assert decided == simulated
    assert sum(decided.values()) > 50_000


def _wait_for_decisions(stack: Stack, count: int) -> None:
    """Return when so many records lie on the decisions topic: the worker is in full flow then."""
    topic = Topology(stack.settings).name("decisions")
    with PartitionReader(stack.settings, topic, 0) as reader:
        while reader.bounds()[1] < count:
            load = stack.roles["load"].process.poll()
            assert load is None, "the load ended before the worker could be killed"
            time.sleep(0.1)


def _decisions(stack: Stack):
    codec = open_codec(stack.settings)
    for message in read_partition(stack.settings, Topology(stack.settings).name("decisions"), 0):
        try:
            yield codec.decode(message.value())
        except SchemaNotLoaded as missing:
            codec.load(missing.schema_id)
            yield codec.decode(message.value())
