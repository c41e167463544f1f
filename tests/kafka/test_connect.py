"""`connect` as processes that are killed and restarted while records come: none is lost, none is new."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

import pytest

from orchestrator.testing.broker import Broker
from orchestrator.testing.ports import free_ports
from orchestrator.testing.stack import Stack
from tests.sources.connect.lab import Lab

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

PARTITIONS = 4
LEAST = 2_000
WORKSPACE = {
    "profile.yaml": "identities: {primary: user_id}\n",
    "policy.yaml": "timezone: UTC\n",
    "sources/clicks.yaml": """\
source: clicks
topic: NAME
format: json
events:
  - {type: page.viewed, identities: {user_id: record.who}, properties: {n: record.n}}
""",
}


class Writer(threading.Thread):
    """Writes numbered records without pause, until told to stop."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(daemon=True)
        self.count = 0
        self._lab = lab
        self._quiet = threading.Event()

    def run(self) -> None:
        for number in itertools.count():
            if number >= LEAST and self._quiet.is_set():
                return
            where = number % PARTITIONS
            self._lab.write("clicks", {"who": f"u{where}", "n": number}, partition=where)
            self.count = number + 1
            if number % 50 == 0:
                self._lab.written()
                self._quiet.wait(0.1)  # a stream that nobody has to run after

    def finish(self) -> None:
        self._quiet.set()
        self.join()
        self._lab.written()


def test_kills_and_a_rolling_restart_lose_nothing(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    """Every record once by its id, in the order of its partition; a stop in good order repeats none."""
    folder = tmp_path / "workspace"
    for name, text in WORKSPACE.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace("NAME", f"{prefix}-clicks"))
    with Stack(folder, broker=broker, prefix=prefix) as stack:
        lab = Lab(stack.settings, tmp_path)
        lab.create("clicks", partitions=PARTITIONS)
        ports = dict(zip(("one", "two"), free_ports(2), strict=True))

        def start(*names: str) -> None:
            for name in names:
                port = {"ORCHESTRATOR_CONNECT__WEB_PORT": str(ports[name])}
                stack.start("connect", name=name, environment=port)
            for name in names:
                stack.wait_ready(name, f"http://127.0.0.1:{ports[name]}/readyz")

        writer = Writer(lab)
        writer.start()
        try:
            start("one", "two")

            def goes_on() -> None:
                """Wait until more has come out."""
                now = lab.count()
                lab.until(lambda: lab.count() > now + 200, stack.last_words)

            goes_on()
            # One after the other in good order, as a rollout does it.
            for name in ("one", "two"):
                assert stack.stop(name) == 0
                start(name)
            goes_on()
            ids = [one.event_id for one in lab.events()]
            assert len(ids) == len(set(ids)), "a stop in good order repeats nothing"
            for victims in (("one",), ("one", "two")):
                for name in victims:
                    stack.kill(name)
                start(*victims)
                goes_on()
        finally:
            writer.finish()
        lab.until(lambda: lab.left("clicks") == 0, stack.last_words)
        assert stack.stop("one") == stack.stop("two") == 0
        events = lab.events()
    found = {one.event_id: one.properties["n"] for one in events}
    assert sorted(found.values()) == list(range(writer.count))
    assert len(found) == writer.count
    for where in range(PARTITIONS):
        seen = dict.fromkeys(
            one.properties["n"] for one in events if one.identities["user_id"] == f"u{where}"
        )
        assert list(seen) == list(range(where, writer.count, PARTITIONS))
    assert lab.dead_letters() == []
