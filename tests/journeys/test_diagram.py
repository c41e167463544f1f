"""Journeys as Mermaid text: every kind of step, and nothing that Mermaid would misread."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator import cli
from orchestrator.expressions.durations import Duration
from orchestrator.journeys import load_workspace
from orchestrator.journeys.diagram import mermaid, span

EXAMPLE = Path(__file__).parents[2] / "deploy" / "example"

POLICY = """
timezone: Europe/Berlin
channels: {email: {address: profile.email}, push: {address: profile.token}}
consent: {default: {news: opt_out}}
"""
PROFILE = """
identities: {primary: account_id}
traits: {email: {type: string}, token: {type: string}, born: {type: timestamp}, seen: {type: boolean}}
"""
MESSAGE = """
message: hello
category: news
channels: {email: {subject: Hello, text: Hello}, push: {title: Hello}}
"""
JOURNEY = """
journey: everything
entry: {absence: {of: app.opened, for: P2W}}
steps:
  - {id: start, set: {seen: 'true'}}
  - id: two
    split: [{name: a, share: 33.5, then: morning}, {name: b, share: 66.5, then: best}]
  - {id: morning, wait: {until: "next 09:30", weekdays: [mon, tue]}}
  - {id: birthday, wait: {until: profile.born, plus: P1D, minus: PT90M, at: "08:00"}}
  - id: best
    wait_for:
      best: [{when: 'profile.seen && "a\\"<b>#&`" != "" && profile.email != null && profile.token != null'}, {on: app.opened}]
      timeout: P1DT2H3M4S
  - id: pick
    choose:
      decision: greeting
      among:
        - {name: mail, send: {message: hello, channel: email}, then: done}
        - {name: push, send: {message: hello, channel: push}}
      outcome: {on: app.opened, within: P1D}
  - id: last
    branch: [{if: profile.seen, then: done}]
  - {id: sent, if: profile.seen, send: {message: hello, channel: [email, push]}}
  - {id: done, stop: true}
"""


@pytest.fixture
def workspace(tmp_path) -> Path:
    for name, text in (
        ("policy.yaml", POLICY),
        ("profile.yaml", PROFILE),
        ("messages/hello.yaml", MESSAGE),
        ("journeys/everything.yaml", JOURNEY),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_every_kind_of_step_has_its_words(workspace):
    text = mermaid(load_workspace(workspace).catalog.journeys["everything"])
    for part in (
        'entry(["no app.opened for 2 weeks"])',
        's0[/"start<br>set seen"/]',
        '-->|"a 33.5 %"|',
        'morning<br>wait until the next 09:30 on mon, tue"',
        "wait until profile.born + 1 day - 1 hour 30 minutes at 08:00",
        "wait for (the best), at most 1 day 2 hours 3 minutes 4 seconds",
        '"when profile.seen #amp;#amp;',
        'pick<br>choose greeting"',
        '-->|"mail: hello"|',
        '-->|"none"|',
        '-->|"else"|',
        "sent<br>send hello<br>by email or push<br>if profile.seen",
        's8(("done<br>stop"))',
    ):
        assert part in text, text


def test_texts_cannot_break_out_of_their_quotes(workspace):
    """Every quoted label holds nothing that ends it, and long conditions are cut."""
    text = mermaid(load_workspace(workspace).catalog.journeys["everything"])
    for line in text.splitlines():
        assert line.count('"') in {0, 2}, line
        assert "`" not in line
        if '"' in line:
            label = line.split('"')[1].replace("<br>", "")
            assert not {"<", ">"} & set(label), line
    assert "…" in text


def test_an_entry_by_condition(workspace):
    """The condition stands where an event would."""
    file = workspace / "journeys" / "everything.yaml"
    former = "entry: {absence: {of: app.opened, for: P2W}}"
    entry = "entry: {when: 'profile.seen == true', if: 'profile.email != null'}"
    file.write_text(JOURNEY.replace(former, entry), encoding="utf-8")
    text = mermaid(load_workspace(workspace).catalog.journeys["everything"])
    assert 'entry(["when profile.seen == true<br>if profile.email != null"])' in text


def test_the_example_as_a_whole():
    journey = load_workspace(EXAMPLE).catalog.journeys["trial-to-paid"]
    text = mermaid(journey, {"reaction": "12 customers"})
    assert text.startswith("flowchart TD\n  entry([")
    assert "reaction<br>wait for, at most 2 days<br>12 customers" in text
    assert 's1 -->|"message.clicked of day1"| s6' in text
    assert 'entry -.->|"interrupt: pricing.viewed if sent(#quot;in-app#quot;)"| s7' in text
    assert "goal: subscription.started<br>exit: account.deleted<br>exit: when" in text
    assert 'finish(("completed"))' in text


@pytest.mark.parametrize(
    ("duration", "words"),
    [
        (Duration(days=1), "1 day"),
        (Duration(days=14), "2 weeks"),
        (Duration(days=10), "10 days"),
        (Duration(ms=7_200_000), "2 hours"),
        (Duration(), "no time"),
    ],
)
def test_a_duration_in_words(duration, words):
    assert span(duration) == words


def test_the_verb_prints_markdown_that_forges_draw(capsys):
    assert cli.run(["journeys", "diagram", str(EXAMPLE)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("## trial-to-paid\n\n```mermaid\nflowchart TD\n")
    assert cli.run(["journeys", "diagram", str(EXAMPLE), "--output", "json"]) == 0
    assert '"journey": "trial-to-paid"' in capsys.readouterr().out
    assert cli.run(["journeys", "diagram", "nowhere"]) == 2
