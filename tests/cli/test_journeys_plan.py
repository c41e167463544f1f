"""``journeys plan`` against a real catalog in force and a real changelog."""

from __future__ import annotations

import json

import pytest
from confluent_kafka import Producer

from orchestrator.kafka.clients import producer_config
from orchestrator.kafka.topics import Topology
from orchestrator.partitioning import partition_for
from orchestrator.settings import load_settings
from orchestrator.stages.decide import state as customers
from tests.cli.test_journeys_apply import current, flags, run, workspace

__all__ = ["flags", "run", "workspace"]


def park(given, journey, version, places):
    """Lay customers into the changelog as the worker does: due (8 bytes), then the state."""
    settings = load_settings(env={}, flags=given)
    topology, producer = Topology(settings), Producer(producer_config(settings))
    for number, step in enumerate(places):
        key = f"c{number}"
        entry = customers.Entry(
            id=key, journey=journey, version=version, started=1, cause="", step=step, wake=9
        )
        value = bytes(8) + customers.encode(customers.Customer(entries=[entry]))
        partition = partition_for(key.encode(), topology.partitions("timeline"))
        producer.produce(topology.changelog("customers"), value, key.encode(), partition)
    assert producer.flush(30) == 0


@pytest.mark.kafka
def test_plan(run, flags, workspace):
    """First everything is new; then nothing differs; then one step does, with who stands where."""
    run("topics", "apply")
    code, out, err = run("journeys", "plan", str(workspace))
    assert code == 1, err
    assert "no catalog is in force yet" in out
    assert "added  journey/trial-to-paid" in out
    run("journeys", "apply", str(workspace))
    code, out, _ = run("journeys", "plan", str(workspace))
    assert (code, out.startswith("Nothing to do")) == (0, True)

    version = current(flags).definitions["journey/trial-to-paid"]
    park(flags, "trial-to-paid", version, ["reaction", "reaction", "pause"])
    journey = workspace / "journeys" / "trial-to-paid.yaml"
    text = journey.read_text(encoding="utf-8")
    text = text.replace("  - {id: pause, wait: {for: P1D}}\n", "").replace("P2D", "P3D")
    journey.write_text(text, encoding="utf-8")
    code, out, err = run("journeys", "plan", str(workspace), "--output", "json")
    assert code == 1, err
    found = json.loads(out)
    (change,) = found["changes"]
    assert {one["path"] for one in change["differences"]} == {
        "steps.pause",
        "steps.reaction.wait_for.timeout",
    }
    assert [(p["step"], p["entries"], p["follow"]) for p in change["parked"]] == [
        ("reaction", 2, "stays"),
        ("pause", 1, "moves to day3"),
    ]
    code, out, _ = run("journeys", "plan", str(workspace))
    assert "~ steps.reaction.wait_for.timeout: P2D -> P3D" in out
    assert "- steps.pause: {id: pause, wait: {for: P1D}}" in out
    assert "pin (chosen)" in out
