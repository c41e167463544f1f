"""The command `demo`, live: a script uses it while it runs, a signal ends it and leaves nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

COMMAND = [sys.executable, "-m", "orchestrator", "demo"]
PATIENCE_S = 60.0


def fetch(url, body=None, key=""):
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers)  # noqa: S310 - addresses of our own demo
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        return json.loads(answer.read())


def until(look):
    deadline = time.monotonic() + PATIENCE_S
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def running(folder):
    """Return the commands of all processes that name this folder."""
    listed = subprocess.run(["ps", "-ewwo", "args"], check=True, capture_output=True, text=True)
    return [line for line in listed.stdout.splitlines() if folder in line]


def test_a_script_uses_the_running_demo(tmp_path):
    """First line addresses, then decisions; events by HTTP lead to mail and inbox; SIGTERM: exit 0."""
    errors = (tmp_path / "errors").open("w+")
    with (
        errors,
        subprocess.Popen(
            [*COMMAND, "--output", "json"], stdout=subprocess.PIPE, stderr=errors, text=True
        ) as demo,
    ):
        at = json.loads(demo.stdout.readline())
        assert {"kafka", "collector", "write_key", "worker", "inbox", "mail"} <= at.keys()

        def track(event, key="write_key", **properties):
            body = {"event": event, "userId": "script", "properties": properties}
            fetch(f"{at['collector']}/v1/track", body, at[key])

        traits = {"name": "Sam", "email": "sam@example.org", "country": "DE"}
        fetch(
            f"{at['collector']}/v1/identify",
            {"userId": "script", "traits": traits},
            at["write_key"],
        )
        track("consent.granted", "server_key", channel="email", category="education")
        track("trial.started")
        decided = []
        while not any(d["customer_id"] == "script" and d["outcome"] == "sent" for d in decided):
            decided.append(json.loads(demo.stdout.readline()))
        assert all({"outcome", "customer_id", "decided_at"} <= d.keys() for d in decided)
        to = urllib.parse.quote("sam@example.org")
        mail = until(lambda: fetch(f"{at['mail']}?to={to}"))[0]
        assert mail["subject"].startswith("Sam, three things")
        track("message.opened", "server_key", action_id=mail["action_id"])
        inbox = until(lambda: fetch(f"{at['inbox']}/script")["messages"])
        assert inbox[0]["message"] == "why-acme"
        assert fetch(f"{at['worker']}/readyz")
        home = str(Path(at["settings"]).parent)
        assert running(home)
        demo.send_signal(signal.SIGTERM)
        demo.stdout.read()  # whatever was still decided
        assert demo.wait(60) == 0
        errors.seek(0)
        assert "Traceback" not in errors.read()
    assert running(home) == []
    assert not Path(at["settings"]).exists()


def test_a_demo_for_people_and_killed_it_leaves_nothing_behind(tmp_path):
    """Blocks of lines say what is decided. Kill -9: its roles and its Kafka end, too."""
    wanted = {"customers about", "trial-to-paid"}
    with subprocess.Popen(
        COMMAND,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as demo:
        while wanted:
            line = demo.stdout.readline()
            assert line, f"the demo ended without {wanted}"
            wanted = {words for words in wanted if words not in line}
        assert running(str(tmp_path))
        demo.kill()
    until(lambda: not running(str(tmp_path)))


def test_for_a_time_without_a_terminal():
    """`--for` ends it with 0; at least one block of lines was shown."""
    done = subprocess.run(
        [*COMMAND, "--for", "PT1S"], check=False, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert "customers about" in done.stdout
    assert done.stdout.rstrip().endswith("everything is stopped")
