"""`customer forget` on a running deployment: a planted value is nowhere afterwards, and stays away."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from orchestrator.codec import open_codec
from orchestrator.kafka.clients import admin_config
from orchestrator.kafka.reading import read_partition
from orchestrator.kafka.topics import Topology
from orchestrator.records import Decision
from orchestrator.testing.stack import SERVER_KEY, Stack
from orchestrator.testing.tracking import Tracking
from tests.kafka.calling import call

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(1200)]

CANARY = "c4n4ry7x"
PATIENCE_S = 300.0
"""The broker's cleaner comes when everybody else has had the machine."""
CLOSING_MS = 2_000
"""Work enough to close segments, and not so much that the roles run after it."""
WORKSPACE = {
    "profile.yaml": """
identities: {primary: id, also: [email, anonymous_id]}
traits:
  name: {type: string}
  email: {type: string}
  read: {set: article.read, take: event.title}
""",
    "policy.yaml": """
timezone: Europe/Berlin
channels: {inapp: {needs_consent: false}, email: {address: profile.email}}
consent: {default: {news: opt_out}}
""",
    "journeys/hello.yaml": """
journey: hello
entry: {on: article.read, re_entry: always}
steps:
  - {id: say, send: {message: tip, channel: inapp}}
  - {id: mail, send: {message: note, channel: email}}
  - {id: rest, wait: {for: P1D}}
""",
    "journeys/letter.yaml": """
journey: letter
entry: {on: letter.wanted, re_entry: always}
steps: [{id: mail, send: {message: note, channel: email}}]
""",
    "messages/tip.yaml": """
message: tip
category: news
repeat: always
channels: {inapp: {title: "{{ entry.title }}", body: Read it}}
""",
    "messages/note.yaml": """
message: note
category: news
repeat: always
channels: {email: {subject: "{{ profile.name }}", text: "{{ entry.title }}"}}
""",
}
AT_ONCE = {
    "segment.ms": "100",
    "min.cleanable.dirty.ratio": "0.0",
    "max.compaction.lag.ms": "100",
    "delete.retention.ms": "100",
}


@pytest.fixture
def eager(settings):
    """Let the shared broker's cleaner look every half second."""
    admin = AdminClient(admin_config(settings))
    name = "log.cleaner.backoff.ms"

    def change(operation, value) -> None:
        entry = ConfigEntry(name, value, incremental_operation=operation)
        resource = ConfigResource(ResourceType.BROKER, "1", incremental_configs=[entry])
        for future in admin.incremental_alter_configs([resource]).values():
            future.result(30)

    change(AlterConfigOpType.SET, "500")
    yield
    change(AlterConfigOpType.DELETE, None)


@pytest.fixture
def stack(broker, prefix, tmp_path):
    """All roles on a workspace whose messages say who somebody is and what they read."""
    for name, text in WORKSPACE.items():
        path = tmp_path / "workspace" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    topics = {"partitions": 2, "config": {"changelog": AT_ONCE, "inbox": AT_ONCE}}
    given = {"topics": {"prefix": prefix, **topics}, "app": {"id": prefix}}
    with Stack(tmp_path / "workspace", broker=broker, prefix=prefix, settings=given) as stack:
        stack.start("worker")
        stack.start("collect")
        stack.start("deliver", "email")
        stack.start("deliver", "inapp")
        stack.wait_ready("worker", f"{stack.worker_url}/readyz")
        stack.wait_ready("collect", f"{stack.collector_url}/healthz")
        yield stack


def wait(stack: Stack, what: str, condition, left: object = "") -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"never: {what} {left}\n{stack.last_words()}"
        time.sleep(0.2)


def tell(stack: Stack, number: int, kind: str, **what) -> None:
    message = {"messageId": f"m{number}-{json.dumps(what)}", "type": kind, **what}
    Tracking(stack).batch(SERVER_KEY, [message], int(time.time() * 1000))


def show(stack: Stack, name: str) -> dict | None:
    code, out, err = call(stack, "customer", "show", name, "--output", "json")
    assert code in {0, 3}, err
    return None if code else json.loads(out)


def topics_with(stack: Stack, text: str, among: list[str] | None = None) -> list[str]:
    """Return the compacted topics, and the sinks' ledgers, in which ``text`` stands."""
    topology = Topology(stack.settings)
    names = [topology.changelog("customers"), topology.changelog("identities")]
    names += [spec.name for spec in topology.specs() if spec.logical in {"inbox", "deliveries"}]
    partitions = {spec.name: spec.partitions for spec in topology.specs()}
    return [
        name
        for name in names
        if (among is None or name in among)
        and any(
            text.encode() in (message.key() or b"") + (message.value() or b"")
            for partition in range(partitions[name])
            for message in read_partition(stack.settings, name, partition)
        )
    ]


def files_with(folder: Path, text: str) -> list[str]:
    """Return the files of all roles, logs included, in which ``text`` stands."""
    found = []
    for path in folder.rglob("*"):
        try:
            if path.is_file() and text.encode() in path.read_bytes():
                found.append(str(path.relative_to(folder)))
        except FileNotFoundError:
            pass  # RocksDB removes files while we look
    return found


