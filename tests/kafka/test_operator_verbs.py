"""The operators' verbs on one running deployment: status, pause to stop, prune, dlq, preview."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from urllib.error import HTTPError

import pytest
from confluent_kafka import Producer

from orchestrator.codec import open_codec
from orchestrator.kafka.clients import producer_config
from orchestrator.kafka.definitions import read_definitions
from orchestrator.kafka.reading import headers_of, read_partition
from orchestrator.kafka.topics import Topology
from orchestrator.records import Decision
from orchestrator.testing.stack import SERVER_KEY, Stack
from orchestrator.testing.tracking import Tracking
from tests.kafka.calling import call

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

EXAMPLE = Path(__file__).parents[2] / "deploy" / "example"
PATIENCE_S = 60.0
JOURNEY = "trial-to-paid"


@pytest.fixture(scope="module")
def stack(broker):
    """A deployment with ten customers parked in the journey, at night or by day."""
    with Stack(EXAMPLE, broker=broker, prefix="verbs") as stack:
        stack.start("worker")
        stack.start("collect")
        stack.wait_ready("worker", f"{stack.worker_url}/readyz")
        stack.wait_ready("collect", f"{stack.collector_url}/healthz")
        enter(stack, range(10))
        wait(stack, lambda: journey(stack)["entries"] == 10)
        yield stack


def result(stack: Stack, *words: str, code: int = 0) -> dict:
    got, out, err = call(stack, *words, "--output", "json")
    assert got == code, err
    return json.loads(out)


def wait(stack: Stack, condition) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, stack.last_words()


def enter(stack: Stack, numbers: range, tag: str = "") -> None:
    messages = []
    for number in numbers:
        user = {"userId": f"acme-{tag}{number}"}
        traits = {"name": f"Ada {number}", "country": "DE", "email": f"a{tag}{number}@example.com"}
        consent = {"channel": "email", "category": "education"}
        messages += [
            {"type": "identify", "traits": traits, **user},
            {"type": "track", "event": "consent.granted", "properties": consent, **user},
            {"type": "track", "event": "trial.started", **user},
            {"type": "identify", "traits": {"plan": "free"}, **user},
        ]
    named = [{"messageId": f"{tag}{i}-{m['userId']}", **m} for i, m in enumerate(messages)]
    Tracking(stack).batch(SERVER_KEY, named, int(time.time() * 1000))


def journey(stack: Stack) -> dict:
    return result(stack, "journeys", "status")["journeys"][0]


def decisions(stack: Stack, outcome: str) -> list[Decision]:
    topology, codec = Topology(stack.settings), open_codec(stack.settings)
    codec.prepare(topology.names("decisions"))
    found = [
        codec.decode(message.value())
        for partition in range(topology.partitions("decisions"))
        for message in read_partition(stack.settings, topology.name("decisions"), partition)
    ]
    return [one for one in found if one.outcome == outcome]


def passed(stack: Stack, customer: str) -> bool:
    """Whether the customer's last event, behind the one that starts a trial, has been applied."""
    code, out, _ = call(stack, "customer", "show", customer, "--output", "json")
    return not code and json.loads(out)["traits"].get("plan") == "free"


def test_status_counts_who_stands_where(stack):
    one = journey(stack)
    assert (one["journey"], one["status"], one["entries"]) == (JOURNEY, "live", 10)
    assert sum(place["customers"] for place in one["parked"]) == 10
    assert {place["step"] for place in one["parked"]} <= {"day1", "reaction"}
    code, out, _ = call(stack, "journeys", "status")
    assert code == 0
    assert JOURNEY in out


