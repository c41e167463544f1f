"""The live demo's pure parts: its people, and how it shows what is decided."""

from __future__ import annotations

import io
import json
from collections import Counter

import pytest
from rich.console import Console

from orchestrator.cli.demo.people import Person
from orchestrator.cli.demo.view import Figures, Json, Lines, Screen, view_for
from orchestrator.cli.output import Output
from orchestrator.records import Decision

FIGURES = Figures(seconds=12.3, people=7, told=1234, mails=56)
ADDRESSES = {"collector": "http://c", "worker": "http://w", "kafka": "k:1", "write_key": "demo"}


def decision(number: int, outcome: str = "sent", reason: str | None = None) -> Decision:
    return Decision(
        decision_id=f"d{number}",
        customer_id=f"acme-{number}",
        outcome=outcome,
        reason=reason,
        message="why-acme",
        channel="email",
        caused_by="e1",
        decided_at=1_772_000_000_000 + number,
        catalog="c1",
    )


def everything(seed: int, number: int) -> list:
    person = Person(seed, number)
    acts = list(person.life()) + list(person.on_mail("a1"))
    return [*acts, person.reads("a2"), *person.on_in_app("a2")]


def test_a_seed_gives_the_same_people():
    """Whoever repeats a run meets the same customers, doing the same things at the same times."""
    assert [everything(7, n) for n in range(50)] == [everything(7, n) for n in range(50)]
    assert everything(7, 1) != everything(8, 1)


def test_people_do_all_that_the_demo_promises():
    """Among some hundred there is everything: visits, trials, payment, tickets, complaints."""
    acts = [act for n in range(400) for act in everything(1, n) if not isinstance(act, bool)]
    said = Counter(a.message.get("event", a.message["type"]) for a in acts if a.message)
    assert set(said) == set(
        "page identify consent.granted trial.started feature.used pricing.viewed ticket.opened "
        "ticket.closed subscription.started account.deleted message.delivered message.opened "
        "message.clicked message.bounced message.complained message.unsubscribed".split()
    )
    ids = [act.message["messageId"] for act in acts if act.message]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("number", range(20))
def test_nobody_is_known_before_they_sign_up(number):
    """Anonymous first: no account id until `identify`, which carries both ids."""
    life = sorted(Person(3, number).life(), key=lambda act: act.after)
    messages = [act.message for act in life if act.message]
    known = [i for i, message in enumerate(messages) if message["type"] == "identify"]
    first = known[0] if known else len(messages)
    assert all("userId" not in message for message in messages[:first])
    assert all("anonymousId" in message for message in messages[:first])
    if known:
        assert {"userId", "anonymousId"} <= messages[first].keys()


def test_a_message_that_comes_twice_is_reacted_to_once():
    """A sink that died in between may repeat an e-mail; a person opens it once."""
    person = Person(1, 1)
    list(person.on_mail("a1"))
    assert list(person.on_mail("a1")) == []
    person.reads("a2")
    assert person.reads("a2") is False


def text_console(*, terminal: bool) -> Console:
    return Console(
        file=io.StringIO(), force_terminal=terminal, width=120, height=30, highlight=False
    )


def test_lines_are_blocks_with_the_rare_kinds_first():
    """Without a terminal: figures, a line of each kind, and all counts in the end."""
    console = text_console(terminal=False)
    with Lines(console) as view:
        view.opened(ADDRESSES)
        view._printed = 0.0
        for n in range(20):
            view.decision(decision(n))
        view.decision(decision(20, "suppressed", "no_consent"))
        view.turn(FIGURES)
        view.turn(FIGURES)
        view.note("worker ended by signal 9: started again")
        view.turn(FIGURES, last=True)
    told = console.file.getvalue()
    assert "http://c" in told
    assert told.count("acme-20") == 1
    assert told.count("acme-19") == 1
    assert "acme-18" not in told
    assert told.count("1,234 events in") == 2
    assert "there is no consent" in told
    assert "started again" in told


def test_the_screen_holds_counts_lines_and_notes_within_its_height():
    """Whatever comes: what is shown fits the terminal."""
    console = text_console(terminal=True)
    with Screen(console) as view:
        view.note("starting")
        view.opened(ADDRESSES)
        for n in range(300):
            view.decision(decision(n, "suppressed", f"reason-{n % 40}"))
        view.note("worker ended by signal 9: started again")
        view.turn(FIGURES)
        view.turn(FIGURES, last=True)
        parts = view._parts(FIGURES)
        shown = [line for part in parts for line in console.render_lines(part)]
    assert len(shown) <= console.height
    told = console.file.getvalue()
    for words in ("starting", "others", "started again", "Ctrl-C stops", "7 customers about"):
        assert words in told


def test_json_is_addresses_and_decisions_and_nothing_else(capsys):
    """Remarks go to stderr, so that every line on stdout can be read by a program."""
    with Json() as view:
        view.note("starting")
        view.opened(ADDRESSES)
        view.decision(decision(1))
        view.turn(FIGURES, last=True)
    told = capsys.readouterr()
    lines = [json.loads(line) for line in told.out.splitlines()]
    assert lines[0] == ADDRESSES
    assert lines[1]["customer_id"] == "acme-1"
    assert len(lines) == 2
    assert told.err == "starting\n"


def test_the_view_suits_the_output():
    output = Output()
    assert isinstance(view_for(output), Lines)
    output.json = True
    assert isinstance(view_for(output), Json)
