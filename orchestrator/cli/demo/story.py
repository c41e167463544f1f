"""One customer's story at its real durations, on the log clock: three days in a few seconds."""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from orchestrator.errors import CouldNotRun
from orchestrator.testing.caller import Caller
from orchestrator.testing.observer import Observer
from orchestrator.testing.stack import Stack

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.cli.demo.narration import Narrator

ANNA = "acme-42"
ADDRESS = "anna@example.com"


def play(workspace: Path, tell: Narrator) -> None:
    """Start everything, play the story, stop everything.

    Raises:
        CouldNotRun: Something did not happen that the story tells.
    """
    tell.scene("A real Kafka, a schema registry, a mail server, and one process for each role")
    began = time.monotonic()
    with Stack(workspace, clock="log", prefix="story") as stack:
        stack.start_all()
        tell.note(f"ready after {time.monotonic() - began:.1f} s; workspace {workspace.name}")
        with Observer(stack.settings) as observer:
            try:
                Story(stack, observer, tell).play()
            except (CouldNotRun, TimeoutError) as error:
                raise CouldNotRun(f"{error}\n{stack.last_words()}") from error
    tell.scene("Everything stopped. `journeys test deploy/example` plays the same without Kafka")


class Story:
    """The script. Each part waits for what the one before it caused, on the real topics."""

    def __init__(self, stack: Stack, observer: Observer, tell: Narrator) -> None:
        self._stack = stack
        self._observer = observer
        self._tell = tell
        self._told = 0
        self._anna = Caller(stack, ANNA)

    def play(self) -> None:
        """Play it to its end."""
        self._sign_up()
        self._open()
        self._in_app()
        self._pricing()
        self._explain()

    def _sign_up(self) -> None:
        at = instant("2026-03-02T10:00:00+01:00")
        self._tell.scene("Anna starts a trial. The journey sends the first e-mail at once", at)
        traits = {"name": "Anna", "email": ADDRESS, "country": "DE", "timezone": "Europe/Berlin"}
        consent = {"channel": "email", "category": "education"}
        self._anna.identify(at - 300_000, **traits)
        self._anna.track(at - 240_000, "consent.granted", server=True, **consent)
        self._anna.track(at, "trial.started")
        sent = self._observer.wait_decision("sent", "why-acme", "email")
        mail = self._stack.mail.wait_for(1, 60)[0]
        self._observer.wait_event("message.accepted", 1)
        self._tell_new()
        self._tell.delivery(at, f"the mail server has “{mail['subject']}” for {mail['to']}")
        self._first_action = sent.action_id or ""

    def _open(self) -> None:
        at = instant("2026-03-02T12:00:00+01:00")
        self._tell.scene("Two hours later she opens it, and does not click", at)
        self._anna.receipt(at, "opened", self._first_action)
        self._observer.wait_event("message.opened", 1)
        self._tell_new()
        self._tell.note("no decision yet: the wait for a click goes on until Wednesday 10:00")

    def _in_app(self) -> None:
        at = instant("2026-03-04T10:00:00+01:00")
        self._tell.scene("Opened but not clicked for two days: the same message in-app", at)
        self._observer.tick(at)
        self._observer.wait_decision("sent", "why-acme", "inapp")
        self._observer.wait_event("message.accepted", 2)
        self._tell_new()
        (message,) = self._anna.wait_for_inbox(1, 60)
        self._tell.delivery(at, f"her in-app inbox shows “{message['title']}”")

    def _pricing(self) -> None:
        at = instant("2026-03-04T15:00:00+01:00")
        self._tell.scene("She looks at the pricing: no day-3 e-mail, sales knows at once", at)
        self._anna.track(at, "pricing.viewed", plan="team")
        self._observer.wait_decision("sent", "hot-lead", "sales")
        self._observer.wait_decision("exited", "trial-to-paid")
        self._observer.wait_event("message.accepted", 3)
        self._tell_new()
        later = instant("2026-03-18T15:00:00+01:00")
        self._observer.tick(later)
        self._anna.track(later, "feature.used", feature="alerts")
        self._observer.wait_event("feature.used")
        self._observer.wait("her profile to know of it", self._uses_features)
        self._tell.scene("Two weeks later: nothing more was sent", later)
        self._tell_new()
        if len(self._stack.mail.messages) != 1:
            raise CouldNotRun(f"{len(self._stack.mail.messages)} e-mails instead of one")

    def _uses_features(self) -> bool:
        """Whether the last event is committed: what is asked next is answered from there."""
        shown = json.loads(self._stack.run("customer", "show", ANNA, "--output", "json"))
        return bool(shown["traits"].get("features_used"))

    def _explain(self) -> None:
        self._tell.scene(
            f"Why did she not get the follow-up?  orchestrator customer why {ANNA} follow-up"
        )
        self._tell.verbatim(self._stack.run("customer", "why", ANNA, "follow-up"))

    def _tell_new(self) -> None:
        """Print what has come since the last call: events and decisions in the order of time."""
        told = self._told
        self._told = len(self._observer.events)
        news: list[tuple[int, int, Any]] = [
            (event.occurred_at, 0, event) for event in self._observer.events[told:]
        ]
        news += [(one.decided_at, 1, one) for one in self._observer.decisions]
        self._observer.decisions.clear()
        for _, kind, item in sorted(news, key=lambda one: one[:2]):
            (self._tell.decision if kind else self._tell.event)(item)


def instant(text: str) -> int:
    """Return epoch ms of an ISO 8601 text with offset."""
    return int(datetime.fromisoformat(text).timestamp() * 1000)