def test_preview_renders_as_the_sink_would(stack):
    shown = result(stack, "messages", "preview", "why-acme", "--customer", "acme-3")
    email = next(one for one in shown["channels"] if one["channel"] == "email")
    assert email["fields"]["subject"] == "Ada 3, three things that Acme does for you"
    assert email["address"] == "a3@example.com"
    assert shown["entry"]["journey"] == JOURNEY
    words = ("messages", "preview", "hot-lead", "--customer", "email:a3@example.com")
    shown = result(stack, *words, code=1)
    assert shown["channels"][0]["undefined"] == ["latest.plan"]
    assert "text" in shown["channels"][0]["error"]
    code, out, _ = call(stack, *words)
    assert code == 1
    assert "undefined: latest.plan" in out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("why-acm", "--customer", "acme-3"), "did you mean why-acme"),
        (("why-acme", "--customer", "acme-3", "--channel", "sales"), "has no content for 'sales'"),
    ],
)
def test_preview_of_what_there_is_not(stack, words, says):
    code, _, err = call(stack, "messages", "preview", *words)
    assert code == 2
    assert says in err


def test_preview_of_a_workspace_before_it_is_applied(stack, tmp_path):
    edited = Path(shutil.copytree(EXAMPLE, tmp_path / "edited"))
    file = edited / "messages" / "why-acme.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("three things", "3 things"))
    words = ("why-acme", "--customer", "acme-3", "--channel", "email", "--workspace", str(edited))
    shown = result(stack, "messages", "preview", *words)
    assert shown["channels"][0]["fields"]["subject"].startswith("Ada 3, 3 things")


def test_a_status_is_given_kept_and_obeyed(stack):
    """Pause refuses entries, resume takes them, drain refuses, stop ends everything."""
    paused = result(stack, "journeys", "pause", JOURNEY)
    assert (paused["before"], paused["status"], paused["changed"]) == ("live", "paused", True)
    assert result(stack, "journeys", "pause", JOURNEY)["changed"] is False
    assert journey(stack)["status"] == "paused"
    enter(stack, range(3), "p")
    wait(stack, lambda: len(decisions(stack, "nothing")) == 3)
    assert {one.reason for one in decisions(stack, "nothing")} == {"paused"}
    result(stack, "journeys", "resume", JOURNEY)
    enter(stack, range(2), "r")
    wait(stack, lambda: journey(stack)["entries"] == 12)
    result(stack, "journeys", "drain", JOURNEY)
    enter(stack, range(2), "d")
    wait(stack, lambda: passed(stack, "acme-d0") and passed(stack, "acme-d1"))
    assert journey(stack)["entries"] == 12
    code, out, _ = call(stack, "journeys", "stop", JOURNEY)
    assert (code, out.partition(";")[0]) == (0, f"{JOURNEY}: draining -> stopped")
    wait(stack, lambda: journey(stack)["entries"] == 0)
    assert len(decisions(stack, "exited")) == 12
    result(stack, "journeys", "resume", JOURNEY)
    code, _, err = call(stack, "journeys", "stop", "trial-to-pay")
    assert code == 2
    assert "did you mean trial-to-paid?" in err
    code, _, err = call(stack, "journeys", "pause", JOURNEY, "--at", "2026-01-01T00:00:00Z")
    assert code == 2
    assert "clock.mode log" in err


def test_prune_keeps_what_anybody_may_still_need(stack, tmp_path):
    """A definition that was published and never named by a catalog goes; former versions stay.

    What is applied again after it was pruned is written again.
    """
    edited = Path(shutil.copytree(EXAMPLE, tmp_path / "edited"))
    file = edited / "journeys" / f"{JOURNEY}.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("priority: 60", "priority: 61"))
    stack.run("journeys", "apply", str(edited))
    listed = result(stack, "journeys", "prune")
    assert (listed["removed"], listed["unused"]) == (False, [])
    topology, codec = Topology(stack.settings), open_codec(stack.settings)
    codec.prepare(topology.names("definitions"))
    known = read_definitions(stack.settings, codec)
    assert sum(listed["kept"].values()) == len(known.by_hash)
    assert listed["kept"]["in force"] == len(known.by_hash) - 1, "the former version is kept"
    stray = next(iter(known.by_hash.values()))
    stray.name, stray.hash = "stray", "f" * 64
    topic = topology.name("definitions")
    producer = Producer(producer_config(stack.settings))
    producer.produce(topic, codec.encode(stray, topic), stray.hash.encode(), 0)
    assert producer.flush(30) == 0
    assert [one["hash"] for one in result(stack, "journeys", "prune")["unused"]] == [stray.hash]
    assert result(stack, "journeys", "prune", "--apply")["removed"] is True
    assert stray.hash not in read_definitions(stack.settings, codec).by_hash
    code, out, _ = call(stack, "journeys", "prune", "--apply")
    assert code == 0
    assert "Nothing to remove." in out


