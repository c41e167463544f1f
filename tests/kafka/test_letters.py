"""Dead letters of every kind: listed, shown with what to do, and sent back as far as there is a way."""

from __future__ import annotations

import hmac
import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from orchestrator.codec import open_codec
from orchestrator.kafka.clients import producer_config
from orchestrator.kafka.reading import read_partition
from orchestrator.kafka.topics import Topology
from orchestrator.records import Event
from orchestrator.testing.stack import WRITE_KEY, Stack
from tests.kafka.calling import call

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

PATIENCE_S = 90.0
DESK = """\
source: desk
webhook: hmac
events:
  - type: ticket.solved
    identities: {user_id: record.WHO}
    properties: {kind: 'header["x-kind"]'}
"""
BEFORE = {
    "profile.yaml": "identities: {primary: user_id}\ntraits: {email: {type: string}}\n",
    "policy.yaml": "timezone: UTC\nchannels: {email: {address: profile.email}}\n",
    "sources/desk.yaml": DESK.replace("WHO", "mail"),
}
MENDED = BEFORE | {
    "profile.yaml": "identities: {primary: user_id, also: [anonymous_id]}\n"
    "traits: {email: {type: string}}\n",
    "sources/desk.yaml": DESK.replace("WHO", "phone"),
}


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.fixture(scope="module")
def stack(broker, tmp_path_factory):
    folder = write(tmp_path_factory.mktemp("before"), BEFORE)
    collector = {"collector": {"webhooks": {"desk": {"secret": "hush"}}}}
    with Stack(folder, broker=broker, prefix="letters", settings=collector) as stack:
        stack.start("worker")
        stack.start("collect")
        stack.start("deliver", "email")
        stack.wait_ready("worker", f"{stack.worker_url}/readyz")
        stack.wait_ready("collect", f"{stack.collector_url}/readyz")
        yield stack


def result(stack: Stack, *words: str, code: int = 0) -> dict[str, Any]:
    got, out, err = call(stack, *words, "--output", "json")
    assert got == code, err
    return json.loads(out)


def letters(stack: Stack, stage: str) -> list[dict[str, Any]]:
    return [one for one in result(stack, "dlq", "list")["dead_letters"] if one["stage"] == stage]


def wait(stack: Stack, condition) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, stack.last_words()


def post(stack: Stack, path: str, data: bytes, **headers: str) -> dict[str, Any]:
    request = urllib.request.Request(f"{stack.collector_url}{path}", data, headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request) as answer:  # noqa: S310 - our own address
            return json.loads(answer.read())
    except urllib.error.HTTPError as refused:
        with refused:
            return json.loads(refused.read())


def events(stack: Stack, source: str) -> list[Event]:
    topology, codec = Topology(stack.settings), open_codec(stack.settings)
    codec.prepare(topology.names("events"))
    found = [
        codec.decode(message.value())
        for partition in range(topology.partitions("events"))
        for message in read_partition(stack.settings, topology.name("events"), partition)
        if message.value() != NOTHING
    ]
    return [one for one in found if isinstance(one, Event) and one.source == source]


NOTHING = b"{no record}"


def test_what_the_collector_refused_is_mapped_again_once_the_cause_is_mended(stack, tmp_path):
    """A sender that was thanked does not come again: the event has the id and time that it would have had."""
    asked = int(time.time() * 1000)
    batch = {
        "writeKey": WRITE_KEY,
        "batch": [
            {"type": "track", "event": "a.b", "anonymousId": "x1", "messageId": "m1"},
            {"type": "track", "event": "a.b", "userId": "ada", "messageId": "m2"},
        ],
    }
    said = post(stack, "/v1/batch", json.dumps(batch).encode())
    assert (said["accepted"], said["refused"][0]["cause"]) == (1, "no_identity")
    body = b'{"phone": "49"}'
    signature = hmac.digest(b"hush", body, "sha256").hex()
    hook = {"X-Signature": signature, "X-Kind": "call", "X-Other": "canary"}
    said = post(stack, "/v1/webhooks/desk", body, **hook)
    assert said["refused"][0]["cause"] == "no_identity"
    assert len(letters(stack, "collect")) == 2
    refused = result(stack, "dlq", "replay", "--cause", "no_identity", code=1)["refused"]
    assert sorted(why.partition("(")[0].strip() for why in refused.values()) == [
        "no usable identity of the kinds that profile.yaml declares",
        "ticket.solved: no identity has a value",
    ]
    stack.run("journeys", "apply", str(write(tmp_path, MENDED)))
    for _ in range(2):
        replayed = result(stack, "dlq", "replay", "--cause", "no_identity")
        assert (len(replayed["replayed"]), replayed["refused"]) == (2, {})
    first, again = (one for one in events(stack, "web") if one.event_id == "m1")
    assert first == again
    assert first.identities == {"anonymous_id": "x1"}
    assert asked <= first.occurred_at <= int(time.time() * 1000)
    hooked, again = events(stack, "desk")
    assert hooked == again
    assert (hooked.identities, hooked.properties) == ({"user_id": "49"}, {"kind": "call"})
    for one in letters(stack, "collect"):
        shown = result(stack, "dlq", "show", one["letter"])
        assert "profile.yaml" in shown["remedy"]
        assert "canary" not in json.dumps(shown), (
            "only what the mapping reads is kept of the headers"
        )


def test_what_holds_no_record_is_to_be_sent_again(stack, tmp_path):
    """A body that is no JSON, a line of a file: listed, shown, and the exit code says so."""
    post(stack, "/v1/batch", b"{nonsense", Authorization=f"Bearer {WRITE_KEY}")
    file = tmp_path / "day.ndjson"
    file.write_text("{nonsense\n")
    code, _, err = call(stack, "load", str(file), "--source", "till")
    assert code == 1, err  # there is something to look at
    for stage, cause in (("collect", "bad_message"), ("load", "bad_line")):
        [letter] = [one for one in letters(stack, stage) if one["cause"] == cause]
        shown = result(stack, "dlq", "show", letter["letter"])
        assert shown["value"].startswith("{nonsense")
        assert "send" in shown["remedy"] or "load it again" in shown["remedy"]
        refused = result(stack, "dlq", "replay", letter["letter"], code=1)["refused"]
        assert "send it again" in refused[letter["letter"]]


@pytest.mark.parametrize(
    ("stage", "logical", "partition"),
    [("identify", "events", 3), ("decide", "timeline", 1), ("deliver-email", "actions", 2)],
)
def test_a_record_goes_back_to_where_it_lay(stack, stage, logical, partition):
    """Refused again, since nothing was mended, it is a second letter from the same partition."""
    topology = Topology(stack.settings)
    topic = topology.name("actions", "email") if logical == "actions" else topology.name(logical)
    producer = Producer(producer_config(stack.settings))
    producer.produce(topic, NOTHING, b"ada", partition, headers=[("ce_id", b"1")])
    assert producer.flush(30) == 0
    wait(stack, lambda: len(letters(stack, stage)) == 1)
    [letter] = letters(stack, stage)
    shown = result(stack, "dlq", "show", letter["letter"])
    assert (shown["topic"], shown["partition"]) == (topic, partition)
    assert (shown["key"], shown["value"], shown["headers"]) == (
        "ada",
        NOTHING.decode(),
        {"ce_id": "1"},
    )
    assert "wire format" in shown["remedy"]
    assert result(stack, "dlq", "replay", letter["letter"])["replayed"] == [letter["letter"]]
    wait(stack, lambda: len(letters(stack, stage)) == 2)
    assert {one["partition"] for one in letters(stack, stage)} == {partition}
