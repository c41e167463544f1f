"""The seed story and its twins over real parts: HTTP, Kafka, worker, sinks, an SMTP server.

One deployment in log clock mode plays them all, one customer after the other, later and later.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from orchestrator.cli.demo.narration import Narrator
from orchestrator.cli.demo.story import Story
from orchestrator.cli.output import Output
from orchestrator.errors import CouldNotRun
from orchestrator.links import open_links
from orchestrator.testing.caller import Caller
from orchestrator.testing.observer import Observer
from orchestrator.testing.stack import Stack

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

EXAMPLE = Path(__file__).parents[2] / "deploy" / "example"
HOUR = 3_600_000


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


@pytest.fixture(scope="module")
def stack(broker):
    with Stack(EXAMPLE, clock="log", prefix="story-test", broker=broker) as stack:
        stack.start_all()
        yield stack


@pytest.fixture(scope="module")
def observer(stack):
    with Observer(stack.settings) as observer:
        yield observer


def sign_up(stack, name: str, when: int, *, consent: bool = True) -> Caller:
    """A customer of the example's audience, known and (usually) with consent for e-mail."""
    caller = Caller(stack, name)
    caller.identify(
        when - 2 * HOUR,
        name=name,
        email=f"{name}@example.com",
        country="DE",
        timezone="Europe/Berlin",
    )
    if consent:
        caller.track(
            when - 2 * HOUR, "consent.granted", server=True, channel="email", category="education"
        )
    caller.track(when, "trial.started")
    return caller


def mail_to(stack, name: str) -> list[str]:
    return [str(mail["subject"]) for mail in stack.mail.messages if f"{name}@" in str(mail["to"])]


def test_the_story_that_the_demo_tells(stack, observer, capsys):
    """E-mail, opened, in-app, pricing: no follow-up, sales at once; and why says so in one screen."""
    Story(stack, observer, Narrator(Output())).play()
    told = capsys.readouterr().out
    for line in (
        "why-acme: sent on email",
        "why-acme: sent on inapp",
        "follow-up: cancelled by pricing.viewed",
        "hot-lead: sent on sales",
    ):
        assert line in told
    why = json.loads(stack.run("customer", "why", "acme-42", "follow-up", "--output", "json"))
    assert why["answer"].startswith("follow-up: cancelled by pricing.viewed")
    assert [d["reason"] for d in why["decisions"]] == ["interrupted"]


def test_customer_show_finds_a_customer_by_identity(stack):
    """An e-mail address leads to the customer: profile, consent, decisions; unknown names say so."""
    shown = json.loads(stack.run("customer", "show", "account_id:acme-42", "--output", "json"))
    assert shown["customer"] == "acme-42"
    assert shown["traits"]["name"] == "Anna"
    assert {"channel": "email", "category": "education", "granted": True}.items() <= shown[
        "consent"
    ][0].items()
    assert shown["entries"] == []
    assert "hot-lead: sent on sales" in stack.run("customer", "show", "acme-42")
    with pytest.raises(CouldNotRun, match="no customer or identity 'nobody' is known here"):
        stack.run("customer", "show", "nobody")


def test_twin_clicked_means_no_in_app(stack, observer):
    """A click ends the wait and the journey; nothing more goes out in a fortnight."""
    when = at("2026-04-06T10:00:00+02:00")
    clara = sign_up(stack, "clara", when)
    sent = observer.wait_decision("sent", "why-acme", customer="clara")
    observer.wait_event("message.accepted", customer="clara")
    clara.receipt(when + HOUR, "clicked", sent.action_id)
    exited = observer.wait_decision("exited", "trial-to-paid", customer="clara")
    assert exited.reason == "stopped"
    later = when + 14 * 24 * HOUR
    observer.tick(later)
    clara.track(later, "feature.used", feature="alerts")
    observer.wait_event("feature.used", customer="clara")
    assert clara.inbox() == []
    assert len(mail_to(stack, "clara")) == 1


def test_twin_without_consent_there_is_a_reason_and_no_mail(stack, observer):
    sign_up(stack, "nora", at("2026-05-04T10:00:00+02:00"), consent=False)
    refused = observer.wait_decision("suppressed", "why-acme", customer="nora")
    assert refused.reason == "no_consent"
    assert mail_to(stack, "nora") == []
    assert "there is no consent" in stack.run("customer", "why", "nora", "why-acme")