def test_a_dead_letter_is_listed_shown_and_goes_back_as_it_was(stack):
    """Original key, bytes, headers and partition; refused again, it is a second letter."""
    settings, topology = stack.settings, Topology(stack.settings)
    events = topology.name("events")
    original = (b"email:x@example.com", b"{not avro}", (("ce_id", b"1"), ("ce_id", b"2")))
    producer = Producer(producer_config(settings))
    producer.produce(events, original[1], original[0], 3, headers=list(original[2]))
    assert producer.flush(30) == 0
    wait(stack, lambda: result(stack, "dlq", "list")["counts"] == {"wrong_magic": 1})
    letter = result(stack, "dlq", "list", "--cause", "wrong_magic")["dead_letters"][0]
    assert (letter["stage"], letter["topic"], letter["partition"]) == ("identify", events, 3)
    shown = result(stack, "dlq", "show", letter["letter"])
    assert shown["key"] == "email:x@example.com"
    assert shown["value"] == "{not avro}"
    assert shown["record"] is None
    assert "wire format" in shown["remedy"]
    code, out, _ = call(stack, "dlq", "show", letter["letter"])
    assert code == 0
    assert "ce_id: 1" in out
    replayed = result(stack, "dlq", "replay", letter["letter"])
    assert replayed == {"replayed": [letter["letter"]], "refused": {}}
    wait(stack, lambda: result(stack, "dlq", "list")["counts"] == {"wrong_magic": 2})
    lying = [
        (message.key(), message.value(), headers_of(message))
        for message in read_partition(settings, events, 3)
        if message.value() == original[1]
    ]
    assert lying == [original, original]
    assert len(result(stack, "dlq", "replay", "--cause", "wrong_magic")["replayed"]) == 2


def test_what_is_still_refused_has_no_way_back(stack):
    """The collector refuses one message of a batch: listed, shown, not replayable, exit 1."""
    with pytest.raises(HTTPError):
        Tracking(stack).batch(SERVER_KEY, [{"type": "dance", "userId": "acme-3"}], 1)
    wait(stack, lambda: "bad_message" in result(stack, "dlq", "list")["counts"])
    refused = result(stack, "dlq", "replay", "--cause", "bad_message", code=1)["refused"]
    assert "unknown message type 'dance'" in next(iter(refused.values()))
    code, out, _ = call(stack, "dlq", "replay", "--cause", "bad_message")
    assert code == 1
    assert "0 replayed, 1 not." in out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("show", "0:999999"), "there is no dead letter 0:999999"),
        (("show", "99:0"), "there is no dead letter 99:0"),
        (("show", "seven"), "write PARTITION:OFFSET"),
        (("replay",), "or give --cause"),
        (("replay", "0:0", "--cause", "x"), "or give --cause"),
        (("replay", "--cause", "fatigue"), "no dead letter has the cause 'fatigue'"),
    ],
)
def test_letters_that_there_are_not(stack, words, says):
    code, _, err = call(stack, "dlq", *words)
    assert code == 2
    assert says in err


def test_after_all_this_everything_is_as_the_log_says(stack):
    """Statuses, prunes and replays are part of the log, and the log explains every state."""
    verified = result(stack, "replay", "--verify")
    assert verified["ok"] is True
    assert call(stack, "replay")[0] == 2
