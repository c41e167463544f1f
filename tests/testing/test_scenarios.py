"""The runner tells what is wrong with a test itself, and lays customers down as they are given."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from orchestrator.errors import WorkspaceError
from orchestrator.journeys.loader import load
from orchestrator.journeys.scenario_reader import read_scenarios
from orchestrator.testing.scenarios import run_scenario
from orchestrator.testing.variants import Variants

SCENARIOS = Path(__file__).parents[1] / "scenarios"


def run(workspace, text):
    node, found = load(dedent(text), "t.yaml")
    (scenario,), more = read_scenarios(node, "id")
    assert not [*found, *more]
    failure = run_scenario(scenario, Variants(SCENARIOS / workspace)).failure
    return str(failure) if failure else ""


def test_a_receipt_before_anything_was_sent():
    told = run(
        "contact",
        """\
        - name: n
          customer: {id: c}
          script: [{at: 2026-03-02T10:00:00Z, receipt: {of: send, status: opened}, expect: []}]
        """,
    )
    assert "t.yaml:3:12: a receipt of step 'send', but nothing has left it so far" in told


def test_a_line_before_the_line_above_it():
    told = run(
        "contact",
        """\
        - name: n
          customer: {id: c}
          script:
            - {at: 2026-03-02T10:00:00Z, expect: []}
            - {at: 2026-03-02T09:00:00Z}
        """,
    )
    assert "t.yaml:5:7: the line lies before the one above it" in told


def test_a_refused_event_is_a_failure():
    """What would be a dead letter must not look like a test that passed."""
    told = run(
        "identity",
        """\
        - name: n
          script: [{at: 2026-03-02T10:00:00Z, event: page.viewed, identities: {fax: "1"}, expect: []}]
        """,
    )
    assert "a record was refused, no_identity: no usable identity" in told


def test_a_policy_that_does_not_compile_names_its_test():
    with pytest.raises(WorkspaceError, match=r"^t\.yaml:1:3: policy: J007 bad-time"):
        run(
            "contact",
            """\
            - name: n
              policy: {quiet_hours: [{name: a, from: "09:00", to: "25:00"}]}
              script: [{at: 2026-03-02T10:00:00Z, expect: []}]
            """,
        )


def test_a_failure_shows_the_lines_around_it_and_who():
    told = run(
        "contact",
        """\
        - name: n
          customers: [{id: a, profile: {email: a@x.org}}, {id: b}]
          script:
            - {at: 2026-03-02T10:00:00Z, customer: a, event: go.gamma}
            - {after: P1D, customer: b, event: go.alpha}
            - {after: P1D, customer: b, event: consent.revoked, properties: {channel: email}}
            - {after: P1D, customer: a, event: go.beta, expect: [{deferred: beta, until: 2026-03-09T00:00:00Z}]}
        """,
    )
    lines = told.splitlines()
    assert lines[0] == (
        "t.yaml:7:58: expected deferred beta {until: Mon 2026-03-09 01:00:00}; "
        "instead: sent beta by email (step send of beta)"
    )
    assert lines[1] == "    ..."
    assert "b  suppressed alpha by email (step send of alpha): no_address (rule missing)" in told
    assert "> b  consent.revoked {channel: email}" in told
    assert "go.gamma" not in told
    assert lines[-1] == "    (times in Europe/Berlin)"


@pytest.mark.parametrize(
    ("profile", "ask"),
    [
        ("{last_page: /b}", "last"),
        ("{first_page: /a}", "first"),
        ("{smallest: 5, largest: 90}", "minmax"),
        ("{visits: 2}", "count"),
        ("{pricing_visits: 300}", "window"),
        ("{spent: 95}", "sum"),
        ("{tickets: 1}", "tickets"),
        ("{carts: 0}", "carts"),
        ("{features: [b, c]}", "features"),
        ("{heat: 5}", "heat"),
        ("{big: true}", "big"),
        ("{last_seen: 2026-02-28T10:00:00Z}", "since"),
    ],
)
def test_any_declared_trait_may_be_given(profile, ask):
    """Also counters, windows, sets, scores and derived ones; given is as good as lived."""
    told = run(
        "profile",
        f"""\
        - name: n
          journeys: [{ask}]
          customer: {{id: c, profile: {profile}}}
          script:
            - {{at: 2026-03-02T10:00:00Z, event: ask.{ask}, expect: [{{sent: said-yes}}]}}
        """,
    )
    assert not told


def test_a_given_window_empties_like_a_lived_one():
    told = run(
        "profile",
        """\
        - name: n
          journeys: [window]
          customer: {id: c, profile: {pricing_visits: 300, spent_lately: 5}}
          script:
            - {at: 2026-03-02T10:00:00Z, event: ask.window, expect: [{sent: said-yes}]}
            - {after: P8D, event: ask.window, expect: [{sent: said-no}]}
        """,
    )
    assert not told
