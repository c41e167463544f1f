"""Kill -9 of every role of the live demo at random times; what Kafka and the mail server say after.

``LIVE_DEMO_KILLS`` and ``LIVE_DEMO_SEED`` in the environment make it longer, or repeat a run.
"""

from __future__ import annotations

import json
import os
import random
import re
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from urllib.request import urlopen

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from committed import FINAL, OUTCOMES, Log

from orchestrator.cli.demo.live import Demo
from orchestrator.records import Event
from orchestrator.testing.stack import Stack

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.timeout(600)]

EXAMPLE = Path(__file__).parents[2] / "deploy" / "example"
KILLS = int(os.environ.get("LIVE_DEMO_KILLS", "8"))
SEED = int(os.environ.get("LIVE_DEMO_SEED", time.time_ns() % 1_000_000))
ROLES = ["worker", "collect", "deliver-email", "deliver-inapp", "deliver-push", "deliver-sales"]
DRAIN_S = 120.0
LAG = re.compile(r"^orchestrator_partition_lag_records\{.*\} (\S+)", re.MULTILINE)


class Quiet:
    """A view that keeps what it is told."""

    def __init__(self):
        self.decisions, self.notes, self.addresses = [], [], {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def opened(self, addresses):
        self.addresses = dict(addresses)

    def note(self, text):
        self.notes.append(text)

    def decision(self, decision):
        self.decisions.append(decision)

    def turn(self, figures, *, last=False):
        self.figures, self.last = figures, last


def say(text):
    """For who repeats a run: pytest shows it with a failure, or with -s."""
    print(text)  # noqa: T201 - the figures are the point of a hand run


def kill_roles(stack, chance, done):
    """Kill -9 every role in turn, at random times; the demo's supervisor starts them again."""
    killed = Counter()
    names = list(stack.roles)
    while sum(killed.values()) < KILLS and not done.is_set():
        chance.shuffle(names)
        for name in names[: KILLS - sum(killed.values())]:
            done.wait(chance.uniform(0.5, 3.0))
            stack.roles[name].process.kill()
            killed[name] += 1
    return killed


def caught_up(stack):
    """Wait until the worker has consumed all that was told."""
    deadline = time.monotonic() + DRAIN_S
    while True:
        with urlopen(f"{stack.worker_url}/metrics", timeout=30) as page:  # noqa: S310 - our own address
            lags = [float(number) for number in LAG.findall(page.read().decode())]
        if lags and not sum(lags):
            return
        assert time.monotonic() < deadline, f"lags {lags}\n{stack.last_words()}"
        time.sleep(0.5)


def drained(log):
    """Return (sends, ledgers by id) once every action has its outcome."""
    deadline = time.monotonic() + DRAIN_S
    while True:
        ledgers = {}
        for _, key, delivery in log.records("deliveries"):
            ledgers.setdefault(key, []).append(delivery)
        sends = [a for _, _, a in log.records("actions") if a.kind == "send"]
        open_ = [
            a
            for a in sends
            if ledgers.get(a.action_id, [None])[-1] is None
            or ledgers[a.action_id][-1].state not in FINAL
        ]
        if not open_:
            return sends, ledgers
        assert time.monotonic() < deadline, f"{len(open_)} actions without outcome: {open_[:1]}"
        time.sleep(1)


def test_kill_every_role_of_the_live_demo(broker, prefix):
    """Every decision once and none missing; a doubled e-mail only where the sink says: unknown."""
    say(f"LIVE_DEMO_SEED={SEED} LIVE_DEMO_KILLS={KILLS}")
    chance, view, done = random.Random(SEED), Quiet(), threading.Event()
    with Stack(EXAMPLE, EXAMPLE / "demo", prefix=prefix, broker=broker) as stack:
        stack.start_all()
        failures = []

        def play():
            try:
                Demo(stack, view, SEED).run(done, None)
            except BaseException as error:  # noqa: BLE001 - raised again by the test
                failures.append(error)
                done.set()

        demo = threading.Thread(target=play)
        demo.start()
        time.sleep(5)
        killed = kill_roles(stack, chance, done)
        done.wait(5)
        done.set()
        demo.join()
        assert not failures, f"{failures[0]}\n{stack.last_words()}"
        stack.revive()
        stack.wait_ready("worker", f"{stack.worker_url}/readyz")
        log = Log(stack.settings)
        caught_up(stack)
        drained(log)
        # Waits go on to end, and each may let a message leave: nobody decides while all is compared.
        assert stack.stop("worker") == 0
        sends, ledgers = drained(log)
        audit = json.loads(stack.run("replay", "--verify", "--output", "json"))
        decisions = [one for _, _, one in log.records("decisions")]
        events = [one for _, _, one in log.records("events") if isinstance(one, Event)]
        dead = log.count("dead-letters")
        told = "\n".join(role.log.read_text() for role in stack.roles.values())
        mails = Counter(str(mail["X-Action-Id"]) for mail in stack.mail.messages)

    doubled = {name for name, count in mails.items() if count > 1}
    unknown = {
        name for name, lines in ledgers.items() if [x.state for x in lines].count("claimed") > 1
    }
    say(
        f"killed {dict(killed)}; restarts {len(view.notes)}; {view.figures.told} events told, "
        f"{len(events)} on the topic; {len(decisions)} decisions, {len(sends)} actions, "
        f"{sum(mails.values())} e-mails of {len(mails)} actions; doubled {len(doubled)}, "
        f"claimed without outcome {len(unknown)}; dead letters {dead}; "
        f"seen by the view {len(view.decisions)}; {audit['stages']}"
    )
    assert audit["ok"], audit
    assert dead == 0
    assert set(killed) == set(ROLES)
    assert len({one.decision_id for one in decisions}) == len(decisions), "a decision twice"
    decided = Counter(one.action_id for one in decisions if one.outcome == "sent")
    assert decided == Counter(one.action_id for one in sends), "an action without its decision"
    # The sinks: every action has its outcome, and its receipt once; mail and ledger agree.
    receipts = Counter(event.properties["action_id"] for event in events if event.type in OUTCOMES)
    assert receipts == Counter(ledgers.keys()), "a receipt is missing, or was told twice"
    sent = {
        a.action_id
        for a in sends
        if a.channel == "email" and ledgers[a.action_id][-1].state == "sent"
    }
    assert sent <= mails.keys(), "said to be sent, and never arrived"
    assert doubled <= unknown, "delivered twice without a word"
    for name in unknown:
        assert name in told, "the log does not say what could not be known"
    # What the customers told is all there: the collector answers 2xx only for what Kafka has.
    names = {event.event_id for event in events}
    assert len(names - receipts_ids(events)) >= view.figures.told


def receipts_ids(events):
    return {event.event_id for event in events if event.type in OUTCOMES or event.source == "inbox"}