def test_twin_deferred_by_quiet_hours_then_gone_is_cancelled(stack, observer):
    when = at("2026-06-01T22:00:00+02:00")
    quentin = sign_up(stack, "quentin", when)
    deferred = observer.wait_decision("deferred", "why-acme", customer="quentin")
    assert (deferred.reason, deferred.rule) == ("quiet_hours", "night")
    quentin.track(when + HOUR, "account.deleted")
    cancelled = observer.wait_decision("cancelled", "why-acme", customer="quentin")
    assert cancelled.reason == "exit"
    morning = when + 24 * HOUR
    observer.tick(morning)
    quentin.track(morning, "feature.used", feature="alerts")
    observer.wait_event("feature.used", customer="quentin")
    assert mail_to(stack, "quentin") == []


def test_twin_sent_but_not_accepted_is_cancelled_and_the_sink_drops_it(stack, observer):
    """The sink is away while the action and its cancel leave; when it is back it drops the action."""
    stack.stop("deliver-email")
    when = at("2026-07-06T10:00:00+02:00")
    dora = sign_up(stack, "dora", when)
    sent = observer.wait_decision("sent", "why-acme", customer="dora")
    dora.track(when + HOUR, "account.deleted")
    observer.wait_decision("cancelled", "why-acme", customer="dora")
    observer.wait("the cancel action", lambda: "cancel" in _kinds(observer, sent.action_id))
    stack.start("deliver", "email")
    dropped = observer.wait_event("message.dropped", customer="dora")
    assert dropped.properties["action_id"] == sent.action_id
    assert dropped.properties["reason"] == "cancel"
    assert mail_to(stack, "dora") == []


def test_twin_unsubscribes_by_the_link_in_her_mail(stack, observer):
    """Looking changes nothing; one click does: no follow-up, and the reason is her own word."""
    when = at("2026-08-03T10:00:00+02:00")
    sign_up(stack, "uma", when)
    observer.wait_decision("sent", "why-acme", "email", customer="uma")
    observer.wait_event("message.accepted", customer="uma")
    (mail,) = [mail for mail in stack.mail.messages if "uma@" in str(mail["to"])]
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    link = str(mail["List-Unsubscribe"]).strip("<>")
    with urlopen(link) as page:  # noqa: S310 - a mailbox's scanner, on our own address
        assert b"Unsubscribe?" in page.read()
    said = {"timestamp": datetime.fromtimestamp((when + HOUR) / 1000, UTC).isoformat()}
    click = f"{link}?{urlencode(said)}"
    with urlopen(click, b"List-Unsubscribe=One-Click") as page:  # noqa: S310 - our own address
        assert b"You are unsubscribed" in page.read()
    event = observer.wait_event("message.unsubscribed", customer="uma")
    assert event.properties["category"] == "education"

    def revoked() -> bool:
        shown = json.loads(stack.run("customer", "show", "uma", "--output", "json"))
        return [(one["channel"], one["granted"]) for one in shown["consent"]] == [("email", False)]

    observer.wait("her word in the profile, as committed", revoked)
    observer.tick(when + 5 * 24 * HOUR)
    refused = observer.wait_decision("suppressed", "follow-up", customer="uma")
    assert refused.reason == "no_consent"
    assert len(mail_to(stack, "uma")) == 1


def test_twin_revokes_before_the_sink_has_sent(stack, observer):
    """Who says no while a mail is on its way to the sink does not get it."""
    stack.stop("deliver-email")
    when = at("2026-09-07T10:00:00+02:00")
    sign_up(stack, "vera", when)
    sent = observer.wait_decision("sent", "why-acme", customer="vera")
    links = open_links(stack.settings.links)
    said = {"timestamp": datetime.fromtimestamp((when + HOUR) / 1000, UTC).isoformat()}
    page_url = f"{links.preferences('vera')}?{urlencode(said)}"
    with urlopen(page_url, b"education/email=no") as page:  # noqa: S310 - our own address
        assert b"Thank you" in page.read()
    observer.wait_event("consent.revoked", customer="vera")
    observer.wait("the cancel action", lambda: "cancel" in _kinds(observer, sent.action_id))
    stack.start("deliver", "email")
    dropped = observer.wait_event("message.dropped", customer="vera")
    assert dropped.properties["reason"] == "cancel"
    assert mail_to(stack, "vera") == []


def _kinds(observer, action_id):
    return {action.kind for action in observer.actions if action.action_id == action_id}