def decided(stack: Stack, customer: str) -> list[Decision]:
    topology, codec = Topology(stack.settings), open_codec(stack.settings)
    codec.prepare(topology.names("decisions"))
    records = [
        codec.decode(message.value())
        for partition in range(topology.partitions("decisions"))
        for message in read_partition(stack.settings, topology.name("decisions"), partition)
    ]
    return [one for one in records if one.customer_id == customer]


@pytest.mark.usefixtures("eager")
def test_a_forgotten_customer_is_nowhere(stack):
    """Anonymous first, then known; with mail, inbox, an open journey, and a name that is the canary."""
    read = {"event": "article.read", "properties": {"title": f"about {CANARY}"}}
    tell(stack, 1, "track", anonymousId=f"x-{CANARY}", **read)
    traits = {"name": CANARY, "email": f"{CANARY}@example.com"}
    tell(stack, 2, "identify", userId="anna", anonymousId=f"x-{CANARY}", traits=traits)
    # Another journey: once she is merged, the open entry of the first refuses a second reading.
    tell(stack, 3, "track", userId="anna", **{**read, "event": "letter.wanted"})
    tell(stack, 4, "identify", userId="bert", traits={"name": "Bert"})
    wait(stack, "anna is merged", lambda: (show(stack, "anna") or {}).get("merged"))

    def all_hers() -> bool:
        shown = show(stack, "anna")
        return {one["customer_id"] for one in shown["decisions"]} == {"anna", *shown["merged"]}

    wait(stack, "what was decided before is hers, too", all_hers)
    wait(stack, "her inbox", lambda: len(topics_with(stack, CANARY)) >= 2)
    wait(stack, "her mail", lambda: stack.mail.messages)
    assert files_with(stack.home / "state", CANARY), "the search finds what is there"

    words = ("customer", "forget", f"email:{CANARY.upper()}@Example.com", "--output", "json")

    def planned() -> dict:
        code, out, _ = call(stack, *words)
        return {} if code else json.loads(out)

    wait(stack, "all her identities are linked", lambda: planned().get("identities") == 3)
    plan = planned()
    assert (plan["customer"], plan["ordered"], plan["identities"]) == ("anna", False, 3)
    assert len(plan["merged"]) == 1
    assert show(stack, "anna"), "nothing happens without --yes"

    code, out, err = call(stack, *words, "--yes", "--wait", "90")
    assert code == 0, out + err + stack.last_words()
    told = json.loads(out)
    assert told["done"]
    by = {one["logical"]: one["until"] for one in told["topics"]}
    assert set(by) >= {"events", "timeline", "actions", "decisions", "dead-letters", "changelog"}
    assert by["decisions"] > (time.time() + 90 * 86_400) * 1000, "retention, then the segment's age"
    assert show(stack, "anna") is None

    wait(stack, "no file has it", lambda: files_with(stack.home, CANARY) == [])
    crowd = [
        {"type": kind, "userId": f"other-{number}", **more}
        for number in range(24)
        for kind, more in (
            ("identify", {"traits": {"name": "Other"}}),
            ("track", {"event": "article.read", "properties": {"title": "t"}}),
        )
    ]
    left, closed = topics_with(stack, CANARY), 0

    def compacted() -> bool:
        """Closed segments are compacted; what others do closes them, in every partition."""
        nonlocal closed
        now = int(time.time() * 1000)
        if now > closed + CLOSING_MS:
            named = [{"messageId": f"{now}-{place}", **one} for place, one in enumerate(crowd)]
            Tracking(stack).batch(SERVER_KEY, named, now)
            closed = now
        left[:] = topics_with(stack, CANARY, left)
        return not left

    wait(stack, "no compacted topic has it", compacted, left)
    assert show(stack, "bert")["traits"]["name"] == "Bert", "nobody else is touched"

    code, out, err = call(stack, *words, "--yes")
    assert (code, json.loads(out)["done"]) == (0, True), "asked again there is nothing left"

    mails = len(stack.mail.messages)
    tell(stack, 5, "identify", userId="anna", traits={"name": "New", "email": "new@example.com"})
    tell(stack, 6, "track", userId="anna", **{**read, "properties": {"title": "t"}})
    wait(
        stack,
        "she is back",
        lambda: any(
            d.message == "note" and d.reason == "no_consent" for d in decided(stack, "anna")
        ),
    )
    consent = [one["granted"] for one in show(stack, "anna")["consent"]]
    assert consent == [False], "who comes back has consented to nothing"
    granted = {"event": "consent.granted", "properties": {"channel": "email", "category": "news"}}
    tell(stack, 7, "track", userId="anna", **granted)
    tell(stack, 8, "track", userId="anna", event="letter.wanted", properties={"title": "again"})
    wait(stack, "granted anew", lambda: len(stack.mail.messages) > mails)
    code, out, err = call(stack, "replay", "--verify", "--output", "json")
    assert code == 0, out + err
